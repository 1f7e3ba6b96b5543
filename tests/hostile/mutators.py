"""Ways to damage a model file, each by a seeded generator: the same seed gives the same file."""

from __future__ import annotations

import json
from collections.abc import Callable

import onnx
from numpy.random import Generator

Mutator = Callable[[bytes, Generator], bytes]
PAGE = 4096


def flipped_bits(data: bytes, random: Generator) -> bytes:
    """One to four bits."""
    changed = bytearray(data)
    for _ in range(random.integers(1, 5)):
        changed[random.integers(len(data))] ^= 1 << random.integers(8)
    return bytes(changed)


def lost_page(data: bytes, random: Generator) -> bytes:
    """A page of zeros, as a file system leaves it that was cut off from its disk."""
    first = int(random.integers(max(1, len(data) // PAGE))) * PAGE
    return data[:first] + bytes(len(data[first : first + PAGE])) + data[first + PAGE :]


def cut(data: bytes, random: Generator) -> bytes:
    """The end is missing."""
    return data[: random.integers(len(data))]


def swapped_blocks(data: bytes, random: Generator) -> bytes:
    """Two blocks changed places."""
    length = int(random.choice([1, 4, 64, 512]))
    first, second = sorted(int(place) for place in random.choice(len(data) // length, 2, replace=False) * length)
    middle, one, other = data[first + length : second], data[first : first + length], data[second : second + length]
    return data[:first] + other + middle + one + data[second + length :]


def inserted_bytes(data: bytes, random: Generator) -> bytes:
    """A few bytes too many."""
    place = int(random.integers(len(data)))
    return data[:place] + random.bytes(int(random.integers(1, 9))) + data[place:]


def other_property(data: bytes, random: Generator) -> bytes:
    """A fact with another value, or none."""
    model = onnx.load_from_string(data)
    entry = model.metadata_props[random.integers(len(model.metadata_props))]
    values = ["", "null", "[]", "{}", "-1", "1e999", '"\\u001b[2J"', "9" * 5000, json.dumps(["x"] * 3), "[" * 9000]
    entry.value = values[random.integers(len(values))]
    return model.SerializeToString()


def lost_node(data: bytes, random: Generator) -> bytes:
    """An operator is missing."""
    model = onnx.load_from_string(data)
    del model.graph.node[int(random.integers(len(model.graph.node)))]
    return model.SerializeToString()


def other_operator(data: bytes, random: Generator) -> bytes:
    """An operator of another kind."""
    model = onnx.load_from_string(data)
    node = model.graph.node[int(random.integers(len(model.graph.node)))]
    kinds = ["Identity", "Loop", "Relu", "RandomNormal", "Neg", "\x1b[2J", "Expand"]
    node.op_type = kinds[random.integers(len(kinds))]
    return model.SerializeToString()


def other_attribute(data: bytes, random: Generator) -> bytes:
    """A stride, a padding or an axis of another size."""
    model = onnx.load_from_string(data)
    attributes = [entry for node in model.graph.node for entry in node.attribute if entry.ints]
    entry = attributes[random.integers(len(attributes))]
    numbers = [0, -1, 1, 3, 1 << 20, (1 << 62)]
    entry.ints[int(random.integers(len(entry.ints)))] = numbers[random.integers(len(numbers))]
    return model.SerializeToString()


def other_shape(data: bytes, random: Generator) -> bytes:
    """A tensor that says to have another shape."""
    model = onnx.load_from_string(data)
    tensors = [tensor for tensor in model.graph.initializer if tensor.dims]
    tensor = tensors[random.integers(len(tensors))]
    sizes = [0, 1, -1, 7, 1 << 40]
    tensor.dims[int(random.integers(len(tensor.dims)))] = sizes[random.integers(len(sizes))]
    return model.SerializeToString()


MUTATORS: tuple[Mutator, ...] = (
    flipped_bits, lost_page, cut, swapped_blocks, inserted_bytes, other_property, lost_node, other_operator,
    other_attribute, other_shape,
)  # fmt: skip
