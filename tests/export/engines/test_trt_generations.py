"""TensorRT 8.6, 10 and 11 get the calls that their Python bindings have, and none that they have not."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import fcnrt
from exports import Export
from fcn_export.commands import build_engine
from fcn_export.engines import builder
from fcn_export.engines.source import read_source, tensor_types
from fcn_export.engines.trt_flavours import load_flavour
from fcn_export.kernels import compiling
from frames import frames_of
from simulated.host import GpuHost, MakeHost, labels_on_cpu
from simulated.kernel_functions import kernel_records

GENERATIONS = ("8.6.1", "10.16.1.11", "11.4.0.106")
HALF = ("--precision", "fp16")
Build = Callable[..., tuple[int, Any]]


@pytest.fixture
def host_of(make_host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., GpuHost]]:
    """A function: TensorRT's version to a host that builds and runs engines."""
    hosts: dict[str, GpuHost] = {}

    def host_of(version: str, **options: Any) -> GpuHost:
        if version not in hosts:
            host = hosts[version] = make_host(version, **options)
            monkeypatch.setattr(compiling, "compile_kernels", lambda *_: kernel_records(host.gpu))
        return hosts[version]

    yield host_of
    for host in hosts.values():
        host.gpu.end_process()


@pytest.fixture
def build(exported: Export, tmp_path: Path, host_of: Callable[..., GpuHost]) -> Build:
    """A function: version, further flags to status and the builder's record; answers are those of TensorRT."""

    def run(version: str, *flags: str, file: Path | None = None, host: Any = None, **answers: Any) -> tuple[int, Any]:
        trt = host_of(version, **(host or {})).trt
        vars(trt.record).update(answers)
        model = str(file or exported("caffe fcn8s", *HALF))
        return build_engine.main([model, "-o", str(tmp_path / "x.engine"), *flags]), trt.record

    return run


@pytest.mark.parametrize("version", GENERATIONS)
def test_what_was_built_labels_as_the_file_does(
    version: str, build: Build, exported: Export, host_of: Callable[..., GpuHost], tmp_path: Path
) -> None:
    path = exported("caffe fcn8s")
    assert build(version, "--profile", "1x64x64:1x65x97:2x128x160", file=path)[0] == 0
    frames = frames_of(2, 65, 97)
    with fcnrt.Segmenter(tmp_path / "x.engine", device="cuda") as segment:
        np.testing.assert_array_equal(segment(frames), labels_on_cpu(path, [frames])[0])
        with pytest.raises(fcnrt.FrameError, match="129"):
            segment(frames_of(1, 129, 97))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("version", GENERATIONS)
def test_typing_of_each_generation(version: str, precision: str, build: Build, exported: Export) -> None:
    status, record = build(version, file=exported("caffe fcn8s", "--precision", precision))
    weak, half = version.startswith("8."), precision == "fp16"
    assert status == 0
    assert ("FP16" in record.flags, "OBEY_PRECISION_CONSTRAINTS" in record.flags) == (weak and half,) * 2
    assert "TF32" not in record.flags
    flags = sys.modules["tensorrt"].NetworkDefinitionCreationFlag
    asked_for = {flag.name for flag in flags if record.creation_flags & 1 << flag}
    assert asked_for == {"EXPLICIT_BATCH", "STRONGLY_TYPED"} & set(flags.__members__)


@pytest.mark.parametrize("version", GENERATIONS)
def test_profiles_may_be_shared_by_contexts(version: str, build: Build) -> None:
    _, record = build(version)
    assert ("PROFILE_SHARING_0806" in record.preview) == (not version.startswith("11"))


def test_every_layer_of_8_6_is_held_to_the_type_in_the_file(build: Build, exported: Export) -> None:
    path = exported("caffe fcn8s", *HALF)
    status, record = build("8.6.1", file=path)
    types = tensor_types(read_source(path, "kernel"))
    names = {"fp32": "FLOAT", "fp16": "HALF"}
    held = [layer for layer in record.network.layers if layer.precision_is_set]
    assert status == 0 and len(held) > 40
    for layer in held:
        expected = names[types[layer.get_output(0).name]]
        assert (layer.precision.name, layer.get_output_type(0).name) == (expected, expected), layer.name
    free = {layer.type.name for layer in record.network.layers if not layer.precision_is_set}
    assert free == {"CAST", "SHAPE", "GATHER", "ELEMENTWISE", "SHUFFLE"}  # the last three of shapes
    assert all(layer.precision_is_set for layer in record.network.layers if "CONVOLUTION" in layer.type.name)


