"""The Segmenter: labels of the reference for every family, any frames, one line for whatever does not fit."""

from __future__ import annotations

import re
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import fcnrt
import to_onnx
from conftest import Export, plain_session
from fcnrt import reference_ops
from fcnrt.backends import ort_cuda
from fcnrt.backends.ort_cuda import why_not_cuda
from simulated import simulated_cuda
from tiny_networks import CLASSES, NAMES, many_classes
from verify import textured_frames


def frames_of(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return textured_frames(batch, height, width, seed).numpy()


def graph_labels(path: Path, frames: np.ndarray) -> np.ndarray:
    """What the file gives in any ONNX runtime, with no code of ours."""
    return plain_session(path).run(["labels"], {"frames": np.ascontiguousarray(frames)})[0]


@pytest.fixture(scope="module")
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


@pytest.fixture
def segment(model: Path) -> Iterator[fcnrt.Segmenter]:
    with fcnrt.Segmenter(model, device="cpu", threads=2) as segmenter:
        yield segmenter


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NAMES)
def test_labels_equal_the_portable_graphs(name: str, precision: str, exported: Export) -> None:
    path = exported(name, "--precision", precision) if precision == "fp16" else exported(name)
    with fcnrt.Segmenter(path, device="cpu") as segment:
        for batch, height, width in [(1, 65, 43), (3, 40, 77), (1, 65, 43), (2, 33, 32)]:
            frames = frames_of(batch, height, width, seed=height)
            labels = segment(frames)
            assert labels.shape == (batch, height, width) and labels.dtype == np.uint8
            assert (labels == graph_labels(path, frames)).mean() >= 0.9995


@pytest.mark.parametrize("name", ["caffe fcn32s", "tramac fcn8s", "torchvision fcn", "d2l fcn32s", "pochih fcns"])
def test_labels_are_the_references_of_the_scores(name: str, exported: Export) -> None:
    frames = frames_of(2, 51, 86)
    with fcnrt.Segmenter(exported(name), device="cpu") as segment:
        scores = segment.scores(frames)
        logits = reference_ops.upsample(scores, 51, 86, segment.spec.tail)
        assert scores.dtype == np.float32 and scores.shape[:2] == (2, CLASSES)
        assert (segment(frames) == reference_ops.argmax(logits)).mean() >= 0.9999
        probabilities = fcnrt.softmax(logits)
        np.testing.assert_allclose(probabilities.sum(1), 1)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (7, 3)])
def test_frames_below_every_stride(size: tuple[int, int], segment: fcnrt.Segmenter, model: Path) -> None:
    frame = frames_of(1, *size)[0]
    assert np.array_equal(segment(frame), graph_labels(model, frame[None])[0])


def test_single_frame_and_batch_agree(segment: fcnrt.Segmenter) -> None:
    frames = frames_of(3, 45, 38)
    batch = segment(frames)
    for frame, labels in zip(frames, batch, strict=True):
        assert segment(frame).shape == (45, 38)
        assert (segment(frame) == labels).mean() >= 0.999


def test_strided_frames_are_read_as_they_look(segment: fcnrt.Segmenter) -> None:
    frame = frames_of(1, 90, 120)[0]
    views = [frame[::2, 1::3], frame[::-1], frame.transpose(1, 0, 2), frame[..., ::-1]]
    for view in views:
        assert not view.flags.c_contiguous
        assert np.array_equal(segment(view), segment(view.copy()))


def test_result_is_the_callers_own(segment: fcnrt.Segmenter) -> None:
    first_frame, second_frame = frames_of(2, 33, 47, seed=4)
    first = segment(first_frame)
    kept = first.copy()
    scores = segment.scores(first_frame)
    kept_scores = scores.copy()
    segment(second_frame)
    assert np.array_equal(first, kept) and np.array_equal(scores, kept_scores)
    first[:] = 9
    assert np.array_equal(segment(first_frame), kept)


