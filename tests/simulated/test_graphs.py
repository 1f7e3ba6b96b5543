"""Stream capture and graphs in the simulated CUDA driver."""

from __future__ import annotations

import threading

import pytest

from simulated import SimulatedCuda
from simulated.graphs import GLOBAL, THREAD_LOCAL
from simulated.memory import POISON
from simulated.program import BLOCKING, NON_BLOCKING, Program


@pytest.fixture
def program():
    return Program(SimulatedCuda("lazy"))


def captured(program, stream, *work, mode=THREAD_LOCAL):
    program("cuStreamBeginCapture", stream, mode)
    for call in work:
        call()
    return program("cuGraphInstantiate", program("cuStreamEndCapture", stream), 0)


def test_capture_records_and_launches_repeat(program):
    stream, memory, (pointer, array) = program.stream(), program.memory(4), program.pinned([1, 2, 3, 4])
    graph = captured(program, stream, lambda: program("cuMemcpyHtoDAsync", memory, pointer, 4, stream))
    program("cuStreamSynchronize", stream)
    assert program.content(memory, 4) == [POISON] * 4
    for value in (5, 6):
        array[:] = value
        program("cuGraphLaunch", graph, stream)
        program("cuStreamSynchronize", stream)
        assert program.content(memory, 4) == [value] * 4


def test_a_fork_of_a_capture_is_part_of_the_graph(program):
    first, second = program.stream(), program.stream()
    memory = [program.memory(), program.memory()]

    def fork():
        program.write(memory[0], 1, first)
        program.wait(second, program.record(first))
        program("cuMemcpyDtoDAsync", memory[1], memory[0], 16, second)
        program.wait(first, program.record(second))

    graph = captured(program, first, fork)
    program("cuGraphLaunch", graph, first)
    program("cuStreamSynchronize", first)
    assert program.content(memory[1])[0] == 1


def test_branches_of_a_graph_that_do_not_wait_race(program):
    first, second, memory = program.stream(), program.stream(), program.memory()

    def fork():
        program.wait(second, program.record(first))
        program.write(memory, 1, first)
        program.write(memory, 2, second)
        program.wait(first, program.record(second))

    graph = captured(program, first, fork)
    program("cuGraphLaunch", graph, first)
    with program.machine.expecting("race"):
        program("cuStreamSynchronize", first)


def test_launches_of_one_graph_are_ordered_on_any_streams(program):
    streams, memory = [program.stream(), program.stream()], program.memory()
    graph = captured(program, streams[0], lambda: program.write(memory, 1, streams[0]))
    for stream in streams:
        program("cuGraphLaunch", graph, stream)
    program("cuStreamSynchronize", streams[1])


def test_a_graph_may_not_use_freed_memory(program):
    stream, memory = program.stream(), program.memory()
    graph = captured(program, stream, lambda: program.write(memory, 1, stream))
    program("cuMemFree", memory)
    with program.machine.expecting("do not lie in one live allocation"):
        program("cuGraphLaunch", graph, stream)


def test_a_graph_that_was_destroyed(program):
    stream = program.stream()
    graph = captured(program, stream)
    program("cuGraphExecDestroy", graph)
    with program.machine.expecting("given back before"):
        program("cuGraphLaunch", graph, stream)


FORBIDDEN = {
    "waiting for the stream": (lambda p, s, e, o: p.status("cuStreamSynchronize", s), "STREAM_CAPTURE_UNSUPPORTED"),
    "waiting for another": (lambda p, s, e, o: p.status("cuStreamSynchronize", o), "STREAM_CAPTURE_UNSUPPORTED"),
    "asking the stream": (lambda p, s, e, o: p.status("cuStreamQuery", s), "STREAM_CAPTURE_UNSUPPORTED"),
    "allocating": (lambda p, s, e, o: p.status("cuMemAlloc", 4), "STREAM_CAPTURE_UNSUPPORTED"),
    "pinning": (lambda p, s, e, o: p.status("cuMemHostAlloc", 4, 0), "STREAM_CAPTURE_UNSUPPORTED"),
    "an event from outside": (lambda p, s, e, o: p.status("cuStreamWaitEvent", s, e, 0), "STREAM_CAPTURE_ISOLATION"),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_forbidden_calls_spoil_a_capture(program, what):
    stream, other, memory = program.stream(), program.stream(), program.memory()
    program.write(memory, 1, other)
    event = program.record(other)
    program("cuStreamBeginCapture", stream, THREAD_LOCAL)
    call, status = FORBIDDEN[what]
    assert call(program, stream, event, other) == status
    assert program.status("cuStreamEndCapture", stream) == "STREAM_CAPTURE_INVALIDATED"
    program("cuStreamSynchronize", stream)


def test_the_default_stream_spoils_captures_of_blocking_streams(program):
    for flags, status in ((BLOCKING, "STREAM_CAPTURE_IMPLICIT"), (NON_BLOCKING, "SUCCESS")):
        stream, memory = program.stream(flags), program.memory()
        program("cuStreamBeginCapture", stream, THREAD_LOCAL)
        assert program.status("cuMemsetD8Async", memory, 1, 16, 0) == status
        program.status("cuStreamEndCapture", stream)


@pytest.mark.parametrize("mode, status", [(THREAD_LOCAL, "SUCCESS"), (GLOBAL, "STREAM_CAPTURE_UNSUPPORTED")])
def test_other_threads_may_allocate_unless_the_capture_is_global(program, mode, status):
    stream, found = program.stream(), []

    def allocate():
        program("cuCtxPushCurrent", 0xC0000)
        found.append(program.status("cuMemAlloc", 4))

    program("cuStreamBeginCapture", stream, mode)
    thread = threading.Thread(target=allocate)
    thread.start()
    thread.join()
    assert found == [status]
    assert (program.status("cuStreamEndCapture", stream) == "SUCCESS") == (status == "SUCCESS")


def test_captures_that_cannot_begin_or_end(program):
    first, second = program.stream(), program.stream()
    assert program.status("cuStreamBeginCapture", 0, THREAD_LOCAL) == "STREAM_CAPTURE_UNSUPPORTED"
    assert program.status("cuStreamEndCapture", first) == "ILLEGAL_STATE"
    program("cuStreamBeginCapture", first, THREAD_LOCAL)
    assert program.status("cuStreamBeginCapture", first, THREAD_LOCAL) == "ILLEGAL_STATE"
    program.wait(second, program.record(first))
    program.write(program.machine.memory.allocate(16, "device").address, 1, second)
    assert program.status("cuStreamEndCapture", second) == "STREAM_CAPTURE_UNMATCHED"
    assert program.status("cuStreamEndCapture", first) == "STREAM_CAPTURE_UNJOINED"


def test_an_end_that_fails_on_order_ends_the_capture_all_the_same(program):
    stream = program.stream()
    program.machine.fail("cuStreamEndCapture", "OUT_OF_MEMORY")
    program("cuStreamBeginCapture", stream, THREAD_LOCAL)
    assert program.status("cuStreamEndCapture", stream) == "OUT_OF_MEMORY"
    program("cuStreamSynchronize", stream)
