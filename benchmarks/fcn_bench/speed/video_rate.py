"""A clip through every stage of a pipeline alone, through the pipeline, and through a plain loop, in turns."""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fcnrt import Segmenter
from fcnrt.video import Drawing, OverlayVideo, Pipeline, VideoWriter, open_source

from ..data import scenes
from ..status import status
from .timing import spread

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


def rows(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row for each clip and network, as benchmarks/video_rate.py asks for them.

    Raises:
        FcnrtError: model or video cannot be opened.
    """
    threads, device = options.threads, options.device
    with Segmenter(options.model, threads=threads, device=device) as segmenter, tempfile.TemporaryDirectory() as name:
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
        status(f"{network}: round {turn} of {iterations}")
        for name in np.random.default_rng(turn).permutation(list(runs)):
            started = time.perf_counter()
            runs[name]()
            if turn:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    slowest = np.max([seconds[stage] for stage in STAGES], axis=0)
    return {
        "network": network,
        "size": list(clip.size),
        "frames": len(clip),
        "fps": {name: len(clip) / float(np.median(values)) for name, values in seconds.items()},
        "of_slowest_stage": spread(slowest / np.array(seconds["pipeline"])),
        "of_loop": spread(np.array(seconds["loop"]) / np.array(seconds["pipeline"])),
    }


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
