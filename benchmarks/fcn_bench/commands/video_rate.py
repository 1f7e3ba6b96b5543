"""How near a pipeline comes to its slowest stage alone: decode, segment, draw and encode, side by side.

python benchmarks/video_rate.py model.onnx --sizes 480x640 720x1280
python benchmarks/video_rate.py model.onnx --video street.mp4

In each round the same clip passes through every stage alone, through the pipeline, and through a plain loop that does
one thing after the other. Two networks: the model itself, and a stand-in that keeps a frame as long as --wait says and
leaves the processor alone, as a GPU does; with it the rest of the pipeline shows what it costs. Nothing is timed
against a warm cache: all frames of the clip are decoded anew each time.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fcn_export.command_line import add_version, run_command
from fcnrt import Segmenter
from fcnrt.video import Drawing, OverlayVideo, Pipeline, VideoWriter, open_source

from ..arguments import size, whole_number
from ..data import scenes
from ..machine import environment, load_average
from ..result_files import now, shown, write_result
from ..speed.timing import spread

PACKAGES = ("av", "numpy", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt-rtx")
STAGES = ("decode", "segment", "draw", "encode")


class StandIn:
    """A network that keeps each frame for a while without using the processor; its labels are drawn beforehand."""

    def __init__(self, labels_hw: Any, wait_ms: float) -> None:
        self._labels_hw, self._wait_s, self.in_flight = labels_hw, wait_ms / 1e3, 1

    def stream(self, frames: Iterable[Any], depth: int = 3, **options: Any) -> Iterator[tuple[Any, Any]]:
        """(frame, labels) of each frame, in order, as a Segmenter's; the frames are not looked at."""
        for frame in frames:
            time.sleep(self._wait_s)
            yield frame, self._labels_hw


class Clip:
    """A clip and what its stages do with it, each alone or all together.

    Args:
        video: the clip.
        network: a Segmenter, or a stand-in for one.
        drawing: draws the overlays.
        folder: for what is written.
    """

    def __init__(self, video: Path, network: Any, drawing: Drawing, folder: Path) -> None:
        self._video, self._network, self._drawing = video, network, drawing
        self._output = folder / "overlay.mp4"
        with open_source(video) as source:
            self._frames = list(source)
            self.size = source.size
        pixels = [frame.pixels for frame in self._frames]
        self._labels = [labels for _, labels in network.stream(pixels)]
        self._pictures = [drawing(*pair) for pair in zip(pixels, self._labels, strict=True)]

    def __len__(self) -> int:
        return len(self._frames)

    def decode(self) -> None:
        with open_source(self._video) as source:
            for _ in source:
                pass

    def segment(self) -> None:
        for _ in self._network.stream([frame.pixels for frame in self._frames]):
            pass

    def draw(self) -> None:
        for frame, labels in zip(self._frames, self._labels, strict=True):
            self._drawing(frame.pixels, labels)

    def encode(self) -> None:
        with VideoWriter(self._output, 25, self.size) as writer:
            for frame, picture in zip(self._frames, self._pictures, strict=True):
                writer.write(picture, frame.time)

    def pipeline(self) -> None:
        with open_source(self._video) as source:
            Pipeline(source, self._network, [OverlayVideo(self._output, source, self._drawing)]).run()

    def loop(self) -> None:
        """One thing after the other, as a plain script has it."""
        with open_source(self._video) as source, VideoWriter(self._output, 25, self.size) as writer:
            for frame in source:
                [(_, labels)] = self._network.stream([frame.pixels])
                writer.write(self._drawing(frame.pixels, labels), frame.time)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 for an error (one line on stderr), 2 for wrong arguments."""
    options = _parser().parse_args(argv)
    command = ["benchmarks/video_rate.py", *shown(sys.argv[1:] if argv is None else argv)]
    return run_command("video_rate", lambda: measure(options, command))


def measure(options: argparse.Namespace, command: list[str]) -> None:
    """Measure, print and write the result.

    Raises:
        FcnrtError: the model or a video cannot be used.
        OSError: the result cannot be written.
    """
    result = {
        "benchmark": "video-rate",
        "command": command,
        "date": now(),
        "environment": {**environment(PACKAGES), "threads": options.threads or os.cpu_count()},
        "rows": list(_rows(options)),
    }
    write_result(result, options.json)
    print(f"wrote {options.json}")


def _rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    with Segmenter(options.model, threads=options.threads, device=options.device) as segmenter:
        print(f"load average {load_average()}; rates in frames per second, medians of {options.iterations} rounds")
        with tempfile.TemporaryDirectory() as name:
            for video in _videos(options, Path(name)):
                drawing = Drawing(segmenter.palette)
                with open_source(video) as source:
                    labels_hw = segmenter(next(iter(source)).pixels)
                networks = {
                    options.model.name: segmenter,
                    f"waits {options.wait:g} ms": StandIn(labels_hw, options.wait),
                }
                for title, network in networks.items():
                    yield _row(title, Clip(video, network, drawing, Path(name)), options.iterations)


def _row(network: str, clip: Clip, iterations: int) -> dict[str, Any]:
    runs: dict[str, Callable[[], None]] = {name: getattr(clip, name) for name in (*STAGES, "pipeline", "loop")}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(iterations + 1):
        for name in np.random.default_rng(turn).permutation(list(runs)):
            started = time.perf_counter()
            runs[name]()
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    slowest = np.max([seconds[stage] for stage in STAGES], axis=0)
    row = {
        "network": network,
        "size": list(clip.size),
        "frames": len(clip),
        "fps": {name: len(clip) / float(np.median(values)) for name, values in seconds.items()},
        "of_slowest_stage": spread(slowest / np.array(seconds["pipeline"])),
        "of_loop": spread(np.array(seconds["loop"]) / np.array(seconds["pipeline"])),
    }
    _print(row)
    return row


def _print(row: dict[str, Any]) -> None:
    rates = ", ".join(f"{name} {fps:.1f}" for name, fps in row["fps"].items())
    print(f"{row['size'][0]}x{row['size'][1]}, {row['network']}: {rates}")
    for key, text in (("of_slowest_stage", "of its slowest stage alone"), ("of_loop", "times the plain loop")):
        found = row[key]
        print(f"  the pipeline runs at {found['median']:.3f} {text} ({found['p10']:.3f} to {found['p90']:.3f})")


def _videos(options: argparse.Namespace, folder: Path) -> Iterator[Path]:
    if options.video:
        yield options.video
        return
    for height, width in options.sizes:
        path = folder / f"{height}x{width}.mp4"
        with VideoWriter(path, scenes.FRAME_RATE, (height, width)) as writer:
            for frame_hwc, _ in scenes.drive(np.random.default_rng(0), options.frames, height, width):
                writer.write(frame_hwc)
        yield path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="video_rate.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_version(parser)
    add = parser.add_argument
    add("model", type=Path, help="exported .onnx file or engine")
    add("--sizes", type=size, nargs="+", default=[(480, 640)], metavar="HxW", help="of drawn clips (480x640)")
    add("--frames", type=whole_number, default=50, metavar="N", help="of drawn clips (50)")
    add("--video", type=Path, help="a clip to take instead")
    add("--wait", type=float, default=20.0, metavar="MS", help="how long the stand-in keeps a frame (20)")
    add("--iterations", type=whole_number, default=10, metavar="N", help="rounds (10)")
    add("--threads", type=whole_number, metavar="N", help="of the network on the CPU (all cores)")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    add("--json", type=Path, default=Path("benchmarks/results/video-rate.json"), help="to write")
    return parser
