"""Parity as a gate: it passes what is equal, and everything that is not near enough, or not measured, fails."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from PIL import Image

import data_trees
import exports
from fcn_bench.commands import parity
from fcn_bench.data.measured_frames import DataError, Frame, MeasuredFrames
from fcn_bench.metrics import VOID, Scores
from fcn_bench.parity.agreement import CLEAR, MARGINS, Agreement, Limits, figures, shortfalls
from fcn_bench.parity.artefacts import PlainGraph, find_artefacts
from fcn_bench.parity.torch_reference import Preference, TorchReference
from fcn_bench.parity.worst_frames import GAINED, LOST, OTHER, Case, WorstFrames, coloured, difference, side_by_side
from fcn_export.commands import to_onnx
from fcn_export.errors import ExportError
from fcn_export.families.torchvision_fcn import TorchvisionFcn
from fcn_export.graph.verify import textured_frames
from fcnrt import BackendError, Segmenter
from fcnrt.backends import certificate_of, read_model
from fcnrt.backends import openvino as openvino_engine
from fcnrt.pictures.palette import voc_palette
from simulated.host import MakeHost
from tiny_networks import CLASSES, narrow_resnet, tiny, upstream_state

NAME = "torchvision fcn"
SIZE = (61, 83)
COUNT = 4
Run = Callable[..., int]
Export = Callable[..., Path]  # of the fixture `exported`


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = (
        tmp_path_factory.mktemp("checkpoint") / "torchvision-fcn.pth"
    )  # as `exported` calls it: torch.save writes it down
    torch.save(upstream_state(tiny(NAME)), path)
    return path


@pytest.fixture(scope="module")
def reference(checkpoint: Path) -> TorchReference:
    return TorchReference(str(checkpoint))


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, reference: TorchReference) -> Path:
    """Frames whose truth is what the checkpoint says, but for a strip that it gets wrong and one that is void."""
    root = tmp_path_factory.mktemp("data") / "streets"
    for index, frame in enumerate(textured_frames(COUNT, *SIZE, seed=3).numpy()):
        truth = reference(frame).labels_hw.copy()
        truth[:7] = (truth[:7] + 1) % CLASSES
        truth[-5:] = CLASSES
        save(root, index, frame, truth)
    (root / "classes.txt").write_text("\n".join(f"thing {index}" for index in range(CLASSES)))
    return root


def save(root: Path, index: int, frame: np.ndarray, truth: np.ndarray) -> None:
    for folder, picture in (("val", frame), ("valannot", truth)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(root / folder / f"street{index}.png")


@pytest.fixture
def model(exported: Export, tmp_path: Path) -> Path:
    return Path(shutil.copy(exported(NAME), tmp_path / "net.onnx"))


@pytest.fixture
def run(checkpoint: Path, tree: Path, tmp_path: Path) -> Run:
    """A function: models and options to the exit status; the result lies in result.json."""

    def run(*words: object, data: Path = tree) -> int:
        defaults = ["--data", data, "--json", tmp_path / "result.json", "--threads", "1"]
        device = [] if "--device" in words else ["--device", "cpu"]
        return parity.main([str(word) for word in (checkpoint, *words, *defaults, *device)])

    return run


def result(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "result.json").read_text())  # type: ignore[no-any-return]


def perturbed(model: Path, bias: float) -> Path:
    """The model with one class preferred by so much: labels flip where it was behind by less."""
    proto = onnx.load(model)
    conv = next(node for node in proto.graph.node if "scores" in node.output)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == conv.input[2])
    values = numpy_helper.to_array(tensor).copy()
    values[2] += bias
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    exports.save(proto, model.with_name("perturbed.onnx"))
    return model.with_name("perturbed.onnx")


# The gate, from the command line.


def test_equal_models_pass(run: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--plain") == 0
    captured = capsys.readouterr()
    assert captured.err == "" and captured.out.count("passed") == 2
    found = result(tmp_path)
    assert [row["title"] for row in found["rows"]] == ["net.onnx (cpu)", "net.onnx (plain graph)"]
    for row in found["rows"]:
        assert row["agreement"]["equal_share"] >= 0.9995 and row["agreement"]["pixels"] == COUNT * SIZE[0] * SIZE[1]
        assert abs(row["points_lost"]["present"]) < 0.1 and row["same_checkpoint"]
    assert 0.5 < found["reference"]["figures"]["mean_iou"]["present"] < 0.95
    assert found["reference"]["figures"]["annotated_pixels"] == COUNT * (SIZE[0] - 5) * SIZE[1]
    assert found["data"] == {"name": "streets val", "frames": COUNT, "sha256": found["data"]["sha256"],
                             "classes": [f"thing {index}" for index in range(CLASSES)]}  # fmt: skip


LOOSE = {"--max-miou-drop": 100, "--min-agreement": 0, "--max-clear-flips": 1}


@pytest.mark.parametrize(
    ("bias", "gate", "text"),
    [
        (3.0, "--max-miou-drop", r" points below the reference's "),
        (3.0, "--min-agreement", r"% of the labels equal the reference's (wanted: 0.999)"),
        (3.0, "--max-clear-flips", r"% of the labels differ where the reference's class led by more than 1 "),
    ],
)
def test_each_gate_fails_on_its_own(
    bias: float, gate: str, text: str, run: Run, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loose = [word for name, value in LOOSE.items() if name != gate for word in (name, value)]
    assert run(perturbed(model, bias), *loose) == 1
    error = capsys.readouterr().err
    assert error.startswith("parity: perturbed.onnx (cpu): ") and error.count("\n") == 1 and text in error
    assert run(perturbed(model, bias), *loose, gate, LOOSE[gate]) == 0


def test_flips_of_near_ties_are_not_clear(run: Run, model: Path, tmp_path: Path) -> None:
    loose = ("--max-miou-drop", 100, "--min-agreement", 0)
    assert run(perturbed(model, 0.05), *loose) == 0
    (row,) = result(tmp_path)["rows"]
    assert row["agreement"]["differing"] > 0
    assert row["agreement"]["beyond"]["0.1"] == 0 < row["agreement"]["beyond"]["0.01"]


def test_one_failure_among_several_fails(run: Run, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, perturbed(model, 3.0)) == 1
    captured = capsys.readouterr()
    assert captured.err.count("parity: perturbed.onnx (cpu): ") == captured.err.count("\n") == 3
    assert captured.out.count("passed") == captured.out.count("FAILED") == 1


def test_a_better_model_passes_by_miou_and_fails_by_agreement(
    run: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Truth as the perturbed model has it."""
    other = perturbed(model, 3.0)
    with Segmenter(other, device="cpu") as segment:
        for index, frame in enumerate(textured_frames(2, *SIZE, seed=5).numpy()):
            save(tmp_path / "data", index, frame, segment(frame))
    (tmp_path / "data/classes.txt").write_text("\n".join("abcdefg"))
    assert run(other, "--max-clear-flips", 1, data=tmp_path / "data") == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "of the labels equal the reference's" in error
    assert result(tmp_path)["rows"][0]["points_lost"]["present"] < -1


