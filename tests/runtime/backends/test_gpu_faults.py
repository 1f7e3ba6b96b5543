"""What can go wrong on a GPU, on a simulated one: one line each, nothing leaked, and never wrong labels."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

import fcnrt
from exports import Export, save
from fcnrt.contract.sidecar import rebuild
from fcnrt.errors import pip_install
from frames import frames_of
from simulated.foreign import TorchLike
from simulated.host import MakeHost, labels_on_cpu
from simulated.kernel_functions import kernel_records

ALIKE = 0.9995
FRAME = (50, 60)


@pytest.fixture
def model(exported: Export) -> Path:
    return exported("d2l fcn32s")


def refusal(kind: type[Exception], text: str, path: Path, **arguments: object) -> None:
    with pytest.raises(kind, match=re.escape(text)) as caught:
        fcnrt.Segmenter(path, **arguments)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_engine_for_another_gpu(model: Path, make_host: MakeHost) -> None:
    host = make_host(sm=75)
    text = f"built for compute capability 8.6, 8.9, Simulated GPU has 7.5; {rebuild()}"
    refusal(fcnrt.ModelFileError, text, host.model(model, sm=[86, 89]))


def test_hardware_compatible_engine_runs_on_newer_gpus(model: Path, make_host: MakeHost) -> None:
    host, frame = make_host(sm=90), frames_of(1, *FRAME)[0]
    with fcnrt.Segmenter(host.model(model, sm=[80], hardware_compatible=True)) as segment:
        assert (segment(frame) == labels_on_cpu(model, [frame])[0]).mean() >= ALIKE


@pytest.mark.parametrize(("built", "compatible", "runs"), [("10.3.0", False, False), ("10.3.0", True, True),
                                                           ("10.20.1", True, False)])  # fmt: skip
def test_engine_of_another_tensorrt(built: str, compatible: bool, runs: bool, model: Path, make_host: MakeHost) -> None:
    host = make_host("10.16.1")
    path = host.model(model, version=built, version_compatible=compatible)
    if runs:
        fcnrt.Segmenter(path).close()
    else:
        text = (
            f"built with tensorrt {built}, installed is 10.16.1; {pip_install(f'tensorrt=={built}')}, or build it again"
        )
        refusal(fcnrt.ModelFileError, text, path)


def test_tensorrt_that_is_not_installed(model: Path, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_host("10.16.1").model(model)
    for name in ("tensorrt", "tensorrt_lean", "tensorrt_dispatch"):
        monkeypatch.setitem(sys.modules, name, None)
    refusal(fcnrt.MissingDependency, f"needs tensorrt 10.16.1: {pip_install('tensorrt==10.16.1')}", path)


@pytest.mark.parametrize("lean", ["lean 10.16.1", "lean 11.4.0"])
def test_lean_runtime_runs_engines_that_are_version_compatible(lean: str, model: Path, make_host: MakeHost) -> None:
    host, frame = make_host(lean), frames_of(1, *FRAME)[0]
    with fcnrt.Segmenter(host.model(model, version="8.6.1", version_compatible=True)) as segment:
        for _ in range(3):  # a graph among them
            assert (segment(frame) == labels_on_cpu(model, [frame])[0]).mean() >= ALIKE
    path = host.model(model, version="8.6.1")
    text = "tensorrt_lean runs engines that were built --version-compatible alone; build it again so, or "
    refusal(fcnrt.ModelFileError, text, path)


def test_full_tensorrt_comes_before_the_lean_runtime(
    model: Path, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make_host("10.16.1")
    monkeypatch.setitem(sys.modules, "tensorrt_lean", None)
    host.trt.refuse("deserialize_cuda_engine")
    refusal(fcnrt.ModelFileError, "tensorrt 10.16.1 cannot load it", host.model(model, version_compatible=True))


def test_lean_runtime_is_named_where_it_would_do(
    model: Path, make_host: MakeHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_host("10.16.1").model(model, version_compatible=True)
    for name in ("tensorrt", "tensorrt_lean", "tensorrt_dispatch"):
        monkeypatch.setitem(sys.modules, name, None)
    refusal(fcnrt.MissingDependency, f", or {pip_install('fcnrt[tensorrt-lean]')}", path)


def test_runtime_that_says_that_it_cannot_start(model: Path, make_host: MakeHost) -> None:
    host = make_host("lean 11.4.0")
    host.trt.refuse("createInferRuntime")
    text = "tensorrt-lean 11.4.0 does not start here: CUDA driver version is insufficient"
    refusal(fcnrt.BackendError, text, host.model(model, version_compatible=True))


def test_second_engine_hears_of_its_own_errors(model: Path, make_host: MakeHost) -> None:
    """TensorRT listens to one log for a process, the first."""
    host = make_host()
    path = host.model(model)
    with fcnrt.Segmenter(path):
        host.trt.refuse("deserialize_cuda_engine")
        refusal(fcnrt.ModelFileError, "tensorrt 10.16.1 cannot load it: refused by the test", path)


def test_plan_that_is_not_the_sidecars(model: Path, make_host: MakeHost) -> None:
    path = make_host().model(model)
    path.write_bytes(path.read_bytes()[:-1])
    refusal(fcnrt.ModelFileError, f"not the engine that {path.name}.json describes", path)


def test_plan_that_tensorrt_does_not_load(model: Path, make_host: MakeHost) -> None:
    host = make_host()
    path = host.model(model)
    host.trt.refuse("deserialize_cuda_engine")
    refusal(fcnrt.ModelFileError, "tensorrt 10.16.1 cannot load it: refused by the test; build it again", path)


def test_sidecar_of_another_network(model: Path, make_host: MakeHost) -> None:
    path = make_host().model(model, sidecar={"output": "labels"})
    text = "expected tensors ['frames', 'labels'] and 1 profiles as its sidecar says, got ['frames', 'scores'] and 1"
    refusal(fcnrt.ModelFileError, text, path)


def test_engine_on_the_cpu(model: Path, make_host: MakeHost) -> None:
    path = make_host().model(model)
    refusal(fcnrt.BackendError, "engines run on GPUs; on the CPU use the .onnx file", path, device="cpu")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"devices": 0}, "device 'cuda:1': no NVIDIA GPU or driver here"),
        ({"driver": False}, "device 'cuda:1': no NVIDIA GPU or driver here"),
        ({"devices": 1}, "device 'cuda:1': this machine has 1 GPU;"),
    ],
)
def test_gpu_that_is_not_there(options: dict[str, object], text: str, model: Path, make_host: MakeHost) -> None:
    refusal(fcnrt.BackendError, text, make_host(**options).model(model), device="cuda:1")


def test_driver_that_does_not_start(model: Path, make_host: MakeHost) -> None:
    host = make_host()
    path = host.model(model)
    host.gpu.fail("cuInit", "UNKNOWN")
    refusal(fcnrt.BackendError, "the NVIDIA driver does not start: CUDA_ERROR_UNKNOWN; check that nvidia-smi", path)


def test_kernels_for_other_gpus_only(model: Path, make_host: MakeHost) -> None:
    host = make_host(sm=89)
    path = host.model(model, kernels=kernel_records(host.gpu, sm=90))
    refusal(fcnrt.BackendError, "no kernel upsample_argmax fp32-u8-rows8 for compute capability 8.9", path)


@pytest.mark.parametrize(
    "function", ["set_input_shape", "set_tensor_address", "execute_async_v3", "set_optimization_profile_async"]
)
@pytest.mark.parametrize("engine", ["8.6.1", "10.16.1", "rtx"])
def test_every_no_of_tensorrt_is_heard(function: str, engine: str, model: Path, make_host: MakeHost) -> None:
    host, frames = make_host(engine), frames_of(6, *FRAME)
    expected = labels_on_cpu(model, frames)
    for after in range(3):
        with host.segmenter(model, graphs=False) as segment:
            host.trt.refuse(function, after=after)
            for frame, labels in zip(frames, expected, strict=True):
                try:
                    assert (segment(frame) == labels).mean() >= ALIKE
                except fcnrt.BackendError as error:
                    assert "\n" not in str(error) and " (" not in str(error).split(": ")[0]
                    assert (segment(frame) == labels).mean() >= ALIKE, "it works again"


@pytest.mark.parametrize("function", ["cuStreamBeginCapture", "cuGraphInstantiate"])
def test_capture_that_fails_costs_only_the_graph(function: str, model: Path, make_host: MakeHost) -> None:
    host, frames = make_host(), frames_of(9, *FRAME)
    expected = labels_on_cpu(model, frames)
    with host.segmenter(model) as segment:
        host.gpu.fail(function, "STREAM_CAPTURE_UNSUPPORTED")
        for frame, labels in zip(frames, expected, strict=True):
            assert (segment(frame) == labels).mean() >= ALIKE
        assert host.gpu.counters["graph launches"] == 0


def test_out_of_memory_is_told_and_survived(model: Path, make_host: MakeHost) -> None:
    host, small = make_host(capacity=1_300_000), frames_of(1, *FRAME)[0]
    with host.segmenter(model) as segment:
        segment(small)
        text = r"cuda:0: out of memory \(\d+ of \d+ MiB free\); use smaller frames or batches, or free some"
        with pytest.raises(fcnrt.BackendError, match=text):
            segment(frames_of(3, 130, 140))
        assert (segment(small) == labels_on_cpu(model, [small])[0]).mean() >= ALIKE


def test_out_of_memory_while_loading_leaves_nothing_behind(model: Path, make_host: MakeHost) -> None:
    host = make_host(capacity=70_000)
    path = host.model(model)
    refusal(fcnrt.BackendError, "cuda:0: out of memory", path)
    assert host.gpu.bytes_alive() == 0


def test_every_driver_call_that_fails_while_loading_leaves_nothing_behind(model: Path, make_host: MakeHost) -> None:
    host = make_host()
    path = host.model(model)
    with fcnrt.Segmenter(path):
        calls = dict(host.gpu.counters)
    unheard = (
        "Current",
        "Destroy",
        "Free",
        "FreeHost",
        "Release",
        "Unload",
    )  # of what gives back, nobody is left to hear
    for function, count in calls.items():
        if function.startswith("cu") and not function.endswith(unheard):
            for after in sorted({0, count // 2}):
                host.gpu.fail(function, after=after)
                with pytest.raises(fcnrt.BackendError, match=f"{function} failed|does not start"):
                    fcnrt.Segmenter(path)
    assert host.gpu.bytes_alive() == 0


def test_broken_context_is_told_apart_and_can_be_closed(model: Path, make_host: MakeHost) -> None:
    host, frame = make_host(mode="eager"), frames_of(1, *FRAME)[0]
    segment = host.segmenter(model)
    segment(frame)
    host.gpu.break_at_launch(host.gpu.counters["launches"] + 1)
    for _ in range(2):
        text = "cuda:0: ILLEGAL_ADDRESS broke this process's CUDA context for good; restart the program"
        with pytest.raises(fcnrt.BackendError, match=re.escape(text)):
            segment(frame)
    segment.close()


def spoiled(path: Path, target: Path) -> Path:
    """The file with an infinite bias: its scores are not finite."""
    model = onnx.load(path)
    weights = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("bias"))
    values = onnx.numpy_helper.to_array(weights).copy()
    values[:] = np.inf
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    save(model, target)
    return target


def test_scores_that_are_not_finite(exported: Export, make_host: MakeHost, tmp_path: Path) -> None:
    host, content = make_host(), frames_of(1, *FRAME)[0]
    with host.segmenter(spoiled(exported("torchvision fcn"), tmp_path / "spoiled.onnx")) as segment:
        with pytest.raises(fcnrt.BackendError, match="scores are not finite"):
            segment(content)
        frame = TorchLike(host.gpu, content)
        segment(frame).numpy()  # the host did not wait, so it cannot know yet
        with pytest.raises(fcnrt.BackendError, match="scores are not finite"):
            segment(frame)


def test_kernel_that_computes_wrong_labels_is_not_trusted(model: Path, make_host: MakeHost) -> None:
    host = make_host()
    records = kernel_records(host.gpu)
    by_variant = {record["variant"]: record for record in records if record["name"] == "upsample_argmax"}
    by_variant["fp32-u8-rows8"]["cubin"] = by_variant["fp16-u8-rows8"]["cubin"]
    text = (
        "kernel upsample_argmax computes wrong values on Simulated GPU (cuda:0) and is not used; "
        "build the engine with --tail graph"
    )
    refusal(fcnrt.BackendError, text, host.model(model, kernels=records))
