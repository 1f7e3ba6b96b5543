"""What each element of a network's tensors depends on: worked out from the graph, one axis at a time.

Layers of windows compose: where element j of a layer's input depends on the pixels from stride * j + first to
stride * j + last, so does element j of its output, with another stride, first and last. Tiles of a picture that begin
at multiples of all strides give the same numbers as the picture does, wherever these pixels lie in the tile, or beyond
the picture's own border.

Interpolation to a given size depends on where the picture ends. What lies behind the first such layer, a few small
layers at most, is the *head*: it runs over the whole, on tensors put together from tiles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from ...errors import UsageError
from ..onnx_model import OnnxModel, load_package

WITH_OTHERS = frozenset(("Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub"))
ACTIVATIONS = frozenset(("Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Relu", "Sigmoid", "Tanh"))
CONVERSIONS = frozenset(("Cast", "DequantizeLinear", "Dropout", "Identity", "QuantizeLinear", "Transpose"))
# Each element is made of those in its place.
ALONE = WITH_OTHERS | ACTIVATIONS | CONVERSIONS | {"BatchNormalization", "Concat", "Neg", "Sqrt"}
WINDOWS = frozenset(("AveragePool", "Conv", "MaxPool"))


@dataclass(frozen=True)
class Axis:
    """Element j depends on pixels stride * j + first to stride * j + last, both included."""

    stride: Fraction
    first: Fraction
    last: Fraction

    @property
    def field(self) -> int:
        """The receptive field, in pixels."""
        return math.ceil(self.last - self.first) + 1

    def windows(self, reach: int, stride: int, before: int) -> Axis:
        """Of windows over this: element j reads stride * j - before and as many as `reach` behind it."""
        first, last = self.first - self.stride * before, self.last + self.stride * (reach - before)
        return Axis(self.stride * stride, first, last)

    def spread(self, reach: int, stride: int, before: int) -> Axis:
        """Of the transpose of such windows: element i is spread over stride * i - before and `reach` behind it."""
        step = self.stride / stride
        return Axis(step, self.first + step * (before - reach), self.last + step * before)

    def shifted(self, elements: int) -> Axis:
        """Without as many elements at the beginning."""
        return Axis(self.stride, self.first + self.stride * elements, self.last + self.stride * elements)

    def joined(self, other: Axis) -> Axis:
        """Of what takes from both."""
        if self.stride != other.stride:
            raise ValueError("strides that differ")
        return Axis(self.stride, min(self.first, other.first), max(self.last, other.last))


@dataclass(frozen=True)
class LocalTensor:
    """A tensor (N, channels, h, w) whose elements depend on what is near.

    Attributes:
        rows, columns: on which pixels.
        type: of its elements, as ONNX numbers them.
    """

    rows: Axis
    columns: Axis
    channels: int
    type: int

    def bytes_per_pixel(self) -> float:
        """Of memory, for each pixel of the picture."""
        size = load_package("onnx").helper.tensor_dtype_to_np_dtype(self.type).itemsize
        return float(self.channels * size / (self.rows.stride * self.columns.stride))


@dataclass(frozen=True)
class Locality:
    """What may be computed in tiles.

    Attributes:
        parts: the tensors that tiles give, by name: `scores`, or what the head reads.
        step: in pixels; tiles begin at its multiples, and end at them but for the picture's own end.
        bytes_per_pixel: of the tensors that are held at the same time, at most.
    """

    parts: dict[str, LocalTensor]
    step: int
    bytes_per_pixel: float

    @property
    def has_head(self) -> bool:
        return list(self.parts) != ["scores"]

    @property
    def field(self) -> int:
        """The receptive field, in pixels, on the axis where it is larger."""
        return max(axis.field for part in self.parts.values() for axis in (part.rows, part.columns))

    @property
    def overlap(self) -> int:
        """What neighbouring tiles have in common, in pixels."""
        return math.ceil(self.field / self.step) * self.step

    @property
    def smallest_tile(self) -> int:
        """Side of the smallest tile, in pixels."""
        return self.overlap + self.step


def locality_of(model: OnnxModel) -> Locality:
    """What of a model may be computed in tiles.

    Raises:
        UsageError: a layer takes the whole picture into account, or is not known.
    """
    graph = _Graph(model)
    graph.walk()
    return Locality(graph.parts(), graph.step, graph.peak())


class _Graph:
    """The walk through a model up to its scores."""

    def __init__(self, model: OnnxModel):
        self._model, self._graph = model, model.proto.graph
        self._constants = {tensor.name: tensor for tensor in self._graph.initializer}
        self._makers = {name: node for node in self._graph.node for name in node.output}
        self._local: dict[str, LocalTensor] = {}
        self._whole: set[str] = set()  # tensors of the head
        self.step = 1

    def walk(self) -> None:
        pixel = Axis(Fraction(1), Fraction(0), Fraction(0))
        self._local["frames"] = LocalTensor(pixel, pixel, 3, load_package("onnx").TensorProto.UINT8)
        for node in self._nodes():
            if node.op_type == "Resize" or self._whole.intersection(node.input):
                self._whole.update(node.output)
            elif node.op_type != "Shape" and any(name in self._local for name in node.input):
                self._local[node.output[0]] = self._tensor(node)
        strides = (axis.stride for tensor in self._local.values() for axis in (tensor.rows, tensor.columns))
        self.step = math.lcm(self.step, *(stride.numerator for stride in strides))

    def parts(self) -> dict[str, LocalTensor]:
        """`scores`, or what the head reads of what is local."""
        names = ["scores"] if "scores" in self._local else self._read_by_head()
        if "frames" in names:
            raise UsageError("tile: this network scales to the size of its frames before the scores; use tile='off'")
        return {name: self._local[name] for name in names}

    def peak(self) -> float:
        """Bytes per pixel that are held at the same time at most: inputs, outputs, and what is read later."""
        nodes = [node for node in self._nodes() if node.output[0] in self._local]
        last = {name: index for index, node in enumerate(nodes) for name in node.input}
        held, peak = {"frames"}, 0.0
        for index, node in enumerate(nodes):
            held.add(node.output[0])
            over = {name for name in held if last.get(name, len(nodes)) <= index}
            if node.op_type in ALONE:  # written over its input
                held -= over
            peak = max(peak, sum(self._local[name].bytes_per_pixel() for name in held))
            held -= over
        return peak

    def _nodes(self) -> Iterator[Any]:
        for node in self._graph.node:
            yield node
            if "scores" in node.output:
                return

    def _read_by_head(self) -> list[str]:
        """The local tensors that the scores are made of behind the first interpolation."""
        return [name for name in self._sources("scores") if name in self._local]

    def _sources(self, name: str) -> list[str]:
        """A tensor and what it is made of, up to local tensors."""
        found = [name]
        for source in found:  # which grows meanwhile
            if source in self._makers and source not in self._local:
                found.extend(item for item in self._makers[source].input if item not in found)
        return found

    def _tensor(self, node: Any) -> LocalTensor:
        try:
            return self._made(node)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            name = f"{node.op_type} {node.name or node.output[0]}"
            raise UsageError(
                f"tile: {name} may take the whole picture into account ({error}); use tile='off'"
            ) from None

    def _made(self, node: Any) -> LocalTensor:
        source = self._joined(node)
        if node.op_type in ALONE:
            return self._alone(node, source)
        if node.op_type in WINDOWS:
            return self._windows(node, source)
        if node.op_type == "ConvTranspose":
            return self._transposed(node, source)
        if node.op_type == "DepthToSpace":
            block = self._attributes(node)["blocksize"]
            rows, columns = (axis.spread(block - 1, block, 0) for axis in (source.rows, source.columns))
            return LocalTensor(rows, columns, source.channels // block**2, source.type)
        if node.op_type == "Slice":
            return self._sliced(node, source)
        if node.op_type == "Pad":
            return self._padded(node, source)
        raise ValueError("not a layer of windows")

    def _joined(self, node: Any) -> LocalTensor:
        first, *others = (self._local[name] for name in node.input if name in self._local)
        for other in others:
            first = replace(first, rows=first.rows.joined(other.rows), columns=first.columns.joined(other.columns))
        return first

    def _alone(self, node: Any, source: LocalTensor) -> LocalTensor:
        kept = self._attributes(node)
        constants = [self._constants[name] for name in node.input if name in self._constants]
        if node.op_type in WITH_OTHERS and any(math.prod(constant.dims[-2:]) != 1 for constant in constants):
            raise ValueError("numbers for each place")
        if node.op_type == "Transpose" and kept["perm"] != [0, 3, 1, 2]:
            raise ValueError(f"order {kept['perm']}")
        if node.op_type == "Concat":
            if kept["axis"] != 1:
                raise ValueError(f"axis {kept['axis']}")
            return replace(source, channels=sum(self._local[name].channels for name in node.input))
        types = load_package("onnx").TensorProto
        if node.op_type == "Cast":
            return replace(source, type=kept["to"])
        if node.op_type == "QuantizeLinear":
            return replace(source, type=types.INT8)
        return replace(source, type=types.FLOAT) if node.op_type == "DequantizeLinear" else source

    def _windows(self, node: Any, source: LocalTensor) -> LocalTensor:
        rows, columns = (
            axis.windows(*geometry)
            for axis, geometry in zip((source.rows, source.columns), self._geometry(node), strict=True)
        )
        channels = self._constants_dims(node)[0] if node.op_type == "Conv" else source.channels
        return LocalTensor(rows, columns, channels, source.type)

    def _transposed(self, node: Any, source: LocalTensor) -> LocalTensor:
        rows, columns = (
            axis.spread(*geometry)
            for axis, geometry in zip((source.rows, source.columns), self._geometry(node), strict=True)
        )
        channels = self._constants_dims(node)[1] * self._attributes(node).get("group", 1)
        return LocalTensor(rows, columns, channels, source.type)

    def _geometry(self, node: Any) -> list[tuple[int, int, int]]:
        """Reach, stride and padding before the first element, for rows and for columns."""
        kept = self._attributes(node)
        if kept.get("auto_pad", b"NOTSET") != b"NOTSET":
            raise ValueError("padding by the picture's size")
        kernel = kept.get("kernel_shape") or self._constants_dims(node)[2:]
        dilations, strides = kept.get("dilations", [1, 1]), kept.get("strides", [1, 1])
        begins = kept.get("pads", [0] * 4)[:2]
        reach = [dilation * (size - 1) for dilation, size in zip(dilations, kernel, strict=True)]
        return list(zip(reach, strides, begins, strict=True))

    def _sliced(self, node: Any, source: LocalTensor) -> LocalTensor:
        """Crops at the beginning move elements; those at the end only take some away."""
        starts, axes = self._numbers(node.input[1]), self._numbers(node.input[3])
        if len(node.input) > 4 and set(self._numbers(node.input[4])) != {1}:
            raise ValueError("steps")
        begins = dict(zip(axes, starts, strict=True))
        if min(starts) < 0 or not set(axes) <= {2, 3}:
            raise ValueError(f"starts {starts} on axes {axes}")
        rows, columns = source.rows.shifted(begins.get(2, 0)), source.columns.shifted(begins.get(3, 0))
        return replace(source, rows=rows, columns=columns)

    def _padded(self, node: Any, source: LocalTensor) -> LocalTensor:
        """To a multiple of something at the end, as the exporter writes it, or by constants."""
        if node.input[1] in self._constants:
            amounts = self._numbers(node.input[1])
            rows, columns = source.rows.shifted(-amounts[2]), source.columns.shifted(-amounts[3])
            return LocalTensor(rows, columns, source.channels + amounts[1] + amounts[5], source.type)
        makers = [self._makers[name] for name in self._sources(node.input[1]) if name in self._makers]
        moduli = [number for maker in makers if maker.op_type == "Mod" for number in self._numbers(maker.input[1])]
        if not moduli or min(moduli) < 1:
            raise ValueError("padding by the picture's size")
        self.step = math.lcm(self.step, *moduli)
        return source

    def _numbers(self, name: str) -> list[int]:
        return [int(number) for number in self._model.array(self._constants[name]).reshape(-1)]

    def _constants_dims(self, node: Any) -> list[int]:
        """The shape of a layer's weights, which in int8 stand behind a DequantizeLinear."""
        name = node.input[1]
        while name not in self._constants:
            name = self._makers[name].input[0]
        return list(self._constants[name].dims)

    def _attributes(self, node: Any) -> dict[str, Any]:
        value = load_package("onnx").helper.get_attribute_value
        return {attribute.name: value(attribute) for attribute in node.attribute}
