"""What exported files say of their inner tensors is true, invents no names, and other programs can build on it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto
from onnxruntime.quantization.shape_inference import quant_pre_process

from exports import Export, plain_session
from fcn_export.graph.shapes import describe_tensors
from fcn_export.graph.verify import textured_frames
from tiny_networks import CLASSES, NAMES

FIXED = ("--height", "65", "--width", "97")
SIZES = {"batch": 2, "height": 65, "width": 97}
# ONNX Runtime's symbolic inference cannot see that a crop, or a padded frame's pool, fits what it is added to.
UNEQUAL_TO_SYMBOLS = re.compile("(caffe|zijundeng) fcn(8|16)s|pochih fcn(8|16)?s")


def files_of(name: str, exported: Export) -> list[Path]:
    return [exported(name), exported(name, *FIXED), exported(name, *FIXED, "--batch", "2")]


def shape_of(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_value or dim.dim_param for dim in value.type.tensor_type.shape.dim]


def session_of(model: ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", NAMES)
def test_every_described_tensor_has_that_type_and_shape(name: str, exported: Export) -> None:
    frames = textured_frames(*SIZES.values(), seed=5).numpy()
    for path in files_of(name, exported):
        model = onnx.load(path)
        described = list(model.graph.value_info)
        assert {dim for value in described for dim in shape_of(value) if isinstance(dim, str)} <= {"", *SIZES}
        model.graph.output.extend(described)
        run = session_of(model).run([value.name for value in described], {"frames": frames})
        for value, found in zip(described, run, strict=True):
            told = [SIZES.get(dim, dim) for dim in shape_of(value)]
            assert [dim or size for dim, size in zip(told, found.shape, strict=True)] == list(found.shape), value.name
            assert found.dtype == onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)


@pytest.mark.parametrize("name", NAMES)
def test_strict_inference_agrees(name: str, exported: Export) -> None:
    for path in files_of(name, exported):
        onnx.checker.check_model(path, full_check=True)
        model = onnx.shape_inference.infer_shapes(onnx.load(path), check_type=True, strict_mode=True, data_prop=True)
        assert shape_of(model.graph.output[0])[1:] in ([65, 97], ["height", "width"])


@pytest.mark.parametrize("name", NAMES)
def test_fixed_sizes_leave_no_arithmetic_on_shapes(name: str, exported: Export) -> None:
    model = onnx.load(exported(name, *FIXED, "--batch", "2"))
    assert {node.op_type for node in model.graph.node}.isdisjoint(
        {"Shape", "Gather", "ConstantOfShape", "Concat", "Range", "Unsqueeze", "Mod"}
    )
    scores = next(value for value in model.graph.value_info if value.name == "scores")
    assert shape_of(scores)[:2] == [2, CLASSES] and all(shape_of(value) for value in model.graph.value_info)
    assert not [value.name for value in model.graph.value_info if "" in shape_of(value)]


@pytest.mark.parametrize("name", NAMES)
def test_preprocessing_for_quantisation(
    name: str, exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where it leaves a file of data
    frames = textured_frames(1, 65, 97, seed=6).numpy()
    for path in (exported(name), exported(name, *FIXED)):
        merged = bool(UNEQUAL_TO_SYMBOLS.match(name)) and path == exported(name)
        quant_pre_process(path, tmp_path / "pre.onnx", auto_merge=merged)
        (labels,) = plain_session(tmp_path / "pre.onnx").run(None, {"frames": frames})
        assert np.array_equal(labels, plain_session(path).run(None, {"frames": frames})[0])


def test_a_contradiction_is_refused(exported: Export) -> None:
    model = onnx.load(exported("torchvision fcn"))
    model.graph.output[0].type.tensor_type.shape.dim.add()
    with pytest.raises(onnx.shape_inference.InferenceError):
        describe_tensors(model)