def test_void_pixels_count_for_agreement_alone(
    run: Run, model: Path, reference: TorchReference, tmp_path: Path
) -> None:
    frame = textured_frames(1, *SIZE, seed=6).numpy()[0]
    save(tmp_path / "data", 0, frame, np.full(SIZE, VOID, np.uint8))
    (tmp_path / "data/classes.txt").write_text("\n".join("abcdefg"))
    assert run(model, data=tmp_path / "data") == 1
    found = result(tmp_path)["rows"][0]
    assert found["shortfalls"] == ["mIoU by `present` is not a number: no pixel of the data is annotated"]
    assert found["mean_iou"]["present"] is None and found["agreement"]["equal_share"] > 0.99


def test_absent_classes_make_the_strict_mean_no_number(run: Run, model: Path, tmp_path: Path) -> None:
    frame = np.zeros((*SIZE, 3), np.uint8)
    with Segmenter(model, device="cpu") as segment:
        save(tmp_path / "data", 0, frame, segment(frame))
    (tmp_path / "data/classes.txt").write_text("\n".join("abcdefg"))
    assert run(model, data=tmp_path / "data") == 0
    assert run(model, "--metric", "strict", data=tmp_path / "data") == 1
    assert "a class is absent from the data" in result(tmp_path)["rows"][0]["shortfalls"][0]


