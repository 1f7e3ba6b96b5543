"""Every contender labels as the reference does, and says so where it cannot run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fcn_bench.speed import contenders
from fcn_bench.speed.contenders import CONTENDERS, CannotRun, Setup, open_contender, reference, selected
from fcn_export.checkpoint_options import CheckpointOptions
from fcn_export.graph.verify import textured_frames
from fcnrt import Segmenter
from fcnrt.backends import openvino as openvino_backend
from int8_files import fully_quantised_file
from tiny_networks import CLASSES, stated_input

Export = Callable[..., Path]
FRAMES = textured_frames(2, 65, 97, seed=9).numpy()
CALIBRATION = [textured_frames(1, 65, 97, seed=seed).numpy() for seed in range(4)]
FAMILIES = {  # of both colour orders, and every kind of tail
    "torchvision fcn": {},
    "caffe fcn8s": {"reading": CheckpointOptions(variant="fcn8s")},
    "tramac fcn16s": {},
    "pochih fcns": {"reading": CheckpointOptions(variant="fcns", input=stated_input("pochih"))},
    "d2l fcn32s": {"reading": CheckpointOptions(input=stated_input("d2l"))},
}
FAITHFUL = (
    *("ours", "ours-openvino", "ort-graph", "ort-textbook"),
    *("torch-eager", "torch-channels-last", "openvino-fp32"),
)


@pytest.fixture
def setup(exported: Export, tmp_path: Path) -> Callable[..., Setup]:
    def make(name: str = "torchvision fcn", *flags: str, **options: object) -> Setup:
        model = exported(name, *flags)
        checkpoint = model.parent / f"{name.replace(' ', '-')}.pth"
        given = {"checkpoint": checkpoint, **FAMILIES[name], **options}
        return Setup(model, FRAMES.shape[:3], threads=1, folder=tmp_path, **given)

    return make


def opened(name: str, setup: Setup) -> contenders.Contender:
    if "openvino" in name or name == "ours-bf16":
        pytest.importorskip("openvino")
    return open_contender(name, setup)


@pytest.mark.parametrize("color", ["rgb", "bgr"])
@pytest.mark.parametrize("family", FAMILIES)
def test_faithful_contenders_label_as_the_reference(family: str, color: str, setup: Callable[..., Setup]) -> None:
    given = setup(family, "--color", color)
    label, what = reference(given)
    expected = label(FRAMES)
    assert "torch" in what and len(np.unique(expected)) > 1
    for name in FAITHFUL:
        labels = opened(name, given).label(FRAMES)
        assert labels.dtype == np.uint8 and labels.shape == expected.shape
        assert (labels == expected).mean() >= 0.999, name


def openvino_has_bf16() -> bool:
    """Whether the processor has bfloat16, and OpenVINO may use it."""
    import openvino

    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "BF16" in capabilities and "ONEDNN_MAX_CPU_ISA" not in os.environ


@pytest.mark.parametrize("name", ["torch-half", "openvino-bf16", "ours-bf16"])
def test_half_precision_labels_nearly_alike(name: str, setup: Callable[..., Setup]) -> None:
    given = setup()
    expected = reference(given)[0](FRAMES)
    try:
        contender = opened(name, given)
    except CannotRun as reason:
        if name == "torch-half" or openvino_has_bf16():
            raise
        pytest.skip(str(reason))
    share = (contender.label(FRAMES) == expected).mean()
    assert contender.precision == "bf16" and 0.95 <= share < 1  # 1 would be float32 under another name


@pytest.mark.parametrize("name", ["ours-int8", "ours-int8-openvino", "ort-int8", "openvino-int8"])
@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_int8_labels_nearly_alike(name: str, color: str, setup: Callable[..., Setup], tmp_path: Path) -> None:
    if name == "openvino-int8":
        pytest.importorskip("nncf")
    given = setup("d2l fcn32s", "--color", color, calibration=CALIBRATION)
    given = replace(given, int8=fully_quantised_file(given.model, tmp_path / "ours-int8.onnx"))
    expected = reference(given)[0](FRAMES)
    contender = opened(name, given)
    labels = contender.label(FRAMES)
    assert contender.precision == "int8" and labels.dtype == np.uint8
    assert 0.8 <= (labels == expected).mean() < 1  # 1 would be float32 under another name
    prepared = replace(given, calibration=())  # is found again
    np.testing.assert_array_equal(opened(name, prepared).label(FRAMES), labels)


def test_the_bare_request_gives_the_scores_that_our_tail_takes(setup: Callable[..., Setup]) -> None:
    given = setup()
    contender = opened("openvino-scores", given)
    assert contender.gives == "scores"
    with Segmenter(given.model, device="cpu", threads=1, engine="openvino", precision="fp32") as segment:
        np.testing.assert_allclose(contender.label(FRAMES), segment.scores(FRAMES), rtol=1e-4, atol=1e-4)


def test_the_bare_session_gives_the_scores_that_our_tail_takes(setup: Callable[..., Setup]) -> None:
    given = setup()
    contender = open_contender("ort-scores", given)
    assert contender.gives == "scores"
    with Segmenter(given.model, device="cpu", threads=1) as segment:
        np.testing.assert_array_equal(contender.label(FRAMES), segment.scores(FRAMES))
    assert contender.label(FRAMES).shape[1] == CLASSES


def test_torch_compile_gets_the_whole_labeller(setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch, "compile", lambda module: compiled.append(module) or module)
    given = setup()
    labels = open_contender("torch-compile", given).label(FRAMES)
    assert len(compiled) == 1 and (labels == reference(given)[0](FRAMES)).mean() >= 0.999


def test_the_textbook_script_finds_its_export_again_without_the_checkpoint(setup: Callable[..., Setup]) -> None:
    labels = open_contender("ort-textbook", setup()).label(FRAMES)
    again = open_contender("ort-textbook", setup(checkpoint=None)).label(FRAMES)
    np.testing.assert_array_equal(labels, again)


def test_without_a_checkpoint_the_file_itself_is_the_reference(setup: Callable[..., Setup]) -> None:
    given = setup(checkpoint=None)
    label, what = reference(given)
    assert "own graph" in what
    np.testing.assert_array_equal(label(FRAMES), open_contender("ort-graph", given).label(FRAMES))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("ours-engine", {}, "needs --engine"),
        ("ours-engine", {"engine": Path("no.engine")}, "no such file"),
        ("ort-textbook", {"checkpoint": None}, "needs --checkpoint"),
        ("torch-eager", {"checkpoint": None}, "needs --checkpoint"),
        ("torch-eager", {"checkpoint": Path("no.pth")}, "no such file"),
        ("torch-eager", {"reading": CheckpointOptions(variant="fcn8s")}, "--variant fcn8s"),
        ("torch-eager", {"device": "cuda"}, "no CUDA"),
        ("ours", {"device": "cuda"}, "cuda"),
        ("openvino-fp32", {"device": "cuda"}, "no CUDA"),
        ("openvino-scores", {"device": "cuda"}, "no CUDA"),
        ("ours-openvino", {"device": "cuda"}, "engines of the CPU"),
        ("ours-int8", {}, "needs --int8"),
        ("ours-int8-openvino", {}, "needs --int8"),
        ("ort-int8", {}, "needs --calibration"),
        ("openvino-int8", {}, "needs --calibration"),
    ],
)
def test_what_cannot_run_says_why(
    name: str, options: dict[str, object], reason: str, setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("fcnrt.backends.onnxruntime_cuda.why_not_cuda", lambda: "no NVIDIA driver on this machine")
    with pytest.raises(CannotRun, match=reason) as caught:
        open_contender(name, setup(**options))
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    monkeypatch.setattr(openvino_backend, "shared_core", openvino_backend.load_openvino)  # it keeps what it has made
    monkeypatch.delitem(sys.modules, "fcn_bench.speed.contenders.with_openvino", raising=False)
    with pytest.raises(CannotRun, match="openvino"):
        open_contender("openvino-fp32", setup())


def test_without_nncf(setup: Callable[..., Setup], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(CannotRun, match="nncf is not installed"):
        open_contender("openvino-int8", setup(calibration=CALIBRATION))


def test_names_and_groups_select() -> None:
    assert selected(["all"]) == list(CONTENDERS)
    assert selected([]) == ["ours", "ours-engine", "ort-scores"]
    assert selected(["openvino", "ort-textbook"])[2:] == [
        "ort-scores",
        "ort-textbook",
        "openvino-fp32",
        "openvino-bf16",
        "openvino-int8",
        "openvino-scores",
    ]
    with pytest.raises(ValueError, match="contender tensorflow: expected all, a group or one of ours"):
        selected(["tensorflow"])
