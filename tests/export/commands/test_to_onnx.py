"""The command line of the exporter: what it prints, what it refuses, what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torchvision.models.resnet import Bottleneck

from exports import plain_session
from fcn_export.class_names import NAMED, class_names
from fcn_export.commands import to_onnx
from fcn_export.errors import ExportError
from fcn_export.families.torchvision_fcn import TorchvisionFcn
from fcn_export.graph import onnx_file, verify
from fcnrt.errors import fcnrt_command
from places import ROOT
from tiny_networks import many_classes, narrow_resnet, tiny, upstream_state

SCRIPT = ROOT / "export/to_onnx.py"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "net.pth"
    torch.save(upstream_state(tiny("torchvision fcn")), path)
    return path


def metadata(path: Path) -> dict[str, object]:
    entries = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    return {key[4:]: json.loads(value) for key, value in entries.items() if key.startswith("fcn.")}


def test_prints_what_was_made_and_the_next_command(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_onnx.main([str(checkpoint)]) == 0
    lines = capsys.readouterr().out.splitlines()
    made = checkpoint.with_name("net.onnx")
    assert (
        lines[0].startswith(f"{made}  ") and lines[-1] == f"next: {fcnrt_command(f'segment {made} street.jpg -o out/')}"
    )
    report = dict(line.split(maxsplit=1) for line in lines[1:-1])
    assert report["network"] == "torchvision fcn (pytorch/vision)"
    assert report["precision"] == "fp32"
    assert report["agreement"].endswith("labels equal torch's, at 64x96, 65x97, 83x51, 1x1")


def test_names_from_files_are_printed_escaped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net\x1b[2J\n.pth"
    state = {f"net.{key}": value for key, value in upstream_state(tiny("torchvision fcn")).items()}
    torch.save({**state, "loss\x1b]0;x\x07\r.weight": torch.ones(4)}, path)
    names = tmp_path / "names.txt"
    names.write_text("".join(f"class {index}\x1b[31m\n" for index in range(7)))
    assert to_onnx.main([str(path), "--classes", str(names)]) == 0
    printed = capsys.readouterr().out
    assert all(line.isprintable() for line in printed.splitlines())
    for text in (r"net\x1b[2J\n.onnx  ", r"loss\x1b]0;x\x07\r.weight", r"class 0\x1b[31m"):
        assert text in printed


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("fcn8s.pth", "fcn8s.onnx"),
        ("model_best.pth.tar", "model_best.onnx"),
        ("FCNs-BCE_lr0.0001_w_decay1e-05", "FCNs-BCE_lr0.0001_w_decay1e-05.onnx"),
        ("a.safetensors", "a.onnx"),
    ],
)
def test_default_output_lies_beside_the_checkpoint(name: str, made: str) -> None:
    options = to_onnx._parser().parse_args([f"some/folder/{name}"])
    assert to_onnx._default_output(options) == Path("some/folder") / made
    options.precision = "fp16"
    assert to_onnx._default_output(options).name == made.replace(".onnx", "-fp16.onnx")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--variant", "fcn8s"], "--variant fcn8s: the keys of"),
        (["--classes", "voc"], "--classes voc: 21 names, but the checkpoint has 7 classes"),
        (["--classes", "nowhere.txt"], "nowhere.txt: neither a readable text file nor one of voc"),
        (["--palette", "nowhere.txt"], "nowhere.txt: neither a readable text file"),
        (["--palette", "nothing.txt"], "nothing.txt: neither a readable text file"),
        (["--input-scale", "1"], "--input-scale 1: torchvision is published as trained on RGB / 255"),
        (["-o", "/proc/nowhere/x.onnx"], "/proc/nowhere"),
        (["-o", "/proc"], "-o /proc: expected a file name that ends in .onnx"),
        (["-o", "model.engine"], "-o model.engine: expected a file name that ends in .onnx"),
    ],
)
def test_refusals_are_one_line(
    flags: list[str], message: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert to_onnx.main([str(checkpoint), *flags]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and len(captured.err.splitlines()) == 1
    assert captured.err.startswith("to_onnx: ") and message in captured.err
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


@pytest.mark.parametrize("name", [".", "/", "..", ""])
def test_folders_are_no_checkpoints(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert to_onnx.main([name]) == 1
    assert "a folder, not a file" in capsys.readouterr().err


def test_checkpoint_is_not_overwritten(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = checkpoint.read_bytes()
    same = checkpoint.parent / "." / checkpoint.name
    assert to_onnx.main([str(checkpoint), "-o", str(same)]) == 1
    assert "this is the checkpoint, which would be lost" in capsys.readouterr().err
    assert checkpoint.read_bytes() == before


def test_family_minimum_holds_for_fixed_sizes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(upstream_state(tiny("tramac fcn8s")), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--width", "31"]) == 1
    assert "--width 31: tramac fcn8s needs at least 32" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        ["--precision", "int4"],
        ["--input-scale", "1/0"],
        ["--input-scale", "1e400"],
        ["--opset", "16"],
        ["--height", "0"],
        ["--width", "99999999999999999999"],
        [],
    ],
)
def test_wrong_arguments_exit_with_2(flags: list[str], checkpoint: Path) -> None:
    arguments = [str(checkpoint), *flags] if flags else []
    with pytest.raises(SystemExit) as caught:
        to_onnx.main(arguments)
    assert caught.value.code == 2


def test_class_and_palette_files(checkpoint: Path, tmp_path: Path) -> None:
    names, colours = tmp_path / "names.txt", tmp_path / "colours.txt"
    names.write_text("\n".join(f"thing {index}" for index in range(7)) + "\n\n")
    colours.write_text("\n".join(f"{index} {2 * index} 255" for index in range(7)))
    assert to_onnx.main([str(checkpoint), "--classes", str(names), "--palette", str(colours)]) == 0
    facts = metadata(checkpoint.with_name("net.onnx"))
    assert facts["classes"] == [f"thing {index}" for index in range(7)]
    assert facts["palette"] == [[index, 2 * index, 255] for index in range(7)]


@pytest.mark.parametrize(
    "text",
    [
        '["a", "b", "c", "d", "e", "f", "g"]',
        '{"b": 1, "a": 0, "c": 2, "d": 3, "e": 4, "f": 5, "g": 6}',
        '{"0": "a", "1": "b", "2": "c",\n "3": "d", "6": "g", "4": "e", "5": "f"}',
    ],
)
def test_classes_as_json(text: str, checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "names.json").write_text(text)
    assert to_onnx.main([str(checkpoint), "--classes", str(tmp_path / "names.json")]) == 0
    assert metadata(checkpoint.with_name("net.onnx"))["classes"] == list("abcdefg")


@pytest.mark.parametrize(
    "text",
    ["{", "[1, 2, 3, 4, 5, 6, 7]", '{"a": 1, "b": 2}', '{"a": 0, "b": 0}', '[{"name": "a"}]', '{"a": {"id": 0}}',
     '{"x": "a"}', '["a", ""]', "[" * 100_000],
)  # fmt: skip
def test_other_json_is_refused(text: str, checkpoint: Path, tmp_path: Path, capsys) -> None:
    (tmp_path / "names.json").write_text(text)
    assert to_onnx.main([str(checkpoint), "--classes", str(tmp_path / "names.json")]) == 1
    assert 'expected JSON such as ["road", "sky"]' in capsys.readouterr().err


def test_colours_with_alpha(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "colors.txt").write_text("\n".join(f"{index} 2 3 255" for index in range(7)))
    assert to_onnx.main([str(checkpoint), "--palette", str(tmp_path / "colors.txt")]) == 0
    assert metadata(checkpoint.with_name("net.onnx"))["palette"] == [[index, 2, 3] for index in range(7)]


@pytest.mark.parametrize("line", ["1 2", "1 2 256", "red", "1 2 -3", "1 2 3 4"])
def test_bad_palette_line_is_quoted(
    line: str, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "colours.txt").write_text("0 0 0\n" * 6 + line)
    assert to_onnx.main([str(checkpoint), "--palette", str(tmp_path / "colours.txt")]) == 1
    assert f"expected lines of three numbers 0 to 255, or all of four, got '{line}'" in capsys.readouterr().err


def test_named_class_lists_have_their_data_sets_lengths() -> None:
    counts = {"voc": 21, "cityscapes": 19, "cityscapes-unlabelled-first": 20, "camvid": 11, "ade20k": 150, "binary": 2}
    assert counts.keys() == NAMED.keys()
    for name, count in counts.items():
        names = class_names(name, count)
        assert len(set(names)) == count - 0
        with pytest.raises(ExportError):
            class_names(name, count + 1)


def test_known_class_counts_get_their_names(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = TorchvisionFcn("fcn", narrow_resnet(True), 8, classes=21).eval()
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0
    facts = metadata(tmp_path / "net.onnx")
    assert facts["classes"][15] == "person" and facts["palette"] == "voc"


def test_more_than_256_classes_give_int32_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(many_classes().state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0
    assert "labels     int32" in capsys.readouterr().out
    (labels,) = plain_session(tmp_path / "net.onnx").run(None, {"frames": np.full((1, 33, 20, 3), 99, np.uint8)})
    assert labels.dtype == np.int32 and labels.min() >= 280


def test_disagreement_with_torch_leaves_no_file(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A wrong graph must not get past the check: here the class planes are shuffled after the reference was made."""
    old = checkpoint.with_name("net.onnx")
    old.write_bytes(b"an older file")
    reference_cases = verify.reference_cases

    def then_spoil(net, *args):
        cases = reference_cases(net, *args)
        net.classifier[4].weight.copy_(net.classifier[4].weight.roll(1, 0))
        return cases

    monkeypatch.setattr(verify, "reference_cases", then_spoil)
    assert to_onnx.main([str(checkpoint)]) == 1
    assert "labels differ from torch's" in capsys.readouterr().err
    assert old.read_bytes() == b"an older file" and sorted(checkpoint.parent.iterdir()) == [old, checkpoint]