def test_folders_of_pictures_have_agreement_alone(
    run: Run, model: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, data=tree / "val") == 0
    assert "not annotated, so agreement alone is judged" in capsys.readouterr().out
    found = result(tmp_path)
    assert found["reference"]["figures"] is None and "mean_iou" not in found["rows"][0]
    assert run(perturbed(model, 3.0), data=tree / "val") == 1
    assert "mIoU" not in capsys.readouterr().err


def test_models_of_half_precision_and_of_other_channel_order(run: Run, exported: Export, tmp_path: Path) -> None:
    assert run(exported(NAME, "--precision", "fp16"), exported(NAME, "--color", "bgr"), "--plain", *LOOSE_HALF) == 0
    assert [row["precision"] for row in result(tmp_path)["rows"]] == ["fp16", "fp16", "fp32", "fp32"]
    assert all(row["agreement"]["equal_share"] >= 0.9995 for row in result(tmp_path)["rows"][2:])


LOOSE_HALF = ("--min-agreement", 0.98, "--max-miou-drop", 2)  # an untrained network hardly prefers one class


# What cannot be measured never passes.


def test_models_that_cannot_run_here(run: Run, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    devices = ("--device", "cpu", "--device", "cuda:7")
    assert run(model, *devices) == 1
    error = capsys.readouterr().err
    assert error.startswith("parity: net.onnx (cuda:7): cannot run here: ") and error.count("\n") == 1
    assert run(model, *devices, "--allow-missing") == 0
    captured = capsys.readouterr()
    assert "absent" in captured.out and "net.onnx (cuda:7): device 'cuda:7'" in captured.out and captured.err == ""


def test_nothing_measured_is_nothing_passed(run: Run, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(model, "--device", "cuda:7", "--allow-missing") == 1
    assert capsys.readouterr().err == "parity: no model could be measured\n"


def test_a_graph_that_no_runtime_takes_is_not_merely_missing(
    run: Run, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proto = onnx.load(model)
    next(node for node in proto.graph.node if node.op_type == "Relu").op_type = "Rellu"
    exports.save(proto, model.with_name("broken.onnx"))
    assert run(model, model.with_name("broken.onnx"), "--plain", "--allow-missing") == 1
    error = capsys.readouterr().err
    assert error.startswith("parity: ") and error.count("\n") == 1
    assert "broken.onnx: not a file of export/to_onnx.py (operator Rellu)" in error


def test_frames_that_a_model_does_not_take(run: Run, exported: Export, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(exported(NAME, "--height", "64"), "--allow-missing") == 1
    assert "street0: frames: expected height 64 (fixed in " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        (("nowhere.onnx",), "nowhere.onnx: no such file"),
        (("net.pth",), "expected a .onnx or .engine file"),
        (("foreign.onnx",), "damaged or not an ONNX file"),
        (("naked.engine",), "naked.engine.json is missing beside it"),
    ],
)
def test_files_that_are_no_models(
    files: tuple[str, ...], reason: str, run: Run, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("foreign.onnx", "naked.engine", "net.pth"):
        model.with_name(name).write_bytes(b"something else")
    assert run(model, *map(model.with_name, files), "--allow-missing") == 1
    error = capsys.readouterr().err
    assert error.startswith("parity: ") and error.count("\n") == 1 and reason in error


def test_other_classes_are_not_compared(
    run: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    eleven = data_trees.pairs(tmp_path / "eleven")
    assert run(model, data=eleven) == 1
    assert "eleven val: has 11 classes, but the checkpoint has 7" in capsys.readouterr().err
    torch.save(TorchvisionFcn("fcn", narrow_resnet(True), 8, 2).state_dict(), tmp_path / "two.pth")
    assert to_onnx.main([str(tmp_path / "two.pth")]) == 0
    assert run(tmp_path / "two.onnx") == 1
    assert "two.onnx: has 2 classes, but the checkpoint has 7" in capsys.readouterr().err


def test_no_data_is_an_error(run: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    year = data_trees.voc(tmp_path, names=())
    assert run(model, data=year) == 1
    assert "no frames in val; nothing can be measured on it" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(model, data=tmp_path / "empty") == 1
    assert "no data set that we know" in capsys.readouterr().err


def test_checkpoints_that_cannot_tell_ask_for_flags(
    model: Path, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(upstream_state(tiny("d2l fcn32s")), tmp_path / "net.pth")
    assert parity.main([str(tmp_path / "net.pth"), str(model), "--data", str(tree)]) == 1
    said = capsys.readouterr().err
    assert "add --input-scale 1/255 (RGB" in said and " or --input-scale 1 (RGB" in said


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["net.pth"],
        ["net.pth", "net.onnx"],
        ["net.pth", "net.onnx", "--data", "x", "--max-miou-drop", "nan"],
        ["net.pth", "net.onnx", "--data", "x", "--max-miou-drop", "-1"],
        ["net.pth", "net.onnx", "--data", "x", "--min-agreement", "1.1"],
        ["net.pth", "net.onnx", "--data", "x", "--metric", "best"],
        ["net.pth", "net.onnx", "--data", "x", "--limit", "0"],
        ["net.pth", "net.onnx", "--data", "x", "--device", "tpu"],
        ["net.pth", "net.onnx", "--data", "x", "--input-scale", "1/0"],
    ],
)
def test_wrong_arguments_exit_with_2(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        parity.main(words)
    assert caught.value.code == 2


# Engines.


def test_engines_are_rows_like_others(run: Run, model: Path, make_host: MakeHost, tmp_path: Path) -> None:
    engine = make_host().model(model)
    assert run(model, engine, "--device", "cpu", "--device", "cuda", "--allow-missing") == 0
    rows = result(tmp_path)["rows"]
    assert [(row["title"], bool(row["absent"])) for row in rows] == [
        ("net.onnx (cpu)", False),
        ("net.onnx (cuda)", True),  # this host's ONNX Runtime has no CUDA provider
        ("net.engine (cuda:0)", False),
    ]
    assert rows[2]["agreement"]["equal_share"] >= 0.9995 and rows[2]["hardware"]
    assert run(engine, "--device", "cuda", "--certify") == 0
    with Segmenter(engine, require_parity=0.1) as segment:
        assert segment.device == "cuda:0"
    assert certificate_of(read_model(engine)).device == "cuda:0"


def test_engines_on_the_cpu_say_why_not(
    run: Run, model: Path, make_host: MakeHost, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, make_host().model(model)) == 1
    assert "net.engine (cpu): cannot run here: device 'cpu': engines run on GPUs" in capsys.readouterr().err


# Certificates.


def test_certified_models_are_taken(run: Run, model: Path, reference: TorchReference, tmp_path: Path) -> None:
    assert run(model, "--plain", "--certify", "--limit", 3) == 0
    found, row = certificate_of(read_model(model)), result(tmp_path)["rows"][0]
    assert (found.metric, found.frames, found.data, found.device) == ("present", 3, "streets val", "cpu")
    assert (found.miou, found.agreement) == (row["mean_iou"]["present"], row["agreement"]["equal_share"])
    assert found.data_sha256 == result(tmp_path)["data"]["sha256"] and found.checkpoint_sha256 == reference.sha256
    assert found.subject == row["subject"] and {"fcnrt", "torch"} < set(found.versions)
    Segmenter(model, device="cpu", require_parity=0.1).close()
    assert run(model) == 0


def test_the_worst_row_is_certified(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two devices that compute alike but for one, which gets a class wrong."""
    opened = Segmenter.__init__

    def worse_on_auto(self: Segmenter, path: Path, *, device: str, **options: Any) -> None:
        opened(self, perturbed(path, 0.1) if device == "auto" else path, device="cpu", **options)

    monkeypatch.setattr(Segmenter, "__init__", worse_on_auto)
    loose = ("--max-miou-drop", 20, "--min-agreement", 0)
    assert run(model, "--device", "cpu", "--device", "auto", "--certify", *loose) == 0
    lost = [row["points_lost"]["present"] for row in result(tmp_path)["rows"]]
    assert certificate_of(read_model(model)).points_lost == max(lost) > min(lost)


def test_failing_models_lose_their_certificate(
    run: Run, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, "--certify") == 0
    assert run(model, "--device", "cpu", "--device", "cuda:7", "--certify") == 1
    assert "net.onnx: not certified\n" in capsys.readouterr().out
    assert certificate_of(read_model(model)).frames == COUNT  # nothing was measured that speaks against it
    bad = perturbed(model, 3.0)
    limits = [word for pair in LOOSE.items() for word in pair]
    assert run(bad, "--certify", *limits) == 0
    assert certificate_of(read_model(bad)).points_lost > 1
    capsys.readouterr()
    assert run(bad, model, "--certify") == 1
    assert "perturbed.onnx: not certified, and its old certificate taken away" in capsys.readouterr().out
    assert read_model(bad).parity is None and certificate_of(read_model(model)).frames == COUNT


def test_models_of_another_checkpoint_are_not_certified(
    run: Run, exported: Export, tmp_path: Path, capsys: pytest.CaptureFixture[str], tree: Path
) -> None:
    net = tiny(NAME)
    torch.save({"model": upstream_state(net), "epoch": 3}, tmp_path / "again.pth")
    model = Path(shutil.copy(exported(NAME), tmp_path / "net.onnx"))
    words = [tmp_path / "again.pth", model, "--data", tree, "--device", "cpu", "--certify"]
    assert parity.main([*map(str, words), "--json", str(tmp_path / "result.json")]) == 1
    captured = capsys.readouterr()
    assert "net.onnx: not certified: it was exported from another checkpoint" in captured.err
    assert "net.onnx (cpu): exported from another checkpoint" in captured.out
    assert read_model(model).parity is None


def test_a_certificate_names_what_it_was_computed_in(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bfloat16 stands in for itself here: not every processor has it."""
    monkeypatch.setattr(openvino_engine, "_TYPES", {"fp32": "f32", "bf16": "f32"})
    monkeypatch.setattr(openvino_engine, "computed_in", lambda compiled: "bf16")
    assert run(model, "--precision", "fp32", "bf16", "--certify") == 0
    assert [(row["title"], row["computed_in"]) for row in result(tmp_path)["rows"]] == [
        ("net.onnx (cpu, fp32)", "fp32"), ("net.onnx (cpu, bf16)", "bf16")
    ]  # fmt: skip
    certificate = certificate_of(read_model(model))
    assert certificate.computed_in == ("bf16", "fp32") and certificate.covers("bf16")
    with Segmenter(model, device="cpu", precision="bf16", require_parity=0.1) as segment:
        assert segment.precision == "bf16"
    assert run(model, "--certify") == 0 and not certificate_of(read_model(model)).covers("bf16")


def test_unannotated_frames_certify_nothing(
    run: Run, model: Path, tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(model, "--certify", data=tree / "val") == 1
    assert "is not annotated" in capsys.readouterr().err and read_model(model).parity is None


# What is written.


def test_json_and_pictures(run: Run, model: Path, tmp_path: Path) -> None:
    assert run(perturbed(model, 3.0), "--worst", 2) == 1
    text = (tmp_path / "result.json").read_text()
    assert str(tmp_path) not in text and "NaN" not in text
    (row,) = result(tmp_path)["rows"]
    shares = [entry["disagreement"] for entry in row["worst"]["disagreement"]]
    assert len(shares) == 2 and shares == sorted(shares, reverse=True) and shares[0] > 0
    assert sum(map(len, row["worst"].values())) == len(list((tmp_path / "result").glob("*.png"))) == 4
    for entries in row["worst"].values():
        with Image.open(tmp_path / "result" / entries[0]["picture"]) as picture:
            assert picture.width > 5 * SIZE[1] and picture.height > SIZE[0]


def test_default_name_of_the_result(
    checkpoint: Path, model: Path, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parity.main([str(checkpoint), str(model), "--data", str(tree), "--device", "cpu"]) == 0
    assert (tmp_path / "results/parity-torchvision-fcn-streets-val.json").is_file()


def test_interrupt(run: Run, model: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(self: MeasuredFrames, index: int) -> Frame:
        raise KeyboardInterrupt

    monkeypatch.setattr(MeasuredFrames, "_read", interrupted)
    assert run(model, "--certify") == 130
    assert not (tmp_path / "result.json").exists() and read_model(model).parity is None


# The parts.


def test_the_reference_is_the_checkpoints_own_network(reference: TorchReference) -> None:
    frame = textured_frames(1, 45, 38, seed=8)
    net = tiny(NAME)
    logits = net(net.contracts[0].normalise(frame, "rgb"))[0].detach()
    found = reference(frame.numpy()[0])
    best, second = logits.topk(2, dim=0).values
    np.testing.assert_allclose(found.margins_hw, (best - second).numpy(), atol=1e-4)  # the order of sums may vary
    clear = found.margins_hw > 1e-3
    assert clear.mean() > 0.9 and found.labels_hw.dtype == np.uint8
    assert np.array_equal(found.labels_hw[clear], logits.argmax(0).numpy()[clear])
    assert (reference.name, reference.classes, reference.device) == ("torchvision fcn", CLASSES, "cpu")


def test_frames_below_the_references_least(tmp_path: Path) -> None:
    torch.save(upstream_state(tiny("tramac fcn8s")), tmp_path / "net.pth")
    with pytest.raises(ExportError, match="tramac fcn8s takes them from 32x32 up, got 31x40"):
        TorchReference(str(tmp_path / "net.pth"))(np.zeros((31, 40, 3), np.uint8))


def test_scores_that_are_not_finite(checkpoint: Path) -> None:
    broken = TorchReference(str(checkpoint))
    broken._net.classifier[4].bias.data[3] = math.nan
    with pytest.raises(ExportError, match="scores that are not finite"):
        broken(np.zeros((33, 40, 3), np.uint8))


def preference(labels: list[list[int]], margins: list[list[float]]) -> Preference:
    return Preference(np.array(labels, np.uint8), np.array(margins, np.float32))


def test_agreement_counts_by_margin() -> None:
    agreement = Agreement()
    wanted = preference([[0, 1, 2], [3, 4, 5]], [[0.005, 0.05, 0.5], [5, 5, 5]])
    assert agreement.update(np.array([[9, 9, 9], [9, 4, 5]], np.uint8), wanted) == 4 / 6
    assert agreement.update(wanted.labels_hw, wanted) == 0
    assert agreement.pixels == 12 and agreement.differing == 4 and agreement.equal_share == 8 / 12
    assert agreement.beyond == dict(zip(MARGINS, (3, 2, 1), strict=True)) and agreement.clear_flips == 1 / 12
    assert agreement.as_json()["beyond"] == {"0.01": 0.75, "0.1": 0.5, "1": 0.25}


def test_agreement_of_other_sizes_and_of_nothing() -> None:
    wanted = preference([[0, 1]], [[1, 1]])
    with pytest.raises(ValueError, match=r"expected shape \(1, 2\) of the frame, got \(2, 1\)"):
        Agreement().update(wanted.labels_hw.T, wanted)
    assert math.isnan(Agreement().equal_share) and math.isnan(Agreement().clear_flips)


def judged(agreement: Agreement, scores: Scores | None = None, reference: Scores | None = None) -> list[str]:
    return list(shortfalls(agreement, scores, reference, Limits()))


def test_figures_that_are_no_numbers_never_pass() -> None:
    assert len(judged(Agreement())) == 2
    assert len(judged(Agreement(), Scores(3), Scores(3))) == 3


def compared(differing: int, clear: int, pixels: int) -> Agreement:
    agreement = Agreement()
    agreement.pixels, agreement.differing, agreement.beyond[CLEAR] = pixels, differing, clear
    return agreement


@pytest.mark.parametrize(
    ("differing", "clear", "count"), [(0, 0, 0), (10, 1, 0), (11, 0, 1), (11, 1, 1), (2, 2, 1), (11, 2, 2)]
)
def test_limits_are_inclusive(differing: int, clear: int, count: int) -> None:
    assert len(judged(compared(differing, clear, 10_000))) == count


@pytest.mark.parametrize(("wrong", "passes"), [(0, True), (20, True), (21, False)])
def test_points_of_mean_iou(wrong: int, passes: bool) -> None:
    """Of two classes with 10000 pixels each, 20 wrong ones cost just below 0.2 points, 20 / 10000 and 20 / 10020."""
    truth = np.repeat(np.array([0, 1], np.uint8), 10_000)[None]
    labels = truth.copy()
    labels[0, :wrong] = 1
    scores, reference = Scores(2), Scores(2)
    scores.update(labels, truth)
    reference.update(truth, truth)
    agreement = compared(0, 0, 20_000)
    limits = Limits(max_miou_drop=0.2)
    assert (list(shortfalls(agreement, scores, reference, limits)) == []) == passes
    assert figures(reference)["mean_iou"] == dict.fromkeys(("present", "strict", "all", "image"), 1.0)


def case(badness: float, labels: np.ndarray | None = None, truth: np.ndarray | None = None) -> Case:
    nothing = np.zeros((3, 5), np.uint8)
    frame = Frame(np.full((3, 5, 3), 60, np.uint8), truth, f"frame {badness}")
    return Case(badness, frame, nothing, nothing if labels is None else labels)


def test_the_worst_are_kept() -> None:
    worst = WorstFrames(2)
    for badness in (0.1, math.nan, 0.3, 0.0, -1.0, 0.2):
        worst.offer(case(badness))
    assert [kept.badness for kept in worst.cases] == [0.3, 0.2]


def test_the_difference_says_who_is_right() -> None:
    labels = np.array([[0, 1, 1, 1, 0]] * 3, np.uint8)
    truth = np.array([[0, 0, 1, 2, 1]] * 3, np.uint8)
    drawn = difference(case(1.0, labels, truth))
    assert [tuple(pixel) for pixel in drawn[1]] == [(140,) * 3, LOST, GAINED, OTHER, (140,) * 3]
    unknown = difference(case(1.0, labels))
    assert [tuple(pixel) for pixel in unknown[1]] == [(140,) * 3, OTHER, OTHER, OTHER, (140,) * 3]


def test_labels_have_their_colours_and_void_is_white() -> None:
    labels = np.array([[0, 1, 2, VOID]], np.uint8)
    assert coloured(labels, voc_palette(2)).tolist() == [[[0, 0, 0], [128, 0, 0], [255] * 3, [255] * 3]]


@pytest.mark.parametrize(("truth", "panels"), [(None, 4), (np.zeros((3, 5), np.uint8), 5)])
def test_panels_stand_side_by_side(truth: np.ndarray | None, panels: int) -> None:
    picture = side_by_side(case(1.0, None, truth), voc_palette(3), ("a model", "nothing differs"))
    assert picture.shape == (3 + 30, panels * 11 - 6, 3) and picture.dtype == np.uint8
    assert (picture[-3:, :5] == 60).all() and (picture[-3:, 5:11] == 255).all()


def test_frames_are_spread_evenly(tree: Path) -> None:
    assert [frame.name for frame in MeasuredFrames(str(tree), limit=2)] == ["street0", "street3"]
    assert [frame.name for frame in MeasuredFrames(str(tree / "val"), limit=3)] == ["street0", "street2", "street3"]
    assert len(MeasuredFrames(str(tree), limit=99)) == COUNT


def test_the_hash_is_of_what_was_read(tree: Path, tmp_path: Path) -> None:
    def digest(where: Path, **options: Any) -> str:
        frames = MeasuredFrames(str(where), **options)
        assert sum(1 for _ in frames) == len(frames)
        return frames.sha256

    again = MeasuredFrames(str(tree))
    for _ in range(2):
        assert sum(1 for _ in again) == COUNT
    copy = shutil.copytree(tree, tmp_path / "streets")
    assert digest(tree) == again.sha256 == digest(copy)
    assert len({digest(tree), digest(tree, limit=2), digest(tree / "val")}) == 3
    with Image.open(copy / "valannot/street1.png") as picture:
        truth = np.array(picture)
    truth[30, 30] = (truth[30, 30] + 1) % CLASSES
    Image.fromarray(truth).save(copy / "valannot/street1.png")
    assert digest(copy) != digest(tree)


def test_half_a_data_set_is_no_folder_of_pictures(tmp_path: Path) -> None:
    data_trees.save_frame(tmp_path / "JPEGImages/a.jpg", 0)
    with pytest.raises(DataError, match=r"lacks ImageSets/Segmentation/val\.txt"):
        MeasuredFrames(str(tmp_path))


def test_pictures_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "street.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"street\.png: expected a picture"):
        list(MeasuredFrames(str(tmp_path)))


def test_devices_and_files_named_twice_are_one_row(model: Path) -> None:
    rows = find_artefacts([model, model], ["cpu", "cpu", "auto"], plain=True)
    assert [(row.plain, row.device) for row in rows] == [(False, "cpu"), (False, "auto"), (True, "cpu")]


def test_plain_graphs_have_no_code_of_ours(model: Path, exported: Export) -> None:
    frame = textured_frames(1, 45, 38, seed=9).numpy()[0]
    plain, reversed_ = PlainGraph(model, "rgb", 1), PlainGraph(exported(NAME, "--color", "bgr"), "bgr", 1)
    with Segmenter(model, device="cpu") as segment:
        assert (plain(frame) == segment(frame)).mean() >= 0.9995 and (plain(frame) == reversed_(frame)).mean() >= 0.9995
    with pytest.raises(BackendError, match="ONNX Runtime failed on"):
        plain(frame[None])
    plain.close()


# What the checkpoint does not tell, the models made from it do.


@pytest.mark.parametrize("color", ["rgb", "bgr"])
def test_the_reference_is_read_as_the_model_was_exported(
    color: str, tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "net.pth"
    torch.save(upstream_state(tiny("pochih fcn16s")), weights)
    stated = ["--variant", "fcn16s", "--input-color", "bgr", "--mean", "0.1,0.2,0.3", "--std", "0.4,0.5,0.6"]
    assert to_onnx.main([str(weights), "--color", color, *stated]) == 0
    words = [weights, tmp_path / "net.onnx", "--data", tree, "--json", tmp_path / "result.json", "--device", "cpu"]
    parity.main([str(word) for word in words])
    found = result(tmp_path)
    assert found["rows"][0]["agreement"]["equal_share"] == 1
    assert found["reference"]["network"] == "pochih fcn16s"
    assert found["reference"]["input"] == "BGR / 255, mean 0.1, 0.2, 0.3, std 0.4, 0.5, 0.6, as stated"
    wrong = ["--input-color", "rgb", "--mean", "0.1,0.2,0.3", "--std", "0.4,0.5,0.6"]
    assert parity.main([str(word) for word in (*words, *wrong)]) == 1
    assert result(tmp_path)["rows"][0]["agreement"]["equal_share"] < 0.99


def test_one_class_is_measured_as_two(tree: Path, tmp_path: Path) -> None:
    net = tiny(NAME)
    state = {
        **upstream_state(net),
        **{f"classifier.4.{leaf}": getattr(net.classifier[4], leaf)[:1] for leaf in ("weight", "bias")},
    }
    torch.save(state, tmp_path / "net.pth")
    for truth in (tree / "valannot").iterdir():  # void is what is no class
        copy = tmp_path / "data/valannot" / truth.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.asarray(Image.open(truth)) > 3).astype(np.uint8)).save(copy)
    shutil.copytree(tree / "val", tmp_path / "data/val")
    (tmp_path / "data/classes.txt").write_text("background\nforeground")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0
    words = [
        tmp_path / "net.pth",
        tmp_path / "net.onnx",
        "--data",
        tmp_path / "data",
        "--json",
        tmp_path / "result.json",
    ]
    assert parity.main([str(word) for word in (*words, "--device", "cpu")]) == 0
    assert result(tmp_path)["rows"][0]["agreement"]["equal_share"] == 1
