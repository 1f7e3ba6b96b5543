"""TensorRT 8.6 to 11, its lean runtime, and TensorRT for RTX: a plan and its sidecar as a Network."""

from __future__ import annotations

import contextlib
import importlib
import re
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn
from weakref import WeakValueDictionary

from ..contract.flavours import LEAN_MODULES, MODULES, cause, logger_of, version_tuple
from ..contract.precision import Precision
from ..contract.profiles import shape_text
from ..contract.sidecar import Sidecar, rebuild
from ..contract.tail import check_geometry
from ..contract.types import Shape
from ..errors import BackendError, FrameError, MissingDependency, ModelFileError, first_line, pip_install
from ..gpu.cuda import Gpu, Graph, Memory, Stream
from ..gpu.kernels import Kernels
from ..gpu.staging import GrowingBuffer
from .base import Options
from .gpu import DeviceScores, GpuBackend, Network
from .recent import Recent

MAX_SHAPES = 8  # of frames, whose scores' shape is remembered
_TYPES = {Precision.FP16: "HALF", Precision.FP32: "FLOAT"}  # TensorRT's names
MAX_REPLAYS = 64  # combinations of shape and addresses that are remembered, a decoder's ring of frames among them


def open_engine(sidecar: Sidecar, options: Options, index: int) -> GpuBackend:
    """Load an engine built by export/build_engine.py.

    Args:
        sidecar: what lies beside the plan.
        options: the Segmenter's.
        index: of the GPU.

    Raises:
        ModelFileError: the plan is missing, damaged, or made for another GPU or TensorRT.
        MissingDependency: TensorRT or cuda-bindings is not installed.
        BackendError: there is no such GPU, or TensorRT refuses.
    """
    _check_labels(sidecar)
    gpu = Gpu(index)
    with gpu.current():
        network = TrtNetwork(_Engine(gpu, sidecar), options.graphs)
        return GpuBackend(gpu, network, Kernels(gpu, sidecar.kernels), options)


class TrtNetwork(Network):
    """Execution contexts of an engine, on a stream of their own.

    Whatever comes once runs on a context that its profile's shapes share. What comes again, in the same shape at the
    same addresses, is captured as a CUDA graph, from a context that its shape alone has: one that was captured must not
    be given other shapes. All contexts share one activation memory, since they run one after the other.
    """

    def __init__(self, engine: _Engine, graphs: bool):
        self.spec, self.color = engine.sidecar.spec, engine.sidecar.spec.color
        self.output, self.scores_type = engine.sidecar.output, engine.sidecar.scores_type
        self.engine, self.stream = engine.title, Stream(engine.gpu)
        self._engine, self._graphs = engine, graphs
        self._activations = Memory(engine.gpu, engine.activation_nbytes)
        self._scores = GrowingBuffer(engine.gpu, Memory)
        self._shared: dict[int, _Context] = {}
        self._captured: WeakValueDictionary[Shape, _Context] = WeakValueDictionary()
        self._scores_shapes: Recent[tuple[int, ...]] = Recent(MAX_SHAPES)
        self._replays: Recent[_Replay] = Recent(MAX_REPLAYS, partial(_finish, self.stream))

    def check_shape(self, shape: Shape) -> None:
        self._engine.profile_for(shape)

    def scores(self, frames: int, shape: Shape) -> DeviceScores:
        batch, classes, height, width = self._scores_shapes.get(shape, lambda: self._infer_scores_shape(shape))
        itemsize = self.scores_type.dtype.itemsize
        memory = self._scores.at_least(batch * classes * height * width * itemsize)
        self._run(frames, shape, memory.address)
        return DeviceScores(memory.address, (batch, classes, height, width), self.scores_type)

    def labels(self, frames: int, shape: Shape, labels: int) -> None:
        self._run(frames, shape, labels)

    def clone(self) -> TrtNetwork:
        return TrtNetwork(self._engine, self._graphs)

    def close(self) -> None:
        self._replays.clear()
        self._shared.clear()
        self._scores.close()
        self._activations.close()

    def _run(self, frames: int, shape: Shape, output: int) -> None:
        replay = self._replays.get((shape, frames, output), _Replay)
        if replay.graph is not None:
            replay.graph.launch(self.stream)
        elif replay.seen and self._graphs:
            replay.context = replay.context or self._captured.get(shape) or self._new_context(shape)
            self._captured[shape] = replay.context
            replay.context.enqueue(frames, shape, output)
            self._capture(replay)
        else:
            self._shared_context(shape).enqueue(frames, shape, output)
        replay.seen = True

    def _capture(self, replay: _Replay) -> None:
        """Record for the next time what the replay's context has just done."""
        context = replay.context
        assert context is not None
        if not context.is_capturable():
            return
        try:
            replay.graph = self._engine.gpu.captured(self.stream, context.enqueue_again)
        except BackendError:  # an engine that needs the host in between; it runs all the same
            self._graphs = False

    def _shared_context(self, shape: Shape) -> _Context:
        profile = self._engine.profile_for(shape)
        if profile not in self._shared:
            self._shared[profile] = self._new_context(shape)
        return self._shared[profile]

    def _new_context(self, shape: Shape) -> _Context:
        return _Context(self._engine, self._engine.profile_for(shape), self.stream, self._activations)

    def _infer_scores_shape(self, shape: Shape) -> tuple[int, ...]:
        scores, sidecar = self._shared_context(shape).scores_shape(shape), self._engine.sidecar
        check_geometry(sidecar.spec.tail, len(sidecar.spec.classes), scores, shape, str(sidecar.path))
        return scores


