"""The command line: `fcnrt segment` and `fcnrt info`, also as `python -m fcnrt`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import __version__
from .backends import read_certificate, read_spec
from .certificate import checked_points
from .errors import FcnrtError, FrameError, MediaError, MissingDependency, ModelFileError
from .palette import overlay
from .segmenter import Segmenter
from .sidecar import Sidecar, read_sidecar
from .video import VideoReader, VideoWriter, find_inputs, is_video, read_image, write_image, write_labels

FALLBACK_RATE = 25.0  # frames per second of a video that does not tell


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the status is 0, 1 for an error (one line on stderr), 2 for wrong arguments."""
    options = _parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # names in any script, any terminal
    try:
        return int(options.run(options))
    except (FcnrtError, OSError, MemoryError) as error:
        print(f"fcnrt: {_one_line(error) or 'out of memory'}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("fcnrt: interrupted; the files written so far are whole", file=sys.stderr)
        return 130


@dataclass(frozen=True)
class Job:
    """One input and the files to make of it; None for what is not wanted."""

    source: Path
    labels: Path | None
    overlay: Path | None

    @property
    def targets(self) -> list[Path]:
        return [path for path in (self.labels, self.overlay) if path is not None]


def segment(options: argparse.Namespace) -> int:
    """Label pictures and videos; an input that cannot be read is named and passed over, and makes the status 1."""
    jobs = [_job(source, options) for source in find_inputs(options.inputs)]
    _check_targets(jobs, options.force)
    options.output.mkdir(parents=True, exist_ok=True)
    frames = failed = 0
    with _segmenter(options) as segmenter:
        started = time.perf_counter()
        for job in _progress(jobs, "file", hide=len(jobs) == 1):
            try:
                run = _segment_video if is_video(job.source) else _segment_picture
                frames += run(segmenter, job, options.alpha)
            except (MediaError, FrameError, MemoryError) as error:
                failed += 1
                text = str(error).removeprefix(f"{job.source}: ") or "out of memory"
                print(f"fcnrt: {_one_line(f'{job.source}: {text}')}", file=sys.stderr)
    seconds = time.perf_counter() - started
    print(f"{frames} frame{'s'[: frames != 1]} in {seconds:.1f} s, files included -> {options.output}")
    return 1 if failed else 0


def info(options: argparse.Namespace) -> int:
    """Print what a model file says of itself."""
    spec = read_spec(options.model)
    tail = spec.tail
    print(f"{options.model}")
    print(f"  network     {spec.family} {spec.variant}, made by {spec.tool}")
    print(f"  classes     {len(spec.classes)}: {', '.join(spec.classes)}")
    print(f"  palette     {spec.palette if isinstance(spec.palette, str) else 'its own'}")
    print(f"  frames      uint8 {spec.color}, from {spec.min_size}x{spec.min_size} up")
    print(f"  trained on  (frame * {spec.scale:.6g} - {_triple(spec.mean)}) / {_triple(spec.std)}")
    print(f"  precision   {spec.precision}")
    print(f"  tail        {tail.kind}" + (f", stride {tail.stride}, offset {tail.offset}" if tail.stride else ""))
    print(f"  checkpoint  sha256 {spec.checkpoint_sha256}")
    if options.model.suffix == ".engine":
        _print_engine(read_sidecar(options.model))
    _print_parity(options.model)
    return 0


def _segmenter(options: argparse.Namespace) -> Segmenter:
    return Segmenter(
        options.model,
        device=options.device,
        threads=options.threads,
        color="rgb",
        input_size=options.input_size,
        graphs=not options.no_graph,
        require_parity=options.require_parity,
    )


def _print_engine(engine: Sidecar) -> None:
    output = f"scores ({engine.scores_type})" if engine.output == "scores" else "labels"
    kernels = sorted({record["name"] for record in engine.kernels})
    print(f"  engine      {engine.flavour} {engine.version}, for compute capability {engine.capabilities}")
    for profile in engine.profiles:
        low, usual, high = ("x".join(map(str, shape)) for shape in (profile.min, profile.opt, profile.max))
        print(f"  profile     {low} to {high}, fastest at {usual} (batch x height x width)")
    print(f"  output      {output}; kernels: {', '.join(kernels) or 'none'}")
    print(f"  layers      {_convolutions(engine.layers.get('network') or {})} as parsed")


def _print_parity(path: Path) -> None:
    try:
        found = read_certificate(path)
    except ModelFileError as error:
        print(f"  parity      none: {str(error).removeprefix(f'{path}: ')}")
        return
    lost, versions = found.points_lost, ", ".join(f"{name} {version}" for name, version in found.versions.items())
    print(
        f"  parity      {abs(lost):.4f} points of mean IoU {'lost' if lost > 0 else 'gained'} "
        f"({100 * found.reference_miou:.3f} to {100 * found.miou:.3f}, `{found.metric}`), "
        f"{found.agreement:.4%} of labels equal, {found.frames} frames of {found.data}"
    )
    print(f"              on {found.device} ({found.hardware}), {found.date}, {versions}")


def _convolutions(census: Mapping[str, Mapping[str, int]]) -> str:
    """How many convolutions there are of each precision, transposed ones among them."""
    found: Counter[str] = Counter()
    for kind, counts in census.items():
        if "convolution" in kind:
            found.update(counts)
    return ", ".join(f"{count} convolutions in {precision}" for precision, count in found.items()) or "none counted"


def _job(source: Path, options: argparse.Namespace) -> Job:
    video = is_video(source)
    chosen = options.labels or options.overlay
    want_labels = options.labels or not (chosen or video)
    want_overlay = options.overlay or not chosen
    labels = options.output / (f"{source.stem}_labels" + ("" if video else ".png"))
    overlaid = options.output / (f"{source.stem}_overlay" + (".mp4" if video else ".png"))
    return Job(source, labels if want_labels else None, overlaid if want_overlay else None)


def _check_targets(jobs: Sequence[Job], force: bool) -> None:
    """Nothing is overwritten by surprise: no input, nothing that another input makes, and what exists not unasked."""
    makers: dict[Path, Path] = {}
    inputs = {job.source.resolve() for job in jobs}
    protected = inputs.union(*(source.parents for source in inputs))
    for job in jobs:
        for target in job.targets:
            if target.resolve() in protected:
                raise MediaError(f"{target} would overwrite an input; choose another -o")
            if target in makers:
                raise MediaError(f"{job.source} and {makers[target]} would both make {target}; name them in two calls")
            if target.exists() and not force:
                raise MediaError(f"{target} exists; add --force to overwrite it, or choose another -o")
            makers[target] = job.source


def _segment_picture(segmenter: Segmenter, job: Job, alpha: float) -> int:
    frame = read_image(job.source)
    labels, palette = segmenter(frame), segmenter.palette
    if job.labels:
        write_labels(job.labels, labels, palette)
    if job.overlay:
        write_image(job.overlay, overlay(frame, labels, palette, alpha))
    return 1


def _segment_video(segmenter: Segmenter, job: Job, alpha: float) -> int:
    with VideoReader(job.source) as reader:
        results = segmenter.stream(_progress(reader, "frame", total=reader.frame_count))
        rate = reader.rate or FALLBACK_RATE
        with VideoWriter(job.overlay, rate, reader.size) if job.overlay else nullcontext() as writer:
            return _write_video(results, segmenter.palette, job, writer, alpha)


def _write_video(
    results: Iterator[tuple[Any, Any]], palette: Any, job: Job, writer: VideoWriter | None, alpha: float
) -> int:
    if job.labels:
        job.labels.mkdir(exist_ok=True)
        for stale in job.labels.glob("[0-9]" * 6 + ".png"):  # with --force: frames of a longer run must not stay
            stale.unlink()
    count = 0
    for count, (frame, labels) in enumerate(results, start=1):
        if job.labels:
            write_labels(job.labels / f"{count - 1:06d}.png", labels, palette)
        if writer:
            writer.write(overlay(frame, labels, palette, alpha, out=frame))
    return count


def _progress(items: Iterable[Any], unit: str, total: int | None = None, hide: bool = False) -> Iterable[Any]:
    """A progress bar on a terminal, nothing elsewhere."""
    try:
        from tqdm import tqdm
    except ImportError as error:
        raise MissingDependency("the command line needs tqdm: pip install 'fcnrt[video]'") from error
    return tqdm(items, unit=unit, total=total, disable=hide or None, leave=False)  # type: ignore[no-any-return]


def _one_line(error: object) -> str:
    """The text of an error, control characters escaped: file names may hold any."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in str(error))


def _terminate(signum: int, frame: object) -> None:
    """End as by Ctrl-C, so that nothing half-written stays."""
    raise KeyboardInterrupt


def _triple(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="fcnrt", description="Per-pixel labels from exported FCN checkpoints.")
    parser.add_argument("--version", action="version", version=f"fcnrt {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_segment(commands.add_parser("segment", help="label pictures and videos"))
    about = commands.add_parser("info", help="print what a model file says of itself")
    about.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    about.set_defaults(run=info)
    return parser


def _add_segment(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="picture, video, folder or glob pattern")
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--labels", action="store_true", help="write labels: palette PNGs (video: a folder of them)")
    parser.add_argument(
        "--overlay", action="store_true", help="write overlays (default: labels and overlay; video: overlay)"
    )
    parser.add_argument("--alpha", type=_share, default=0.5, help="opacity of the overlay's colours, 0 to 1 (0.5)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    parser.add_argument("--threads", type=_positive, help="threads of the engine on the CPU (all cores)")
    parser.add_argument(
        "--input-size", type=_size, metavar="HxW", help="resize frames to this for the network; labels keep their size"
    )
    parser.add_argument("--no-graph", action="store_true", help="on GPUs, do not replay the network as a CUDA graph")
    parser.add_argument(
        "--require-parity", type=_points, metavar="POINTS", help="refuse a model not certified to lose at most these"
    )
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    parser.set_defaults(run=segment)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text!r}")
    return value


def _points(text: str) -> float:
    try:
        return checked_points(float(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected points of mean IoU such as 0.1, got {text!r}") from None


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"expected HEIGHTxWIDTH, such as 512x1024, got {text!r}")
    return int(height), int(width)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text!r}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
