"""A model repository of `fcnrt server-config --backend fcnrt` in a real tritonserver: labels over HTTP are fcnrt's.

`.venv/bin/python tests/compatibility tritonserver` installs the server and runs this.
"""

from __future__ import annotations

import io
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fcnrt
import tritonserver
from exports import Export
from fcn_export.commands import to_server
from frames import frames_of
from places import EXAMPLES

PYTHON = os.environ.get(tritonserver.TESTED)
PATIENCE_S = 120
MODELS = {"caffe": ("caffe fcn8s",), "half": ("torchvision fcn", "--precision", "fp16", "--color", "bgr")}
SHAPES = [(1, 1, 1), (1, 83, 51), (3, 33, 47), (1, 131, 201), (8, 65, 97)]
PARSE = """
import sys
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2
for path in sys.argv[1:]:
    read = text_format.Parse(open(path).read(), model_config_pb2.ModelConfig())
    print(read.name, read.platform, read.backend, read.max_batch_size, list(read.input[0].dims))
"""

pytestmark = pytest.mark.skipif(not PYTHON, reason="needs a tritonserver: python tests/compatibility tritonserver")


@pytest.fixture(scope="module")
def address(exported: Export, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of a server that has loaded all models."""
    folder = tmp_path_factory.mktemp("triton")
    for name, flags in MODELS.items():
        words = ["--triton", str(folder / "models"), "--name", name, "--backend", "fcnrt", "--pictures"]
        assert to_server.main([str(exported(*flags)), *words]) == 0
    python, port = Path(str(PYTHON)), free_port()
    server = tritonserver.server_of(python)
    options = {
        "model-repository": folder / "models",
        "backend-directory": server / "backends",
        "http-address": "127.0.0.1",
        "http-port": port,
        "allow-grpc": "false",
        "allow-metrics": "false",
    }
    command = [str(server / "bin/tritonserver"), *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, env=tritonserver.environment(python), stdout=log, stderr=log)
    try:
        await_ready(process, f"127.0.0.1:{port}", folder / "log")
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def await_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        with suppress(OSError), urllib.request.urlopen(f"http://{address}/v2/health/ready", timeout=10):
            return
        time.sleep(0.2)
    pytest.fail(log.read_text()[-4000:])


@pytest.mark.parametrize("name", MODELS)
def test_labels_over_http_are_those_of_fcnrt(name: str, address: str, exported: Export) -> None:
    http = pytest.importorskip("tritonclient.http")
    with http.InferenceServerClient(address) as client, fcnrt.Segmenter(exported(*MODELS[name])) as segmenter:
        for shape in SHAPES:
            frames = frames_of(*shape, seed=shape[1])
            given = http.InferInput("frames", [*shape, 3], "UINT8")
            given.set_data_from_numpy(frames)
            assert np.array_equal(client.infer(name, [given]).as_numpy("labels"), segmenter(frames)), shape


def of_bytes(data: bytes) -> Any:
    given = pytest.importorskip("tritonclient.http").InferInput("picture", [1], "BYTES")
    given.set_data_from_numpy(np.array([data], np.object_))
    return given


@pytest.mark.parametrize("name", MODELS)
def test_a_picture_comes_back_as_its_png(name: str, address: str, exported: Export) -> None:
    http = pytest.importorskip("tritonclient.http")
    frame, file = frames_of(1, 65, 97)[0], io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    with http.InferenceServerClient(address) as client:
        with pytest.raises(http.InferenceServerException, match="picture: "):
            client.infer(f"{name}_pictures", [of_bytes(file.getvalue()[:200])])
        (png,) = client.infer(f"{name}_pictures", [of_bytes(file.getvalue())]).as_numpy("png").ravel()
    with fcnrt.Segmenter(exported(*MODELS[name]), color="rgb") as segmenter, Image.open(io.BytesIO(png)) as picture:
        assert np.array_equal(np.asarray(picture), segmenter(frame))


def test_configurations_for_tritons_own_backends_are_messages_of_its_client(exported: Export, tmp_path: Path) -> None:
    options = {"free": (), "one": ("--max-batch", "1"), "pictures": ("--pictures", "--instances", "2", "--delay", "90")}
    files = {"free": (), "one": ("--height", "65", "--width", "97"), "pictures": ("--precision", "fp16")}
    for name, words in options.items():
        path = exported("torchvision fcn", *files[name])
        assert to_server.main([str(path), "--triton", str(tmp_path), "--name", name, *words]) == 0
    configs = sorted(tmp_path.glob("*/config.pbtxt"))
    shown = subprocess.run([str(PYTHON), "-c", PARSE, *map(str, configs)], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines() == [
        "free onnxruntime_onnx  8 [-1, -1, 3]",
        "one onnxruntime_onnx  1 [65, 97, 3]",
        "pictures onnxruntime_onnx  8 [-1, -1, 3]",
        "pictures_decode  python 0 [1]",
        "pictures_pictures ensemble  0 [1]",
        "pictures_png  python 0 [1, -1, -1]",
    ]


def test_frames_that_a_model_does_not_take_are_refused_in_words(address: str) -> None:
    http = pytest.importorskip("tritonclient.http")
    given = http.InferInput("frames", [1, 5, 7, 4], "UINT8")
    given.set_data_from_numpy(np.zeros((1, 5, 7, 4), np.uint8))
    with http.InferenceServerClient(address) as client, pytest.raises(http.InferenceServerException, match="expected"):
        client.infer("caffe", [given])


def test_the_example_goes_through_shared_memory(address: str, exported: Export, tmp_path: Path) -> None:
    frame = frames_of(1, 65, 97)[0]
    Image.fromarray(frame).save(tmp_path / "street.png")
    words = ["caffe", tmp_path / "street.png", tmp_path / "labels.png", "--url", address]
    subprocess.run([sys.executable, EXAMPLES / "triton_client.py", *map(str, words)], check=True)
    with fcnrt.Segmenter(exported(*MODELS["caffe"])) as segmenter, Image.open(tmp_path / "labels.png") as made:
        assert np.array_equal(np.asarray(made), segmenter(frame))
