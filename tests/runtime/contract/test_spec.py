"""Metadata parsed, validated, and the same on both sides of the file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import onnx
import pytest

from exports import Export
from fcnrt import ModelFileError, ModelSpec, Tail
from fcnrt.backends import read_spec
from model_facts import FACTS


def metadata(**changes: object) -> dict[str, str]:
    return {f"fcn.{key}": json.dumps(value) for key, value in {**FACTS, **changes}.items()}


def test_all_facts_are_read() -> None:
    spec = ModelSpec.from_metadata({**metadata(), "Image.BitmapPixelFormat": "Bgr8"}, "net.onnx")
    assert spec.classes == ("road", "sky") and spec.mean == (104.0, 116.7, 122.7)
    assert spec.tail == Tail("deconv", 8, 31) and spec.color == "bgr" and spec.palette == "voc"


def test_explicit_palette() -> None:
    spec = ModelSpec.from_metadata(metadata(palette=[[1, 2, 3], [4, 5, 6]]), "net.onnx")
    assert spec.palette == ((1, 2, 3), (4, 5, 6))


def test_keys_of_later_minor_versions_are_ignored() -> None:
    assert ModelSpec.from_metadata({**metadata(), "fcn.parity": "{}"}, "net.onnx").family == "caffe"


@pytest.mark.parametrize("key", [key for key in FACTS if key != "format"])
def test_missing_key_is_named(key: str) -> None:
    facts = metadata()
    del facts[f"fcn.{key}"]
    with pytest.raises(ModelFileError, match=rf"net\.onnx: invalid fcn\.\* metadata \('{key}' is missing\)"):
        ModelSpec.from_metadata(facts, "net.onnx")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "fcn.format is 2, this fcnrt reads up to 1; upgrade fcnrt"),
        ("format", "1", "fcn.format is '1', expected 1"),
        ("format", 0, "fcn.format is 0, expected 1"),
        ("classes", [], "expected class names, got []"),
        ("classes", [1, 2], "expected text, got 1"),
        ("color", "gbr", "expected one of rgb, bgr, got 'gbr'"),
        ("precision", "int4", "expected one of fp32, fp16, int8, got 'int4'"),
        ("format", True, "fcn.format is True, expected 1"),
        ("mean", [1, 2], "expected three values, got [1, 2]"),
        ("mean", [1, 2, float("nan")], "expected a finite number, got nan"),
        ("scale", "much", "expected a finite number, got 'much'"),
        ("scale", 0, "expected a number above 0, got 0"),
        ("scale", float("inf"), "expected a finite number, got inf"),
        ("min_size", -1, "expected a whole number from 1 to 4096, got -1"),
        ("min_size", 1e400, "expected a whole number from 1 to 4096, got inf"),
        ("tail", {"kind": "none", "stride": 0, "offset": 10**21}, "expected a whole number from 0 to 4096"),
        ("palette", [[0, 0, 0]], "1 colours for 2 classes"),
        (
            "tail",
            {"kind": "cubic", "stride": 1, "offset": 0},
            "expected one of half_pixel, align_corners, deconv, none",
        ),
        ("tail", {"kind": "deconv", "stride": 0, "offset": 0}, "expected a whole number from 1 to 4096, got 0"),
        ("palette", [[0, 0, 256], [0, 0, 0]], "expected a whole number from 0 to 255, got 256"),
        ("family", 3, "expected text, got 3"),
    ],
)
def test_invalid_values(key: str, value: object, message: str) -> None:
    with pytest.raises(ModelFileError, match=re.escape(message)):
        ModelSpec.from_metadata(metadata(**{key: value}), "net.onnx")


@pytest.mark.parametrize("value", ["{", "", "[" * 100_000, "9" * 5000], ids=["open", "empty", "deep", "long"])
def test_value_that_is_no_json(value: str) -> None:
    with pytest.raises(ModelFileError, match=r"fcn\.family is not JSON|expected text"):
        ModelSpec.from_metadata({**metadata(), "fcn.family": value}, "net.onnx")


def test_foreign_file_is_told_how_to_become_a_proper_one(tmp_path: Path) -> None:
    graph = onnx.helper.make_graph([], "foreign", [], [])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "yolo.onnx")
    with pytest.raises(ModelFileError, match=r"no fcn\.\* metadata; expected a file made by export/to_onnx\.py"):
        read_spec(tmp_path / "yolo.onnx")


def test_exporter_and_runtime_agree_on_the_metadata(exported: Export) -> None:
    path = exported("caffe fcn8s-atonce", "--precision", "fp16", "--color", "bgr", "--palette", "generated")
    spec = read_spec(path)
    written = {entry.key[4:] for entry in onnx.load(path).metadata_props if entry.key.startswith("fcn.")}
    facts = {*ModelSpec.__dataclass_fields__} - {"interface"}  # which stands there if it is unusual
    assert written == {"format", "digest", *facts}
    assert (spec.family, spec.variant, spec.precision, spec.color) == ("caffe", "fcn8s-atonce", "fp16", "bgr")
    assert spec.tail == Tail("deconv", 8, 31) and spec.scale == 1.0
    assert spec.mean == pytest.approx((104.00698793, 116.66876762, 122.67891434))
