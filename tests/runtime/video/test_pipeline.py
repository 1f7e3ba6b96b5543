"""The order of work in a pipeline, its drops, its errors and its end."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from fractions import Fraction
from typing import Any

import pytest

from fcnrt.errors import FrameError, MediaError, UsageError
from fcnrt.video.channels import Stage
from fcnrt.video.frames import Frame, Labelled, StopRequested
from fcnrt.video.pipeline import Pipeline
from stand_ins import Segmenter, Sink, Source, failing_at

PATIENCE_S = 20


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE_S)
    assert set(threading.enumerate()) <= before


def test_every_frame_of_a_file_reaches_every_sink_in_order() -> None:
    sinks = [Sink("fast"), Sink("slow", lambda number: time.sleep(0.001))]
    source, segmenter = Source(300), Segmenter()
    statistics = Pipeline(source, segmenter, sinks).run()
    assert all(sink.numbers == list(range(300)) and sink.closed == 1 for sink in sinks)
    assert source.closed and segmenter.depths == [Segmenter.in_flight]
    assert (statistics.decoded, statistics.labelled, statistics.delivered, statistics.dropped) == (300, 300, 300, 0)
    names = ["decode", "segment", "draw fast", "write fast", "draw slow", "write slow"]
    assert [(stage.name, stage.frames) for stage in statistics.stages] == [(name, 300) for name in names]


def test_a_live_source_has_one_frame_in_flight() -> None:
    """Two at once would each be later, and there latency counts."""
    segmenter = Segmenter()
    Pipeline(Source(5, live=True), segmenter).run()
    assert segmenter.depths == [1]


def test_it_is_an_iterator_of_frames_and_labels() -> None:
    with Pipeline(Source(7), Segmenter()) as pipeline:
        got = [(frame.number, frame.time, int(labels[0, 0])) for frame, labels in pipeline]
    assert got == [(number, Fraction(number, 25), number) for number in range(7)]


def test_the_stages_overlap() -> None:
    """Each of three stages holds a frame until the two others hold one too: one after the other would never end."""
    together = threading.Barrier(3, timeout=PATIENCE_S)

    def meet(number: int) -> None:
        if 0 <= number < 4:
            together.wait()

    source, segmenter = Source(9, before=lambda number: meet(number - 2)), Segmenter(lambda red: meet(red - 1))
    sink = Sink(before=meet)
    Pipeline(source, segmenter, [sink]).run()
    assert sink.numbers == list(range(9))


@pytest.mark.parametrize("slow", ["segment", "reader", "draw"])
def test_whoever_is_slow_gets_the_newest_frame_of_a_live_source_next(slow: str) -> None:
    """It holds its first frame until the last of all lies before it: that one must be the next that it gets."""
    last, held, lies_ready = 49, threading.Event(), threading.Event()
    took: dict[str, list[int]] = {"segment": [], "draw": [], "reader": []}

    def take(who: str, number: int) -> None:
        took[who].append(number)
        if who == slow and number == 0:
            held.set()
            assert lies_ready.wait(PATIENCE_S)

    class LiveSource(Source):
        def __iter__(self) -> Iterator[Frame]:
            yield from super().__iter__()
            if slow == "segment":
                lies_ready.set()

    class LiveSegmenter(Segmenter):
        def stream(self, frames: Any, depth: int, **options: Any) -> Iterator[tuple[Any, Any]]:
            yield from super().stream(frames, depth, **options)
            if slow == "reader":
                lies_ready.set()

    class LiveSink(Sink):
        def draw(self, labelled: Labelled) -> int:
            take("draw", labelled.frame.number)
            return super().draw(labelled)

    source = LiveSource(last + 1, live=True, before=lambda number: number == 0 or held.wait(PATIENCE_S))
    segmenter, sink = LiveSegmenter(lambda red: take("segment", red)), LiveSink()
    with Pipeline(source, segmenter, [sink]) as pipeline:
        for frame, _ in pipeline:
            take("reader", frame.number)
            if slow == "draw" and frame.number == last:
                lies_ready.set()
    statistics = pipeline.statistics
    assert took[slow] == [0, last] and sink.numbers[-1] == last
    assert segmenter.depths == [1]  # a second frame in flight would make the first one's labels wait for it
    assert statistics.decoded == last + 1 == statistics.delivered + statistics.dropped
    drawn = next(stage for stage in statistics.stages if stage.name == "draw sink")
    assert drawn.frames + drawn.dropped == statistics.delivered


def test_an_error_of_the_source_comes_after_its_frames_and_the_sinks_finish() -> None:
    sink, source = Sink(), Source(50, before=failing_at(20, MediaError("ends early")))
    with pytest.raises(MediaError, match="ends early"):
        Pipeline(source, Segmenter(), [sink]).run()
    assert sink.numbers == list(range(20)) and sink.closed == 1 and source.closed


def test_an_error_of_the_network_comes_after_its_frames_and_the_sinks_finish() -> None:
    sink = Sink()
    with pytest.raises(FrameError, match="too large"):
        Pipeline(Source(50), Segmenter(failing_at(11, FrameError("too large"))), [sink]).run()
    assert sink.numbers == list(range(11)) and sink.closed == 1


def test_a_sink_that_fails_ends_the_run_and_the_others_finish() -> None:
    full, other = Sink("full", failing_at(9, MediaError("no space left"))), Sink("other")
    source = Source(5000)
    with pytest.raises(MediaError, match="no space left"):
        Pipeline(source, Segmenter(), [full, other]).run()
    assert full.numbers == list(range(9)) and full.closed == other.closed == 1 and source.closed
    assert other.numbers == list(range(len(other.numbers))) and 9 < len(other.numbers) < 5000


@pytest.mark.parametrize("error", [MediaError("cannot finish"), ZeroDivisionError("cannot finish")])
def test_a_sink_that_cannot_be_closed_does_not_keep_the_others_open(error: Exception) -> None:
    class Stuck(Sink):
        def close(self) -> None:
            super().close()
            raise error

    sinks, source = [Stuck(), Sink()], Source(5)
    with pytest.raises(type(error), match="cannot finish"):
        Pipeline(source, Segmenter(), sinks).run()
    assert [sink.closed for sink in sinks] == [1, 1] and sinks[1].numbers == list(range(5)) and source.closed


def test_a_sink_beside_the_callers_thread_may_end_the_run_too() -> None:
    enough, other = Sink("enough", failing_at(4, StopRequested())), Sink("other")
    Pipeline(Source(5000), Segmenter(), [enough, other]).run()
    assert enough.numbers == list(range(4)) and enough.closed == other.closed == 1 and len(other.numbers) < 5000


def test_a_sink_named_twice_is_refused() -> None:
    """Two threads in one encoder would bring the process down."""
    sink = Sink()
    with pytest.raises(UsageError, match="expected each one once"):
        Pipeline(Source(2), Segmenter(), [sink, Sink(), sink])


@pytest.mark.parametrize("how", ["break", "close", "interrupt"])
def test_leaving_early_finishes_the_sinks(how: str) -> None:
    sink, source = Sink(), Source(100_000)
    pipeline = Pipeline(source, Segmenter(), [sink])
    with pytest.raises(KeyboardInterrupt) if how == "interrupt" else pipeline, closing(iter(pipeline)) as results:
        for frame, _ in results:
            if frame.number == 6 and how == "break":
                break
            if frame.number == 6 and how == "close":
                pipeline.close()
            if frame.number == 6 and how == "interrupt":
                raise KeyboardInterrupt
    assert sink.numbers == list(range(7)) and sink.closed == 1 and source.closed


def test_an_interrupt_while_it_finishes_leaves_nothing_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    join, interrupts = Stage.join, [KeyboardInterrupt()]

    def interrupted(stage: Stage[Any], timeout_s: float | None = None) -> None:
        if interrupts:
            raise interrupts.pop()
        join(stage, timeout_s)

    monkeypatch.setattr(Stage, "join", interrupted)
    sinks, source = [Sink("one"), Sink("other")], Source(9)
    with pytest.raises(KeyboardInterrupt):
        Pipeline(source, Segmenter(), sinks).run()
    assert all(sink.numbers == list(range(9)) and sink.closed for sink in sinks) and source.closed


def test_an_interrupt_while_threads_start_ends_them(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Stage.start

    def interrupted(stage: Stage[Any]) -> None:
        if stage.name == "segment":
            raise KeyboardInterrupt
        start(stage)

    monkeypatch.setattr(Stage, "start", interrupted)
    sink, source = Sink(), Source(100_000)
    with pytest.raises(KeyboardInterrupt):
        Pipeline(source, Segmenter(), [sink]).run()
    assert sink.closed and source.closed


def test_a_window_runs_in_the_callers_thread_and_may_end_the_run() -> None:
    class Window(Sink):
        in_main_thread = True

        def write(self, drawn: int) -> None:
            assert threading.current_thread() is threading.main_thread()
            super().write(drawn)
            if drawn == 4:
                raise StopRequested

    window, sink = Window("window"), Sink()
    Pipeline(Source(1000), Segmenter(), [sink, window]).run()
    assert window.numbers == list(range(5)) and window.closed == sink.closed == 1
    assert sink.numbers == list(range(4))


def test_a_pipeline_runs_once() -> None:
    pipeline = Pipeline(Source(2), Segmenter())
    pipeline.run()
    with pytest.raises(UsageError, match="it has run already"):
        pipeline.run()


def test_statistics_say_where_frames_are_and_what_was_survived() -> None:
    source = Source(40)
    source.faults = Counter({"corrupt packets": 3})
    pipeline = Pipeline(source, Segmenter(), [Sink("file")])
    assert pipeline.statistics.seconds == 0 and pipeline.statistics.rate == 0
    statistics = pipeline.run()
    lines = str(statistics).splitlines()
    assert " ".join(lines[0].split()) == "stage frames per second at work queue dropped age ms p50 p99"
    assert [line.split()[0] for line in lines[1:-1]] == ["decode", "segment", "draw", "write"]
    assert lines[-1].endswith("; 40 decoded, 0 dropped, 3 corrupt packets") and lines[-1].startswith("40 frames in ")
    ages = [stage.age_ms[0] for stage in statistics.stages]
    assert ages == sorted(ages) and all(stage.rate for stage in statistics.stages)


def test_drops_before_a_slow_sink_are_told(no_thread_stays: None) -> None:
    first, rest = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        first.set()
        assert rest.wait(PATIENCE_S)

    source = Source(9, live=True, before=lambda number: number == 0 or first.wait(PATIENCE_S))
    with Pipeline(source, Segmenter(), [Sink("slow", wait)]) as pipeline:
        for frame, _ in pipeline:
            if frame.number == 8:
                rest.set()
    dropped = [stage.dropped for stage in pipeline.statistics.stages[2:]]
    assert sum(dropped) == pipeline.statistics.delivered - pipeline.statistics.stages[-1].frames
    assert all(f", {count} more before " in str(pipeline.statistics) for count in dropped if count)
