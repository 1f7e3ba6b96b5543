"""What the `meta` of an mmsegmentation checkpoint tells: its config as text, the names and colours of the classes.

The text is Python; it is parsed and its literals are taken, nothing of it is run.
"""

from __future__ import annotations

import ast
import math
import reprlib
from collections.abc import Mapping
from typing import Any

from .base import InputContract, Told
from .resnet import STEPS

MAX_TEXT = 1_000_000  # characters; configs have thousands
MAX_LEVEL = 1e6  # of a mean or std
MAX_STEP = 64  # of a stride or a dilation; configs have up to 4


def told_by_config(meta: Mapping[str, Any], published: InputContract, threshold: float) -> Told:
    """What `meta` tells of a network.

    Args:
        meta: as versions 0.x (`config`, `CLASSES`, `PALETTE`) and 1.x (`cfg`, `dataset_meta`) write it.
        published: the input of upstream's configs, whose text may change a part of it.
        threshold: of a single class, unless the config says another.
    """
    config = _literals(meta.get("config") or meta.get("cfg"))
    data = meta.get("dataset_meta")
    data = data if isinstance(data, Mapping) else {}
    model = _dict(config.get("model"))
    head, backbone = _dict(model.get("decode_head")), _backbone(model.get("backbone"))
    return Told(
        structure=_structure(head, backbone),
        contract=_contract(config, model, published),
        classes=_names(meta.get("CLASSES") or data.get("classes")),
        palette=_colours(meta.get("PALETTE") or data.get("palette")),
        threshold=_probability(head.get("threshold"), threshold),
        problem=_problem(head, backbone),
        source="as its config says",
    )


def _structure(head: Mapping[str, Any], backbone: Mapping[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {"align_corners": bool(head.get("align_corners", False))} if head else {}
    if "strides" in backbone and "dilations" in backbone:
        told["output_stride"] = 4 * math.prod(backbone["strides"])
    return told


def _problem(head: Mapping[str, Any], backbone: Mapping[str, Any]) -> str:
    """A choice in the config that the exporter does not know; empty if there is none."""
    strides, dilations = backbone.get("strides"), backbone.get("dilations")
    if strides and dilations:
        known = [tuple(zip(*steps, strict=True)) for steps in STEPS.values()]
        if (tuple(strides), tuple(dilations)) not in known:
            return f"strides {tuple(strides)} with dilations {tuple(dilations)}"
        if max(dilations) > 1 and not backbone.get("contract_dilation"):
            return "contract_dilation=False"
    others = {"style": (backbone, "pytorch"), "avg_down": (backbone, False), "dilation": (head, 1)}
    return next(
        (f"{key}={reprlib.repr(part[key])}" for key, (part, usual) in others.items() if part.get(key, usual) != usual),
        "",
    )


def _contract(config: Mapping[str, Any], model: Mapping[str, Any], published: InputContract) -> InputContract | None:
    old = _dict(config.get("img_norm_cfg"))
    new = _dict(model.get("data_preprocessor") or config.get("data_preprocessor"))
    facts = new or old
    mean, std = facts.get("mean"), facts.get("std")
    if not _is_triple(mean) or not _is_triple(std) or min(std) <= 0:
        return None
    rgb = facts.get("to_rgb", True) if facts is old else facts.get("bgr_to_rgb", False)
    return InputContract("rgb" if rgb else "bgr", published.scale, tuple(mean), tuple(std))


def _literals(text: Any) -> dict[str, Any]:
    """The assignments in a Python text whose values are literals or calls of dict; none if it is no Python."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        return {}
    try:
        assignments = [node for node in ast.parse(text).body if isinstance(node, ast.Assign)]
        named = [(node.targets[0], node.value) for node in assignments]
        return {name.id: _value(value) for name, value in named if isinstance(name, ast.Name)}
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {}


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand)
        return -value if isinstance(value, (int, float)) else None
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(element) for element in node.elts]
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {key.value: _value(value) for key, value in pairs if isinstance(key, ast.Constant)}
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {keyword.arg: _value(keyword.value) for keyword in node.keywords if keyword.arg}
    return None


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _backbone(value: Any) -> Mapping[str, Any]:
    """A backbone's options, without strides and dilations that are none."""
    options = _dict(value)
    return {key: part for key, part in options.items() if key not in ("strides", "dilations") or _are_steps(part)}


def _are_steps(value: Any) -> bool:
    return isinstance(value, list) and all(type(step) is int and 0 < step <= MAX_STEP for step in value)


def _is_triple(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(map(_is_finite, value))


def _is_finite(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < MAX_LEVEL


def _names(value: Any) -> tuple[str, ...] | None:
    names = tuple(value) if isinstance(value, (list, tuple)) else ()
    return names if names and all(isinstance(name, str) for name in names) else None


def _colours(value: Any) -> tuple[tuple[int, int, int], ...] | None:
    colours = value if isinstance(value, (list, tuple)) else []
    triples = [tuple(colour) for colour in colours if isinstance(colour, (list, tuple)) and len(colour) == 3]
    usable = all(type(number) is int and 0 <= number <= 255 for triple in triples for number in triple)
    return tuple(triples) if triples and usable and len(triples) == len(colours) else None  # type: ignore[return-value]


def _probability(value: Any, usual: float) -> float:
    return float(value) if isinstance(value, float) and 0 < value < 1 else usual
