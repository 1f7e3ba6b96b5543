"""The jobs of one call of `fcnrt segment`, one after the other."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from fractions import Fraction
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from ..errors import FcnrtError, first_line, one_line
from ..segmenter import Segmenter
from ..video import FrameSource, Pipeline, Sink, open_source
from ..video.addresses import camera, is_stream, public
from ..video.frames import Frame, Labelled
from ..video.pipeline import CLOSING_S
from ..video.sinks import STDOUT, WINDOW, Material, open_sink
from ..video.sinks.push import Patience
from .jobs import Job, is_folder
from .outputs import SideOutputs, coding_of
from .rasters import do_raster
from .selection import drawing_of, labelling_of, palette_of, selected_frames
from .terminal import complain, interrupts_end_at_once, progress, say
from .tiles import tell_of_tiles, tiles_shown


class Picture:
    """A picture of a job, which is read when it is first looked at.

    Args:
        job: says which.
        open_source: gives a source for it; raises MediaError.
    """

    def __init__(self, job: Job, open_source: Callable[[Job], FrameSource]):
        self.job, self._open_source = job, open_source

    @cached_property
    def source(self) -> FrameSource:
        return self._open_source(self.job)

    @cached_property
    def frame(self) -> Frame:
        return next(iter(self.source))


class Run:
    """All jobs of one call, with what came of them so far.

    Attributes:
        frames: that were labelled.
        failed: jobs that were not done to their end.
    """

    def __init__(
        self, segmenter: Segmenter, options: argparse.Namespace, side_outputs: SideOutputs, *, aside: bool = False
    ) -> None:
        self.frames = self.failed = 0
        self._aside, self._stopped = aside, False
        self._pipeline: Pipeline | None = None
        self._segmenter, self._options, self._side_outputs = segmenter, options, side_outputs
        self._drawing, self._labelling = drawing_of(segmenter, options), labelling_of(segmenter, options)
        self._started = time.perf_counter()

    def do_all(self, jobs: Iterable[Job]) -> Generator[Job, None, None]:
        """Do jobs in their order, and yield each when it is done; what goes wrong is as in `do`."""
        for are_pictures, group in groupby(jobs, lambda job: job.is_picture and not job.is_raster):
            if are_pictures:
                yield from self._do_pictures(group)
            else:
                for job in group:
                    self.do(job)
                    yield job

    def do(self, job: Job) -> None:
        """Do a job; what goes wrong with it is printed and counted, whatever it is: others are still to be done."""
        with self._attempt(job):
            if job.is_raster:
                do_raster(job, self._segmenter, self._options)
                self.frames += 1
            else:
                self._do_sequence(job)

    @contextlib.contextmanager
    def _attempt(self, job: Job) -> Iterator[None]:
        try:
            self._make_folders(job)
            self._drawing.begin()
            yield
        except Exception as error:
            if self._options.interrupted():  # it may be what a library made of the interrupt
                raise KeyboardInterrupt from None
            self.failed += 1
            complain(_about(job, _words(error)))

    def stop(self) -> None:
        """End the job that is being done, from another thread; what it has made becomes whole."""
        self._stopped = True
        if self._pipeline:
            self._pipeline.close()

    def close(self) -> None:
        """Let the engine go: one that lives when the process ends takes it down with it."""
        self._segmenter.close()

    def add(self, other: Run) -> None:
        """Take account of what was done beside this."""
        self.frames, self.failed = self.frames + other.frames, self.failed + other.failed
        _complain_of(other._drawing)

    @property
    def patience_s(self) -> float:
        """Seconds to wait, after `stop`, for a thread that may be held by a silent network."""
        return float(self._options.timeout) + CLOSING_S

    def report(self) -> None:
        """Print what was done, apart from labels that go to the standard output."""
        output = self._options.output
        elapsed_s = time.perf_counter() - self._started
        text = f"{self.frames} frame{'s'[: self.frames != 1]} in {elapsed_s:.1f} s"
        if output and self.frames:
            text += f", files included -> {'standard output' if output == STDOUT else one_line(public(output))}"
        print(text, file=sys.stderr if STDOUT in (output, self._options.events) else sys.stdout)
        _complain_of(self._drawing)

    def _make_folders(self, job: Job) -> None:
        if is_folder(self._options.output):
            for path in job.files:
                path.parent.mkdir(parents=True, exist_ok=True)

    def _do_pictures(self, jobs: Iterable[Job]) -> Iterator[Job]:
        """Write pictures while the engine works on the next ones, which are read ahead."""
        pictures = (Picture(job, self._open) for job in jobs)
        with closing(self._labelling.each(self._segmenter, pictures, self._segmenter.in_flight)) as results:
            for picture, labelled in results:
                with self._attempt(picture.job):
                    self._write_picture(picture, labelled)
                yield picture.job

    def _write_picture(self, picture: Picture, labelled: Callable[[], Labelled]) -> None:
        size = self._size_seen(picture.frame.pixels.shape[:2])
        with picture.source as source:
            with tiles_shown(self._segmenter, size, public(picture.job.source)):
                drawn_from = labelled()
            for sink in self._sinks(picture.job, source):
                with closing(sink):
                    sink.write(sink.draw(drawn_from))
            _complain_of(source)
        self.frames += 1

    def _size_seen(self, size: tuple[int, int]) -> tuple[int, int]:
        region = self._labelling.region
        return (region.height, region.width) if region else size

    def _do_sequence(self, job: Job) -> None:
        with self._open(job) as source:
            sinks = list(self._sinks(job, source))
            with Pipeline(source, self._segmenter, sinks, self._labelling) as pipeline:
                self._pipeline = pipeline
                if self._stopped:
                    pipeline.close()
                tell_of_tiles(self._segmenter, self._size_seen(source.size), public(job.source))
                try:
                    # Closed, and so finished, before it is counted, even where Ctrl-C hits the progress bar.
                    with closing(iter(pipeline)) as results:
                        for _ in progress(results, "frame", total=source.frame_count, hide=self._aside):
                            pass
                finally:
                    self._account(pipeline, [source, *sinks])

    def _open(self, job: Job) -> FrameSource:
        options = self._options
        with contextlib.nullcontext() if self._aside else interrupts_end_at_once():
            source = open_source(
                job.source,
                timeout=options.timeout,
                reconnect_interval=options.rtsp_reconnect_interval,
                reconnect_attempts=options.rtsp_reconnect_attempts,
                options=ffmpeg_options(job.source, options),
                form=None if camera(job.source) is not None else options.input_format,
                deinterlace=options.deinterlace,
                picture_rate=options.input_rate or Fraction(25),
                levels=options.levels,
                max_pixels=options.max_megapixels and options.max_megapixels * 1_000_000,
            )
        return selected_frames(source, options)

    def _sinks(self, job: Job, source: FrameSource) -> Iterator[Sink]:
        has_audio = not is_stream(job.source) and Path(job.source).is_file()
        audio_from = job.source if has_audio else None
        options = self._options
        patience = Patience(options.timeout, options.rtsp_reconnect_interval, options.rtsp_reconnect_attempts)
        material = Material(
            source,
            self._drawing,
            palette_of(self._segmenter, options),
            audio_from,
            patience,
            options.segment_time,
            grey_labels=options.label_format == "grey",
            coding=coding_of(options),
        )
        for output in job.outputs:
            yield open_sink(output.where, output.content, material)
        if options.show:
            yield open_sink(WINDOW, "overlay", material)
        yield from self._side_outputs.sinks(material, self._segmenter.classes)

    def _account(self, pipeline: Pipeline, parts: Iterable[FrameSource | Sink]) -> None:
        statistics = pipeline.statistics
        self.frames += statistics.delivered
        for part in parts:
            _complain_of(part)
        if self._options.stats:
            segmenter = self._segmenter
            say(f"{segmenter.engine} on {segmenter.device}, {segmenter.precision}\n{statistics}")
        elif statistics.faults:
            survived = ", ".join(f"{count} {name}" for name, count in statistics.faults.items())
            complain(f"survived: {survived}")


def ffmpeg_options(where: str, options: argparse.Namespace) -> dict[str, str]:
    """What the command line says to FFmpeg about an input, the user's own words last."""
    said = {"rtsp_transport": options.rtsp_transport, "framerate": options.input_rate}
    if camera(where) is not None:
        height, width = options.camera_size or (0, 0)
        said |= {"video_size": f"{width}x{height}" if width else None, "input_format": options.input_format}
    return {name: str(value) for name, value in said.items() if value} | dict(options.input_option)


def _complain_of(part: Any) -> None:
    """Print what a source, a sink or a drawing has noted."""
    for note in getattr(part, "notes", ()):
        complain(note)


def _words(error: Exception) -> str:
    """What is told of an error: its own words, where it was raised on purpose or by the system."""
    if isinstance(error, (FcnrtError, OSError)):
        return str(error) or type(error).__name__
    return "out of memory" if isinstance(error, MemoryError) else f"{type(error).__name__}: {first_line(error)}"


def _about(job: Job, text: str) -> str:
    """The text of an error with the name of the file or stream that it is about."""
    names = (public(job.source), *(public(output.where) for output in job.outputs))
    return text if text.startswith(names) else f"{names[0]}: {text}"