@pytest.mark.parametrize("file_color", ["rgb", "bgr"])
def test_color_of_the_frames(file_color: str, exported: Export) -> None:
    path = exported("caffe fcn8s", "--color", file_color) if file_color == "bgr" else exported("caffe fcn8s")
    rgb = frames_of(1, 50, 44)[0]
    with (
        fcnrt.Segmenter(exported("caffe fcn8s")) as plain,
        fcnrt.Segmenter(path, color="rgb") as of_rgb,
        fcnrt.Segmenter(path, color="bgr") as of_bgr,
    ):
        expected = plain(rgb)
        assert (of_rgb(rgb) == expected).mean() >= 0.999
        assert (of_bgr(rgb[..., ::-1]) == expected).mean() >= 0.999
        assert (of_bgr(rgb) == expected).mean() < 0.999


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (np.zeros((4, 5, 3), np.float32), "expected a uint8 numpy array, got float32 array"),
        ([[1, 2, 3]], "expected a uint8 numpy array, got list"),
        (torch.zeros(4, 5, 3, dtype=torch.uint8), "expected a uint8 numpy array, got Tensor"),
        (np.zeros((4, 5), np.uint8), "expected shape (H, W, 3) or (N, H, W, 3), got (4, 5)"),
        (np.zeros((3, 4, 5), np.uint8), "expected shape (H, W, 3) or (N, H, W, 3), got (3, 4, 5)"),
        (np.zeros((4, 5, 4), np.uint8), "expected shape (H, W, 3) or (N, H, W, 3), got (4, 5, 4)"),
        (np.zeros((0, 5, 3), np.uint8), "got (0, 5, 3)"),
        (np.zeros((0, 4, 5, 3), np.uint8), "got (0, 4, 5, 3)"),
    ],
)
def test_wrong_frames(frames: object, message: str, segment: fcnrt.Segmenter) -> None:
    with pytest.raises(fcnrt.FrameError, match=re.escape(message)):
        segment(frames)  # type: ignore[arg-type]


def test_below_the_family_minimum(exported: Export) -> None:
    with fcnrt.Segmenter(exported("tramac fcn8s")) as segment:
        assert segment(frames_of(1, 32, 32)[0]).shape == (32, 32)
        with pytest.raises(fcnrt.FrameError, match=r"at least 32x32 \(tramac fcn8s\), got 32x31; pad or enlarge"):
            segment(frames_of(1, 32, 31)[0])


def test_fixed_dimensions_are_named(exported: Export) -> None:
    with fcnrt.Segmenter(exported("tramac fcn16s", "--batch", "2", "--height", "71", "--width", "46")) as segment:
        assert segment(frames_of(2, 71, 46)).shape == (2, 71, 46)
        with pytest.raises(fcnrt.FrameError, match=r"expected height 71 \(fixed in .*\), got 70; .* without --height"):
            segment(frames_of(2, 70, 46))
        with pytest.raises(fcnrt.FrameError, match="expected batch 2"):
            segment(frames_of(1, 71, 46)[0])


def test_more_than_256_classes(tmp_path: Path) -> None:
    torch.save(many_classes().state_dict(), tmp_path / "net.pth")
    assert to_onnx.main([str(tmp_path / "net.pth")]) == 0
    frame = frames_of(1, 33, 46)
    with fcnrt.Segmenter(tmp_path / "net.onnx") as segment:
        labels = segment(frame)
        assert labels.dtype == np.uint16 and segment.palette.shape == (300, 3)
    assert (labels == graph_labels(tmp_path / "net.onnx", frame)).mean() >= 0.999


def test_stream_keeps_order_and_sizes(segment: fcnrt.Segmenter) -> None:
    frames = [frames_of(1, 20 + index, 31, seed=index)[0] for index in range(7)]
    for depth in (1, 2, 5, 20):
        results = list(segment.stream(iter(frames), depth))
        assert [frame is given for (frame, _), given in zip(results, frames, strict=True)] == [True] * 7
        assert all(np.array_equal(labels, segment(frame)) for frame, labels in results)


def test_stream_runs_at_most_depth_ahead(segment: fcnrt.Segmenter) -> None:
    fetched = []

    def source() -> Iterator[np.ndarray]:
        for index in range(6):
            fetched.append(index)
            yield frames_of(1, 24, 24)[0]

    for count, _ in enumerate(segment.stream(source(), depth=3), start=1):
        assert len(fetched) <= count + 2


