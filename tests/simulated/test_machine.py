"""The simulated CUDA driver keeps the rules that make tests on it worth something."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from cuda.bindings import driver as bindings

from places import SIMULATED
from simulated import MODES, SimulatedCuda, SimulatedDriver
from simulated.memory import POISON, device_pointer
from simulated.program import BLOCKING, Program


@pytest.fixture
def machine():
    return SimulatedCuda("lazy")


@pytest.fixture
def program(machine):
    return Program(machine)


def test_every_function_has_the_bindings_name_and_number_of_arguments():
    simulated = [name for name in dir(SimulatedDriver) if name.startswith("cu")]
    assert len(simulated) > 40
    for name in simulated:
        signature = getattr(bindings, name).__doc__.split("\n")[0]
        parameters = [part for part in signature[signature.index("(") + 1 : signature.rindex(")")].split(",") if part]
        code = getattr(SimulatedDriver, name).__wrapped__.__code__
        if not code.co_flags & 4:  # *arguments
            assert code.co_argcount - 1 == len(parameters), signature


def test_constants_and_enumerations_are_the_bindings(program):
    assert program.driver.CUresult is bindings.CUresult
    assert bindings.CU_MEMHOSTALLOC_PORTABLE == program.driver.CU_MEMHOSTALLOC_PORTABLE
    assert isinstance(program.stream(), bindings.CUstream)


def test_lazy_work_waits_until_somebody_waits_for_it(program):
    first, second = program.stream(), program.stream()
    memory = [program.memory() for _ in range(3)]
    program.write(memory[0], 1, first)
    program.write(memory[1], 2, first)
    program.write(memory[2], 3, second)
    assert [program.content(each)[0] for each in memory] == [POISON] * 3
    program("cuStreamSynchronize", first)
    assert [program.content(each)[0] for each in memory] == [1, 2, POISON]
    assert program.status("cuStreamQuery", second) == "NOT_READY"
    program("cuCtxSynchronize")
    assert program.content(memory[2]) == [3] * 16 and program.status("cuStreamQuery", second) == "SUCCESS"


def test_eager_work_is_done_at_once():
    program = Program(SimulatedCuda("eager"))
    memory = program.memory()
    program.write(memory, 1, program.stream())
    assert program.content(memory) == [1] * 16


def test_random_work_is_done_sometimes_and_reproducibly():
    def done(seed):
        program = Program(SimulatedCuda("random", seed=seed))
        streams, memory = [program.stream() for _ in range(4)], [program.memory() for _ in range(4)]
        for stream, each in zip(streams, memory, strict=True):
            program.write(each, 1, stream)
        return tuple(program.content(each)[0] for each in memory)

    outcomes = [done(seed) for seed in range(12)]
    assert outcomes == [done(seed) for seed in range(12)]
    assert len(set(outcomes)) > 3


def test_a_wait_requires_what_was_recorded_before_it(program):
    first, second = program.stream(), program.stream()
    memory = [program.memory() for _ in range(3)]
    program.write(memory[0], 1, first)
    event = program.record(first)
    program.write(memory[1], 1, first)
    program.wait(second, event)
    program.write(memory[2], 1, second)
    program("cuStreamSynchronize", second)
    assert [program.content(each)[0] for each in memory] == [1, POISON, 1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ordered_by", ["nothing", "event", "host", "device", "free", "stream"])
@pytest.mark.parametrize("kinds", ["write write", "write read", "read write"])
def test_races_are_found_whatever_the_schedule(mode, ordered_by, kinds):
    program = Program(SimulatedCuda(mode))
    first = program.stream()
    second = first if ordered_by == "stream" else program.stream()
    shared, other = program.memory(), program.memory()
    program("cuMemsetD8Async", other, 0, 16, first)
    program("cuMemsetD8Async", shared, 0, 16, first)
    program("cuCtxSynchronize")

    def act(kind, stream):
        if kind == "write":
            program.write(shared, 1, stream)
        else:
            program("cuMemcpyDtoDAsync", other, shared, 16, stream)

    def run():
        act(kinds.split()[0], first)
        if ordered_by == "event":
            program.wait(second, program.record(first))
        if ordered_by == "host":
            program("cuStreamSynchronize", first)
        if ordered_by == "device":
            program("cuCtxSynchronize")
        if ordered_by == "free":
            program("cuMemFree", program.memory())
        act(kinds.split()[1], second)
        program("cuCtxSynchronize")

    if ordered_by == "nothing":
        with program.machine.expecting("race"):
            run()
    else:
        run()


def test_reads_do_not_race_with_reads_nor_disjoint_writes(program):
    first, second = program.stream(), program.stream()
    shared, targets = program.memory(), [program.memory(), program.memory()]
    program.write(shared, 1, first)
    program("cuStreamSynchronize", first)
    for stream, target in zip((first, second), targets, strict=True):
        program("cuMemcpyDtoDAsync", target, shared, 16, stream)
    program("cuCtxSynchronize")
    program("cuMemsetD8Async", shared, 1, 8, first)
    program("cuMemsetD8Async", shared + 8, 2, 8, second)
    program("cuCtxSynchronize")
    assert program.content(shared) == [1] * 8 + [2] * 8


def test_an_old_reader_that_nobody_waited_for_still_races(program):
    """A reader on a second stream, hidden behind many later accesses on the first."""
    first, second = program.stream(), program.stream()
    shared, other, third = program.memory(), program.memory(), program.memory()
    program.write(shared, 1, first)
    program.wait(second, program.record(first))
    program("cuMemcpyDtoDAsync", other, shared, 16, second)
    for _ in range(3):
        program("cuMemcpyDtoDAsync", third, shared, 16, first)
    program.write(shared, 2, first)
    with program.machine.expecting("race"):
        program("cuCtxSynchronize")


def test_fresh_memory_holds_a_pattern_and_addresses_come_once(program):
    addresses = set()
    for _ in range(5):
        memory = program.memory(1000)
        assert program.content(memory, 1000) == [POISON] * 1000
        assert memory % 256 == 0 and memory not in addresses
        addresses.add(memory)
        program("cuMemFree", memory)


def test_the_host_cannot_follow_a_device_address():
    code = """
        import ctypes
        from simulated import SimulatedCuda
        address = SimulatedCuda().memory.allocate(16, "device").address
        print("before", flush=True)
        ctypes.string_at(address, 1)
        print("after", flush=True)
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(SIMULATED)},
    )
    assert run.stdout.split() == ["before"] and run.returncode < 0, run


