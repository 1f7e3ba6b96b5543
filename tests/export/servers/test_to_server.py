"""Model repositories and configurations: parsed by tritonclient's own messages; the Python steps run on stand-ins."""

from __future__ import annotations

import io
import json
import re
import runpy
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import fcnrt
from exports import Export, plain_session
from fcn_export.commands import to_server
from fcn_export.graph.verify import textured_frames

NAME = "torchvision fcn"


def config_of(folder: Path) -> Any:
    """A configuration as Triton reads it."""
    reason = "tritonclient[grpc] wants a protobuf older than that of constraints.txt: an environment of its own"
    pytest.importorskip("grpc", reason=reason)
    messages = pytest.importorskip("tritonclient.grpc", reason=reason).model_config_pb2
    from google.protobuf import text_format

    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), messages.ModelConfig())


def dims(tensor: Any) -> tuple[str, str, list[int]]:
    types = tensor.DESCRIPTOR.fields_by_name["data_type"].enum_type.values_by_number
    return tensor.name, types[tensor.data_type].name, list(tensor.dims)


def test_repository_of_a_free_file(exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = exported(NAME)
    capsys.readouterr()
    assert to_server.main([str(path), "--triton", str(tmp_path / "m"), "--name", "street", "--max-batch", "6"]) == 0
    folder = tmp_path / "m" / "street"
    assert capsys.readouterr().out.splitlines() == [
        str(folder),
        f"next: tritonserver --model-repository {tmp_path / 'm'}",
    ]
    assert (folder / "1" / "model.onnx").read_bytes() == path.read_bytes()
    config = config_of(folder)
    assert (config.name, config.platform, config.max_batch_size) == ("street", "onnxruntime_onnx", 6)
    assert dims(config.input[0]) == ("frames", "TYPE_UINT8", [-1, -1, 3])
    assert dims(config.output[0]) == ("labels", "TYPE_UINT8", [-1, -1])
    assert config.HasField("dynamic_batching") and config.instance_group[0].count == 1
    warm_up = config.model_warmup[0].inputs["frames"]
    assert list(warm_up.dims) == [480, 640, 3] and warm_up.zero_data
    names = (folder / config.output[0].label_filename).read_text().splitlines()
    told = {entry.key: entry.value for entry in onnx.load(path).metadata_props if entry.key.startswith("fcn.")}
    assert json.loads(config.parameters["fcn.classes"].string_value) == names and len(names) == 7
    del told["fcn.digest"]
    assert {key: value.string_value for key, value in config.parameters.items()} == told


def test_repository_of_a_fixed_file(exported: Export, tmp_path: Path) -> None:
    flags = ("--batch", "2", "--height", "65", "--width", "97")
    for path, given, made in (
        (exported(NAME, *flags), ("frames", "TYPE_UINT8", [2, 65, 97, 3]), ("labels", "TYPE_UINT8", [2, 65, 97])),
        (
            exported(NAME, *flags[2:4], "--batch", "1", "--input", "nchw-float", "--output-type", "scores-float"),
            ("frames", "TYPE_FP32", [1, 3, 65, -1]),
            ("logits", "TYPE_FP32", [1, 7, 65, -1]),
        ),
    ):
        assert to_server.main([str(path), "--triton", str(tmp_path), "--name", given[1]]) == 0
        config = config_of(tmp_path / given[1])
        assert config.max_batch_size == 0 and not config.HasField("dynamic_batching")
        assert (dims(config.input[0]), dims(config.output[0])) == (given, made)
        assert config.model_warmup[0].batch_size == 0 and all(
            size > 0 for size in config.model_warmup[0].inputs["frames"].dims
        )


def test_repository_of_an_engine(exported: Export, tmp_path: Path, make_host: Any) -> None:
    profiles = [((1, 32, 32), (2, 64, 96), (4, 128, 160)), ((1, 16, 16), (1, 24, 24), (1, 31, 31))]
    engine = make_host().model(exported(NAME), output="labels", kernels=[], profiles=profiles)
    assert to_server.main([str(engine), "--triton", str(tmp_path / "m"), "--name", "x"]) == 0
    config = config_of(tmp_path / "m" / "x")
    assert (config.platform, config.max_batch_size) == ("tensorrt_plan", 4)
    assert (tmp_path / "m" / "x" / "1" / "model.plan").read_bytes() == engine.read_bytes()
    assert list(config.instance_group[0].profile) == ["0", "1"] and config.instance_group[0].kind == 1  # KIND_GPU
    assert list(config.model_warmup[0].inputs["frames"].dims) == [64, 96, 3]


def test_names_of_classes_in_any_script(exported: Export, tmp_path: Path) -> None:
    names = ["Straße", 'a "quoted" \\ name', "道路", "d", "e", "f", "{g}"]
    (tmp_path / "classes.json").write_text(json.dumps(names))
    path = exported(NAME, "--classes", str(tmp_path / "classes.json"))
    assert to_server.main([str(path), "--triton", str(tmp_path / "m"), "--name", "x"]) == 0
    assert json.loads(config_of(tmp_path / "m" / "x").parameters["fcn.classes"].string_value) == names


def test_ensemble_is_wired(exported: Export, tmp_path: Path) -> None:
    path = exported(NAME)
    assert to_server.main([str(path), "--triton", str(tmp_path), "--name", "x", "--pictures"]) == 0
    whole = config_of(tmp_path / "x_pictures")
    steps = whole.ensemble_scheduling.step
    assert [step.model_name for step in steps] == ["x_decode", "x", "x_png"]
    for step in steps:
        part = config_of(tmp_path / step.model_name)
        assert list(step.input_map) == [part.input[0].name] and list(step.output_map) == [part.output[0].name]
    assert whole.platform == "ensemble" and (tmp_path / "x_pictures" / "1").is_dir()


class Request(dict):
    """Tensors by name, as the Python backend gives them."""


def backend() -> ModuleType:
    """What Triton's Python backend imports of Triton."""
    module = ModuleType("triton_python_backend_utils")
    module.get_input_tensor_by_name = lambda request, name: SimpleNamespace(as_numpy=lambda: request[name])
    module.Tensor = lambda name, array: (name, array)
    module.TritonError = str
    module.InferenceResponse = lambda tensors=(), error=None: error or dict(tensors)
    return module


def step(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A step of a repository, started as Triton starts it."""
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", backend())
    config = config_of(folder)
    facts = {key: {"string_value": value.string_value} for key, value in config.parameters.items()}
    model = runpy.run_path(str(folder / "1" / "model.py"))["TritonPythonModel"]()
    model.initialize(
        {
            "model_config": json.dumps({"parameters": facts}),
            "model_repository": str(folder),
            "model_version": "1",
            "model_instance_kind": "CPU",
        }
    )
    return model


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_steps_make_labels_of_pictures(
    color: str, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = exported(NAME, "--color", color)
    flags = ["--name", "x", "--pictures", "--backend", "fcnrt"]
    assert to_server.main([str(path), "--triton", str(tmp_path), *flags]) == 0
    frame = textured_frames(1, 37, 51, seed=1).numpy()[0]
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "PNG")
    decode, labels, png = (step(tmp_path / name, monkeypatch) for name in ("x_decode", "x", "x_png"))
    bad, decoded = decode.execute(
        [{"picture": np.array([data], np.object_)} for data in (file.getvalue()[:90], file.getvalue())]
    )
    assert bad.startswith("picture: ")
    (labelled,) = labels.execute([decoded])
    refused = labels.execute([{"frames": np.zeros((1, 5, 7, 4), np.uint8)}])[0]
    assert isinstance(refused, str) and "frames: expected" in refused
    (made,) = png.execute([labelled])
    with fcnrt.Segmenter(path, color="rgb") as segment, Image.open(io.BytesIO(made["png"][0])) as picture:
        assert np.array_equal(np.asarray(picture), segment(frame))
        assert np.array_equal(np.array(picture.getpalette()[:21]).reshape(7, 3), segment.palette)
    labels.finalize()


def test_deepstream_takes_planes_by_nvinfer(exported: Export, tmp_path: Path) -> None:
    flags = ("--input", "nchw-float", "--output-type", "scores-float", "--height", "65", "--width", "97")
    path = exported(NAME, *flags, "--color", "bgr")
    assert to_server.main([str(path), "--deepstream", str(tmp_path / "app")]) == 0
    lines = (tmp_path / "app" / "config_infer.txt").read_text().splitlines()
    assert lines[0] == "[property]"
    told = dict(line.split("=", 1) for line in lines[1:])
    assert told["infer-dims"] == "3;65;97" and told["net-scale-factor"] == "1" and told["model-color-format"] == "1"
    assert told["output-blob-names"] == "logits" and told["num-detected-classes"] == "7"
    assert (tmp_path / "app" / "labels.txt").read_text().rstrip().count(";") == 6
    model = plain_session(tmp_path / "app" / told["onnx-file"])
    assert model.run(None, {"frames": np.zeros((1, 3, 65, 97), np.float32)})[0].shape == (1, 7, 65, 97)


def test_deepstream_takes_bytes_by_nvinferserver(exported: Export, tmp_path: Path) -> None:
    assert to_server.main([str(exported(NAME)), "--deepstream", str(tmp_path / "app"), "--name", "x"]) == 0
    text = (tmp_path / "app" / "config_inferserver.txt").read_text()
    assert 'model_name: "x"' in text and 'root: "models"' in text and "TENSOR_ORDER_NHWC" in text
    assert config_of(tmp_path / "app" / "models" / "x").input[0].name == "frames"


@pytest.mark.parametrize(
    ("flags", "where", "message"),
    [
        ((), ["--triton", "taken"], "exists already; remove it, or choose another --name or folder"),
        ((), ["--triton", "new", "--name", "../up"], "--name ../up: expected letters, digits"),
        ((), ["--deepstream", "new", "--max-batch", "3"], "--max-batch: is for --triton"),
        (("--input", "nchw-float"), ["--deepstream", "new"], "nvinfer takes scores of every class"),
        (("--input", "nchw-float", "--output-type", "scores-float"), ["--deepstream", "new"], "files of one size"),
        (("--input", "nchw-float", "--input-range", "normalised"), ["--deepstream", "new"], "0 to 255"),
        (("--input", "nchw-float"), ["--triton", "new", "--pictures"], "--pictures: expected a file of bytes"),
    ],
)
def test_refusals_leave_nothing(
    flags: tuple[str, ...],
    where: list[str],
    message: str,
    exported: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = exported(NAME, *flags)
    (tmp_path / "taken" / path.stem.replace("_", "-")).mkdir(parents=True)
    (tmp_path / "taken" / path.stem).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert to_server.main([str(path), *where]) == 1
    error = capsys.readouterr().err
    assert error.startswith("to_server: ") and message in error and error.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("where", ["--triton", "--deepstream"])
def test_a_flipped_bit_in_the_weights_is_served_by_nobody(
    where: str, exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = exported(NAME).read_bytes()
    weights = max((tensor.raw_data for tensor in onnx.load_from_string(data).graph.initializer), key=len)
    assert len(weights) >= 4096
    assert_damage_is_told(tmp_path / "net.onnx", data, data.index(weights) + len(weights) // 2, where, capsys)


def test_a_flipped_bit_in_a_plan_is_served_by_nobody(
    exported: Export, tmp_path: Path, make_host: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    engine = make_host().model(exported(NAME), output="labels", kernels=[])
    data = engine.read_bytes()
    assert_damage_is_told(engine, data, len(data) // 2, "--triton", capsys)


def assert_damage_is_told(path: Path, data: bytes, at: int, where: str, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    capsys.readouterr()
    assert to_server.main([str(path), where, str(path.with_name("new"))]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"to_server: {path}: ") and error.count("\n") == 1
    assert re.search("altered|changed or damaged", error)
    assert not path.with_name("new").exists()


def test_other_files_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_server.main([str(tmp_path / "net.pth"), "--triton", str(tmp_path / "m")]) == 1
    error = capsys.readouterr().err
    assert "expected a .onnx or .engine file; this is a checkpoint: " in error and "fcnrt export" in error


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_server.main([str(tmp_path / "gone.onnx"), "--triton", str(tmp_path / "models")]) == 1
    assert capsys.readouterr().err.endswith("gone.onnx: no such file; expected one of fcnrt export or fcnrt build\n")
    assert not (tmp_path / "models").exists()