def test_stream_raises_at_the_bad_frames_turn(segment: fcnrt.Segmenter) -> None:
    good, bad = frames_of(1, 24, 24)[0], np.zeros((5, 5), np.uint8)
    results = segment.stream([good, good, bad, good], depth=2)
    next(results)
    next(results)
    with pytest.raises(fcnrt.FrameError):
        next(results)
    assert segment(good).shape == (24, 24)


def test_abandoned_stream_leaves_the_segmenter_free(segment: fcnrt.Segmenter) -> None:
    frame = frames_of(1, 24, 24)[0]
    results = segment.stream([frame] * 10, depth=4)
    next(results)
    results.close()
    assert segment(frame).shape == (24, 24)


def test_source_error_passes_through_the_stream(segment: fcnrt.Segmenter) -> None:
    def source() -> Iterator[np.ndarray]:
        yield frames_of(1, 24, 24)[0]
        raise OSError("camera unplugged")

    results = segment.stream(source(), depth=4)
    next(results)  # the frame that came before the error is not lost
    with pytest.raises(OSError, match="camera unplugged"):
        next(results)


def test_second_thread_is_refused(segment: fcnrt.Segmenter) -> None:
    segment._busy.acquire()  # as if another thread were in a call
    try:
        with pytest.raises(fcnrt.UsageError, match="in use by another thread; make one per thread"):
            segment(frames_of(1, 24, 24)[0])
    finally:
        segment._busy.release()
    assert segment(frames_of(1, 24, 24)[0]).shape == (24, 24)


def test_segmenters_of_several_threads_do_not_mix(model: Path) -> None:
    frames = [frames_of(1, 30, 40, seed=index)[0] for index in range(4)]
    with fcnrt.Segmenter(model) as one:
        expected = [one(frame) for frame in frames]
    wrong: list[int] = []

    def work(index: int) -> None:
        with fcnrt.Segmenter(model, threads=1) as own:
            wrong.extend(index for _ in range(20) if not np.array_equal(own(frames[index]), expected[index]))

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_closed_segmenter_says_so(model: Path) -> None:
    segment = fcnrt.Segmenter(model)
    segment.close()
    segment.close()
    with pytest.raises(fcnrt.UsageError, match="this Segmenter was closed; make a new one"):
        segment(frames_of(1, 24, 24)[0])


def test_steady_state_allocates_nothing_large_but_the_result(segment: fcnrt.Segmenter) -> None:
    frame = frames_of(1, 480, 640)[0]
    for _ in range(3):
        segment(frame)
    tracemalloc.start()
    labels = segment(frame)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # beside the labels only the fixed chunks of host_ops, a fraction of one float32 copy of the frame (3.7 MB)
    assert peak < labels.nbytes + 2.5e6


@pytest.mark.parametrize("name", ["torchvision fcn", "pochih fcns"])
def test_scores_that_are_not_finite_are_an_error(name: str, exported: Export, tmp_path: Path) -> None:
    def spoil(model: onnx.ModelProto) -> None:
        ends = ("classifier.bias", "classifier.4.bias")
        weights = next(tensor for tensor in model.graph.initializer if tensor.name.endswith(ends))
        values = onnx.numpy_helper.to_array(weights).copy()
        values[2] = np.inf
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))

    with (
        fcnrt.Segmenter(spoiled(exported(name), tmp_path, spoil)) as segment,
        pytest.raises(fcnrt.BackendError, match="scores are not finite"),
    ):
        segment(frames_of(1, 40, 50)[0])


