"""The runtime of the simulated TensorRT: plans, engines and execution contexts; see tensorrt.py."""

from __future__ import annotations

import functools
import math
import weakref
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from .machine import SimulatedCuda
from .misuse import Misuse, Refused
from .network import CpuNetwork, EngineMemory
from .streams import Work
from .tensorrt_names import Dims, Generation, ILogger, Named, Severity

if TYPE_CHECKING:
    from .tensorrt import Plan, SimulatedTensorRT

_ALIGNMENT = 256
_STATE_NBYTES = 256
_FRAMES = "frames"


class Runtime(Named):
    _trt: SimulatedTensorRT
    NAMES = frozenset({"engine_host_code_allowed", "logger"})

    def __init__(self, logger: ILogger):
        self.logger = self._trt.logger_in_use(logger)
        self.engine_host_code_allowed = False
        if self._trt.refuses("createInferRuntime"):  # the object is made all the same, and must not be used
            self.logger.log(Severity.ERROR, "CUDA driver version is insufficient for CUDA runtime version")

    def deserialize_cuda_engine(self, serialized_engine: Any) -> ICudaEngine | None:
        gpu = self._trt.gpu
        self._trt.record.host_code_allowed = self.engine_host_code_allowed
        with gpu.lock:
            plan = self._trt.read_plan(bytes(serialized_engine))
            device = current_device(gpu)
            reason = self._trt.why_not(plan, self.engine_host_code_allowed)
            if plan is None or reason:
                self.logger.log(Severity.ERROR, reason)
                return None
            self.logger.log(Severity.INFO, f"Loaded engine size: {len(serialized_engine) >> 20} MiB")
            try:
                return self._trt.api["ICudaEngine"](self, plan, device)  # type: ignore[no-any-return]
            except Refused as refusal:
                self.logger.log(Severity.ERROR, f"Cuda failure: {refusal.name} while weights are loaded")
                return None


class ICudaEngine:
    """What all generations have; contexts keep their engine alive, as the bindings do."""

    _profiles_may_be_exclusive = False

    def __init__(self, runtime: Runtime, plan: Plan, device: int):
        self._trt, self._logger, self._plan, self._device = runtime._trt, runtime.logger, plan, device
        self._weights = EngineMemory(self._trt.gpu, max(1, len(plan.model)), device)
        self._contexts: weakref.WeakSet[IExecutionContext] = weakref.WeakSet()

    @functools.cached_property
    def _network(self) -> CpuNetwork:
        return CpuNetwork(self._plan.model)

    @property
    def num_io_tensors(self) -> int:
        return 2

    @property
    def num_optimization_profiles(self) -> int:
        return len(self._plan.profiles)

    def get_tensor_name(self, index: int) -> str:
        return (_FRAMES, self._plan.output)[index]

    def create_engine_inspector(self) -> Any:
        return SimpleNamespace(get_engine_information=lambda form: self._plan.inspected)

    def get_tensor_mode(self, name: str) -> Any:
        return self._trt.api["TensorIOMode"][{_FRAMES: "INPUT", self._plan.output: "OUTPUT"}.get(name, "NONE")]

    def get_tensor_dtype(self, name: str) -> Any:
        scores = {"fp16": "HALF", "fp32": "FLOAT"}[self._plan.scores]
        return self._trt.api["DataType"][scores if name == self._plan.output == "scores" else "UINT8"]

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims(self._network.input_dims if name == _FRAMES else self._network.output_dims)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        return [Dims((*shape, 3)) for shape in self._plan.profiles[profile_index]]

    def _is_taken(self, profile: int) -> bool:
        """Whether another context has a profile to itself."""
        exclusive = self._profiles_may_be_exclusive and not self._plan.profile_sharing
        return exclusive and any(each.active_optimization_profile == profile for each in self._contexts)

    def _new_context(self, managed: bool) -> IExecutionContext | None:
        """A context; `managed` if the user brings its activation memory."""
        if self._trt.refuses("create_execution_context"):
            self._logger.log(Severity.ERROR, "refused by the test")
            return None
        current_device(self._trt.gpu)
        try:
            return self._trt.api["IExecutionContext"](self, managed)  # type: ignore[no-any-return]
        except Refused as refusal:
            self._logger.log(Severity.ERROR, f"Cuda failure: {refusal.name} while a context is made")
            return None


