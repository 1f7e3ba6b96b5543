"""The trainer on tiny data: every family goes from frames to an ONNX file, runs repeat, stop and go on."""

import csv
import re
import signal

import numpy as np
import pytest
import torch

pytest.importorskip("cv2")
pytest.importorskip("matplotlib")

from PIL import Image

import data_trees as trees
import fcnrt
from fcn_bench.commands import train
from fcn_bench.data import scenes
from fcn_bench.training import run
from fcn_bench.training.architectures import ARCHITECTURES, SLIM, Architecture
from fcn_export.checkpoints.remembered import remembered
from fcn_export.commands import to_onnx
from fcn_export.families.caffe import CaffeFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.families.pochih import PochihFcn
from fcn_export.families.torchvision_fcn import TorchvisionFcn
from fcn_export.families.tramac import TramacResNetFcn, TramacVggFcn
from fcn_export.families.vgg import VGG16
from fcn_export.families.zijundeng import ZijundengFcn
from fcnrt.errors import fcnrt_command
from tiny_networks import WIDTHS, narrow, narrow_resnet

TINY = {
    "fcn8s-atonce-caffe": (CaffeFcn, lambda n: CaffeFcn("fcn8s-atonce", WIDTHS, 24, n)),
    "fcn8s-zijundeng": (ZijundengFcn, lambda n: ZijundengFcn("fcn8s", WIDTHS, 24, n)),
    "fcn16s-tramac": (TramacVggFcn, lambda n: TramacVggFcn("fcn16s", narrow(VGG16), 4, n)),
    "fcn_resnet50-tramac": (TramacResNetFcn, lambda n: TramacResNetFcn("fcn", narrow_resnet(True, (6, 6, 10)), 8, n)),
    "fcns-pochih": (PochihFcn, lambda n: PochihFcn("fcns", narrow(VGG16), (32, 16, 8, 8, 8), n)),
    "fcn_resnet50": (TorchvisionFcn, lambda n: TorchvisionFcn("fcn", narrow_resnet(True), 8, n)),
    "fcn32s-resnet18": (D2lFcn, lambda n: D2lFcn("fcn32s", narrow_resnet(False), n)),
}
D2L = "fcn32s-resnet18"


@pytest.fixture(autouse=True)
def tiny_architectures(monkeypatch):
    """The trainer's own names, on networks of a fraction of the width."""
    for name, (family, make) in TINY.items():
        monkeypatch.setitem(ARCHITECTURES, name, Architecture(name, family, make))
    # main() answers SIGTERM; give pytest its own answer back.
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return trees.pairs(tmp_path_factory.mktemp("camvid"), {"train": 4, "val": 2})


def options(tree, folder, arch=D2L, epochs=1, *more):
    return ["--arch", arch, "--data", str(tree), "--epochs", str(epochs), "--batch", "2", "--crop", "64x64",
            "-o", str(folder), *more]  # fmt: skip


def weights(folder, arch=D2L, which="last"):
    return torch.load(folder / f"{arch}-{which}.pth", weights_only=True)


@pytest.mark.parametrize("arch", TINY)
def test_every_family_goes_straight_to_onnx(tree, tmp_path, capsys, arch):
    assert train.main(options(tree, tmp_path, arch)) == 0
    told = capsys.readouterr().out
    best = tmp_path / f"{arch}-best.pth"
    printed = next(line for line in told.splitlines() if line.startswith("next: "))
    words = printed.removeprefix(f"next: {fcnrt_command('export')} ").split()
    assert words == [str(best)]
    assert to_onnx.main([*words, "-o", str(tmp_path / "net.onnx")]) == 0
    assert f"{TINY[arch][0].family} " in capsys.readouterr().out
    with fcnrt.Segmenter(tmp_path / "net.onnx") as segment:
        assert segment.classes[0] == "sky" and segment(trees.frame(0)).shape == trees.SIZE


