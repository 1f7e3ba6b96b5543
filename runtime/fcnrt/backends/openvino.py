"""OpenVINO's own runtime on the CPU: a compiled model up to the scores, one for all shapes."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ..contract.types import Array
from ..errors import LONGEST, BackendError, needs
from .network import WHOLE, CpuNetwork, Part
from .onnx_model import OnnxModel

TELEMETRY = "openvino_telemetry"

_TYPES = {"fp32": "f32", "bf16": "bf16"}  # our names of what it computes in, and its own


class OpenVinoNetwork(CpuNetwork):
    """A compiled model, which clones share, and a request of its own.

    Args:
        compiled: the model, or a part of it.
    """

    def __init__(self, compiled: Any):
        openvino = load_openvino()
        self.engine = f"openvino {openvino.__version__.partition('-')[0]}"
        self.precision = computed_in(compiled)
        self._compiled, self._request, self._tensor = compiled, compiled.create_infer_request(), openvino.Tensor

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        with engine_errors(f"failed on frames of shape {inputs[0].shape}"):
            for index, array in enumerate(inputs):  # OpenVINO takes none that is read-only, though it only reads
                given = array if array.flags.writeable else array.copy()
                self._request.set_input_tensor(index, self._tensor(given, shared_memory=True))
            self._request.infer()
            return [tensor.data for tensor in self._request.output_tensors]  # the request's own memory

    def clone(self) -> OpenVinoNetwork:
        return OpenVinoNetwork(self._compiled)

    def close(self) -> None:
        self._compiled = self._request = None


def open_network(
    model: OnnxModel, threads: int | None, precision: str, reverse_channels: bool, part: Part = WHOLE
) -> OpenVinoNetwork:
    """Compile a model.

    Args:
        model: the file.
        threads: to compute with; None for one on each core.
        precision: to compute in, "fp32" or "bf16".
        reverse_channels: whether frames have the other channel order than the file's.
        part: of the model.

    Raises:
        MissingDependency: OpenVINO is not installed.
        BackendError: OpenVINO refuses the file, or the processor has no such arithmetic.
        ModelFileError: the file is damaged, or was changed since its graph was read.
    """
    with _graph(model, reverse_channels, part) as graph:
        compiled = _compiled(graph, threads, precision, {"PERFORMANCE_HINT": "LATENCY"})
    return OpenVinoNetwork(_checked(compiled, precision))


def open_pair(
    read: Callable[[], OnnxModel], threads: int | None, precision: str, reverse_channels: bool
) -> tuple[OpenVinoNetwork, OpenVinoNetwork] | None:
    """Two networks of a whole model that run at the same time, on half of the threads each, with the weights once.

    None for a network whose scores would be others than with all threads: transposed convolutions are rounded
    differently on a single one. The other arguments and errors are those of `open_network`.

    Args:
        read: reads the file anew.
    """
    with _graph(read(), reverse_channels, WHOLE) as graph:
        if any(node.get_type_name() == "ConvolutionBackpropData" for node in graph.get_ordered_ops()):
            return None
        compiled = _compiled(graph, threads, precision, {"NUM_STREAMS": 2})
    first = OpenVinoNetwork(_checked(compiled, precision))
    return first, first.clone()


def shared_core() -> Any:
    """OpenVINO's `Core`, as `core_of` keeps it; raises MissingDependency."""
    return core_of(load_openvino())


@functools.cache
def core_of(openvino: Any) -> Any:
    """Its `Core`: one for the process, to its end.

    Each gives the thread that makes it a stack for signal handlers, and takes it away at its own end. Of two that end
    in the order in which they were made, the second puts the first one's stack back, which is gone by then: the next
    signal, Ctrl-C say, would end the process with a segmentation fault.
    """
    return openvino.Core()


def computed_in(compiled: Any) -> str:
    """The precision that a compiled model really computes in: what a processor has not is replaced without a word."""
    found = str(compiled.get_property("INFERENCE_PRECISION_HINT").to_string())
    return {its: ours for ours, its in _TYPES.items()}.get(found, found)


def load_openvino() -> Any:
    """openvino; raises MissingDependency."""
    with needs("openvino", "fcnrt[openvino]"), no_telemetry():
        import openvino
    return openvino


@contextlib.contextmanager
def engine_errors(doing: str) -> Iterator[None]:
    """OpenVINO's exceptions, which share no base class, as one of ours; what matters stands in their last line."""
    try:
        yield
    except Exception as error:
        reason = str(error).strip().rpartition("\n")[2][:LONGEST]
        raise BackendError(f"OpenVINO: {doing}: {reason}") from error


@contextlib.contextmanager
def no_telemetry() -> Iterator[None]:
    """OpenVINO reports to its makers that it was imported, unless the package that does so is missing."""
    if TELEMETRY in sys.modules:
        yield
        return
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[TELEMETRY]


@contextlib.contextmanager
def _graph(model: OnnxModel, reverse_channels: bool, part: Part) -> Iterator[Any]:
    """A part of a model's graph, to be compiled in the block."""
    core = shared_core()
    with model.being_loaded(), engine_errors(f"cannot load {model.path}"):
        graph = core.read_model(model.with_weights() if model.rewritten else model.file)
        if reverse_channels:
            _reverse_channels(graph)
        yield _cut_to(part, graph)


def _compiled(graph: Any, threads: int | None, precision: str, settings: Mapping[str, Any]) -> Any:
    common = {
        "INFERENCE_NUM_THREADS": threads or 0,
        "INFERENCE_PRECISION_HINT": _TYPES[precision],
        "CPU_RUNTIME_CACHE_CAPACITY": 0,  # else what was made for a shape is kept for ever; the last shape's stays
    }
    return shared_core().compile_model(graph, "CPU", {**common, **settings})


def _checked(compiled: Any, precision: str) -> Any:
    """A compiled model that computes in what was asked for; raises BackendError where another one does not."""
    if computed_in(compiled) != precision:
        raise BackendError(
            f"precision {precision!r}: this processor computes in {computed_in(compiled)}; use precision='auto'"
        )
    return compiled


def _cut_to(part: Part, graph: Any) -> Any:
    made = {
        name: output for node in graph.get_ordered_ops() for output in node.outputs() for name in output.get_names()
    }
    parameters = [_replaced(made[name], tensor.channels) for name, tensor in part.inputs.items()]
    outputs = [made[name] for name in part.outputs or ("scores",)]
    return load_openvino().Model(outputs, parameters or graph.get_parameters(), "part")


def _replaced(output: Any, channels: int) -> Any:
    """A parameter of the model instead of a tensor that it computes."""
    openvino = load_openvino()
    parameter = openvino.opset8.parameter([-1, channels, -1, -1], output.get_element_type())
    output.replace(parameter.output(0))
    return parameter


def _reverse_channels(graph: Any) -> None:
    """Behind the first Transpose, where that moves three planes instead of every pixel."""
    openvino = load_openvino()
    transpose = next(node for node in graph.get_ordered_ops() if node.get_type_name() == "Transpose")
    readers = list(transpose.output(0).get_target_inputs())
    gather = openvino.opset8.gather(transpose.output(0), np.array([2, 1, 0]), np.array(1))
    for reader in readers:
        reader.replace_source_output(gather.output(0))