@pytest.mark.parametrize("offset, nbytes", [(-1, 4), (13, 4), (0, 17), (1 << 30, 1)])
def test_work_beyond_an_allocation(program, offset, nbytes):
    stream, memory = program.stream(), program.memory()
    with program.machine.expecting("do not lie in one live allocation"):
        program.write(memory + offset, 1, stream, nbytes)


def test_freeing_waits_and_then_nothing_may_use_the_memory(program):
    stream, memory, witness = program.stream(), program.memory(), program.memory()
    program.write(memory, 1, stream)
    program.write(witness, 1, stream)
    program("cuMemFree", memory)
    assert program.content(witness)[0] == 1 and program.machine.counters["implicit waits"] == 1
    for call in (lambda: program.write(memory, 1, stream), lambda: program("cuMemFree", memory)):
        with program.machine.expecting(f"{memory:#x}"):
            call()


def test_freeing_what_is_not_the_start_of_an_allocation(program):
    memory, (pointer, _) = program.memory(), program.pinned([1] * 4)
    for function, pointer_or_address in (("cuMemFree", memory + 1), ("cuMemFree", pointer), ("cuMemFreeHost", memory)):
        with program.machine.expecting("is not the start of live"):
            program(function, pointer_or_address)


def test_pinned_memory_may_not_be_freed_while_a_copy_is_queued(program):
    stream, memory, (pointer, _) = program.stream(), program.memory(4), program.pinned([1] * 4)
    program("cuMemcpyHtoDAsync", memory, pointer, 4, stream)
    with program.machine.expecting("queued work uses"):
        program("cuMemFreeHost", pointer)