def test_run_leaves_checkpoints_curves_and_nothing_else(tree, tmp_path, capsys):
    assert train.main(options(tree, tmp_path / "made", D2L, 2)) == 0
    names = {f"{D2L}-best.pth", f"{D2L}-last.pth", "curves.csv", "curves.png", "samples.png", "training.pt"}
    assert {path.name for path in (tmp_path / "made").iterdir()} == names
    told = capsys.readouterr().out
    assert "4 frames to train on, 2 to validate on" in told and "epoch 2/2  loss" in told
    with (tmp_path / "made/curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "2"), ("2", "4")]
    assert all(0 <= float(row["miou"]) <= 1 and float(row["loss"]) > 0 for row in rows)
    assert {"iou sky", "iou bicyclist"} <= rows[0].keys()
    picture = np.array(Image.open(tmp_path / "made/curves.png").convert("RGB"))
    assert picture.shape[0] > 300 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_best_is_the_epoch_of_the_highest_miou(tree, tmp_path, monkeypatch):
    figures = iter([0.2, 0.4, 0.3])
    monkeypatch.setattr(run.ConfusionMatrix, "mean_iou", lambda self: next(figures))
    saved = []
    whole = run.containers.save
    monkeypatch.setattr(run.containers, "save", lambda p, *rest: (saved.append(p.stem), whole(p, *rest)))
    assert train.main(options(tree, tmp_path, D2L, 3)) == 0
    assert [name.rpartition("-")[2] for name in saved] == ["best", "last", "best", "last", "last"]


def test_measured_miou_is_that_of_the_saved_network(tree, tmp_path):
    assert train.main(options(tree, tmp_path, D2L, 2)) == 0
    state = torch.load(tmp_path / "training.pt", weights_only=True)
    net = TINY[D2L][1](11).eval()
    net.load_state_dict(weights(tmp_path))
    matrix = run.ConfusionMatrix(11)
    for sample in train.open_data(tree, "val"):
        frames = torch.from_numpy(sample.frame_hwc)[None]
        with torch.no_grad():
            labels = net(net.contracts[0].normalise(frames, "rgb")).argmax(1)[0].numpy()
        matrix.update(labels, sample.labels_hw)
    assert matrix.mean_iou() == pytest.approx(state["rows"][-1]["miou"], abs=1e-4)


def test_same_seed_same_weights_and_another_seed_others(tree, tmp_path):
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        assert train.main(options(tree, tmp_path / name, D2L, 1, "--seed", seed, "--workers", "2")) == 0
    first, again, other = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["0.weight"], other["0.weight"])


@pytest.mark.parametrize("arch", ["fcn8s-atonce-caffe", "fcn_resnet50"])  # with dropout, with an auxiliary head
def test_stopped_run_goes_on_as_if_it_had_not_stopped(tree, tmp_path, monkeypatch, capsys, arch):
    assert train.main(options(tree, tmp_path / "whole", arch, 3)) == 0
    _interrupt_in_epoch(monkeypatch, 3)
    assert train.main(options(tree, tmp_path / "stopped", arch, 3)) == 130
    assert "stopped; the same command with --resume goes on" in capsys.readouterr().err
    monkeypatch.undo()
    for name, (family, make) in TINY.items():
        monkeypatch.setitem(ARCHITECTURES, name, Architecture(name, family, make))
    assert train.main(options(tree, tmp_path / "stopped", arch, 3, "--resume")) == 0
    states = [torch.load(tmp_path / name / "training.pt", weights_only=True) for name in ("whole", "stopped")]
    assert all(torch.equal(value, states[1]["network"][key]) for key, value in states[0]["network"].items())
    figures = [[{**row, "seconds": 0} for row in state["rows"]] for state in states]
    np.testing.assert_equal(*figures)


def _interrupt_in_epoch(monkeypatch, number):
    whole, calls = run.Learner.learn, []

    def learn(self, *batch):
        calls.append(batch)
        if len(calls) == 2 * number:
            raise KeyboardInterrupt
        return whole(self, *batch)

    monkeypatch.setattr(run.Learner, "learn", learn)


