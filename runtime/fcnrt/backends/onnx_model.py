"""The ONNX file of a model: read, checked, and cut to what a session is to compute."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..contract.certificate import digest
from ..contract.spec import ModelSpec
from ..errors import FrameError, MissingDependency, ModelFileError
from .base import Shape

PARITY = "fcn.parity"  # the property that holds the certificate


class OnnxModel:
    """An exported file in memory, to be changed before a session is made of it.

    Attributes:
        proto: the onnx.ModelProto.
        spec: what the file says of itself.
        fixed_shape: (batch, height, width) that the file was fixed to, None where it is free.

    Raises:
        ModelFileError: the file is damaged, foreign, newer, or not self-contained.
        MissingDependency: onnx is not installed.
    """

    def __init__(self, path: Path):
        self.path = path
        self.proto = _load(path)
        self.spec = ModelSpec.from_metadata(self._metadata, str(path))
        self._check_contract()
        dims = self.proto.graph.input[0].type.tensor_type.shape.dim
        self.fixed_shape: tuple[int | None, ...] = tuple(dim.dim_value or None for dim in dims[:3])

    @property
    def parity(self) -> Any:
        """The certificate as it stands in the file, None where there is none."""
        text = self._metadata.get(PARITY)
        try:
            return None if text is None else json.loads(text)
        except (ValueError, RecursionError):
            return text

    def subject(self) -> str:
        """What a certificate is bound to: everything but metadata, and the facts, of which the tail makes labels."""
        facts = {key: value for key, value in self._metadata.items() if key.startswith("fcn.") and key != PARITY}
        kept = list(self.proto.metadata_props)
        del self.proto.metadata_props[:]
        graph = self.proto.SerializeToString(deterministic=True)
        self.proto.metadata_props.extend(kept)
        return digest(graph, facts)

    @property
    def _metadata(self) -> dict[str, str]:
        return {entry.key: entry.value for entry in self.proto.metadata_props}

    def swap_channels(self) -> None:
        """Reverse the channels behind the first Transpose, where that moves three planes instead of every pixel."""
        onnx, graph = load_package("onnx"), self.proto.graph
        position, transpose = next(
            (index, node) for index, node in enumerate(graph.node) if node.op_type == "Transpose"
        )
        planes = f"{transpose.output[0]}_as_given"
        swap = onnx.helper.make_node("Gather", [planes, "reversed_channels"], [transpose.output[0]], axis=1)
        transpose.output[0] = planes
        graph.node.insert(position + 1, swap)
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "reversed_channels"))

    def cut_at_scores(self) -> None:
        """Make `scores` the only output and drop what comes after: ONNX Runtime would compute it all the same."""
        graph = self.proto.graph
        scores = next(value for value in graph.value_info if value.name == "scores")
        kept = _needed_for(graph, "scores")
        del graph.node[:], graph.output[:]
        graph.node.extend(kept)
        graph.output.append(scores)

    def handed_over(self) -> bytes:
        """The model as it stands, for a session, which copies it again; nothing is left here."""
        serialized: bytes = self.proto.SerializeToString()
        self.proto = None  # clearing it would keep its memory
        return serialized

    def _check_contract(self) -> None:
        graph = self.proto.graph
        inputs, outputs = ([value.name for value in values] for values in (graph.input, graph.output))
        described = {value.name for value in graph.value_info}
        made = {name for node in graph.node for name in node.output}
        rank = len(graph.input[0].type.tensor_type.shape.dim) if graph.input else 0
        transposed = any(node.op_type == "Transpose" for node in graph.node)
        as_expected = inputs == ["frames"] and outputs == ["labels"] and rank == 4 and transposed
        if not as_expected or "scores" not in described & made:
            raise ModelFileError(
                f"{self.path}: expected input `frames` (N, H, W, 3), output `labels` and inner tensor `scores`, "
                f"got {inputs} and {outputs}, changed by another tool; export the checkpoint again"
            )


def check_fixed_shape(shape: Shape, fixed: tuple[int | None, ...], path: Path) -> None:
    """Raise FrameError where a dimension is fixed in the file to another size."""
    for name, size, wanted in zip(("batch", "height", "width"), shape, fixed, strict=True):
        if wanted is not None and size != wanted:
            raise FrameError(
                f"frames: expected {name} {wanted} (fixed in {path.name}), got {size}; "
                f"resize, or export without --{name}"
            )


def load_package(name: str) -> Any:
    """A package of the `ort` extra; raises MissingDependency."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingDependency(f".onnx models need {name}: pip install 'fcnrt[ort]'") from error


def _load(path: Path) -> Any:
    onnx = load_package("onnx")
    from google.protobuf.message import DecodeError  # onnx brings it

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError as error:
        raise ModelFileError(f"{path}: damaged or not an ONNX file; export or copy it again") from error
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ModelFileError(f"{path}: its weights lie in another file; expected one self-contained file, export again")
    return model


def _needed_for(graph: Any, tensor: str) -> list[Any]:
    """The nodes that a tensor depends on, in order (ONNX keeps nodes sorted)."""
    wanted, kept = {tensor}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            kept.append(node)
    return kept[::-1]
