"""Which layers compute in which precision: counted in the parsed network, and in the engine where it can be opened."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from fcnrt.contract.precision import FLOATS, Precision

from ..errors import ExportError

Census = dict[str, dict[str, int]]  # layer type: precision: how many

CONVOLUTIONS = {"CONVOLUTION": "IConvolutionLayer", "DECONVOLUTION": "IDeconvolutionLayer"}
TYPES = {Precision.FP32: "FLOAT", Precision.FP16: "HALF"}  # by the names of TensorRT's DataType
_NAMES = {name: precision.value for precision in FLOATS for name in (TYPES[precision], precision.dtype.name)}
# The inspector's words: "Half" for weights, "Row major linear FP16 format" for tensors up to 10, "Half" from 11.
_WORDS = {"fp16": r"\b(half|fp16)\b", "fp32": r"\b(float|fp32)\b", "int8": r"\bu?int8\b", "int": r"\bint(32|64)\b"}


def network_census(network: Any) -> Census:
    """Count the layers of a parsed network by type and by the type of their first output.

    Where a precision was demanded of a layer (TensorRT 8.6), it is that one. A convolution between Q/DQ is an int8 one,
    whatever its output is typed.
    """
    quantised = _quantised(network)
    return _counted(
        (layer.type.name.lower(), Precision.INT8 if layer.name in quantised else _precision(layer))
        for layer in _layers(network)
    )


def check_network(trt: Any, network: Any, expected: Mapping[str, int], source: str) -> None:
    """Hold the convolutions of a parsed network against the weights in the file.

    Args:
        trt: the TensorRT module.
        network: the parsed network, precisions set where it is weakly typed.
        expected: how many convolutions of the file have weights of each precision.
        source: the file's name, for messages.

    Raises:
        ExportError: a convolution reads, computes or writes another type than its weights have, or the numbers differ.
    """
    found, quantised = Counter[str](), _quantised(network)
    for layer in _layers(network):
        if layer.name in quantised:
            found[Precision.INT8] += 1
        elif layer.type.name in CONVOLUTIONS:
            types = _convolution_types(trt, layer)
            if len(set(types.values())) > 1:
                text = ", ".join(f"{part} {precision}" for part, precision in types.items())
                raise ExportError(f"{source}: {layer.name}: expected one precision, got {text}; please report this")
            found[types["weights"]] += 1
    if found != Counter(expected):
        raise ExportError(
            f"{source}: expected convolutions as its weights are, {census_text(expected)}, TensorRT's parser made "
            f"{census_text(found) or 'none'}; please report this"
        )


def engine_census(information: str) -> Census:
    """Count the layers of an engine by what its inspector says (JSON)."""
    layers = json.loads(information).get("Layers", [])
    return _counted(_engine_layer(layer) for layer in layers)


def check_engine(census: Census, expected: Mapping[str, int], source: str) -> None:
    """Refuse an engine whose inspector shows convolutions, but none in the precision that most of the file's have.

    Fused layers are shown without their parts, so that numbers cannot be compared.

    Raises:
        ExportError: it does.
    """
    shown = convolutions(census)
    known = {precision for precision in Precision if shown[precision]}
    wanted = max(expected, key=lambda precision: expected[precision])
    if known and wanted not in known:
        raise ExportError(
            f"{source}: expected convolutions in {wanted}, the engine's inspector shows {census_text(shown)}; "
            "please report this"
        )


def convolutions(census: Census) -> Counter[str]:
    """How many convolutions, transposed ones among them, a census has of each precision."""
    found: Counter[str] = Counter()
    for kind, precisions in census.items():
        if "convolution" in kind.lower():
            found.update(precisions)
    return found


def census_text(precisions: Mapping[str, int]) -> str:
    """ "16 fp16, 5 fp32"."""
    return ", ".join(f"{count} {precision}" for precision, count in sorted(precisions.items()))


def _layers(network: Any) -> Iterator[Any]:
    return (network.get_layer(index) for index in range(network.num_layers))


def _quantised(network: Any) -> set[str]:
    """Names of the convolutions whose input and weights both come out of a DequantizeLinear: they become int8."""
    rounded = {layer.get_output(0).name for layer in _layers(network) if layer.type.name == "DEQUANTIZE"}
    return {
        layer.name
        for layer in _layers(network)
        if layer.type.name in CONVOLUTIONS
        and layer.num_inputs > 1
        and {layer.get_input(0).name, layer.get_input(1).name} <= rounded
    }


def _precision(layer: Any) -> str:
    if getattr(layer, "precision_is_set", False):
        return _named(layer.precision)
    return _named(layer.get_output(0).dtype) if layer.num_outputs else "none"


def _convolution_types(trt: Any, layer: Any) -> dict[str, str]:
    """Precision of a convolution's weights, and of what it reads and writes, or was told to compute in."""
    if layer.num_inputs > 1:
        weights = _named(layer.get_input(1).dtype)
    else:
        layer.__class__ = getattr(trt, CONVOLUTIONS[layer.type.name])  # the network hands out the base class
        weights = _named(layer.kernel.dtype)
    if hasattr(layer, "precision") and layer.precision_is_set:
        return {"weights": weights, "precision": _named(layer.precision), "output": _named(layer.get_output_type(0))}
    return {
        "weights": weights,
        "input": _named(layer.get_input(0).dtype),
        "output": _named(layer.get_output(0).dtype),
    }


def _named(data_type: Any) -> str:
    """The name of a TensorRT or numpy type, ours where there is one."""
    name = getattr(data_type, "name", str(data_type))
    return _NAMES.get(name, name.lower())


def _engine_layer(layer: Any) -> tuple[str, str]:
    """Type and precision of a layer as the inspector gives it: a name alone, or an object."""
    if not isinstance(layer, dict):
        return "layer", "unknown"
    kind = layer.get("ParameterType") or layer.get("LayerType") or "layer"
    return str(kind), next(_words(layer), "unknown")


def _words(layer: Mapping[str, Any]) -> Iterator[str]:
    """The precisions that a layer's description names, weights before tensors."""
    weights = layer.get("Weights")
    texts = [str(weights.get("Type", ""))] if isinstance(weights, dict) else []
    for tensor in [*layer.get("Outputs", []), *layer.get("Inputs", [])]:
        texts += [str(value) for key, value in tensor.items() if key in ("Format/Datatype", "Datatype", "DataType")]
    for text in texts:
        yield from (name for name, pattern in _WORDS.items() if re.search(pattern, text, re.IGNORECASE))


def _counted(layers: Iterator[tuple[str, str]]) -> Census:
    census: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for kind, precision in layers:
        census[kind][precision] += 1
    return {kind: dict(sorted(counts.items())) for kind, counts in sorted(census.items())}