def test_many_shapes_keep_few_buffers(segment: fcnrt.Segmenter) -> None:
    for height in range(20, 40):
        segment(frames_of(1, height, 25)[0])
    backend = segment._backend
    assert len(backend._tails) == len(backend._scores) == 8  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"color": "gbr"}, "color: expected 'rgb' or 'bgr', got 'gbr'"),
        ({"threads": 0}, "threads: expected 1 to 1024, got 0"),
        ({"threads": 100_000}, "threads: expected 1 to 1024, got 100000"),
        ({"threads": "2"}, "threads: expected 1 to 1024, got '2'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], message: str, model: Path) -> None:
    with pytest.raises(fcnrt.UsageError, match=message):
        fcnrt.Segmenter(model, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("device", [None, "gpu", "cuda:x", "cpu:1", ""])
def test_unknown_device(device: str | None, model: Path) -> None:
    with pytest.raises(fcnrt.BackendError, match="expected auto, cpu, cuda or cuda:N"):
        fcnrt.Segmenter(model, device=device)  # type: ignore[arg-type]


def test_cuda_without_a_gpu_is_one_line(model: Path) -> None:
    if not (reason := why_not_cuda()):
        pytest.skip("this machine has a GPU")
    with pytest.raises(fcnrt.BackendError, match=rf"device 'cuda': {re.escape(reason)}; use device='cpu'"):
        fcnrt.Segmenter(model, device="cuda")


def test_cuda_provider_that_does_not_load_is_told_or_fallen_back_from(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if not why_not_cuda():
        pytest.skip("this machine has a GPU")
    if ort_cuda.CUDA not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider")
    monkeypatch.setattr(ort_cuda, "why_not_cuda", lambda: "")  # as with a driver but without CUDA's libraries
    with simulated_cuda(monkeypatch):
        with fcnrt.Segmenter(model, device="auto") as segment:
            assert segment.device == "cpu" and segment(frames_of(1, 24, 24)[0]).shape == (24, 24)
        with pytest.raises(fcnrt.BackendError, match="CUDA provider does not load"):
            fcnrt.Segmenter(model, device="cuda")
    assert capfd.readouterr() == ("", "")


def test_palette_and_classes(segment: fcnrt.Segmenter) -> None:
    assert segment.classes == tuple(f"class {index}" for index in range(CLASSES))
    assert segment.palette.shape == (CLASSES, 3) and segment.palette.dtype == np.uint8
    assert segment.device == "cpu"


def spoiled(path: Path, tmp_path: Path, change) -> Path:
    model = onnx.load(path)
    change(model)
    onnx.save(model, tmp_path / "spoiled.onnx")
    return tmp_path / "spoiled.onnx"


def drop_scores(model: onnx.ModelProto) -> None:
    for node in model.graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == "scores":
                    names[index] = "renamed"


def drop_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def drop_shapes(model: onnx.ModelProto) -> None:
    del model.graph.value_info[:]  # as some simplifiers do


def flatten_frames(model: onnx.ModelProto) -> None:
    del model.graph.input[0].type.tensor_type.shape.dim[2:]


def move_weights_out(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    tensor.ClearField("raw_data")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_scores, "expected input `frames` (N, H, W, 3), output `labels` and inner tensor `scores`"),
        (drop_shapes, "changed by another tool; export the checkpoint again"),
        (flatten_frames, "changed by another tool; export the checkpoint again"),
        (drop_metadata, "no fcn.* metadata; expected a file made by export/to_onnx.py"),
        (move_weights_out, "its weights lie in another file"),
    ],
)
def test_foreign_models(change, message: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(fcnrt.ModelFileError, match=re.escape(message)):
        fcnrt.Segmenter(spoiled(model, tmp_path, change))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.onnx", None, "no such file"),
        ("empty.onnx", b"", "no fcn.* metadata"),
        ("text.onnx", b"hello, world", "damaged or not an ONNX file"),
        ("noise.onnx", bytes(range(256)) * 9, "damaged or not an ONNX file"),
        ("net.pth", b"x", "expected a .onnx or .engine file, got .pth"),
        ("net", b"x", "expected a .onnx or .engine file, got no suffix"),
    ],
)
def test_unusable_files(name: str, content: bytes | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(fcnrt.ModelFileError, match=re.escape(message)):
        fcnrt.Segmenter(tmp_path / name)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.99])
def test_truncated_model(share: float, model: Path, tmp_path: Path) -> None:
    content = model.read_bytes()
    (tmp_path / "cut.onnx").write_bytes(content[: int(len(content) * share)])
    with pytest.raises((fcnrt.ModelFileError, fcnrt.BackendError)) as caught:
        fcnrt.Segmenter(tmp_path / "cut.onnx")
    assert "\n" not in str(caught.value)