@dataclass
class _Replay:
    """What is known of one shape at certain addresses."""

    seen: bool = False
    context: _Context | None = None
    graph: Graph | None = None


def _finish(stream: Stream, replay: _Replay) -> None:
    """Wait for work that needs what is about to be forgotten."""
    if replay.context is not None:
        stream.synchronize()


class _Engine:
    """A deserialised plan, which several networks may share."""

    def __init__(self, gpu: Gpu, sidecar: Sidecar):
        self.gpu, self.sidecar = gpu, sidecar
        self.trt = _tensorrt(sidecar)
        _check_target(sidecar, gpu, str(self.trt.__version__))
        self._log = logger_of(self.trt)
        self._runtime = self._new_runtime()
        if sidecar.version_compatible:  # such a plan brings TensorRT code of its own
            self._runtime.engine_host_code_allowed = True
        self.engine = self._runtime.deserialize_cuda_engine(sidecar.plan())
        if self.engine is None:
            self._explain_refusal()
        self._check_tensors()

    @property
    def title(self) -> str:
        """The TensorRT that runs the engine, for messages."""
        return f"{self.trt.__name__.replace('_', '-')} {self.trt.__version__}"

    def _new_runtime(self) -> Any:
        """TensorRT's runtime; one that says that it cannot start would crash at the first engine."""
        self._log.errors.clear()
        runtime = self.trt.Runtime(self._log)
        if self._log.errors:
            raise self.failure("does not start here")
        return runtime

    @property
    def activation_nbytes(self) -> int:
        """Memory for what lies between the layers, for all profiles."""
        name = "device_memory_size_v2" if hasattr(self.engine, "device_memory_size_v2") else "device_memory_size"
        return int(getattr(self.engine, name))

    def new_context(self, activations: Memory) -> Any:
        """An execution context in the memory given."""
        strategies = getattr(self.trt, "ExecutionContextAllocationStrategy", None)
        if strategies is None:  # before TensorRT 10
            context = self.engine.create_execution_context_without_device_memory()
        else:
            context = self.engine.create_execution_context(strategies.USER_MANAGED)
        if context is None:
            raise self.failure("cannot make an execution context")
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(activations.address, activations.nbytes)
        else:
            context.device_memory = activations.address
        return context

    def profile_for(self, shape: Shape) -> int:
        """The first profile that takes a shape; raises FrameError where none does."""
        for index, profile in enumerate(self.sidecar.profiles):
            if profile.takes(shape):
                return index
        raise FrameError(_out_of_profile(shape, self.sidecar))

    def failure(self, what: str) -> BackendError:
        """An error with TensorRT's own last words."""
        return BackendError(f"{self.sidecar.path}: {self.title} {what}: {self._last_error()}")

    def _last_error(self) -> str:
        return cause(self._log.errors[-1]) if self._log.errors else "no reason given"

    def _explain_refusal(self) -> NoReturn:
        reason = self._last_error()
        if re.search("out.?of.?memory", reason, re.IGNORECASE):
            raise BackendError(f"{self.sidecar.path}: {self.gpu.out_of_memory()} ({reason})")
        raise ModelFileError(f"{self.sidecar.path}: {self.title} cannot load it: {reason}; {rebuild()}")

    def _check_tensors(self) -> None:
        names = [self.engine.get_tensor_name(index) for index in range(self.engine.num_io_tensors)]
        expected = ["frames", self.sidecar.output]
        profiles = self.engine.num_optimization_profiles
        if names != expected or profiles != len(self.sidecar.profiles):
            raise ModelFileError(
                f"{self.sidecar.path}: expected tensors {expected} and {len(self.sidecar.profiles)} profiles as its "
                f"sidecar says, got {names} and {profiles}; {rebuild()}"
            )
        self._check_output()

    def _check_output(self) -> None:
        """The output's type, and its classes where it has some, as the sidecar says: what reads it goes by that."""
        output, facts = self.sidecar.output, self.sidecar
        got = getattr(self.engine.get_tensor_dtype(output), "name", "")
        classes = [int(size) for size in self.engine.get_tensor_shape(output)][1:2] if output == "scores" else []
        expected = _TYPES[facts.scores_type] if output == "scores" else "UINT8"
        if got != expected or classes not in ([], [len(facts.spec.classes)]):
            raise ModelFileError(
                f"{facts.path}: expected {output} of type {expected} and {len(facts.spec.classes)} classes as its "
                f"sidecar says, got {got} and {''.join(map(str, classes)) or 'no'} classes; {rebuild()}"
            )