def test_palette_with_fewer_colours_than_classes_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(TorchvisionFcn("fcn", narrow_resnet(True), 8, classes=20).state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--palette", "cityscapes"]) == 1
    assert "--palette cityscapes: 19 colours, but the checkpoint has 20 classes" in capsys.readouterr().err


def test_control_characters_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert to_onnx.main([str(tmp_path / "evil\n\x1b[2J.pth")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "\x1b" not in error and r"evil\n\x1b[2J.pth" in error


def test_nothing_but_the_report_reaches_the_terminal_which_shows_any_name(tmp_path: Path) -> None:
    path = tmp_path / "straße.pth"
    torch.save(upstream_state(tiny("torchvision fcn")), path)
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    run = subprocess.run([sys.executable, SCRIPT, path], capture_output=True, text=True, env=environment)
    assert run.returncode == 0 and run.stderr == "" and r"stra\xdfe.onnx" in run.stdout


def test_signal_leaves_nothing_half_written(checkpoint: Path) -> None:
    """The export is stopped while it checks the temporary file; the process lives on and exports again."""
    code = (
        "import os, sys, time, onnx.checker; from fcn_export.commands import to_onnx\n"
        "onnx.checker.check_model = lambda *_, **__: (print('writing', flush=True), time.sleep(60))\n"
        "sys.exit([to_onnx.main(sys.argv[1:]) for _ in range(2)] != [130, 130])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, checkpoint], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None and process.stderr is not None
    for sent in (signal.SIGTERM, signal.SIGINT):
        assert process.stdout.readline() == b"writing\n"
        assert len(list(checkpoint.parent.iterdir())) == 2
        process.send_signal(sent)
        assert process.stderr.readline() == b"to_onnx: interrupted; nothing was written\n"
    assert process.communicate() == (b"", b"") and process.returncode == 0
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_size_beyond_memory_is_one_line(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def out_of_memory(*shape: int) -> None:
        raise RuntimeError("can't allocate memory\nbacktrace")

    monkeypatch.setattr(verify, "textured_frames", out_of_memory)
    assert to_onnx.main([str(checkpoint), "--height", "60000", "--width", "60000"]) == 1
    error = capsys.readouterr().err
    assert "torch cannot run this network at 60000x60000 (can't allocate memory); fix a smaller size" in error


def test_half_precision_that_spoils_labels_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A class that never wins must not widen what passes for a tie."""
    net = tiny("torchvision fcn")
    for module in net.modules():
        if isinstance(module, Bottleneck):
            module.bn1.weight.mul_(1e-7)  # underflows in halves
            module.bn1.bias.mul_(1e-7)
            module.conv2.weight.mul_(1e7)
    net.classifier[4].bias[6] = -1e6
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0
    assert to_onnx.main([str(tmp_path / "net.pth"), "--precision", "fp16"]) == 1
    assert "export with --precision fp32" in capsys.readouterr().err


def test_lower_agreement_than_usual_is_pointed_out(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert to_onnx.main([str(checkpoint)]) == 0
    assert "caution" not in capsys.readouterr().out
    monkeypatch.setattr(verify, "USUAL", 1.1)
    assert to_onnx.main([str(checkpoint)]) == 0
    assert "compare mIoU before you rely on this file" in capsys.readouterr().out


def test_saturated_frames_are_part_of_the_half_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tiny("torchvision fcn")
    with torch.no_grad():  # one channel that answers to pure blue alone, beyond half the range
        net.backbone.conv1.weight[0] = 0
        net.backbone.conv1.weight[0, :, 3, 3] = torch.tensor([-9000.0, -9000.0, 9000.0])
        net.backbone.bn1.running_mean[0], net.backbone.bn1.running_var[0] = 0, 1
        net.backbone.bn1.weight[0], net.backbone.bn1.bias[0] = 1, -30000
        net.backbone.layer1[0].conv1.weight[:, 0] = 0
        net.backbone.layer1[0].downsample[0].weight[:, 0] = 0
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--precision", "fp16"]) == 1
    assert "too near the end of float16 (65504)" in capsys.readouterr().err


def test_half_overflow_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tiny("torchvision fcn")
    net.backbone.bn1.weight.mul_(1e6)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth"), "--precision", "fp16"]) == 1
    assert "too near the end of float16 (65504); export with --precision fp32" in capsys.readouterr().err
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0


def test_weights_beyond_one_protobuf_are_refused(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx_file, "MAX_BYTES", 2**20 + 1000)
    assert to_onnx.main([str(checkpoint)]) == 1
    assert "one ONNX file holds at most 2" in capsys.readouterr().err


def test_no_trace_of_this_machine_in_the_file(checkpoint: Path) -> None:
    assert to_onnx.main([str(checkpoint)]) == 0
    content = checkpoint.with_name("net.onnx").read_bytes()
    for trace in (str(SCRIPT.parents[1]), str(Path.home()), "site-packages", ".py"):
        assert trace.encode() not in content


def test_newer_opset(checkpoint: Path) -> None:
    assert to_onnx.main([str(checkpoint), "--opset", "19"]) == 0
    assert onnx.load(checkpoint.with_name("net.onnx")).opset_import[0].version == 19


def test_help_imports_no_torch() -> None:
    code = (
        "import sys; from fcn_export.commands import to_onnx\n"
        "try: to_onnx.main(['--help'])\nexcept SystemExit: print('torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("False\n")
