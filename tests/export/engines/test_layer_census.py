"""Counting layers by precision: in what TensorRT's inspector prints, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fcn_export.engines.layer_census import census_text, check_engine, convolutions, engine_census
from fcn_export.errors import ExportError


def conv(weights: str | None, **tensor: str) -> dict[str, Any]:
    layer: dict[str, Any] = {"LayerType": "CaskConvolution", "ParameterType": "Convolution", "Outputs": [tensor]}
    return layer | ({"Weights": {"Type": weights, "Count": 9}} if weights else {})


# Forms of the inspector's JSON: dynamic shapes, static shapes up to 10, from 11 on, and fused or unnamed layers.
@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (conv("Half", **{"Format/Datatype": "N/A due to dynamic shapes"}), {"Convolution": {"fp16": 1}}),
        (conv("Float", **{"Format/Datatype": "Row major linear FP16 format"}), {"Convolution": {"fp32": 1}}),
        (conv(None, **{"Format/Datatype": "Row major linear FP16 format"}), {"Convolution": {"fp16": 1}}),
        (conv(None, **{"Format/Datatype": "Four wide channel vectorized row major FP32 format"}), None),
        (conv(None, DataType="Half", Format="N/A"), {"Convolution": {"fp16": 1}}),
        (conv("Int8"), {"Convolution": {"int8": 1}}),
        (conv(None), {"Convolution": {"unknown": 1}}),
        ({"LayerType": "Myelin", "Name": "{ForeignNode[a...b]}"}, {"Myelin": {"unknown": 1}}),
        ({"Name": "x"}, {"layer": {"unknown": 1}}),
        ("conv1 + relu1", {"layer": {"unknown": 1}}),
    ],
)
def test_inspectors_words(layer: Any, expected: dict[str, Any] | None) -> None:
    assert engine_census(json.dumps({"Layers": [layer]})) == (expected or {"Convolution": {"fp32": 1}})


def test_layers_are_counted() -> None:
    layers = [conv("Half"), conv("Half"), conv("Float"), {"LayerType": "Reformat"}]
    census = engine_census(json.dumps({"Layers": layers, "Bindings": ["frames"]}))
    assert census == {"Convolution": {"fp16": 2, "fp32": 1}, "Reformat": {"unknown": 1}}
    assert convolutions(census) == {"fp16": 2, "fp32": 1} and census_text(census["Convolution"]) == "2 fp16, 1 fp32"


@pytest.mark.parametrize("text", ["", "{", "layer 1\nlayer 2"])
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        engine_census(text)


HALF, FULL = {"fp16": 15, "fp32": 5}, {"fp32": 20}


@pytest.mark.parametrize(
    ("shown", "expected"),
    [({"fp16": 3}, HALF), ({"fp16": 1, "fp32": 9}, HALF), ({"unknown": 20}, HALF), ({}, HALF), ({"fp32": 2}, FULL)],
)
def test_engine_that_may_be_what_the_file_asks_for(shown: dict[str, int], expected: dict[str, int]) -> None:
    check_engine({"Convolution": shown, "Myelin": {"fp32": 3}}, expected, "net.onnx")


@pytest.mark.parametrize(
    ("shown", "expected"), [({"fp32": 20}, HALF), ({"fp16": 1}, FULL), ({"fp16": 1, "int8": 2}, FULL)]
)
def test_engine_in_another_precision(shown: dict[str, int], expected: dict[str, int]) -> None:
    with pytest.raises(ExportError, match=r"net.onnx: expected convolutions in fp\d\d, the engine's inspector shows"):
        check_engine({"CaskConvolution": shown}, expected, "net.onnx")