class _Context:
    """An execution context for the shapes of one profile."""

    def __init__(self, engine: _Engine, profile: int, stream: Stream, activations: Memory):
        self._engine, self._stream = engine, stream
        self._context = engine.new_context(activations)
        self._shape: Shape | None = None
        self._must(self._context.set_optimization_profile_async(profile, stream.handle), f"refuses profile {profile}")

    def scores_shape(self, shape: Shape) -> tuple[int, ...]:
        """Of the scores for frames of a shape."""
        self._set_shape(shape)
        return tuple(int(size) for size in self._context.get_tensor_shape("scores"))

    def enqueue(self, frames: int, shape: Shape, output: int) -> None:
        """Enqueue the engine on frames at an address."""
        self._set_shape(shape)
        for name, address in (("frames", frames), (self._engine.sidecar.output, output)):
            self._must(self._context.set_tensor_address(name, address), f"refuses address {address:#x} for {name}")
        self.enqueue_again()

    def enqueue_again(self) -> None:
        """Enqueue the engine as before."""
        self._must(self._context.execute_async_v3(self._stream.handle), f"failed on frames of shape {self._shape}")

    def is_capturable(self) -> bool:
        """Whether the engine's work can become a graph; TensorRT for RTX knows, the others show it by failing."""
        ask = getattr(self._context, "is_stream_capturable", None)
        return ask is None or bool(ask(self._stream.handle))

    def _set_shape(self, shape: Shape) -> None:
        if shape != self._shape:
            self._shape = None
            self._must(self._context.set_input_shape("frames", (*shape, 3)), f"refuses frames of shape {shape}")
            self._shape = shape

    def _must(self, succeeded: bool, otherwise: str) -> None:
        if not succeeded:
            raise self._engine.failure(otherwise)


def _check_labels(sidecar: Sidecar) -> None:
    """Refuse an engine whose labels are of another type than a Segmenter's."""
    classes = len(sidecar.spec.classes)
    if sidecar.output == "labels" and sidecar.spec.interface.output_tensor(classes).dtype != "uint8":
        raise ModelFileError(
            f"{sidecar.path}: built with --tail graph, its labels of {classes} classes are int32, for other programs; "
            "build it without"
        )


def _tensorrt(sidecar: Sidecar) -> Any:
    """The TensorRT of an engine's flavour, or a lean runtime where there is no other and the engine admits it."""
    try:
        return importlib.import_module(MODULES[sidecar.flavour])
    except (ImportError, OSError) as error:
        lean = _lean_runtime() if sidecar.flavour == "tensorrt" else None
        if lean is not None and sidecar.version_compatible:
            return lean
        exact = pip_install(f"{sidecar.flavour}=={sidecar.version}")
        if lean is not None:
            raise ModelFileError(
                f"{sidecar.path}: {lean.__name__} runs engines that were built --version-compatible alone; build it "
                f"again so, or {exact}"
            ) from error
        small = f", or {pip_install('fcnrt[tensorrt-lean]')}" if sidecar.version_compatible else ""
        raise MissingDependency(
            f"{sidecar.path}: needs {sidecar.flavour} {sidecar.version}: {exact}{small} ({first_line(error)})"
        ) from error


def _lean_runtime() -> Any:
    for name in LEAN_MODULES:
        with contextlib.suppress(ImportError, OSError):
            return importlib.import_module(name)
    return None


def _check_target(sidecar: Sidecar, gpu: Gpu, version: str) -> None:
    """Refuse an engine for another GPU or another TensorRT."""
    newer_will_do = sidecar.hardware_compatible and min(sidecar.sm) <= gpu.sm
    if gpu.sm not in sidecar.sm and not newer_will_do:
        raise ModelFileError(
            f"{sidecar.path}: built for compute capability {sidecar.capabilities}, {gpu.name} has {gpu.capability}; "
            f"{rebuild()}"
        )
    newer_will_do = sidecar.version_compatible and version_tuple(sidecar.version) <= version_tuple(version)
    if version != sidecar.version and not newer_will_do:
        raise ModelFileError(
            f"{sidecar.path}: built with {sidecar.flavour} {sidecar.version}, installed is {version}; "
            f"{pip_install(f'{sidecar.flavour}=={sidecar.version}')}, or {rebuild()}"
        )


def _out_of_profile(shape: Shape, sidecar: Sidecar) -> str:
    profiles = sidecar.profiles
    low = (min(sizes) for sizes in zip(shape, *(profile.min for profile in profiles), strict=True))
    high = (max(sizes) for sizes in zip(shape, *(profile.max for profile in profiles), strict=True))
    ranges = " or ".join(f"{shape_text(profile.min)} to {shape_text(profile.max)}" for profile in profiles)
    return (
        f"frames: expected batch x height x width of {ranges} (profile of {sidecar.path.name}), "
        f"got {shape_text(shape)}; rebuild with --min {shape_text(low)} --max {shape_text(high)}, or resize"
    )
