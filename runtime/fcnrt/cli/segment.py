"""`fcnrt segment`: pictures, videos, cameras and streams to labels, overlays, a window or the standard output."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from ..errors import FrameError, MediaError, needs, one_line
from ..segmenter import Segmenter
from ..serving import LiveServer
from ..video import Drawing, FrameSource, Labelled, Pipeline, Sink, open_source
from ..video.addresses import is_stream, public
from ..video.sinks import STDOUT, WINDOW, Material, open_sink
from ..video.sinks.push import Patience
from .argument_types import count, points, positive, seconds, share, size
from .jobs import Job, check_targets, is_folder, plan_jobs
from .outputs import add_output_arguments, live_server
from .terminal import complain, interrupts_end_at_once

T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt segment`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="picture, video, folder, glob pattern, rtsp:// or other address, camera:0, test:480x640@30*300",
    )
    parser.add_argument(
        "-o",
        "--output",
        help="folder to write to; of one input also a video (.mp4, .mkv, .mov), a picture (.png, .jpg ...), "
        "an address to push to (rtsp, rtmp, udp), or - for bare labels on the standard output",
    )
    parser.add_argument("--show", action="store_true", help="show overlays in a window (q closes it)")
    parser.add_argument("--labels", action="store_true", help="write labels: palette PNGs, or a video in exact colours")
    parser.add_argument(
        "--overlay", action="store_true", help="write overlays (default: labels and overlay; video: overlay)"
    )
    parser.add_argument("--alpha", type=share, default=0.5, help="opacity of the overlay's colours, 0 to 1 (0.5)")
    parser.add_argument("--boundaries", action="store_true", help="draw lines where classes meet")
    parser.add_argument("--legend", action="store_true", help="draw the classes' names")
    parser.add_argument("--stats", action="store_true", help="print rates, queues, latency and drops of each stage")
    parser.add_argument("--force", action="store_true", help="overwrite existing files")
    _add_model_arguments(parser.add_argument_group("model"))
    _add_stream_arguments(parser.add_argument_group("cameras and network streams"))
    add_output_arguments(parser.add_argument_group("pages for browsers"))
    parser.set_defaults(run=segment, refuse=parser.error)


def _add_model_arguments(group: Any) -> None:
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    group.add_argument("--threads", type=positive, help="threads of the engine on the CPU (all cores)")
    group.add_argument(
        "--input-size", type=size, metavar="HxW", help="resize frames to this for the network; labels keep their size"
    )
    group.add_argument("--no-graph", action="store_true", help="on GPUs, do not replay the network as a CUDA graph")
    group.add_argument(
        "--require-parity", type=points, metavar="POINTS", help="refuse a model not certified to lose at most these"
    )


def _add_stream_arguments(group: Any) -> None:
    group.add_argument(
        "--timeout", type=seconds, default=10.0, metavar="S", help="seconds without data before reconnecting (10)"
    )
    group.add_argument(
        "--rtsp-reconnect-interval",
        type=seconds,
        default=1.0,
        metavar="S",
        help="seconds before the first attempt to reconnect, doubled after each failure, 30 at most (1)",
    )
    group.add_argument(
        "--rtsp-reconnect-attempts",
        type=count,
        metavar="N",
        help="failures in a row that end the run (no limit)",
    )


def segment(options: argparse.Namespace) -> int:
    """Label the inputs; one that cannot be read is named and passed over, and makes the status 1."""
    if options.output is None and not options.show and options.serve is None:
        options.refuse("expected -o, --show or --serve, got none of them")
    jobs = plan_jobs(options.inputs, options.output, labels=options.labels, overlay=options.overlay)
    check_targets(jobs, options.force)
    if is_folder(options.output):
        Path(options.output).mkdir(parents=True, exist_ok=True)
    with live_server(options) as server:
        with interrupts_end_at_once():
            segmenter = _segmenter(options)
        with segmenter:
            run = _Run(segmenter, options, server)
            for job in progress(jobs, "file", hide=len(jobs) == 1):
                run.do(job)
    run.report()
    return 1 if run.failed else 0


def progress(items: Iterable[T], unit: str, total: int | None = None, hide: bool = False) -> Iterable[T]:
    """A progress bar on a terminal, nothing elsewhere."""
    with needs("tqdm"):
        from tqdm import tqdm
    return tqdm(items, unit=unit, total=total, disable=hide or None, leave=False)  # type: ignore[no-any-return]


class _Run:
    """All jobs of one call."""

    def __init__(self, segmenter: Segmenter, options: argparse.Namespace, server: LiveServer | None) -> None:
        self.frames = self.failed = 0
        self._segmenter, self._options, self._server = segmenter, options, server
        self._drawing = Drawing(
            segmenter.palette,
            options.alpha,
            boundaries=options.boundaries,
            legend=segmenter.classes if options.legend else None,
        )
        self._started = time.perf_counter()

    def do(self, job: Job) -> None:
        """Do a job; what is wrong with its input is printed and counted."""
        try:
            if job.is_picture:
                self._do_picture(job)
            else:
                self._do_sequence(job)
        except (MediaError, FrameError, MemoryError) as error:
            self.failed += 1
            complain(_about(job, str(error) or "out of memory"))

    def report(self) -> None:
        """Print what was done, apart from labels that go to the standard output."""
        output = self._options.output
        elapsed_s = time.perf_counter() - self._started
        text = f"{self.frames} frame{'s'[: self.frames != 1]} in {elapsed_s:.1f} s"
        if output and self.frames:
            text += f", files included -> {'standard output' if output == STDOUT else one_line(public(output))}"
        print(text, file=sys.stderr if output == STDOUT else sys.stdout)
        for note in self._drawing.notes:
            complain(note)

    def _do_picture(self, job: Job) -> None:
        with self._open(job) as source:
            frame = next(iter(source))
            labelled = Labelled(frame, self._segmenter(frame.pixels))
            for sink in self._sinks(job, source):
                with closing(sink):
                    sink.write(sink.draw(labelled))
        self.frames += 1

    def _do_sequence(self, job: Job) -> None:
        with self._open(job) as source:
            sinks = list(self._sinks(job, source))
            with Pipeline(source, self._segmenter, sinks) as pipeline:
                try:
                    # Closed, and so finished, before it is counted, even where Ctrl-C hits the progress bar.
                    with closing(iter(pipeline)) as results:
                        for _ in progress(results, "frame", total=source.frame_count):
                            pass
                finally:
                    self._account(pipeline, sinks)

    def _open(self, job: Job) -> FrameSource:
        options = self._options
        with interrupts_end_at_once():
            return open_source(
                job.source,
                timeout=options.timeout,
                reconnect_interval=options.rtsp_reconnect_interval,
                reconnect_attempts=options.rtsp_reconnect_attempts,
            )

    def _sinks(self, job: Job, source: FrameSource) -> Iterator[Sink]:
        has_audio = not is_stream(job.source) and Path(job.source).is_file()
        audio_from = job.source if has_audio else None
        options = self._options
        patience = Patience(options.timeout, options.rtsp_reconnect_interval, options.rtsp_reconnect_attempts)
        material = Material(source, self._drawing, self._segmenter.palette, audio_from, patience)
        for output in job.outputs:
            yield open_sink(output.where, output.content, material)
        if self._options.show:
            yield open_sink(WINDOW, "overlay", material)
        if self._server:
            yield self._server.stream(source, self._drawing, self._segmenter.classes, self._segmenter.palette)

    def _account(self, pipeline: Pipeline, sinks: list[Sink]) -> None:
        statistics = pipeline.statistics
        self.frames += statistics.delivered
        for sink in sinks:
            for note in getattr(sink, "notes", ()):
                complain(note)
        if self._options.stats:
            print(statistics, file=sys.stderr)
        elif statistics.faults:
            survived = ", ".join(f"{count} {name}" for name, count in statistics.faults.items())
            complain(f"survived: {survived}")


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


def _about(job: Job, text: str) -> str:
    """The text of an error with the name of the file or stream that it is about."""
    names = (public(job.source), *(public(output.where) for output in job.outputs))
    return text if text.startswith(names) else f"{names[0]}: {text}"