def test_a_queued_upload_sees_whether_the_host_overwrites_its_source(program):
    stream, memory, (pointer, array) = program.stream(), program.memory(4), program.pinned([1, 2, 3, 4])
    program("cuMemcpyHtoDAsync", memory, pointer, 4, stream)
    array[2] = 9
    with program.machine.expecting("the host wrote to pinned memory"):
        program("cuStreamSynchronize", stream)


def test_other_parts_of_pinned_memory_may_change_while_a_copy_is_queued(program):
    stream, memory, (pointer, array) = program.stream(), program.memory(4), program.pinned([1, 2, 3, 4])
    program("cuMemcpyHtoDAsync", memory, pointer, 2, stream)
    array[2:] = 5, 6
    program("cuMemcpyHtoDAsync", memory + 2, pointer + 2, 2, stream)
    program("cuStreamSynchronize", stream)
    assert program.content(memory, 4) == [1, 2, 5, 6]
    program("cuMemcpyHtoDAsync", memory, pointer, 2, stream)
    program("cuMemcpyHtoDAsync", memory + 2, pointer + 2, 2, stream)
    array[3] = 0
    with program.machine.expecting("the host wrote to pinned memory"):
        program("cuStreamSynchronize", stream)


def test_a_queued_download_leaves_nothing_of_the_old_content(program):
    stream, memory, (pointer, array) = program.stream(), program.memory(4), program.pinned([7] * 4)
    program.write(memory, 1, stream, 4)
    program("cuMemcpyDtoHAsync", pointer, memory, 4, stream)
    assert array.tolist() == [POISON] * 4
    program("cuStreamSynchronize", stream)
    assert array.tolist() == [1] * 4


def test_a_download_does_not_spoil_what_queued_work_still_reads(program):
    stream, memory, (pointer, array) = program.stream(), program.memory(4), program.pinned([7] * 4)
    program("cuMemcpyHtoDAsync", memory, pointer, 4, stream)
    program("cuMemcpyDtoHAsync", pointer, memory, 4, stream)
    assert array.tolist() == [7] * 4
    program("cuStreamSynchronize", stream)
    assert array.tolist() == [7] * 4


def test_pageable_uploads_arrive_after_the_call_on_the_default_stream(program):
    memory, source = program.memory(4), np.array([1, 2, 3, 4], np.uint8)
    program("cuMemcpyHtoD", memory, source.ctypes.data, 4)
    source[:] = 0  # it was read at the call
    assert program.content(memory, 4) == [POISON] * 4
    program("cuStreamSynchronize", 0)
    assert program.content(memory, 4) == [1, 2, 3, 4]


def test_other_synchronous_copies_are_complete(program):
    memory, (pointer, array), result = program.memory(4), program.pinned([1, 2, 3, 4]), np.zeros(4, np.uint8)
    program("cuMemcpyHtoD", memory, pointer, 4)
    assert program.content(memory, 4) == [1, 2, 3, 4]
    program("cuMemcpyDtoH", result.ctypes.data, memory, 4)
    assert result.tolist() == array.tolist()
    assert program.machine.counters["HtoD bytes"] == program.machine.counters["DtoH bytes"] == 4


def test_asynchronous_copies_of_pageable_memory_make_the_host_wait(program):
    stream, memory, array = program.stream(), program.memory(4), np.array([1, 2, 3, 4], np.uint8)
    program("cuMemcpyHtoDAsync", memory, array.ctypes.data, 4, stream)
    array[:] = 0
    program("cuMemcpyDtoHAsync", array.ctypes.data, memory, 4, stream)
    assert array.tolist() == [1, 2, 3, 4]
    assert program.machine.counters["pageable copies"] == program.machine.counters["implicit waits"] == 2


