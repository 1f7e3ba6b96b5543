"""The first quarter of an hour on a GPU host: everything prepared before, three calls, the most telling first.

python benchmarks/on_gpu.py prepare .gpu --sm 90 --checkpoint net.pth    here, where there is no GPU
python benchmarks/on_gpu.py list .gpu                                    what to transfer, with sizes
python3 benchmarks/on_gpu.py 1 .gpu --out out                            there: does it run at all
python3 benchmarks/on_gpu.py 2 .gpu --out out                            there: figures
python3 benchmarks/on_gpu.py 3 .gpu --out out                            there: TensorRT, and its lean runtime

--dry-run says of each step what it would need and whether it is there. A step that fails does not stop the others; what
it printed stands in --out, and its last lines are shown. Nothing is installed. FOLDER may hold ort.tar.xz (ONNX Runtime
with its CUDA provider, under site/) and a folder site/ of unpacked wheels, such as those of TensorRT's lean runtime.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import site
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("runtime", "export", "benchmarks", "tests/helpers", "tests")
TRANSFER_MIB, CALL_S, SHOWN = 64, 240, 12
PYTEST = ("-m", "pytest", "-W", "default", "-p", "no:cacheprovider", "--confcutdir=tests/gpu", "tests/gpu", "-rs")
MEASURED, RANDOM = "measured", "fcn_resnet50"
SHAPES = ("--min", "1x256x256", "--opt", "1x1080x1920", "--max", "1x1088x1920")
MAKE_RANDOM = """
import sys, torch
from fcn_export.commands import to_onnx
from fcn_export.families import TorchvisionFcn
torch.manual_seed(0)
torch.save(TorchvisionFcn().state_dict(), sys.argv[1])
sys.exit(to_onnx.main([sys.argv[1], "-o", sys.argv[2], "--precision", "fp16"]))
"""
RUN_LEAN = """
import sys
sys.modules["tensorrt"] = None
import numpy, fcnrt
frame = numpy.random.default_rng(0).integers(0, 256, (480, 640, 3), numpy.uint8)
with fcnrt.Segmenter(sys.argv[1]) as segment:
    print(segment, segment(frame).shape)
