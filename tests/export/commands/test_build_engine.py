"""build_engine.py with TensorRT for RTX, which needs no GPU: every family, the sidecar, bad input, interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from exports import Export, save
from fcn_export.commands import build_engine
from fcn_export.engines import builder
from fcn_export.engines.source import read_source
from fcn_export.errors import ExportError
from fcn_export.kernels import compiling
from fcnrt.contract.sidecar import read_sidecar
from fcnrt.contract.spec import ModelSpec
from fcnrt.errors import fcnrt_command
from network_names import MANY_CLASSES
from tiny_networks import CLASSES, NAMES, tiny

tensorrt_rtx = pytest.importorskip("tensorrt_rtx")
PROFILES = ("1x64x96:1x97x131:2x200x257", "1x256x256:2x360x480:4x544x960")
SMALL = ("--sm", "89", "--profile", "1x64x64:1x65x97:1x128x128")
LAUNCH = {"sm": 89, "warps": 1, "shared_bytes": 0, "tile": [1, 64], "parameters": ["*u8", "i32"], "cubin": "f0VMRg=="}
RECORDS = [{"name": name, "variant": "u8", "entry": name, **LAUNCH} for name in ("upsample_argmax", "resize")]
Run = Callable[..., int]


@pytest.fixture
def kernels_asked_for(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Spares the tests Triton; what compile_kernels is called with."""
    asked: list[Any] = []

    def stub(sms: Any, scores: Any = None, labels: Any = None) -> list[dict[str, Any]]:
        asked.append((tuple(sms), scores, labels))
        return RECORDS

    monkeypatch.setattr(compiling, "compile_kernels", stub)
    return asked


@pytest.fixture
def model(exported: Export, tmp_path: Path) -> Path:
    """An exported file in a folder of its own."""
    return Path(shutil.copy(exported("torchvision fcn", "--precision", "fp16"), tmp_path / "net.onnx"))