class IExecutionContext:
    """What all generations have."""

    def __init__(self, engine: ICudaEngine, managed: bool):
        self.engine = engine
        self.active_optimization_profile = -1 if engine._is_taken(0) else 0
        self._trt, self._gpu, self._plan = engine._trt, engine._trt.gpu, engine._plan
        self._state = EngineMemory(self._gpu, _STATE_NBYTES, engine._device)
        self._own = None if managed else EngineMemory(self._gpu, self._plan.activation_nbytes, engine._device)
        self._activations = self._own.address if self._own else 0
        self._shape: tuple[int, ...] | None = None
        self._addresses: dict[str, int] = {}
        self._epoch = _Epoch()
        self._enqueued_before = False
        engine._contexts.add(self)

    device_memory = property(fset=lambda self, address: self._set_activations(int(address)))

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        stream = self._gpu.stream(int(stream_handle), current_device(self._gpu))
        if self._trt.refuses("set_optimization_profile_async"):
            return self._no("refused by the test")
        if not 0 <= profile_index < len(self._plan.profiles):
            return self._no(f"profile {profile_index}: the engine has {len(self._plan.profiles)}")
        if profile_index != self.active_optimization_profile and self.engine._is_taken(profile_index):
            return self._no(f"Profile {profile_index} has been chosen by another IExecutionContext")
        if stream.capture:
            return self._no("a profile cannot be set in a captured stream")
        self.active_optimization_profile, self._shape = profile_index, None
        self._changed()
        state, memory = self._state.use, self._gpu.memory

        def switch() -> None:
            memory.view(state[0], (state[1],), "u1", writes=True)[:] = profile_index

        self._gpu.submit(stream, Work("a profile's switch", switch, (state,)))
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        shape = tuple(int(size) for size in shape)
        if self._trt.refuses("set_input_shape"):
            return self._no("refused by the test")
        if name != _FRAMES:
            return self._no(f"set_input_shape: no input {name!r}")
        if self.active_optimization_profile < 0:
            return self._no("set_input_shape: no profile is set")
        low, _, high = self.engine.get_tensor_profile_shape(name, self.active_optimization_profile)
        if len(shape) != 4 or not all(a <= size <= b for a, size, b in zip(low, shape, high, strict=True)):
            return self._no(f"set_input_shape: {shape} is not within {low} and {high} of the profile")
        if shape != self._shape:
            self._shape = shape
            self._changed()
        return True

    def infer_shapes(self) -> list[str]:
        return [] if self._shape else [_FRAMES]

    def get_tensor_shape(self, name: str) -> Dims:
        if not self._shape:
            return self.engine.get_tensor_shape(name)
        return Dims(self._shape if name == _FRAMES else self.engine._network.output_shape(self._shape))

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if self._trt.refuses("set_tensor_address"):
            return self._no("refused by the test")
        if self.engine.get_tensor_mode(name).name == "NONE":
            return self._no(f"set_tensor_address: no tensor {name!r}")
        if int(memory) % _ALIGNMENT:
            return self._no(f"set_tensor_address: {int(memory):#x} is not aligned to {_ALIGNMENT} bytes")
        self._addresses[name] = int(memory)
        return True

    def get_tensor_address(self, name: str) -> int:
        return self._addresses.get(name, 0)

    def execute_async_v3(self, stream_handle: int) -> bool:
        with self._gpu.lock:
            stream = self._gpu.stream(int(stream_handle), current_device(self._gpu))
            reason = self._why_not_now(captured=stream.capture is not None)
            if reason:
                if stream.capture:
                    stream.capture.spoiled = True
                return self._no(f"execute_async_v3: {reason}")
            self._gpu.submit(stream, self._work(captured=stream.capture is not None))
            self._enqueued_before = True
            if stream.is_legacy:
                self.engine._logger.log(Severity.WARNING, "Using default stream: it is synchronised")
                self._gpu.counters["implicit waits"] += 1
                self._gpu.scheduler.wait(self._gpu.tail(stream))
            return True

    def _why_not_now(self, captured: bool) -> str:
        if self._trt.refuses("execute_async_v3"):
            return "refused by the test"
        if self._gpu.broken:
            return f"Cuda failure: {self._gpu.broken}"
        if not self._shape:
            return "the shape of frames is not set"
        missing = {_FRAMES, self._plan.output} - {name for name, address in self._addresses.items() if address}
        if missing:
            return f"no address for {', '.join(sorted(missing))}"
        if not self._activations:
            return "no device memory"
        if captured and not (self._trt.capturable and self._enqueued_before):
            return "operation not permitted when stream is capturing"
        return ""

    def _work(self, captured: bool) -> Work:
        """The execution with shapes and addresses as they are now. It does not keep the context alive."""
        plan, gpu, network, shape = self._plan, self._gpu, self.engine._network, self._shape
        assert shape
        dtype = {"labels": "u1", "fp32": "f4", "fp16": "f2"}[plan.scores if plan.output == "scores" else "labels"]
        output_shape = network.output_shape(shape)
        frames, output = (self._addresses[name] for name in (_FRAMES, plan.output))
        activations, state = (self._activations, plan.activation_nbytes), self._state.use
        epoch, wanted = self._epoch, self._epoch.number

        def run() -> None:
            if captured and epoch.number != wanted:
                raise Misuse("a captured execution is launched after its context was given another shape or memory")
            gpu.counters["engine runs"] += 1
            gpu.counters["launches"] += 1
            if gpu.survives_launch():
                for address, nbytes in (activations, state):
                    gpu.memory.view(address, (nbytes,), "u1", writes=True)[:] = 0xEE  # nothing of others survives there
                target = gpu.memory.view(output, output_shape, dtype, writes=True)
                target[...] = network.run(gpu.memory.view(frames, shape, "u1"))

        sizes = math.prod(shape), math.prod(output_shape) * np.dtype(dtype).itemsize
        return Work("TensorRT", run, ((frames, sizes[0]), (output, sizes[1]), activations, state))

    def _set_activations(self, address: int) -> None:
        if address % _ALIGNMENT:
            raise Misuse(f"device memory at {address:#x} is not aligned to {_ALIGNMENT} bytes")
        self._activations = address
        self._changed()

    def _changed(self) -> None:
        self._epoch.number += 1
        self._enqueued_before = False

    def _no(self, reason: str) -> bool:
        self.engine._logger.log(Severity.ERROR, reason)
        return False


