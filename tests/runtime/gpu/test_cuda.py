"""fcnrt.gpu.cuda on a simulated driver, as lazy, as eager and as erratic as CUDA allows."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

from fcnrt.errors import BackendError, MissingDependency, UsageError
from fcnrt.gpu import cuda
from places import SIMULATED
from simulated import MODES, Misuse, has_real_driver, simulations

CUBIN, INCREASE = b"machine code", ("*fp32", "*fp32", "i32", "fp32")


@pytest.fixture
def simulate(request, monkeypatch):
    with simulations(request, monkeypatch) as simulate:
        yield simulate


@pytest.fixture(params=MODES)
def machine(request, simulate):
    machine = simulate(request.param)
    machine.kernels.register(CUBIN, "increase", increase_on(machine), INCREASE, threads=64)
    return machine


@pytest.fixture
def gpu(machine):
    gpu = cuda.Gpu()
    with gpu.current():
        yield gpu


def increase_on(simulation):
    """A kernel: target = source + amount."""

    def increase(grid, target, source, count, amount):
        values = simulation.memory.view(source, (count,), np.float32)
        simulation.memory.view(target, (count,), np.float32, writes=True)[:] = values + amount

    return increase


def kernel_of(gpu):
    return cuda.Kernel(gpu, CUBIN, "increase", 64, 0, INCREASE)


def staged(gpu, values):
    """Pinned memory that holds an array."""
    pinned = cuda.PinnedMemory(gpu, values.nbytes)
    pinned.array[:] = values.view(np.uint8)
    return pinned


def floats(count, start=0.0):
    return np.arange(count, dtype=np.float32) + np.float32(start)


def test_a_gpu_knows_its_name_generation_and_memory(gpu, machine):
    assert (gpu.index, gpu.name, gpu.sm) == (0, "Simulated GPU", 89)
    memory = cuda.Memory(gpu, 1000)
    assert gpu.memory_info() == (machine.capacity - 1000, machine.capacity)
    assert memory.address % cuda.ALIGNMENT == 0 and memory.nbytes == 1000


def test_generation_of_two_digits(simulate):
    simulate(sm=120)
    assert cuda.Gpu().sm == 120


def test_uploaded_and_downloaded_keep_values_of_any_layout(gpu):
    values = floats(35).reshape(5, 7)[::2, ::-3]
    memory = gpu.uploaded(values)
    assert memory.nbytes == values.nbytes
    np.testing.assert_array_equal(gpu.downloaded(memory.address, values.shape, values.dtype), values)


def test_nothing_uploads_and_downloads(gpu):
    memory = gpu.uploaded(np.empty((0, 3), np.int32))
    assert gpu.downloaded(memory.address, (0, 3), np.int32).shape == (0, 3)


def test_uploaded_memory_is_there_for_streams_that_do_not_wait_for_the_default_stream(gpu):
    source, target = gpu.uploaded(floats(9)), cuda.Memory(gpu, 36)
    stream = cuda.Stream(gpu)
    kernel_of(gpu).launch(stream, (1, 1, 1), target.address, source.address, 9, 0.5)
    stream.synchronize()
    np.testing.assert_array_equal(gpu.downloaded(target.address, (9,), np.float32), floats(9, 0.5))


def test_frames_pass_through_three_streams_in_order(gpu):
    upload, compute, download = cuda.Stream(gpu), cuda.Stream(gpu), cuda.Stream(gpu)
    sent, computed = cuda.Event(gpu), cuda.Event(gpu)
    source, target = cuda.Memory(gpu, 44), cuda.Memory(gpu, 44)
    host, kernel, result = staged(gpu, floats(11)), kernel_of(gpu), cuda.PinnedMemory(gpu, 44)
    upload.upload(host, source, 44)
    sent.record(upload)
    compute.wait(sent)
    kernel.launch(compute, (1, 1, 1), target.address, source.address, 11, 2.0)
    computed.record(compute)
    download.wait(computed)
    download.download(target, result, 44)
    download.synchronize()
    np.testing.assert_array_equal(result.array.view(np.float32), floats(11, 2.0))


@pytest.mark.parametrize("forgotten", ["sent", "computed"])
def test_a_forgotten_wait_is_a_race(machine, gpu, forgotten):
    upload, compute = cuda.Stream(gpu), cuda.Stream(gpu)
    sent, computed = cuda.Event(gpu), cuda.Event(gpu)
    source, target = cuda.Memory(gpu, 44), cuda.Memory(gpu, 44)
    host, kernel = staged(gpu, floats(11)), kernel_of(gpu)
    with machine.expecting("race"):
        upload.upload(host, source, 44)
        sent.record(upload)
        if forgotten != "sent":
            compute.wait(sent)
        kernel.launch(compute, (1, 1, 1), target.address, source.address, 11, 2.0)
        computed.record(compute)
        if forgotten != "computed":
            upload.wait(computed)
        upload.upload(host, source, 44)
        compute.synchronize()
        upload.synchronize()


def test_an_event_waits_for_what_was_recorded_and_no_more(machine, gpu):
    stream, event = cuda.Stream(gpu), cuda.Event(gpu)
    event.synchronize()  # nothing was recorded
    memory = [cuda.Memory(gpu, 20) for _ in range(2)]
    host = staged(gpu, floats(5))
    stream.upload(host, memory[0], 20)
    event.record(stream)
    stream.upload(host, memory[1], 20)
    event.synchronize()
    np.testing.assert_array_equal(machine.read(memory[0].address, (5,), np.float32), floats(5))
    if machine.scheduler.mode == "lazy":
        assert (machine.read(memory[1].address, (20,), np.uint8) == 0xA5).all()
    stream.synchronize()


def test_a_graph_repeats_the_captured_work(machine, gpu):
    stream, memory = cuda.Stream(gpu), gpu.uploaded(floats(6))
    kernel = kernel_of(gpu)
    graph = gpu.captured(stream, lambda: kernel.launch(stream, (1, 1, 1), memory.address, memory.address, 6, 1.0))
    with machine.counting() as made:
        for _ in range(3):
            graph.launch(stream)
        stream.synchronize()
    np.testing.assert_array_equal(gpu.downloaded(memory.address, (6,), np.float32), floats(6, 3.0))
    assert (made["cuLaunchKernel"], made["graph launches"], made["launches"]) == (0, 3, 3)


def test_a_graph_on_another_stream_than_the_captured_one(gpu):
    captured, other = cuda.Stream(gpu), cuda.Stream(gpu)
    memory, kernel = gpu.uploaded(floats(6)), kernel_of(gpu)
    graph = gpu.captured(captured, lambda: kernel.launch(captured, (1, 1, 1), memory.address, memory.address, 6, 1.0))
    graph.launch(captured)
    graph.launch(other)  # behind the launch before
    other.synchronize()
    np.testing.assert_array_equal(gpu.downloaded(memory.address, (6,), np.float32), floats(6, 2.0))


def test_work_that_cannot_be_captured_leaves_the_stream_usable(gpu):
    stream, memory = cuda.Stream(gpu), gpu.uploaded(floats(6))
    with pytest.raises(BackendError, match="STREAM_CAPTURE_UNSUPPORTED"):
        gpu.captured(stream, stream.synchronize)
    with pytest.raises(BackendError, match="STREAM_CAPTURE_UNSUPPORTED"):
        gpu.captured(stream, lambda: cuda.Memory(gpu, 10))
    kernel_of(gpu).launch(stream, (1, 1, 1), memory.address, memory.address, 6, 1.0)
    stream.synchronize()


def test_an_error_of_the_captured_work_itself_is_raised_and_nothing_leaks(gpu):
    stream = cuda.Stream(gpu)
    with pytest.raises(ZeroDivisionError):
        gpu.captured(stream, lambda: 1 // 0)
    stream.synchronize()


def test_a_graph_that_is_not_instantiated_leaks_nothing(machine, gpu):
    machine.fail("cuGraphInstantiate", "OUT_OF_MEMORY")
    stream = cuda.Stream(gpu)
    with pytest.raises(BackendError, match="out of memory"):
        gpu.captured(stream, lambda: None)


def test_a_spoiled_capture_is_an_error(machine, gpu):
    stream, kernel, memory = cuda.Stream(gpu), kernel_of(gpu), cuda.Memory(gpu, 24)

    def work():
        kernel.launch(stream, (1, 1, 1), memory.address, memory.address, 6, 1.0)
        gpu.driver.cuStreamSynchronize(stream.handle)  # as a library that ignores the status

    with pytest.raises(BackendError, match="STREAM_CAPTURE_INVALIDATED"):
        gpu.captured(stream, work)
    assert machine.counters["launches"] == 0
    stream.synchronize()


def test_other_threads_may_allocate_while_a_stream_is_captured(gpu):
    stream, made = cuda.Stream(gpu), []

    def allocate():
        with gpu.current():
            made.append(cuda.Memory(gpu, 100))

    def work():
        thread = threading.Thread(target=allocate)
        thread.start()
        thread.join()

    gpu.captured(stream, work)
    assert made[0].nbytes == 100


def test_pinned_memory_is_copied_when_the_copy_runs(machine, gpu):
    stream, memory, host = cuda.Stream(gpu), cuda.Memory(gpu, 20), staged(gpu, floats(5))
    stream.upload(host, memory, 20)
    host.array[:] = 0
    if machine.scheduler.mode == "eager":
        stream.synchronize()
    else:
        machine.scheduler.mode = "lazy"
        with machine.expecting("the host wrote to pinned memory"):
            stream.synchronize()


def test_kernels_reach_pinned_memory(gpu):
    stream, host = cuda.Stream(gpu), staged(gpu, floats(5))
    kernel_of(gpu).launch(stream, (1, 1, 1), host.device_address, host.device_address, 5, 3.0)
    stream.synchronize()
    np.testing.assert_array_equal(host.array.view(np.float32), floats(5, 3.0))


def test_a_host_pointer_is_no_device_address(machine, gpu):
    stream, host = cuda.Stream(gpu), staged(gpu, floats(5))
    with machine.expecting("do not lie in one live allocation"):
        kernel_of(gpu).launch(stream, (1, 1, 1), host.address, host.address, 5, 3.0)


def test_holds_tells_whose_memory_it_is(simulate):
    simulate(devices=2)
    first, second = cuda.Gpu(0), cuda.Gpu(1)
    with second.current():
        memory = cuda.Memory(second, 10)
        assert second.holds(memory.address) and second.holds(memory.address + 9)
        assert not first.holds(memory.address)
        assert not second.holds(np.zeros(3).ctypes.data)
        assert not second.holds(memory.address + 10)


def test_memory_and_handles_are_given_back_when_closed_or_forgotten(machine, gpu):
    memory, pinned = cuda.Memory(gpu, 64), cuda.PinnedMemory(gpu, 64)
    stream, event, kernel = cuda.Stream(gpu), cuda.Event(gpu), kernel_of(gpu)
    memory.close()
    memory.close()  # a second time does nothing
    assert machine.bytes_alive() == 0
    pinned.close()
    del stream, event, kernel
    given_back = {"cuMemFree", "cuMemFreeHost", "cuStreamDestroy", "cuEventDestroy", "cuModuleUnload"}
    assert {machine.counters[name] for name in given_back} == {1}
    assert not machine.handles.live and not machine.memory.allocations()


def test_a_thread_without_a_context_gives_memory_back(machine, gpu):
    holder = [cuda.Memory(gpu, 64)]
    thread = threading.Thread(target=holder.clear)
    thread.start()
    thread.join()
    assert machine.bytes_alive() == 0


def test_pinned_memory_and_kernels_outlive_the_work_that_uses_them(machine, gpu):
    stream, memory, host = cuda.Stream(gpu), cuda.Memory(gpu, 20), staged(gpu, floats(5))
    kernel = kernel_of(gpu)
    stream.upload(host, memory, 20)
    kernel.launch(stream, (1, 1, 1), memory.address, memory.address, 5, 1.0)
    del host, kernel  # forgotten with work in the queue
    stream.synchronize()
    np.testing.assert_array_equal(machine.read(memory.address, (5,), np.float32), floats(5, 1.0))


def test_memory_used_after_it_was_closed(machine, gpu):
    stream, memory, host = cuda.Stream(gpu), cuda.Memory(gpu, 20), staged(gpu, floats(5))
    memory.close()
    with machine.expecting("do not lie in one live allocation"):
        stream.upload(host, memory, 20)


def test_a_thread_keeps_its_own_context(simulate):
    simulate(devices=2)
    first, second = cuda.Gpu(0), cuda.Gpu(1)
    with first.current():
        with second.current(), pytest.raises(ZeroDivisionError):
            raise ZeroDivisionError
        assert first.driver.cuCtxGetCurrent()[1] == first._context
    assert int(first.driver.cuCtxGetCurrent()[1]) == 0


def test_calls_outside_a_context_fail(machine):
    gpu = cuda.Gpu()
    with pytest.raises(BackendError, match="cuMemAlloc failed with INVALID_CONTEXT"):
        cuda.Memory(gpu, 10)


def test_streams_of_others_are_used_and_never_destroyed(machine, gpu):
    handle = machine.new_stream(0, blocking=True, owner="test")
    stream, memory = cuda.Stream(gpu, handle), gpu.uploaded(floats(4))
    kernel_of(gpu).launch(stream, (1, 1, 1), memory.address, memory.address, 4, 1.0)
    stream.synchronize()
    del stream
    assert machine.counters["cuStreamDestroy"] == 0
    np.testing.assert_array_equal(gpu.downloaded(memory.address, (4,), np.float32), floats(4, 1.0))


def test_our_streams_do_not_wait_for_the_default_stream(gpu, machine):
    ours, default = cuda.Stream(gpu), cuda.Stream(gpu, cuda.LEGACY_STREAM)
    memory, kernel = gpu.uploaded(floats(4)), kernel_of(gpu)
    with machine.expecting("race"):
        for stream in (default, ours):
            kernel.launch(stream, (1, 1, 1), memory.address, memory.address, 4, 1.0)
        ours.synchronize()
        default.synchronize()


def test_synchronize_waits_for_all_streams(machine, gpu):
    streams = [cuda.Stream(gpu) for _ in range(3)]
    memory, kernel = [gpu.uploaded(floats(4)) for _ in streams], kernel_of(gpu)
    for stream, each in zip(streams, memory, strict=True):
        kernel.launch(stream, (1, 1, 1), each.address, each.address, 4, 1.0)
    gpu.synchronize()
    for each in memory:
        np.testing.assert_array_equal(machine.read(each.address, (4,), np.float32), floats(4, 1.0))


def test_steady_state_neither_allocates_nor_waits(machine, gpu):
    stream, memory, kernel = cuda.Stream(gpu), gpu.uploaded(floats(4)), kernel_of(gpu)
    with machine.counting() as made:
        for _ in range(5):
            kernel.launch(stream, (1, 1, 1), memory.address, memory.address, 4, 1.0)
    assert made["cuLaunchKernel"] == 5
    assert not {"allocations", "waits", "implicit waits", "pageable copies"} & made.keys()
    stream.synchronize()


def test_out_of_memory_says_how_much_is_left(simulate):
    simulate(capacity=10 << 20)
    gpu = cuda.Gpu()
    with gpu.current():
        kept = cuda.Memory(gpu, 4 << 20)
        with pytest.raises(BackendError, match=r"^cuda:0: out of memory \(6 of 10 MiB free\); use smaller frames"):
            cuda.Memory(gpu, 7 << 20)
        kept.close()
        cuda.Memory(gpu, 7 << 20)


def test_an_allocation_that_fails_is_not_given_back(machine, gpu):
    machine.fail("cuMemAlloc", "OUT_OF_MEMORY", after=1)
    machine.fail("cuMemHostAlloc", "OUT_OF_MEMORY")
    kept = cuda.Memory(gpu, 8)
    for kind in (cuda.Memory, cuda.PinnedMemory):
        with pytest.raises(BackendError, match="out of memory"):
            kind(gpu, 8)
    assert machine.counters["cuMemFree"] == machine.counters["cuMemFreeHost"] == 0
    kept.close()


@pytest.mark.parametrize("status", ["ILLEGAL_ADDRESS", "LAUNCH_FAILED", "ECC_UNCORRECTABLE"])
def test_a_broken_context_is_said_plainly_and_for_good(machine, gpu, status):
    machine.break_at_launch(2, status)
    stream, memory, kernel = cuda.Stream(gpu), gpu.uploaded(floats(4)), kernel_of(gpu)
    with pytest.raises(BackendError, match=f"cuda:0: {status} broke this process's CUDA context for good; restart"):
        for _ in range(2):
            kernel.launch(stream, (1, 1, 1), memory.address, memory.address, 4, 1.0)
        stream.synchronize()
    with pytest.raises(BackendError, match="restart"):
        cuda.Memory(gpu, 8)
    memory.close()  # says nothing


def test_other_errors_name_the_function(machine, gpu):
    machine.fail("cuStreamCreate", "UNKNOWN")
    with pytest.raises(BackendError, match=r"^cuda:0: cuStreamCreate failed with UNKNOWN$"):
        cuda.Stream(gpu)


@pytest.mark.parametrize(
    "cubin, entry, reason",
    [(b"garbage", "increase", "INVALID_IMAGE"), (b"other", "increase", "NO_BINARY"), (CUBIN, "none", "NOT_FOUND")],
)
def test_machine_code_that_the_driver_refuses(machine, gpu, cubin, entry, reason):
    machine.kernels.register(b"other", "increase", lambda grid: None, (), sm=75)
    with pytest.raises(BackendError, match=reason):
        cuda.Kernel(gpu, cubin, entry, 64, 0, INCREASE)


def test_arguments_reach_a_kernel_in_their_own_types(machine, gpu):
    received = []
    kinds = ("*u8", "i64", "i32", "fp32", "*i32")
    machine.kernels.register(b"echo", "echo", lambda *arguments: received.append(arguments), kinds)
    memory, kernel = cuda.Memory(gpu, 8), cuda.Kernel(gpu, b"echo", "echo", 32, 0, kinds)
    stream = cuda.Stream(gpu)
    kernel.launch(stream, (3, 2, 1), memory.address, 1 << 40, -5, 0.1, 0)
    stream.synchronize()
    assert received == [((3, 2, 1), memory.address, 1 << 40, -5, ctypes.c_float(0.1).value, 0)]


@pytest.mark.parametrize("grid", [(0, 1, 1), (1, 65536, 1), (1, 1, 65536)])
def test_grids_that_no_gpu_takes(gpu, grid):
    with pytest.raises(BackendError, match="cuLaunchKernel failed with INVALID_VALUE"):
        kernel_of(gpu).launch(cuda.Stream(gpu), grid, 0, 0, 0, 0.0)


def test_no_driver_no_device_and_a_broken_driver(simulate):
    simulate(driver=False)
    assert cuda.device_count() == 0
    with pytest.raises(BackendError, match="device 'cuda:0'"):
        cuda.Gpu()
    simulate(devices=0)
    assert cuda.device_count() == 0
    machine = simulate()
    machine.fail("cuInit", "UNKNOWN", times=9)
    with pytest.raises(BackendError, match="driver does not start: CUDA_ERROR_UNKNOWN"):
        cuda.device_count()
    simulate(devices=2)
    assert cuda.device_count() == 2
    with pytest.raises(BackendError, match=r"device 'cuda:2'.* 2 GPUs"):
        cuda.Gpu(2)


def test_bindings_that_are_not_installed(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cuda.bindings", None)
    with pytest.raises(MissingDependency, match=r"cuda-bindings: .*pip install"):
        cuda.device_count()


@pytest.mark.skipif(has_real_driver(), reason="the real bindings would call the driver")
def test_the_real_bindings_take_every_argument(simulate):
    """They convert all arguments before they look for a driver."""
    machine = simulate(typed=True)
    machine.kernels.register(CUBIN, "increase", increase_on(machine), INCREASE)
    gpu = cuda.Gpu()
    with gpu.current():
        test_frames_pass_through_three_streams_in_order(gpu)
        test_a_graph_repeats_the_captured_work(machine, gpu)
        test_kernels_reach_pinned_memory(gpu)
        gpu.synchronize()
        assert gpu.holds(cuda.Memory(gpu, 5).address) and gpu.memory_info()
        with pytest.raises(TypeError):
            kernel_of(gpu).launch(cuda.Stream(gpu), (1, 1, 1), 0, 0, 1.5, 0.0)
        with pytest.raises(OverflowError):
            kernel_of(gpu).launch(cuda.Stream(gpu), (1, 1, 1), 0, 0, 1 << 31, 0.0)


def test_stream_handles_of_all_libraries():
    assert cuda.stream_handle(None) == 0
    assert cuda.stream_handle(123) == 123
    for name in ("cuda_stream", "ptr", "handle"):
        assert cuda.stream_handle(types.SimpleNamespace(**{name: 77})) == 77
    from cuda.bindings import driver

    assert cuda.stream_handle(types.SimpleNamespace(handle=driver.CUstream(77))) == 77
    with pytest.raises(UsageError, match="stream: expected None, an int, or a stream of torch"):
        cuda.stream_handle("default")


def test_misuse_is_no_error_that_the_runtime_could_swallow():
    assert not issubclass(Misuse, Exception)


def test_nothing_is_given_back_at_the_end_of_the_process() -> None:
    """Engines of other libraries may still be there then, and need the context."""
    code = """
import atexit
atexit.register(lambda: print(gpu.counters["cuMemFree"], gpu.retained))  # runs last
import pytest
from fcnrt.gpu.cuda import Gpu, Memory
from simulated import simulated_cuda
simulation = simulated_cuda(pytest.MonkeyPatch())
gpu = simulation.__enter__()
device = Gpu(0)
with device.current():
    memory = Memory(device, 16)
"""
    run = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(SIMULATED)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == "0 [1]\n" and run.stderr == ""