"""


@dataclass(frozen=True)
class Step:
    """One command of a call.

    Args:
        name: for its output's file.
        words: of this Python's command line.
        modules: that must be importable.
        files: that must be there.
    """

    name: str
    words: tuple[str, ...]
    modules: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()

    def lacks(self) -> list[str]:
        """What is not here."""
        files = [str(path) for path in self.files if not path.exists()]
        return [name for name in self.modules if not _is_there(name)] + files


def _is_there(module: str) -> bool:
    """Whether the Python that is started for a step would find it."""
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    return subprocess.run([sys.executable, "-c", code, module], stderr=subprocess.DEVNULL).returncode == 0


def steps(call: int, folder: Path, out: Path, scale: tuple[str, ...]) -> Iterator[Step]:
    """What a call runs, the most telling first."""
    if call == 1:
        yield Step("tests", (*PYTEST, "--maxfail=20"), ("pytest", "cuda.bindings"), (folder / "models",))
    if call == 2:
        yield from _figures(folder, out, scale)
    if call == 3:
        yield from _with_tensorrt(folder / f"{MEASURED}-fp16.onnx", out)
        yield from _with_tensorrt(out / f"{RANDOM}-fp16.onnx", out)
        yield Step("tests-tensorrt", (*PYTEST, "-k", "tensorrt"), ("pytest", "tensorrt"), (folder / "models",))


def _figures(folder: Path, out: Path, scale: tuple[str, ...]) -> Iterator[Step]:
    model, checkpoint = folder / f"{MEASURED}-fp16.onnx", folder / f"{MEASURED}.pth"
    modules = ("onnxruntime", "onnx", "torch", "cv2")
    words = (*_latency(model, out / f"latency-{MEASURED}.json"), "--checkpoint", str(checkpoint), *scale)
    yield Step(f"latency-{MEASURED}", words, modules, (model, checkpoint))
    large, weights = out / f"{RANDOM}-fp16.onnx", out / f"{RANDOM}.pth"
    yield Step(f"make-{RANDOM}", ("-c", MAKE_RANDOM, str(weights), str(large)), ("onnxruntime", "onnx", "torch"))
    words = (*_latency(large, out / f"latency-{RANDOM}.json"), "--checkpoint", str(weights))
    yield Step(f"latency-{RANDOM}", words, modules, (large,))
    rate = ("benchmarks/video_rate.py", str(model), "--device", "cuda", "-o", str(out / "video-rate.json"))
    yield Step("video-rate", (*rate, "--sizes", "1080x1920"), ("onnxruntime", "av"), (model,))


def _with_tensorrt(model: Path, out: Path) -> Iterator[Step]:
    engine, name = out / f"{model.stem}.engine", model.stem.removesuffix("-fp16")
    build = ("export/build_engine.py", str(model), "-o", str(engine), *SHAPES, "--version-compatible")
    yield Step(f"build-{name}", build, ("tensorrt", "onnx", "triton"), (model,))
    words = (*_latency(model, out / f"latency-trt-{name}.json"), "--engine", str(engine))
    yield Step(f"latency-trt-{name}", words, ("tensorrt", "onnx", "cv2"), (engine,))
    yield Step(f"lean-{name}", ("-c", RUN_LEAN, str(engine)), ("tensorrt_lean",), (engine,))


def _latency(model: Path, output: Path) -> tuple[str, ...]:
    sizes = ("--sizes", "480x640", "1080x1920")
    return (
        "benchmarks/latency.py",
        str(model),
        "--device",
        "cuda",
        "-o",
        str(output),
        *sizes,
        "--against",
        "ort",
        "torch",
    )


def prepare(folder: Path, sm: int, checkpoint: Path | None, scale: tuple[str, ...]) -> None:
    """Make what the host cannot or shall not make: tiny networks, kernels, the file to measure."""
    os.environ["PYTHONPATH"] = _python_path(folder)
    commands = [["tests/gpu/prepare.py", str(folder / "models"), "--sm", str(sm)]]
    if checkpoint is not None:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(checkpoint, folder / f"{MEASURED}.pth")
        model = folder / f"{MEASURED}-fp16.onnx"
        commands.append(
            ["export/to_onnx.py", str(checkpoint.resolve()), "-o", str(model), "--precision", "fp16", *scale]
        )
    for command in commands:
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True)
    show_transfers(folder)


def show_transfers(folder: Path) -> None:
    """Every file under a folder with its size; what does not go in one transfer is marked."""
    sizes = {path: path.stat().st_size / 2**20 for path in sorted(folder.rglob("*")) if path.is_file()}
    for path, mib in sizes.items():
        mark = "  too large for one transfer" if mib > TRANSFER_MIB else ""
        print(f"{mib:8.1f} MiB  {path.relative_to(folder)}{mark}")
    print(f"{sum(sizes.values()):8.1f} MiB in all, at most {TRANSFER_MIB} in a transfer, the source tree besides")


def carry_out(step: Step, out: Path, left_s: float) -> bool:
    """Run a step, keep what it prints, show its end; whether it succeeded."""
    started, log = time.perf_counter(), out / f"{step.name}.txt"
    with log.open("w", encoding="utf-8") as file:
        try:
            done = subprocess.run(
                [sys.executable, *step.words], cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, timeout=max(left_s, 1)
            )
            status = f"status {done.returncode}"
        except subprocess.TimeoutExpired:
            status = "stopped, its time was over"
    print(f"{step.name}: {status} after {time.perf_counter() - started:.0f} s, {log}")
    print("\n".join(f"    {line}" for line in log.read_text(encoding="utf-8").splitlines()[-SHOWN:]), flush=True)
    return status == "status 0"


def run_call(call: int, folder: Path, out: Path, scale: tuple[str, ...], dry_run: bool) -> bool:
    """All steps of a call; whether every one of them ran and succeeded."""
    kit = _unpacked(folder / "ort.tar.xz") if not dry_run else None
    os.environ["PYTHONPATH"] = _python_path(folder, kit)
    places = [*site.getsitepackages(), *os.environ["PYTHONPATH"].split(os.pathsep)]
    libraries = [str(path) for place in places for path in Path(place).glob("nvidia/*/lib")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, os.environ.get("LD_LIBRARY_PATH", "")])
    os.environ["FCNRT_GPU_MODELS"] = str(folder / "models")
    out.mkdir(parents=True, exist_ok=True)
    end, fine = time.perf_counter() + CALL_S, True
    for step in steps(call, folder, out, scale):
        lacks = step.lacks()
        if dry_run or lacks:
            print(f"{step.name}: python3 {shlex.join(step.words)[:300]}")
            print(f"    lacks {', '.join(lacks)}" if lacks else "    has all that it needs", flush=True)
            fine = fine and not lacks
        else:
            fine = carry_out(step, out, end - time.perf_counter()) and fine
    return fine


def _python_path(folder: Path, kit: Path | None = None) -> str:
    own = [str(ROOT / name) for name in SOURCES]
    return os.pathsep.join([*own, *([str(kit / "site")] if kit else []), str(folder / "site")])


def _unpacked(archive: Path) -> Path | None:
    if not archive.is_file():
        return None
    target = Path(tempfile.gettempdir()) / "fcnrt-ort"
    if not target.exists():
        with tarfile.open(archive) as file:
            file.extractall(target, filter="data")
    return target


def main() -> int:
    """Run the command line; the exit status is 0, 1 where a step lacks something or fails, 2 for wrong arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "list", "1", "2", "3"))
    parser.add_argument("folder", type=Path, help="of what is transferred")
    parser.add_argument("--sm", type=int, default=90, help="prepare: compute capability, 90 for 9.0 (90)")
    parser.add_argument("--checkpoint", type=Path, help="prepare: the network to measure")
    parser.add_argument("--input-scale", default="", help="of the checkpoint, as for export/to_onnx.py")
    parser.add_argument("--out", type=Path, default=Path("out"), help="1, 2, 3: folder for what is to come back (out)")
    parser.add_argument("--dry-run", action="store_true", help="1, 2, 3: run nothing, say what each step needs")
    options = parser.parse_args()
    folder, scale = options.folder.resolve(), ("--input-scale", options.input_scale) if options.input_scale else ()
    if options.what == "prepare":
        prepare(folder, options.sm, options.checkpoint, scale)
    elif options.what == "list":
        show_transfers(folder)
    else:
        return 0 if run_call(int(options.what), folder, options.out.resolve(), scale, options.dry_run) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