class _Epoch:
    """How often a context was changed; captured work looks whether it was since."""

    number = 0


class _Engine86(ICudaEngine):
    _profiles_may_be_exclusive = True

    @property
    def device_memory_size(self) -> int:
        return self._plan.activation_nbytes

    def create_execution_context(self) -> IExecutionContext | None:
        return self._new_context(managed=False)

    def create_execution_context_without_device_memory(self) -> IExecutionContext | None:
        return self._new_context(managed=True)


class _Engine11(ICudaEngine):
    @property
    def device_memory_size_v2(self) -> int:
        return self._plan.activation_nbytes

    def create_execution_context(self, strategy: Any = None) -> IExecutionContext | None:
        return self._new_context(managed=getattr(strategy, "name", "STATIC") == "USER_MANAGED")


class _Engine10(_Engine11):
    device_memory_size = _Engine86.device_memory_size
    create_execution_context_without_device_memory = _Engine86.create_execution_context_without_device_memory


class _Context10(IExecutionContext):
    def set_device_memory(self, memory: int, size: int) -> None:
        if int(size) < self._plan.activation_nbytes:
            self._no(f"set_device_memory: {int(size)} bytes, {self._plan.activation_nbytes} are needed")
        else:
            self._set_activations(int(memory))


class _ContextRtx(_Context10):
    def is_stream_capturable(self, stream: int) -> bool:
        return self._trt.capturable


def engine_class(generation: Generation) -> type[ICudaEngine]:
    known: dict[Generation, type[ICudaEngine]] = {8: _Engine86, 10: _Engine10}
    return known.get(generation, _Engine11)


def context_class(generation: Generation) -> type[IExecutionContext]:
    known: dict[Generation, type[IExecutionContext]] = {8: IExecutionContext, "rtx": _ContextRtx}
    return known.get(generation, _Context10)


def current_device(gpu: SimulatedCuda) -> int:
    """The calling thread's device. Without a current context TensorRT would silently take device 0."""
    try:
        return gpu.current_device()
    except Refused:
        raise Misuse("TensorRT is called without a current context") from None