def test_layers_that_the_parser_adds_take_the_type_of_their_input(build: Build) -> None:
    _, record = build("8.6.1")
    relu = next(layer for layer in record.network.layers if layer.type.name == "ACTIVATION")
    relu.get_output(0).name = "added by the parser"
    relu._precision, relu._output_types = None, {}
    trt = sys.modules["tensorrt"]
    builder.constrain(trt, record.network, {relu.get_input(0).name: "fp16"})
    assert (relu.precision.name, relu.get_output_type(0).name) == ("HALF", "HALF")


@pytest.mark.parametrize("version", GENERATIONS)
def test_builder_options(version: str, build: Build) -> None:
    flags = ("--workspace", "256", "--optimization-level", "5", "--version-compatible", "--hardware-compatible")
    status, record = build(version, *flags, "--tf32")
    assert status == 0
    assert record.pools == {"WORKSPACE": 256 * 2**20}
    assert record.config.builder_optimization_level == 5
    assert record.config.hardware_compatibility_level.name == "AMPERE_PLUS"
    assert record.config.profiling_verbosity.name == "DETAILED"
    assert {"VERSION_COMPATIBLE", "TF32"} <= record.flags
    assert record.host_code_allowed  # such a plan carries code, and we have just built it


@pytest.mark.parametrize("version", GENERATIONS)
def test_options_that_nobody_asked_for_stay_untouched(version: str, build: Build) -> None:
    _, record = build(version)
    assert not record.pools and "VERSION_COMPATIBLE" not in record.flags and not record.host_code_allowed
    assert not hasattr(record.config, "builder_optimization_level")
    assert not hasattr(record.config, "hardware_compatibility_level")
    assert hasattr(record.config, "progress_monitor") == (not version.startswith("8."))


@pytest.mark.parametrize("version", GENERATIONS)
def test_scores_and_frames_are_linear_in_memory(version: str, build: Build) -> None:
    _, record = build(version)
    assert [tensor.allowed_formats for tensor in (record.network.inputs[0], record.network.outputs[0])] == [1, 1]


@pytest.mark.parametrize("version", GENERATIONS)
def test_sidecar_of_each_generation(version: str, build: Build, tmp_path: Path) -> None:
    build(version, "--profile", "1x64x64:1x65x97:2x128x160")
    engine = json.loads((tmp_path / "x.engine.json").read_text())["engine"]
    assert (engine["flavour"], engine["version"], engine["sm"]) == ("tensorrt", version, [89])
    assert engine["layers"]["network"]["convolution"] == {"fp16": 15, "fp32": 3}
    assert engine["layers"]["engine"] == {"Convolution": {"fp16": 15, "fp32": 3}}
    plan = sys.modules["tensorrt"].Runtime._trt.read_plan((tmp_path / "x.engine").read_bytes())
    assert (plan.profiles, plan.output, plan.scores) == ([[[1, 64, 64], [1, 65, 97], [2, 128, 160]]], "scores", "fp32")
    assert plan.profile_sharing and not plan.version_compatible and not plan.hardware_compatible


def test_engine_for_all_gpus_from_ampere_on_says_so(build: Build, tmp_path: Path) -> None:
    build("10.16.1.11", "--hardware-compatible")
    engine = json.loads((tmp_path / "x.engine.json").read_text())["engine"]
    assert engine["hardware_compatible"] and engine["sm"] == [sm for sm in compiling.CAPABILITIES if sm >= 80]


@pytest.mark.parametrize("version", GENERATIONS)
def test_timing_cache_is_read_and_written(version: str, build: Build, tmp_path: Path) -> None:
    cache = tmp_path / "new" / "timing.cache"
    assert build(version, "--timing-cache", str(cache))[1].timing_cache == b""
    assert cache.read_bytes() == b" and more"
    assert build(version, "--timing-cache", str(cache), "--force")[1].timing_cache == b" and more"
    assert cache.read_bytes() == b" and more and more"


