"""Files whose weights are left where they lie: the graph is whole, and the places hold the weights' own bytes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import fcnrt
from exports import Export, plain_session
from fcnrt.backends.onnx_model import OnnxModel
from fcnrt.contract.weights import LEAST, without_weights
from frames import frames_of


@pytest.fixture
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


def test_only_large_weights_are_left_out(model: Path) -> None:
    data, places = without_weights(model.read_bytes())
    whole, graph, content = onnx.load(model), onnx.load_from_string(data), model.read_bytes()
    large = {tensor.name for tensor in whole.graph.initializer if len(tensor.raw_data) >= LEAST}
    assert places.keys() == large and len(large) > 3
    for tensor in whole.graph.initializer:
        if tensor.name in places:
            offset, length = places[tensor.name]
            assert content[offset : offset + length] == tensor.raw_data
            tensor.ClearField("raw_data")
    assert graph == whole and len(data) < len(content) / 2


def test_references_are_what_onnx_calls_external_data(model: Path) -> None:
    (model.parent / "references.onnx").write_bytes(OnnxModel(model).with_references())
    found, whole = onnx.load(model.parent / "references.onnx"), onnx.load(model)
    for tensor, expected in zip(found.graph.initializer, whole.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(tensor), numpy_helper.to_array(expected))


@pytest.mark.parametrize("position", [0, 1, 5, 40, -1])
def test_damage_is_an_error(position: int, model: Path, tmp_path: Path) -> None:
    content = bytearray(model.read_bytes())
    content[position] ^= 0x87
    (tmp_path / "damaged.onnx").write_bytes(content)
    with contextlib.suppress(ValueError):  # or the parser tells
        without_weights((tmp_path / "damaged.onnx").read_bytes())
    for cut in (3, 200, len(content) // 2, len(content) - 1):
        (tmp_path / "damaged.onnx").write_bytes(model.read_bytes()[:cut])
        with pytest.raises(ValueError):
            without_weights((tmp_path / "damaged.onnx").read_bytes())


def test_links_and_names_of_any_kind(model: Path, tmp_path: Path) -> None:
    real = tmp_path / "real folder"
    real.mkdir()
    (real / "Straße 1, ü.onnx").write_bytes(model.read_bytes())
    (tmp_path / "link.onnx").symlink_to(real / "Straße 1, ü.onnx")
    os.link(real / "Straße 1, ü.onnx", tmp_path / "hard.onnx")
    frames = frames_of(1, 33, 47)
    expected = plain_session(model).run(["labels"], {"frames": frames})[0]
    for name in ("link.onnx", "hard.onnx", "real folder/Straße 1, ü.onnx"):
        with fcnrt.Segmenter(tmp_path / name, device="cpu") as segment:
            assert np.array_equal(segment(frames), expected)


def test_the_file_may_be_replaced_once_it_is_loaded(model: Path, tmp_path: Path) -> None:
    path, frames = tmp_path / "model.onnx", frames_of(1, 33, 47)
    path.write_bytes(model.read_bytes())
    with fcnrt.Segmenter(path, device="cpu") as segment:
        expected = segment(frames)
        (tmp_path / "other").write_bytes(bytes(path.stat().st_size))
        (tmp_path / "other").replace(path)
        assert np.array_equal(segment(frames), expected)


def test_a_file_that_changes_while_it_is_loaded_is_refused(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(model.read_bytes())
    read = OnnxModel.with_references

    def replaced(model: OnnxModel) -> bytes:
        (tmp_path / "other").write_bytes(path.read_bytes())
        (tmp_path / "other").replace(path)
        return read(model)

    monkeypatch.setattr(OnnxModel, "with_references", replaced)
    with pytest.raises(fcnrt.ModelFileError, match="was changed while it was being loaded; load it again"):
        fcnrt.Segmenter(path, device="cpu")
