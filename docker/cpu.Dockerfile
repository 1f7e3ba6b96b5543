# fcnrt with ONNX Runtime on the CPU, pictures and videos. From the clone's folder:
#   docker build -f docker/cpu.Dockerfile -t fcnrt:cpu .
#   docker run --rm -v "$PWD:/data" fcnrt:cpu segment model.onnx street.mp4 -o overlay.mp4
FROM python:3.12-slim-bookworm AS build
ARG EXTRAS="cpu,video"
WORKDIR /source
COPY . .
RUN python -m venv /opt/fcnrt \
    && /opt/fcnrt/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM python:3.12-slim-bookworm
COPY --from=build /opt/fcnrt /opt/fcnrt
ENV PATH="/opt/fcnrt/bin:${PATH}"
RUN useradd --create-home --uid 1001 fcnrt
USER 1001
WORKDIR /data
ENTRYPOINT ["fcnrt"]
CMD ["--help"]
