"""OpenVINO as the CPU's engine: the labels of the portable file, flat memory over shapes, nothing told to anyone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import fcnrt
from exports import Export, plain_session
from frames import frames_of as textured
from network_names import NAMES

openvino = pytest.importorskip("openvino")

SHAPES, FLAT = 400, 5 * 1024  # random shapes, and KiB that the second half of them may add


def frames_of(batch: int, height: int, width: int) -> np.ndarray:
    return textured(batch, height, width, height)


def graph_labels(path: Path, frames: np.ndarray) -> np.ndarray:
    """What the file gives in ONNX Runtime, with no code of ours."""
    return plain_session(path).run(["labels"], {"frames": frames})[0]


def has_bf16() -> bool:
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


@pytest.mark.parametrize("name", NAMES)
def test_labels_equal_the_portable_graphs(name: str, exported: Export) -> None:
    path = exported(name)
    with fcnrt.Segmenter(path, engine="openvino", precision="fp32", threads=1) as segment:
        assert segment.engine.startswith("openvino 20") and segment.precision == "fp32" and segment.device == "cpu"
        for shape in [(1, 65, 43), (3, 40, 77), (1, 65, 43), (2, 33, 32)]:
            frames = frames_of(*shape)
            assert (segment(frames) == graph_labels(path, frames)).mean() >= 0.9995


def test_half_precision_files_are_computed_in_float32(exported: Export) -> None:
    path = exported("d2l fcn32s", "--precision", "fp16")
    with fcnrt.Segmenter(path, engine="openvino", threads=1) as segment:
        frames = frames_of(1, 65, 43)
        assert segment.precision == "fp32" and (segment(frames) == graph_labels(path, frames)).mean() >= 0.9995


def test_bfloat16_is_what_it_says_or_refused(model: Path) -> None:
    """OpenVINO computes in float32 without a word where the processor has no bfloat16."""
    if has_bf16():
        with fcnrt.Segmenter(model, precision="bf16") as segment:
            frames = frames_of(1, 65, 97)
            assert segment.engine.startswith("openvino") and segment.precision == "bf16"
            assert (segment(frames) == graph_labels(model, frames)).mean() >= 0.95
    else:
        with pytest.raises(fcnrt.BackendError, match="this processor computes in fp32; use precision='auto'"):
            fcnrt.Segmenter(model, precision="bf16")


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_color_of_the_frames(color: str, exported: Export) -> None:
    rgb, path = frames_of(1, 50, 44), exported("caffe fcn8s")
    with fcnrt.Segmenter(path, engine="openvino", color=color, threads=1) as segment:
        given = np.ascontiguousarray(rgb[..., ::-1]) if color == "bgr" else rgb
        assert (segment(given) == graph_labels(path, rgb)).mean() >= 0.999


def test_frames_that_nobody_may_write_to(model: Path) -> None:
    frames = frames_of(1, 45, 38)
    frames.flags.writeable = False
    with fcnrt.Segmenter(model, engine="openvino", threads=1) as segment:
        assert (segment(frames) == graph_labels(model, frames)).mean() >= 0.9995


def test_a_clone_and_a_stream(model: Path) -> None:
    frames = [frames_of(1, 40 + index, 51)[0] for index in range(5)]
    with fcnrt.Segmenter(model, engine="openvino", threads=1) as segment, segment.clone() as clone:
        expected = [segment(frame) for frame in frames]
        for depth in (1, 4):
            found = [labels for _, labels in clone.stream(frames, depth)]
            assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))
        assert np.array_equal(segment.scores(frames[0]), clone.scores(frames[0]))


def test_fixed_dimensions(exported: Export) -> None:
    path = exported("tramac fcn16s", "--batch", "2", "--height", "71", "--width", "46")
    with fcnrt.Segmenter(path, engine="openvino", threads=1) as segment:
        frames = frames_of(2, 71, 46)
        assert (segment(frames) == graph_labels(path, frames)).mean() >= 0.9995
        with pytest.raises(fcnrt.FrameError, match="expected height 71"):
            segment(frames[:, :70])


def test_memory_is_flat_over_random_shapes(model: Path) -> None:
    code = f"""
import numpy as np, fcnrt
def resident():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
chance, after = np.random.default_rng(0), []
with fcnrt.Segmenter({str(model)!r}, engine="openvino", threads=1) as segment:
    for shape in chance.integers(16, 120, ({SHAPES}, 2)):
        segment(chance.integers(0, 256, (*shape, 3), np.uint8))
        after.append(resident())
print(after[-1] - after[{SHAPES // 2}])
"""
    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells how much memory a process holds")
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) <= FLAT


def test_nothing_is_reported_to_its_makers(model: Path) -> None:
    use = f"import sys, fcnrt; fcnrt.Segmenter({str(model)!r}, engine='openvino')"
    code = f"{use}; print('openvino_telemetry' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n" and run.stderr == ""


def test_signals_do_no_harm_after_segmenters_are_closed(model: Path) -> None:
    """OpenVINO lends the main thread a stack for signal handlers, and may leave one there that is gone."""
    code = f"""
import os, signal, fcnrt
first, second = (fcnrt.Segmenter({str(model)!r}, engine="openvino", threads=1) for _ in range(2))
first.close()
del first
second.close()
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
except KeyboardInterrupt:
    print("interrupted")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "interrupted\n", "")


def test_a_missing_package_is_told(model: Path, hide_package: Callable[[str], None]) -> None:
    hide_package("openvino")
    with pytest.raises(fcnrt.MissingDependency, match=r"openvino is needed for this: .*\[openvino\]"):
        fcnrt.Segmenter(model, engine="openvino")


def test_its_refusals_are_one_line(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("Exception from src/core.cpp:84:\nCheck 'false' failed at a.cpp:1:\nno such operation\n\n")

    monkeypatch.setattr(openvino.Core, "compile_model", refuse)
    with pytest.raises(fcnrt.BackendError, match=r"^OpenVINO: cannot load .*: no such operation$"):
        fcnrt.Segmenter(model, engine="openvino")
