"""INT8 export: what is quantised and how, on which frames, and that labels that do not survive it are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from PIL import Image

from exports import Export, plain_session
from fcn_export.commands import to_onnx
from fcn_export.errors import ExportError
from fcn_export.graph.verify import textured_frames
from fcn_export.quantization import choice
from fcn_export.quantization.choice import quantisable
from fcn_export.quantization.frames import CalibrationFrames, read_frames
from fcn_export.quantization.pixels import on_pixels
from fcn_export.quantization.qdq import convolutions, quantised
from fcnrt.video import VideoWriter
from tiny_networks import options_for, tiny, upstream_state

NAME = "caffe fcn8s"


def frames_of(count: int, height: int = 65, width: int = 97) -> list[np.ndarray]:
    return [textured_frames(1, height, width, seed)[0].numpy() for seed in range(count)]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of different odd sizes."""
    folder = tmp_path_factory.mktemp("pictures")
    for index, frame in enumerate(frames_of(12)):
        Image.fromarray(frame[: 65 - index]).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "net.pth"
    torch.save(upstream_state(tiny(NAME)), path)
    return path


@pytest.fixture(scope="module")
def int8(checkpoint: Path, pictures: Path) -> Path:
    flags = [*options_for(NAME), "--precision", "int8", "--calibration", str(pictures)]
    assert to_onnx.main([str(checkpoint), *flags]) == 0
    return checkpoint.with_name("net-int8.onnx")