def test_copies_in_a_wrong_direction(program):
    stream, memory, (pointer, _) = program.stream(), [program.memory(), program.memory()], program.pinned([1] * 16)
    for function, target, source, text in (
        ("cuMemcpyHtoDAsync", memory[0], memory[1], "takes it for the host's"),
        ("cuMemcpyDtoHAsync", memory[0], memory[1], "takes it for the host's"),
        ("cuMemcpyDtoDAsync", memory[0], device_pointer(pointer), "from pinned to device"),
        ("cuMemcpyDtoHAsync", pointer, device_pointer(pointer), "from pinned to pinned"),
    ):
        with program.machine.expecting(text):
            program(function, target, source, 16, stream)


def test_the_default_stream_and_blocking_streams_wait_for_each_other(program):
    blocking, ours, memory = program.stream(BLOCKING), program.stream(), [program.memory() for _ in range(3)]
    program.write(memory[0], 1, blocking)
    program.write(memory[1], 1, ours)
    program.write(memory[0], 2, 0)
    program.write(memory[0], 3, blocking)
    program("cuStreamSynchronize", blocking)
    assert program.content(memory[0])[0] == 3 and program.content(memory[1])[0] == POISON
    program.write(memory[2], 1, blocking)
    program("cuStreamSynchronize", 1)  # the default stream's other handle
    assert program.content(memory[2])[0] == 1


def test_handles_of_another_kind_and_destroyed_ones(program):
    stream, event = program.stream(), program("cuEventCreate", 0)
    with program.machine.expecting("expected a handle of Stream"):
        program("cuStreamSynchronize", int(event))
    with program.machine.expecting("expected a handle of Event"):
        program("cuEventRecord", int(stream), stream)
    program("cuEventDestroy", event)
    with program.machine.expecting("given back before"):
        program("cuEventSynchronize", event)
    assert program.status("cuStreamSynchronize", 0x77777) == "INVALID_HANDLE"


def test_work_of_a_destroyed_stream_is_done(program):
    stream, memory = program.stream(), program.memory()
    program.write(memory, 1, stream)
    program("cuStreamDestroy", stream)
    program("cuCtxSynchronize")
    assert program.content(memory)[0] == 1


def test_calls_need_an_initialised_driver_and_a_current_context(machine):
    fresh = SimulatedDriver(machine)
    assert fresh.cuDeviceGet(0)[0].name == "CUDA_ERROR_NOT_INITIALIZED"
    program = Program(machine)
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(program.status("cuMemAlloc", 4)))
    thread.start()
    thread.join()
    assert statuses == ["INVALID_CONTEXT"]
    program("cuDevicePrimaryCtxRelease", 0)
    assert program.status("cuMemAlloc", 4) == "INVALID_CONTEXT"
    assert program.status("cuDevicePrimaryCtxRelease", 0) == "INVALID_CONTEXT"


def test_capacity_and_failures_on_order(machine, program):
    machine.capacity = 100
    memory = program.memory(80)
    assert program.status("cuMemAlloc", 21) == "OUT_OF_MEMORY" and program("cuMemGetInfo") == [20, 100]
    program("cuMemFree", memory)
    machine.fail("cuMemAlloc", "OUT_OF_MEMORY", after=2, times=1)
    assert [program.status("cuMemAlloc", 1) for _ in range(4)] == ["SUCCESS", "SUCCESS", "OUT_OF_MEMORY", "SUCCESS"]


def test_a_sticky_error_stays(machine, program):
    machine.kernels.register(b"code", "nothing", lambda grid: None, ())
    function = program("cuModuleGetFunction", program("cuModuleLoadData", b"code"), b"nothing")
    machine.break_at_launch(2, "LAUNCH_TIMEOUT")
    stream, memory = program.stream(), program.memory()
    null = ((0, 0), (ctypes.c_void_p, ctypes.c_void_p))
    for _ in range(2):
        program("cuLaunchKernel", function, 1, 1, 1, 32, 1, 1, 0, stream, null, 0)
    program.write(memory, 1, stream)
    for function, *arguments in (("cuStreamSynchronize", stream), ("cuMemAlloc", 4), ("cuMemFree", memory)):
        assert program.status(function, *arguments) == "LAUNCH_TIMEOUT"
    assert program.content(memory)[0] == POISON  # nothing behind it was done
    assert program.status("cuCtxPopCurrent") == "SUCCESS"


