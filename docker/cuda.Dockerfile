# fcnrt with TensorRT, and what builds engines for the GPU at hand. From the clone's folder:
#   docker build -f docker/cuda.Dockerfile -t fcnrt:cuda .
#   docker run --rm --gpus all -v "$PWD:/data" fcnrt:cuda segment model.engine street.mp4 -o overlay.mp4
#   docker run --rm --gpus all -v "$PWD:/data" fcnrt:cuda build model.onnx
# TensorRT's and CUDA's libraries come as wheels; the driver comes from the host by the NVIDIA Container Toolkit.
FROM ubuntu:24.04 AS build
ARG EXTRAS="engine,tensorrt,video"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY . .
RUN python3 -m venv /opt/fcnrt \
    && /opt/fcnrt/bin/pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]"

FROM ubuntu:24.04
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1001 fcnrt
COPY --from=build /opt/fcnrt /opt/fcnrt
ENV PATH="/opt/fcnrt/bin:${PATH}" \
    NVIDIA_DRIVER_CAPABILITIES="compute,utility,video" \
    NVIDIA_VISIBLE_DEVICES="all"
USER 1001
WORKDIR /data
ENTRYPOINT ["fcnrt"]
CMD ["--help"]