@pytest.fixture(scope="module")
def built_once(exported: Export, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an exported file and its engine."""
    folder = tmp_path_factory.mktemp("built")
    shutil.copy(exported("torchvision fcn", "--precision", "fp16"), folder / "net.onnx")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiling, "compile_kernels", lambda *_: RECORDS)
        assert build_engine.main([str(folder / "net.onnx"), *SMALL]) == 0
    return folder


@pytest.fixture
def built(built_once: Path, tmp_path: Path) -> Path:
    """An exported file in a folder of its own, with its engine beside it."""
    shutil.copytree(built_once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "net.onnx"


def sidecar_of(engine: Path) -> Any:
    return json.loads((engine.parent / f"{engine.name}.json").read_text(encoding="utf-8"))


def parsed(data: bytes) -> dict[str, tuple[str, tuple[int, ...]]]:
    """What TensorRT's parser makes of the inputs and outputs of a graph."""
    logger = tensorrt_rtx.Logger(tensorrt_rtx.Logger.ERROR)
    builder = tensorrt_rtx.Builder(logger)
    network = builder.create_network(0)
    parser = tensorrt_rtx.OnnxParser(network, logger)
    assert parser.parse(data)
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    return {tensor.name: (tensor.dtype.name, tuple(tensor.shape)) for tensor in tensors}


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_every_family_builds_for_ada_and_blackwell(
    name: str, precision: str, exported: Export, tmp_path: Path, kernels_asked_for: list[Any]
) -> None:
    model = exported(name, "--precision", precision) if precision == "fp16" else exported(name)
    engine = tmp_path / "net.engine"
    profiles = PROFILES if precision == "fp32" else PROFILES[1:]  # each costs as much as an engine of its own
    flags = [word for profile in profiles for word in ("--profile", profile)]
    assert build_engine.main([str(model), "-o", str(engine), "--sm", "120", "89", *flags]) == 0
    record = sidecar_of(engine)["engine"]
    assert record["sm"] == [89, 120] and record["flavour"] == "tensorrt-rtx"
    assert len(record["profiles"]) == len(profiles) and record["profiles"][-1] == {
        "min": [1, 256, 256],
        "opt": [2, 360, 480],
        "max": [4, 544, 960],
    }
    assert kernels_asked_for == [((89, 120), "fp32", "u8")]
    layers = record["layers"]["network"]
    found = Counter(layers["convolution"]) + Counter(layers.get("deconvolution", {}))
    assert found == weights_before(model, "scores")
    assert (found["fp16"] > 0) == (precision == "fp16")
    assert parsed(read_source(model, "kernel").model.SerializeToString()) == {
        "frames": ("UINT8", (-1, -1, -1, 3)),
        "scores": ("FLOAT", (-1, CLASSES, -1, -1)),
    }


def weights_before(model: Path, tensor: str) -> Counter[str]:
    """How many convolutions up to a tensor have weights of each type, by onnx alone."""
    cut = onnx.utils.Extractor(onnx.load(model)).extract_model(["frames"], [tensor])
    types = {weight.name: weight.data_type for weight in cut.graph.initializer}
    names = {onnx.TensorProto.FLOAT: "fp32", onnx.TensorProto.FLOAT16: "fp16"}
    return Counter(names[types[node.input[1]]] for node in cut.graph.node if "Conv" in node.op_type)


@pytest.mark.parametrize("name", ["caffe fcn8s", "tramac fcn16s", "pochih fcns", "torchvision fcn", "d2l fcn32s"])
def test_graph_tail_builds_and_gives_labels(
    name: str, exported: Export, tmp_path: Path, kernels_asked_for: list[Any]
) -> None:
    engine = tmp_path / "net.engine"
    assert build_engine.main([str(exported(name)), "-o", str(engine), *SMALL, "--tail", "graph"]) == 0
    sidecar = sidecar_of(engine)
    assert sidecar["engine"]["output"] == "labels"
    assert [record["name"] for record in sidecar["kernels"]] == ["resize"]
    assert parsed(read_source(exported(name), "graph").model.SerializeToString()) == {
        "frames": ("UINT8", (-1, -1, -1, 3)),
        "labels": ("UINT8", (-1, -1, -1)),
    }


def test_graph_tail_of_more_than_256_classes(exported: Export, tmp_path: Path, kernels_asked_for: list[Any]) -> None:
    model = exported(MANY_CLASSES)
    assert build_engine.main([str(model), "-o", str(tmp_path / "net.engine"), *SMALL, "--tail", "graph"]) == 0
    graph = read_source(model, "graph").model.SerializeToString()
    assert parsed(graph)["labels"] == ("INT32", (-1, -1, -1))


def test_fixed_dimensions_are_the_profile(
    exported: Export, tmp_path: Path, kernels_asked_for: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model = exported("tramac fcn16s", "--batch", "2", "--height", "71", "--width", "46")
    assert build_engine.main([str(model), "-o", str(tmp_path / "x.engine"), "--sm", "75"]) == 0
    size = [2, 71, 46]
    assert sidecar_of(tmp_path / "x.engine")["engine"]["profiles"] == [{"min": size, "opt": size, "max": size}]
    assert "profile    2x71x46 to 2x71x46" in capsys.readouterr().out


def test_sidecar_says_what_the_engine_is(model: Path, kernels_asked_for: list[Any]) -> None:
    assert build_engine.main([str(model), *SMALL, "--workspace", "512"]) == 0
    engine = model.with_suffix(".engine")
    sidecar = sidecar_of(engine)
    assert list(sidecar) == ["format", "model", "engine", "kernels", "digest"] and sidecar["format"] == 1
    found = {entry.key[4:]: json.loads(entry.value) for entry in onnx.load(model).metadata_props if "fcn." in entry.key}
    del found["digest"]  # each file has its own
    assert sidecar["model"] == found and sidecar["kernels"] == RECORDS
    ModelSpec.from_metadata({f"fcn.{key}": json.dumps(value) for key, value in sidecar["model"].items()}, "sidecar")
    record = sidecar["engine"]
    assert record.pop("sha256") == hashlib.sha256(engine.read_bytes()).hexdigest()
    assert record.pop("bytes") == engine.stat().st_size
    assert record.pop("layers")["engine"] is None
    assert record == {
        "onnx_sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
        "flavour": "tensorrt-rtx",
        "version": tensorrt_rtx.__version__,
        "sm": [89],
        "hardware_compatible": False,
        "version_compatible": False,
        "output": "scores",
        "scores": "fp32",
        "profiles": [{"min": [1, 64, 64], "opt": [1, 65, 97], "max": [1, 128, 128]}],
        "options": {"workspace_mib": 512, "optimization_level": None, "tf32": False, "gpu": None},
        "tool": build_engine.TOOL,
    }


def test_runtime_reads_what_was_written(model: Path, kernels_asked_for: list[Any]) -> None:
    build_engine.main([str(model), *SMALL, "--profile", "2x64x64:2x71x101:3x99x130"])
    engine = model.with_suffix(".engine")
    sidecar = read_sidecar(engine)
    assert sidecar.plan() == engine.read_bytes()
    assert (sidecar.flavour, sidecar.version, sidecar.sm) == ("tensorrt-rtx", tensorrt_rtx.__version__, (89,))
    assert (sidecar.output, sidecar.scores_type, sidecar.spec.precision) == ("scores", "fp32", "fp16")
    assert [profile.max for profile in sidecar.profiles] == [(1, 128, 128), (3, 99, 130)]
    assert len(sidecar.spec.classes) == CLASSES and list(sidecar.kernels) == RECORDS


def test_report(model: Path, kernels_asked_for: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    build_engine.main([str(model), *SMALL])
    lines = capsys.readouterr().out.splitlines()
    engine = model.with_suffix(".engine")
    assert lines[0] == f"{engine}  {engine.stat().st_size / 1e6:.1f} MB"
    assert lines[1:5] == [
        "  network    torchvision fcn, 7 classes, fp16",
        f"  runs on    TensorRT for RTX {tensorrt_rtx.__version__}, compute capability 8.9",
        "  output     scores float32 (N, C, h, w)",
        "  profile    1x64x64 to 1x128x128, fastest at 1x65x97",
    ]
    assert "  precision  24 fp16, 1 fp32 convolutions in the parsed network, as in the file" in lines
    assert lines[-1].endswith(f"{fcnrt_command('segment')} {engine} street.mp4 -o out/")


def test_same_request_reuses_the_engine(
    built: Path, kernels_asked_for: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    engine = built.with_suffix(".engine")
    before = engine.stat()
    assert build_engine.main([str(built), *SMALL]) == 0
    assert capsys.readouterr().out == (
        f"{engine} is up to date: same file, options and TensorRT for RTX {tensorrt_rtx.__version__}; "
        "--force builds it again\n"
    )
    assert (engine.stat().st_ino, len(kernels_asked_for)) == (before.st_ino, 0)
    assert build_engine.main([str(built), *SMALL, "--force"]) == 0
    assert engine.stat().st_ino != before.st_ino


def change_nothing(model: Path) -> None:
    pass


def alter_plan(model: Path) -> None:
    data = bytearray(model.with_suffix(".engine").read_bytes())
    data[-1] ^= 1
    model.with_suffix(".engine").write_bytes(data)


def alter_file(model: Path) -> None:
    changed = onnx.load(model)
    changed.doc_string = "another"
    save(changed, model)


def damage_sidecar(model: Path) -> None:
    model.with_suffix(".engine.json").write_text("{")


def other_version(model: Path) -> None:
    path = model.with_suffix(".engine.json")
    path.write_text(path.read_text().replace(tensorrt_rtx.__version__, "1.1.0"))


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        (change_nothing, ("--tail", "graph")),
        (change_nothing, ("--tf32",)),
        (change_nothing, ("--workspace", "1000")),
        (change_nothing, ("--sm", "89", "120")),
        (alter_plan, ()),
        (alter_file, ()),
        (damage_sidecar, ()),
        (other_version, ()),
    ],
)
def test_another_request_builds_again(
    change: Callable[[Path], None], flags: tuple[str, ...], built: Path, kernels_asked_for: list[Any]
) -> None:
    change(built)
    assert build_engine.main([str(built), *SMALL, *flags]) == 0
    assert len(kernels_asked_for) == 1


REFUSALS = [
    (("--profile", "1x16x64:1x64x64:1x64x64"), "expected height of at least 32, got 16; raise the minimum"),
    (("--max", "1x100000x64"), "expected height of at most 65535, got 100000"),
    (("--max", "9x60000x60000"), "elements, TensorRT counts up to"),
    (("--opt", "1x100x100", "--profile", "1x64x64:1x64x64:1x64x64"), "--profile: expected it without --min"),
    (("--workspace", "1"), "no tactics to implement the operation within workspace limit"),
    (("--sm", "90"), "--sm 90: TensorRT for RTX"),
    (("--timing-cache", "cache"), "--timing-cache: TensorRT for RTX"),
    (("--version-compatible",), "--version-compatible: engines of TensorRT for RTX"),
    (("--hardware-compatible",), "--hardware-compatible: TensorRT for RTX"),
    (("-o", "folder.engine"), "-o folder.engine: expected a file name that ends in .engine"),
    (("-o", "net.plan"), "-o net.plan: expected a file name that ends in .engine"),
    (("-o", "file/net.engine"), "file"),
    (("-o", "link.engine"), "link.engine is the ONNX file as well, which would be lost"),
    (("-o", "x.engine", "--timing-cache", "x.engine"), "--timing-cache: x.engine is -o x.engine as well"),
    (("--flavour", "tensorrt"), "tensorrt cannot be imported"),
]


@pytest.mark.parametrize(("flags", "text"), REFUSALS)
def test_refusal_is_one_line_and_leaves_nothing(
    flags: tuple[str, ...],
    text: str,
    exported: Export,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernels_asked_for: list[Any],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.chdir(tmp_path)
    shutil.copy(exported("tramac fcn8s"), "net.onnx")
    Path("folder.engine").mkdir()
    Path("file").write_text("")
    Path("link.engine").symlink_to("net.onnx")
    before = sorted(os.listdir())
    capsys.readouterr()  # what the export may have printed
    default = () if "--sm" in flags else ("--sm", "89")
    assert build_engine.main(["net.onnx", *default, *flags]) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("build_engine: ") and text in printed.err and printed.err.count("\n") == 1
    assert printed.out == "" and sorted(os.listdir()) == before


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--min", "64x64"), "expected BATCHxHEIGHTxWIDTH such as 1x720x1280, got '64x64'"),
        (("--maxShapes", "images:1x64x64x3"), "expected a shape of the input frames, got one of 'images'"),
        (("--optShapes", "frames:1x64x64x4"), "expected 3 channels at the end, or none"),
        (("--profile", "1x64x64"), "expected MIN:OPT:MAX"),
        (("--workspace", "0"), "expected a whole number from 1"),
        (("--optimization-level", "6"), "expected a whole number from 0 to 5"),
        (("--sm", "8.9"), "expected a whole number from 10 to 999, got '8.9'"),
        (("--sm", "89", "--device", "0"), "not allowed with argument"),
    ],
)
def test_wrong_arguments(flags: tuple[str, ...], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_engine.main(["net.onnx", *flags])
    assert ended.value.code == 2 and text in capsys.readouterr().err


def test_without_a_gpu_the_way_out_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("fcn_export.engines.gpu_device._driver", lambda: (_ for _ in ()).throw(_no_gpu()))
    assert build_engine.main([str(model)]) == 1
    assert "finds no GPU to build for (no NVIDIA driver here); name the GPUs to build for, as in --sm 89 120" in (
        capsys.readouterr().err
    )


def _no_gpu() -> Exception:
    from fcn_export.engines.gpu_device import NoGpu

    return NoGpu("no NVIDIA driver here")


def test_missing_compiler_ends_a_build_with_kernels_but_not_one_with_the_graphs_tail(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(*asked: Any) -> list[dict[str, Any]]:
        raise ExportError("Triton is not installed; build with --tail graph")

    monkeypatch.setattr(compiling, "compile_kernels", missing)
    assert build_engine.main([str(model), *SMALL]) == 1
    assert capsys.readouterr().err == "build_engine: Triton is not installed; build with --tail graph\n"
    assert build_engine.main([str(model), *SMALL, "--tail", "graph"]) == 0
    assert "no kernels for resizing and video frames: Triton is not installed" in capsys.readouterr().err
    assert sidecar_of(model.with_suffix(".engine"))["kernels"] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_build_stops_and_leaves_the_old_engine(
    number: int,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    kernels_asked_for: list[Any],
    capfd: pytest.CaptureFixture[str],
) -> None:
    build_engine.main([str(model), *SMALL])
    before = {path.name: path.read_bytes() for path in model.parent.iterdir()}
    monkeypatch.setattr(builder, "progress_bar", lambda wanted: _KillAt(0.3, number))
    capfd.readouterr()
    assert build_engine.main([str(model), *SMALL, "--force"]) == 130
    assert capfd.readouterr().err == "build_engine: interrupted; nothing was written\n"
    assert {path.name: path.read_bytes() for path in model.parent.iterdir()} == before


class _KillAt:
    """A progress bar that sends this process a signal when the build has come so far."""

    def __init__(self, share: float, number: int):
        self._share, self._number = share, number

    def __enter__(self) -> Callable[[float, str], None]:
        return self._show

    def __exit__(self, *error: object) -> None:
        pass

    def _show(self, share: float, phase: str) -> None:
        assert share < 1, "the build went on"
        if share > self._share:
            os.kill(os.getpid(), self._number)


def test_crash_between_the_two_files_leaves_a_pair_that_does_not_match(
    model: Path, monkeypatch: pytest.MonkeyPatch, kernels_asked_for: list[Any]
) -> None:
    build_engine.main([str(model), *SMALL])
    engine, replaced = model.with_suffix(".engine"), os.replace

    def crash_at_the_sidecar(source: Path, target: Path) -> None:
        if target.name.endswith(".json"):
            raise OSError("the machine stopped")
        replaced(source, target)

    monkeypatch.setattr(os, "replace", crash_at_the_sidecar)
    assert build_engine.main([str(model), *SMALL, "--tail", "graph"]) == 1
    assert sidecar_of(engine)["engine"]["sha256"] != hashlib.sha256(engine.read_bytes()).hexdigest()
    assert sorted(path.name for path in engine.parent.iterdir()) == ["net.engine", "net.engine.json", "net.onnx"]


def test_verbose_prints_the_log(model: Path, kernels_asked_for: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    build_engine.main([str(model), *SMALL])
    assert capsys.readouterr().err == ""
    build_engine.main([str(model), *SMALL, "--force", "--verbose"])
    lines = capsys.readouterr().err.splitlines()
    assert any(line.startswith("[I] ") for line in lines) and any(line.startswith("[V] ") for line in lines)


def test_real_build_in_a_fresh_process_imports_no_torch(model: Path) -> None:
    arguments = [str(model), *SMALL]
    code = (
        "import sys; from fcn_export.commands import build_engine; "
        f"print(build_engine.main({arguments!r}), 'torch' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.splitlines()[-1:] == ["0 False"], run.stderr
    records = sidecar_of(model.with_suffix(".engine"))["kernels"]
    assert {record["name"] for record in records} == {"upsample_argmax", "resize", "nv12_to_rgb"}
    assert {record["sm"] for record in records} == {89}


def test_help_loads_neither_onnx_nor_tensorrt() -> None:
    code = (
        "import sys; from fcn_export.commands import build_engine; build_engine._parser().format_help(); "
        "print(*({'torch', 'onnx', 'tensorrt', 'tensorrt_rtx', 'triton', 'cuda'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "\n"


def test_missing_onnx_is_one_line(model: Path) -> None:
    code = (
        "import sys; sys.modules['onnx'] = None; from fcn_export.commands import build_engine; "
        f"sys.exit(build_engine.main([{str(model)!r}]))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 1 and run.stderr.count("\n") == 1 and "pip install onnx" in run.stderr


def test_tiny_networks_have_the_family_minimum() -> None:
    assert tiny("tramac fcn8s").min_size == 32  # which the refusals above rely on