def launch(program, *arguments, kinds=None, parameters=("*u8", "i32"), threads=32, shared=0):
    program.machine.kernels.register(b"code", "kernel", lambda grid, *rest: None, parameters, threads=32)
    function = program("cuModuleGetFunction", program("cuModuleLoadData", b"code"), b"kernel")
    kinds = kinds or (ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p)
    packed = arguments, kinds
    return program.status("cuLaunchKernel", function, 1, 1, 1, threads, 1, 1, shared, 0, packed, 0)


def test_launches_are_held_against_the_kernels_parameters(program):
    memory, expecting = program.memory(), program.machine.expecting
    assert launch(program, memory, 3, 0, 0) == "SUCCESS"
    with expecting("two scratch pointers"):
        launch(program, memory, 3, kinds=(ctypes.c_void_p, ctypes.c_int32))
    with expecting("takes"):
        launch(program, memory, 3.0, 0, 0, kinds=(ctypes.c_void_p, ctypes.c_float, ctypes.c_void_p, ctypes.c_void_p))
    with expecting("not null"):
        launch(program, memory, 3, memory, 0)
    with expecting("as integers"):
        launch(program, bindings.CUdeviceptr(memory), 3, 0, 0)
    with expecting("do not lie in one live allocation"):
        launch(program, memory + 16, 3, 0, 0)
    with expecting("compiled for 32 threads"):
        launch(program, memory, 3, 0, 0, threads=64)
    with pytest.raises(TypeError):
        launch(program, np.int64(memory), 3, 0, 0)
    assert launch(program, memory, 3, 0, 0, shared=49153) == "INVALID_VALUE"
    assert launch(program, 0, 3, 0, 0) == "SUCCESS"  # a null pointer that the kernel need not follow


def test_a_kernel_that_leaves_its_memory(program):
    machine, memory = program.machine, program.memory()
    machine.kernels.register(b"code", "wild", lambda grid, a: machine.memory.view(a, (17,), "u1"), ("*u8",))
    function = program("cuModuleGetFunction", program("cuModuleLoadData", b"code"), b"wild")
    packed = (memory, 0, 0), (ctypes.c_void_p,) * 3
    stream = program.stream()
    program("cuLaunchKernel", function, 1, 1, 1, 32, 1, 1, 0, stream, packed, 0)
    with machine.expecting("wild: 17 bytes"):
        program("cuStreamSynchronize", stream)


def test_a_module_may_not_be_unloaded_under_a_queued_kernel(program):
    machine, stream = program.machine, program.stream()
    machine.kernels.register(b"code", "kernel", lambda grid: None, ())
    module = program("cuModuleLoadData", b"code")
    function = program("cuModuleGetFunction", module, b"kernel")
    null = ((0, 0), (ctypes.c_void_p, ctypes.c_void_p))
    program("cuLaunchKernel", function, 1, 1, 1, 32, 1, 1, 0, stream, null, 0)
    program("cuModuleUnload", module)
    with machine.expecting("unloaded before the kernel executed"):
        program("cuStreamSynchronize", stream)


def test_leaks_are_named(program):
    program.memory(40), program.pinned([1, 2]), program.stream(), program("cuEventCreate", 0)
    with program.machine.expecting("40 bytes of device memory, 2 bytes of pinned memory, Stream, Event, context"):
        program.machine.check()


def test_counting_tells_what_happened_in_between(program):
    stream, memory = program.stream(), program.memory()
    with program.machine.counting() as made:
        program.write(memory, 1, stream)
        program("cuStreamSynchronize", stream)
    assert made == {"cuMemsetD8Async": 1, "cuStreamSynchronize": 1, "waits": 1}


def test_functions_that_are_not_simulated_say_so(program):
    with pytest.raises(BaseException, match="no cuMemAllocManaged; add it"):
        program("cuMemAllocManaged", 4, 1)