def constants(model: ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_the_file_is_what_tensorrt_takes(int8: Path) -> None:
    model = onnx.load(int8)
    onnx.checker.check_model(model, full_check=True)
    values = constants(model)
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert pairs and {values[node.input[2]].dtype for node in pairs} == {np.dtype(np.int8)}
    assert all(not values[node.input[2]].any() for node in pairs)  # symmetric
    assert {entry.domain for entry in model.opset_import} == {""}
    assert all(tensor.data_type != TensorProto.INT32 for tensor in model.graph.initializer)  # biases stay float


def test_weights_are_int8_per_channel(int8: Path) -> None:
    model = onnx.load(int8)
    values, made = constants(model), {name: node for node in model.graph.node for name in node.output}
    kept = []
    for node in (node for node in model.graph.node if node.op_type == "Conv"):
        if node.input[1] in values:
            kept.append(node.input[1].removeprefix("net."))
            continue
        weight, scale = made[node.input[1]].input[:2]
        assert values[weight].dtype == np.int8 and values[scale].shape == (values[weight].shape[0],)
    assert not kept


def test_a_trained_last_upsampling_stays_float(exported: Export) -> None:
    model = onnx.load(exported("d2l fcn32s"))
    assert set(convolutions(model)) - set(quantisable(model)) == {"last_step"}


def test_sums_of_scores_stay_float(exported: Export) -> None:
    model = fully_quantised(exported("tramac fcn8s"))
    upsampled = {node.output[0] for node in model.graph.node if node.op_type == "Resize"}
    sums = [node for node in model.graph.node if node.op_type == "Add" and upsampled.intersection(node.input)]
    rounded = {node.input[0] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    assert len(sums) == 2 and rounded.isdisjoint(name for node in sums for name in (*node.input, *node.output))


def fully_quantised(path: Path) -> ModelProto:
    model = onnx.load(path)
    return quantised(model, iter([frames_of(1)[0][None]]), convolutions(model))


def test_the_first_convolution_reads_pixels_without_rounding(int8: Path) -> None:
    model = onnx.load(int8)
    values, readers = constants(model), {node.input[0]: node for node in model.graph.node}
    found = [readers["frames"]]
    while found[-1].op_type != "Conv":
        found.append(readers[found[-1].output[0]])
    assert [node.op_type for node in found][:4] == ["Cast", "Transpose", "Sub", "Pad"]
    assert values[found[2].input[1]] == 128 and values[found[4].input[1]] == 1


@pytest.mark.parametrize("name", ["caffe fcn8s", "zijundeng fcn16s", "pochih fcns", "d2l fcn32s"])
def test_on_pixels_a_network_computes_what_it_did(name: str, exported: Export) -> None:
    """With and without a factor, borders of 100 pixels, sizes padded to multiples."""
    model = onnx.load(exported(name))
    frames = textured_frames(2, 83, 61, seed=5).numpy()
    exact, found = (scores_of(made, frames) for made in (model, on_pixels(model)[0]))
    np.testing.assert_allclose(found, exact, atol=1e-5 * np.abs(exact).max())


def scores_of(model: ModelProto, frames: np.ndarray) -> np.ndarray:
    shown = ModelProto()
    shown.CopyFrom(model)
    shown.graph.output.append(next(value for value in model.graph.value_info if value.name == "scores"))
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(["scores"], {"frames": frames})[0]


def test_a_max_pooling_reads_what_is_rounded_as_its_result_is(int8: Path) -> None:
    model = onnx.load(int8)
    values, makers = constants(model), {name: node for node in model.graph.node for name in node.output}
    pools = [node for node in model.graph.node if node.op_type == "MaxPool"]
    readers = {node.input[0]: node for node in model.graph.node if node.op_type == "QuantizeLinear"}
    for pool in pools:
        before, after = makers[pool.input[0]], readers[pool.output[0]]
        assert before.op_type == "DequantizeLinear" and values[before.input[1]] == values[after.input[1]]
    assert len(pools) == 5


def test_nothing_is_rounded_between_a_convolution_and_what_engines_fuse_it_with(int8: Path) -> None:
    model = onnx.load(int8)
    sums = {node.output[0] for node in model.graph.node if node.op_type == "Conv"}
    assert not any(node.op_type == "QuantizeLinear" and node.input[0] in sums for node in model.graph.node)


def test_the_facts_say_int8_and_the_inner_scores_stay(int8: Path) -> None:
    model = onnx.load(int8)
    assert {entry.key: entry.value for entry in model.metadata_props}["fcn.precision"] == '"int8"'
    assert [value.name for value in model.graph.value_info if value.name == "scores"] == ["scores"]
    assert [value.name for value in model.graph.output] == ["labels"]


def test_labels_are_nearly_those_of_float32_at_sizes_that_were_never_seen(int8: Path, exported: Export) -> None:
    frames = textured_frames(2, 83, 131, seed=77).numpy()
    labels, exact = (plain_session(path).run(None, {"frames": frames})[0] for path in (int8, exported(NAME)))
    share = (labels == exact).mean()
    assert 0.97 <= share < 1  # 1 would be float32 under another name


def test_report_names_layers_frames_and_agreement(
    checkpoint: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = [
        "--precision",
        "int8",
        "--calibration",
        str(pictures),
        "--calibration-frames",
        "4",
        "--keep-float",
        "conv4",
    ]
    assert (
        to_onnx.main(
            [str(checkpoint), "-o", str(tmp_path / "n.onnx"), *options_for(NAME), *flags, "--keep-float", "conv4"]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "int8       15 convolutions, 3 of the body kept in float32" in text
    assert "kept: conv4_1, conv4_2, conv4_3" in text and "on 3 frames of" in text and "few frames (4)" in text
    assert text.splitlines()[-1].startswith("next: ")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--precision", "int8"], "add --calibration with a folder of pictures, a video, or a data set"),
        (["--calibration", "x"], "--calibration: is for int8, got --precision fp32; add --precision int8"),
        (["--precision", "int8", "--calibration", "nowhere"], "--calibration nowhere: no such folder or video"),
    ],
)
def test_wrong_flags_are_one_line(
    flags: list[str], expected: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert to_onnx.main([str(checkpoint), *options_for(NAME), *flags]) == 1
    error = capsys.readouterr().err
    assert expected in error and error.count("\n") == 1


def test_a_layer_that_is_not_there_is_named_with_those_that_are(pictures: Path, exported: Export) -> None:
    with pytest.raises(ExportError, match=r"--keep-float conv9: expected \(part of\) one of conv1_1, conv1_2"):
        choice.quantise(onnx.load(exported(NAME)), read_frames(pictures, 4), batches, ["conv9"])


def batches(frames):
    return (frame[None] for frame in frames)


def test_the_noisiest_layers_are_left_out_until_labels_hold(
    pictures: Path, exported: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    def equal_labels(exact: ModelProto, rough: ModelProto, frames: object) -> tuple[int, int]:
        return 950 + float_convolutions(rough), 1000

    exact = onnx.load(exported(NAME))
    monkeypatch.setattr(choice, "_equal_labels", equal_labels)
    monkeypatch.setattr(choice, "USUAL", 0.950 + 0.001 * 3)
    made = choice.quantise(exact, read_frames(pictures, 4), batches)
    assert len(made.kept) == 4 and set(made.kept).isdisjoint(made.layers)  # after 1 and 2
    assert len(made.kept) + len(made.layers) == len(convolutions(exact))


def float_convolutions(model: ModelProto) -> int:
    names = {tensor.name for tensor in model.graph.initializer}
    return sum(node.op_type == "Conv" and node.input[1] in names for node in model.graph.node)


def test_what_is_judged_is_the_file_and_not_the_processor(exported: Export, pictures: Path) -> None:
    """Its Q/DQ pairs in float, one operator after another: fused integer kernels round otherwise, or saturate."""
    made = choice.quantise(onnx.load(exported(NAME)), read_frames(pictures, 4), batches).model
    frames = frames_of(1)[0][None]
    (scores,) = choice._tensors(made, ["scores"], frames)
    made.graph.output.append(helper.make_empty_tensor_value_info("scores"))
    unfused = onnxruntime.SessionOptions()
    unfused.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    (defined,) = onnxruntime.InferenceSession(made.SerializeToString(), unfused).run(["scores"], {"frames": frames})
    assert np.abs(scores - defined).mean() <= 1e-3 * np.abs(defined).mean()


def test_too_few_equal_labels_are_refused(
    checkpoint: Path,
    pictures: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(choice, "FLOOR", 1.0)
    flags = [*options_for(NAME), "--precision", "int8", "--calibration", str(pictures), "--keep-float", "conv1_2"]
    assert to_onnx.main([str(checkpoint), "-o", str(tmp_path / "n.onnx"), *flags]) == 1
    assert "of the labels on held-out frames" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_dark_frames_are_judged_at_full_brightness_too(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    dark = CalibrationFrames(Path("night"), [frame // 6 for frame in frames_of(6)], [frames_of(7)[6] // 6])
    assert any("dark" in note for note in dark.notes) and dark.brightened()[0].max() > 200
    judged: list[np.ndarray] = []
    monkeypatch.setattr(
        choice, "_equal_labels", lambda exact, rough, frames: judged.extend(frames) or (10 - 9 * (len(judged) > 1), 10)
    )
    with pytest.raises(ExportError, match="night are dark, and at full brightness only 10"):
        choice.quantise(onnx.load(exported(NAME)), dark, batches)


def test_frames_are_spread_over_a_video_and_some_held_out(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "v.mp4", 25, (64, 96)) as video:
        for level in range(40):
            video.write(np.full((64, 96, 3), 5 * level, np.uint8))
    found = read_frames(tmp_path / "v.mp4", 8)
    levels = sorted(int(frame.mean()) for frame in (*found.calibration, *found.held_out))
    assert (len(found.calibration), len(found.held_out)) == (6, 2) and levels[0] < 10 and levels[-1] > 170


def test_pictures_of_a_data_set_are_found_and_its_masks_are_not(tmp_path: Path) -> None:
    for folder, level in (("JPEGImages", 200), ("SegmentationClass", 1)):
        (tmp_path / folder).mkdir()
        for index in range(3):
            Image.new("RGB", (40 + index, 31), (level,) * 3).save(tmp_path / folder / f"{index}.png")
    found = read_frames(tmp_path, 64)
    assert [frame.shape for frame in found.calibration] == [(31, 40 + index, 3) for index in range(3)]
    assert all(frame.max() == 200 for frame in found.calibration)
    assert len(found.held_out) == 1  # the last one again: there are too few to spare one


def test_frames_alike_are_told(tmp_path: Path) -> None:
    same = frames_of(1) * 9
    assert any("nearly alike" in note for note in CalibrationFrames(tmp_path, same[:6], same[6:]).notes)
    assert CalibrationFrames(tmp_path, frames_of(9), frames_of(2)).notes == []