def test_ctrl_c_leaves_the_last_whole_checkpoint(tree, tmp_path, monkeypatch):
    _interrupt_in_epoch(monkeypatch, 2)
    assert train.main(options(tree, tmp_path, D2L, 3)) == 130
    with (tmp_path / "curves.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 1
    assert set(weights(tmp_path)) == set(TINY[D2L][1](11).state_dict())
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_finished_run_with_resume_trains_no_more(tree, tmp_path, capsys):
    assert train.main(options(tree, tmp_path)) == 0
    before = (tmp_path / "training.pt").stat().st_mtime_ns
    assert train.main(options(tree, tmp_path, D2L, 1, "--resume")) == 0
    assert (tmp_path / "training.pt").stat().st_mtime_ns == before
    assert f"next: {fcnrt_command('export')} " in capsys.readouterr().out


def test_options_reach_what_they_name(tree, tmp_path):
    more = ["--bf16", "--balance", "0.5", "--schedule", "one-cycle", "--lr", "0.3", "--aux-weight", "0", "--cache",
            "--scales", "1,1.5", "--weight-decay", "0.01"]  # fmt: skip
    run = train.prepare(train._parser().parse_args(options(tree, tmp_path, "fcn_resnet50", 2, *more)))
    learner = run.learner
    assert (
        learner.bf16
        and run.options.precision == "bf16"
        and learner.network.auxiliary is None
        and isinstance(run.train, train.InMemory)
    )
    assert len(learner.class_weights) == 11 and learner.class_weights.max() > 1.05 * learner.class_weights.min()
    assert learner.optimiser.param_groups[0]["weight_decay"] == 0.01
    rates = []
    for _ in range(5):
        rates.append(learner.schedule.get_last_lr()[0])
        learner.optimiser.step()
        learner.schedule.step()
    assert rates[0] < rates[1] == pytest.approx(0.3) and rates[4] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("arch", ["fcn32s-resnet18", "fcn8s-atonce-caffe", "fcn_resnet50", "fcns-pochih"])
def test_one_logit_and_a_sigmoid_become_two_labels(tmp_path, capsys, arch):
    tree = trees.own(tmp_path / "leaves", classes=("soil", "leaf"))
    more = ["--sigmoid", "--holdout", "0.34", "--balance", "0.5"]
    assert train.main(options(tree, tmp_path, arch, 1, *more)) == 0
    best = tmp_path / f"{arch}-best.pth"
    learner = train.prepare(train._parser().parse_args(options(tree, tmp_path, arch, 1, *more, "--resume"))).learner
    assert learner.network.net.classes == 1
    assert to_onnx.main([str(best), "-o", str(tmp_path / "net.onnx")]) == 0
    printed = capsys.readouterr().out
    assert "soil, leaf" in printed and "one class: label 1 where its logit is above 0" in printed
    frame = trees.frame(3, (64, 85))
    with fcnrt.Segmenter(tmp_path / "net.onnx") as segment:
        assert segment.classes == ("soil", "leaf") and (segment(frame) == learner.label(frame)).mean() > 0.999
    assert train.main(options(trees.own(tmp_path / "three"), tmp_path / "no", arch, 1, *more)) == 1
    assert "--sigmoid: is for two classes, and" in capsys.readouterr().err


def test_own_classes_in_a_voc_tree_are_those_that_are_trained(tmp_path, capsys):
    tree = trees.voc(tmp_path / "data")
    for seed, path in enumerate((tree / "SegmentationClass").iterdir()):
        trees.save_labels(path, trees.labels(seed, 5), palette=True)
    (tree / "classes.txt").write_text("\n".join("abcde") + "\n")
    assert train.main(options(tree, tmp_path / "run")) == 0
    told = capsys.readouterr().out
    assert "2 frames to train on, 2 to validate on" in told and "million weights, 5 classes" in told
    assert re.search(r"^ +3 d +\d+\.\d\d% of the annotated pixels, in 2 frames$", told, flags=re.M)
    facts = remembered(torch.load(tmp_path / f"run/{D2L}-best.pth", weights_only=True), "best.pth")
    assert facts.classes == tuple("abcde") and facts.palette == "generated" and facts.crop == (64, 64)


@pytest.mark.parametrize(
    ("asked", "times", "bf16", "said"),
    [
        ("auto", 3.5, False, "float32: bfloat16 takes 3.50 times as long as float32 here"),
        ("auto", 0.6, True, "bfloat16: bfloat16 takes 0.60 times as long as float32 here"),
        ("bf16", 3.5, True, "bfloat16 as asked for, but bfloat16 takes 3.50 times as long as float32 here; "
                            "--precision fp32 is faster"),
    ],
)  # fmt: skip
def test_precision_is_chosen_and_said_at_once(tree, tmp_path, monkeypatch, capsys, asked, times, bf16, said):
    monkeypatch.setattr(train, "bf16_times", lambda network, device: times)
    assert train.main(options(tree, tmp_path, D2L, 1, "--precision", asked)) == 0
    told = capsys.readouterr().out
    assert f"precision  {said}\n" in told and (", bfloat16, from" in told) == bf16
    monkeypatch.setattr(train, "bf16_times", None)  # the run has decided
    assert train.main(options(tree, tmp_path, D2L, 1, "--precision", asked, "--resume")) == 0
    assert (", bfloat16, from" in capsys.readouterr().out) == bf16


def test_ctrl_c_in_the_first_epoch_names_what_works(tree, tmp_path, monkeypatch, capsys):
    _interrupt_in_epoch(monkeypatch, 1)
    assert train.main(options(tree, tmp_path)) == 130
    assert "stopped before the first epoch was done; the same command begins again" in capsys.readouterr().err
    monkeypatch.setattr(run.Learner, "learn", lambda self, *batch: 0.5)
    assert train.main(options(tree, tmp_path)) == 0


def test_classification_weights_begin_the_network(tree, tmp_path):
    donor = TINY[D2L][1](11)
    names = {"0": "conv1", "1": "bn1", "4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4"}
    state = {f"{names[key.split('.')[0]]}.{key.partition('.')[2]}": value
             for key, value in donor.state_dict().items() if key.split(".")[0] in names}  # fmt: skip
    torch.save(state, tmp_path / "resnet18.pth")
    arguments = options(tree, tmp_path / "run", D2L, 1, "--init", str(tmp_path / "resnet18.pth"))
    net = train.prepare(train._parser().parse_args(arguments)).learner.network.net
    assert torch.equal(net.state_dict()["7.0.conv2.weight"], donor.state_dict()["7.0.conv2.weight"])


def test_generated_streets_are_a_data_set_as_well(tmp_path, monkeypatch):
    monkeypatch.setattr("fcn_bench.data.datasets.SCENE_COUNTS", {"train": 2, "val": 1})
    arguments = ["--arch", "slim", "--data", "scenes", "--epochs", "1", "--batch", "2", "--crop", "32x64"]
    assert train.main([*arguments, "-o", str(tmp_path)]) == 0
    facts = remembered(torch.load(tmp_path / "slim-best.pth", weights_only=False), "slim-best.pth")
    assert facts.classes == scenes.CLASSES and facts.palette == tuple(map(tuple, scenes.PALETTE.tolist()))
    assert sum(parameter.numel() for parameter in TorchvisionFcn(plan=SLIM, hidden=64, classes=10).parameters()) < 4e5


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (["--data", "VOCdevkit/VOC2012"], "train: VOCdevkit/VOC2012: no such folder; VOC: unpack VOCtrainval_11-May"),
        (["--val-split", "test"], "lacks test/ with pictures"),
        (["--batch", "5"], "4 frames to train on do not fill a --batch of 5"),
        (["--arch", "fcn16s-tramac", "--crop", "16x64"], "--crop 16x64: fcn16s-tramac needs at least 32"),
        (["--init", "nothing.pth"], "nothing.pth: no such file"),
        (["--resume"], "training.pt: no such file; there is no run to go on with, drop --resume"),
        (["--lr", "1e30"], "loss: became"),
        pytest.param(
            ["--device", "cuda"],
            "--device cuda: torch finds no GPU here",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_refusal_is_one_line_and_status_1(tree, tmp_path, capsys, more, expected):
    assert train.main([*options(tree, tmp_path, D2L, 2), *more]) == 1
    err = capsys.readouterr().err
    assert expected in err and err.count("\n") == 1


def test_resuming_with_other_options_is_refused(tree, tmp_path, capsys):
    assert train.main(options(tree, tmp_path)) == 0
    assert train.main(options(tree, tmp_path, D2L, 1, "--resume", "--weight-decay", "0.1")) == 1
    assert f"--weight-decay: the run in {tmp_path} has 0.0001, got 0.1" in capsys.readouterr().err


def test_a_run_is_not_overwritten_unasked(tree, tmp_path, capsys):
    assert train.main(options(tree, tmp_path)) == 0
    assert train.main(options(tree, tmp_path)) == 1
    assert "holds a run already; add --resume to go on with it, or name another -o" in capsys.readouterr().err


def test_damaged_state_is_refused(tree, tmp_path, capsys):
    (tmp_path / "training.pt").write_bytes(b"half a file")
    assert train.main(options(tree, tmp_path, D2L, 1, "--resume")) == 1
    assert "cannot read the run's state, start again without --resume" in capsys.readouterr().err


def test_frames_without_annotation_to_validate_on_are_refused(tmp_path, capsys):
    tree = trees.pairs(tmp_path / "tree", {"train": 2, "val": 1})
    trees.save_labels(tree / "valannot/val_0.png", np.full(trees.SIZE, 11, np.uint8))
    assert train.main(options(tree, tmp_path / "run")) == 1
    assert "no pixel of val is annotated" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--epochs=0", "expected a whole number from 1 up, got '0'"),
        ("--crop=320", "expected HEIGHTxWIDTH, such as 512x1024, got '320'"),
        ("--scales=2,1", "expected two numbers such as 0.5,2, got '2,1'"),
        ("--lr=-1", "expected a number from 0 up, got '-1'"),
        ("--arch=fcn9s", "fcn9s"),
    ],
)
def test_wrong_arguments_are_refused_with_status_2(capsys, argument, expected):
    with pytest.raises(SystemExit) as stop:
        train.main(["--arch", D2L, "--data", "x", argument])
    assert stop.value.code == 2 and expected in capsys.readouterr().err