@pytest.mark.parametrize(
    ("flags", "answers", "text"),
    [
        (("--sm", "90", "--flavour", "tensorrt"), {}, "--sm: TensorRT 10.16.1.11 builds for the GPU that it runs on"),
        (
            ("--hardware-compatible",),
            {"host": {"sm": 75}},
            "needs a GPU of compute capability 8.0 or newer to build on, Simulated GPU has 7.5",
        ),
        (("--timing-cache", "CACHE"), {"accepts_timing_cache": False}, "expected one of TensorRT 10.16.1.11 and this"),
        ((), {"starts": False}, "does not start on this machine (CUDA initialization failure with error: 35)"),
        ((), {"understands": False}, "from frames uint8 (-1, -1, -1, 3) to scores float (-1, 7, -1, -1), TensorRT 10"),
        (
            (),
            {"build_error": "[x.cpp::f::1] Error Code 10: Internal Error (no node)"},
            "(Internal Error (no node)); --verbose",
        ),
        ((), {"build_error": "Requested amount of GPU memory could not be allocated."}, "lower --max, or use a GPU"),
        ((), {"halves_become_floats": True}, "/conv1_1/Conv: expected one precision, got weights fp16, input fp32"),
        (
            ("--max", "9x2000x2000"),
            {"host": {"capacity": 10**9}},
            "--max: expected activations within the 1.0 GB of Simulated GPU",
        ),
    ],
)
def test_refusals(
    flags: tuple[str, ...],
    answers: dict[str, Any],
    text: str,
    build: Build,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = tuple(str(tmp_path / "timing") if flag == "CACHE" else flag for flag in flags)
    assert build("10.16.1.11", *flags, **answers)[0] == 1
    printed = capsys.readouterr().err.splitlines()
    assert len(printed) == 1 and text in printed[0], printed
    assert list(tmp_path.iterdir()) == []


def test_engine_whose_inspector_shows_float_convolutions_for_a_half_file_is_refused(
    build: Build, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layer = {"LayerType": "CaskConvolution", "ParameterType": "Convolution", "Weights": {"Type": "Float"}}
    assert build("8.6.1", inspector=json.dumps({"Layers": [layer] * 4}))[0] == 1
    assert "expected convolutions in fp16, the engine's inspector shows 4 fp32" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (lambda trt: trt.refuse("deserialize_cuda_engine"), "refused by the test"),
        (lambda trt: setattr(trt.record, "inspector", "no JSON"), "its inspector gives no JSON"),
    ],
)
def test_engine_that_cannot_be_opened_is_kept_and_says_why(
    failure: Callable[[Any], None],
    why: str,
    build: Build,
    host_of: Callable[..., GpuHost],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    failure(host_of("11.4.0.106").trt)
    assert build("11.4.0.106")[0] == 0
    assert json.loads((tmp_path / "x.engine.json").read_text())["engine"]["layers"]["engine"] is None
    assert f"layers not looked at ({why})" in capsys.readouterr().out


def test_8_6_cannot_show_progress_and_says_that_it_takes_long(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    build("8.6.1")
    assert capsys.readouterr().err == "building with TensorRT 8.6.1: this takes minutes\n"


def test_full_tensorrt_comes_first_and_sm_means_rtx(make_host: MakeHost) -> None:
    make_host("10.9.0")
    assert (load_flavour(None).name, load_flavour("tensorrt-rtx").name) == ("tensorrt", "tensorrt-rtx")


@pytest.mark.parametrize(
    ("version", "text"), [("8.5.3", "tensorrt 8.5.3: expected 8.6 or newer"), ("7.10", "expected 8.6 or newer")]
)
def test_old_tensorrt_is_refused(
    version: str, text: str, build: Build, capsys: pytest.CaptureFixture[str], host_of: Callable[..., GpuHost]
) -> None:
    host_of("8.6.1").trt.module.__version__ = version
    assert build("8.6.1")[0] == 1 and text in capsys.readouterr().err


def test_missing_tensorrt_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], exported: Export
) -> None:
    for module in ("tensorrt", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, module, None)
    assert build_engine.main([str(exported("caffe fcn8s"))]) == 1
    assert "tensorrt or tensorrt-rtx cannot be imported" in capsys.readouterr().err
