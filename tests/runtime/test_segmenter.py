"""The Segmenter: labels of the reference for every family, any frames, one line for whatever does not fit."""

from __future__ import annotations

import re
import threading
import tracemalloc
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import fcnrt
from exports import Export, plain_session, save, with_uint16_labels
from fcnrt.backends import onnxruntime_cuda
from fcnrt.backends.onnxruntime_cuda import why_not_cuda
from fcnrt.ops import reference
from fcnrt.ops.resizing import resized
from frames import frames_of
from network_names import CLASSES, MANY_CLASSES, NAMES
from packages import host_tensors
from simulated import simulated_cuda
from simulated.foreign import CupyLike, PyavLike, PycudaLike, TorchLike

IN_USE = "this Segmenter is in use by another thread or by a stream that has not ended; make one for each"


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
        logits = reference.upsample(scores, 51, 86, segment.spec.tail)
        assert scores.dtype == np.float32 and scores.shape[:2] == (2, CLASSES)
        assert (segment(frames) == reference.argmax(logits)).mean() >= 0.9999
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
        (np.zeros((4, 5, 3), np.float32), "got float32 of 0 to 0; if 1 is white: (frames * 255)"),
        ([[1, 2, 3]], "got a list; make one batch"),
        *(
            (tensor, "got a tensor on the CPU; hand over its memory: frames.numpy()")
            for tensor in host_tensors(4, 5, 3)
        ),
        (np.zeros((4, 5), np.uint8), "got (4, 5), which is grey"),
        (np.zeros((3, 4, 5), np.uint8), "got (3, 4, 5), whose channels come first"),
        (np.zeros((4, 5, 4), np.uint8), "got (4, 5, 4), which has an alpha channel"),
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


@pytest.fixture
def wide_model(exported: Export) -> Path:
    return exported(MANY_CLASSES)


def test_more_than_256_classes(wide_model: Path) -> None:
    frame = frames_of(1, 33, 46)
    with fcnrt.Segmenter(wide_model) as segment:
        labels = segment(frame)
        assert labels.dtype == np.uint16 and segment.palette.shape == (300, 3)
    assert (labels == graph_labels(wide_model, frame)).mean() >= 0.999


def test_files_with_uint16_labels_still_load(wide_model: Path, tmp_path: Path) -> None:
    frame = frames_of(1, 33, 46)
    before = with_uint16_labels(wide_model, tmp_path / "before.onnx")
    with fcnrt.Segmenter(before) as segment, fcnrt.Segmenter(wide_model) as expected:
        assert np.array_equal(segment(frame), expected(frame))


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


def test_stream_of_things_that_hold_their_frame(segment: fcnrt.Segmenter) -> None:
    things = [{"frame": frames_of(1, 20 + index, 31, seed=index)[0]} for index in range(4)]
    for depth in (1, 3):
        results = list(segment.stream(things, depth, pixels=lambda thing: thing["frame"]))
        assert all(got is given for (got, _), given in zip(results, things, strict=True))
        assert all(np.array_equal(labels, segment(thing["frame"])) for thing, labels in results)


def test_one_frame_in_flight_is_labelled_in_the_callers_thread(segment: fcnrt.Segmenter) -> None:
    """Who fetches ahead already, as a pipeline does, needs no second thread that waits for the first."""
    frames, threads = [frames_of(1, 24, 24)[0]] * 3, set()
    segment.backend.observer = lambda stage: threads.add(threading.current_thread())
    assert len(list(segment.stream(frames, depth=1))) == 3 and threads == {threading.current_thread()}
    assert len(list(segment.stream(frames, depth=2))) == 3 and len(threads) == 2


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
    segment._users[another := object()] = None  # as if another thread were in a call
    try:
        with pytest.raises(fcnrt.UsageError, match=IN_USE):
            segment(frames_of(1, 24, 24)[0])
    finally:
        del segment._users[another]
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
    # beside the labels only the fixed chunks of ops.host, a fraction of one float32 copy of the frame (3.7 MB)
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
    assert len(backend._upsamplers) == len(backend._network._scores) == 8  # type: ignore[attr-defined]


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
    if onnxruntime_cuda.CUDA not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA provider")
    monkeypatch.setattr(onnxruntime_cuda, "why_not_cuda", lambda: "")  # as with a driver but without CUDA's libraries
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
    save(model, tmp_path / "spoiled.onnx")
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
        (
            drop_scores,
            "expected input frames uint8 (?, ?, ?, 3), output labels uint8 (?, ?, ?), integers behind one Cast",
        ),
        (drop_shapes, "changed by another tool, export the checkpoint again"),
        (flatten_frames, "changed by another tool, export the checkpoint again"),
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


TAILS = {
    "half_pixel": "torchvision fcn",
    "align_corners": "tramac fcn8s",
    "deconv": "caffe fcn8s",
    "none": "pochih fcns",
}
SEEN, SIZES = (64, 96), [(70, 101), (128, 64), (33, 40)]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("kind", TAILS)
def test_input_size_labels_every_pixel_of_the_frame(kind: str, antialias: bool, exported: Export) -> None:
    """Defined by ops.reference: resize, the network, and its scores sampled at the frame's own pixels."""
    path = exported(TAILS[kind])
    with (
        fcnrt.Segmenter(path, device="cpu") as plain,
        fcnrt.Segmenter(path, device="cpu", input_size=SEEN, antialias=antialias) as segment,
    ):
        assert segment.spec.tail.kind == kind
        for height, width in SIZES:
            frames = frames_of(2, height, width, seed=width)
            seen = resized(frames, SEEN, antialias)
            np.testing.assert_array_equal(segment.scores(frames), plain.scores(seen))
            labels = segment(frames)
            assert labels.shape == (2, height, width) and labels.dtype == np.uint8
            assert (labels == reference_labels(plain, seen, (height, width))).mean() >= 0.9999
            defined = reference_labels(plain, reference.resize(frames, SEEN, antialias), (height, width))
            assert (labels == defined).mean() >= 0.95  # Pillow's frames are a level off here and there
            assert (segment(frames[0]) == labels[0]).mean() >= 0.999


def reference_labels(plain: fcnrt.Segmenter, seen: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Labels of frames that were resized to `seen` before, by the definition."""
    logits = reference.upsample(plain.scores(seen), *size, plain.spec.tail, seen.shape[1:3])
    return reference.argmax(logits)


def test_antialias_is_a_choice(model: Path) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (150, 170, 3), np.uint8)
    with (
        fcnrt.Segmenter(model, device="cpu", input_size=(40, 50)) as smooth,
        fcnrt.Segmenter(model, device="cpu", input_size=(40, 50), antialias=False) as rough,
    ):
        assert np.abs(smooth.scores(frame) - rough.scores(frame)).max() > 0.1


def test_frames_of_the_input_size_are_not_touched(model: Path) -> None:
    frame = frames_of(1, 40, 50)[0]
    with (
        fcnrt.Segmenter(model, device="cpu") as plain,
        fcnrt.Segmenter(model, device="cpu", input_size=(40, 50)) as segment,
    ):
        np.testing.assert_array_equal(segment.scores(frame), plain.scores(frame))
        np.testing.assert_array_equal(segment(frame), plain(frame))


def test_input_size_with_the_other_order_of_channels(model: Path) -> None:
    frame = frames_of(1, 60, 75)[0]
    with (
        fcnrt.Segmenter(model, device="cpu", input_size=[40, 50]) as of_rgb,  # type: ignore[arg-type]
        fcnrt.Segmenter(model, device="cpu", input_size=(40, 50), color="bgr") as of_bgr,
    ):
        assert (of_bgr(frame[..., ::-1]) == of_rgb(frame)).mean() >= 0.999


def test_input_size_is_what_minimum_and_fixed_sizes_mean(exported: Export) -> None:
    path = exported("tramac fcn16s", "--batch", "2", "--height", "71", "--width", "46")
    with fcnrt.Segmenter(path, device="cpu", input_size=(71, 46)) as segment:
        assert segment(frames_of(2, 20, 90)).shape == (2, 20, 90)
    with (
        fcnrt.Segmenter(path, device="cpu", input_size=(71, 48)) as segment,
        pytest.raises(fcnrt.FrameError, match="expected width 46"),
    ):
        segment(frames_of(2, 71, 46))
    with (
        fcnrt.Segmenter(exported("tramac fcn8s"), device="cpu", input_size=(31, 64)) as segment,
        pytest.raises(fcnrt.FrameError, match=r"^input_size: expected at least 32x32 \(tramac fcn8s\), got 31x64; "),
    ):
        segment(frames_of(1, 80, 80))


@pytest.mark.parametrize("size", [512, 5.0, "ab", (5,), (5, 6, 7), (0, 5), (5, -1), (5.0, 6), (1 << 17, 5), (True, 5),
                                  (None, 5), {}, object])  # fmt: skip
def test_wrong_input_sizes(size: object, model: Path) -> None:
    text = f"input_size: expected (height, width), each 1 to 65535, got {size!r}"
    with pytest.raises(fcnrt.UsageError, match=f"^{re.escape(text)}"):
        fcnrt.Segmenter(model, input_size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [None, (64, 96)])
@pytest.mark.parametrize("kind", TAILS)
def test_confidence_is_the_largest_probability(kind: str, size: tuple[int, int] | None, exported: Export) -> None:
    frames = frames_of(2, 75, 58)
    with fcnrt.Segmenter(exported(TAILS[kind]), device="cpu", input_size=size) as segment:
        confidence = np.full((2, 75, 58), 99, np.uint8)
        labels = segment(frames, confidence=confidence)
        logits = reference.upsample(segment.scores(frames), 75, 58, segment.spec.tail, size)
        expected = 255 * reference.softmax(logits).max(axis=1)
        assert np.abs(confidence - expected).max() <= 1
        assert np.ptp(confidence) > 20
        np.testing.assert_array_equal(labels, segment(frames))
        single = np.zeros((75, 58), np.uint8)
        segment(frames[1], confidence=single)
        assert np.abs(single - expected[1]).max() <= 2  # another batch's scores


def test_labels_are_written_to_out(segment: fcnrt.Segmenter) -> None:
    frames = frames_of(2, 45, 38)
    expected = segment(frames)
    batch, single = np.full((2, 45, 38), 99, np.uint8), np.full((45, 38), 99, np.uint8)
    assert segment(frames, out=batch) is batch
    assert segment(frames[1], out=single) is single
    np.testing.assert_array_equal(batch, expected)
    assert (single == expected[1]).mean() >= 0.999


def test_out_and_confidence_may_be_parts_of_something_larger(segment: fcnrt.Segmenter) -> None:
    frame = frames_of(1, 45, 38)[0]
    canvas = np.full((50, 80, 2), 99, np.uint8)
    out, confidence = canvas[3:48, ::2, 0][:, :38], canvas[48:3:-1, 40:78, 1]
    plain = np.empty((45, 38), np.uint8)
    expected = segment(frame, confidence=plain)
    assert segment(frame, out=out, confidence=confidence) is out
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(confidence, plain)
    out[:], confidence[:] = 99, 99
    assert (canvas == 99).all()


def test_out_of_more_than_256_classes(wide_model: Path) -> None:
    frame = frames_of(1, 33, 46)[0]
    with fcnrt.Segmenter(wide_model, device="cpu") as segment:
        out, confidence = np.zeros((33, 46), np.uint16), np.zeros((33, 46), np.uint8)
        segment(frame, out=out, confidence=confidence)
        np.testing.assert_array_equal(out, segment(frame))
        assert out.min() >= 280 and confidence.min() > 0
        with pytest.raises(fcnrt.FrameError, match=r"out: expected a uint16 numpy array .* got uint8 "):
            segment(frame, out=confidence)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


WRONG_TARGETS = [
    (np.zeros((40, 30), np.uint16), "got uint16 (40, 30)"),
    (np.zeros((40, 30), np.int8), "got int8 (40, 30)"),
    (np.zeros((40, 30), bool), "got bool (40, 30)"),
    (np.zeros((30, 40), np.uint8), "got uint8 (30, 40)"),
    (np.zeros((1, 40, 30), np.uint8), "got uint8 (1, 40, 30)"),
    (np.zeros((40, 30, 1), np.uint8), "got uint8 (40, 30, 1)"),
    (np.zeros((40, 30), np.uint8).tolist(), "got list"),
    *((tensor, "got Tensor") for tensor in host_tensors(40, 30)),
    (bytearray(1200), "got bytearray"),
    (True, "got bool"),
    (read_only(np.zeros((40, 30), np.uint8)), "got a read-only one"),
]


@pytest.mark.parametrize("name", ["out", "confidence"])
@pytest.mark.parametrize("array, text", WRONG_TARGETS)
def test_targets_that_do_not_fit(name: str, array: object, text: str, segment: fcnrt.Segmenter) -> None:
    text = f"{name}: expected a uint8 numpy array (40, 30), {text}"
    with pytest.raises(fcnrt.FrameError, match=f"^{re.escape(text)}$"):
        segment(frames_of(1, 40, 30)[0], **{name: array})
    with pytest.raises(fcnrt.FrameError, match=rf"^{name}: expected a uint8 numpy array \(1, 40, 30\), got "):
        segment(frames_of(1, 40, 30), **{name: np.zeros((40, 30), np.uint8)})


def test_confidence_of_scores_that_are_not_finite(exported: Export, tmp_path: Path) -> None:
    """A class of minus infinity loses everywhere; what the winner's probability is, its neighbours cannot tell."""

    def spoil(model: onnx.ModelProto) -> None:
        weights = next(tensor for tensor in model.graph.initializer if tensor.name.endswith("classifier.4.bias"))
        values = onnx.numpy_helper.to_array(weights).copy()
        values[2] = -np.inf
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))

    path = spoiled(exported("torchvision fcn"), tmp_path, spoil)
    with fcnrt.Segmenter(path, device="cpu") as segment, pytest.raises(fcnrt.BackendError, match="are not finite"):
        segment(frames_of(1, 40, 50), confidence=np.zeros((1, 40, 50), np.uint8))


def test_clone_shares_the_engine_and_nothing_else(model: Path) -> None:
    with fcnrt.Segmenter(model, device="cpu", input_size=(40, 50), color="bgr") as segment:
        clone = segment.clone()
        assert clone.backend._network._session is segment.backend._network._session  # type: ignore[attr-defined]
        assert (clone.spec, clone.device, clone.classes) == (segment.spec, segment.device, segment.classes)
        frames = frames_of(2, 66, 55)
        first, second = segment.scores(frames[0]), clone.scores(frames[1])
        np.testing.assert_array_equal(clone.scores(frames[0]), first)
        np.testing.assert_array_equal(segment.scores(frames[1]), second)
        results = segment.stream([frames[0]] * 3)
        next(results)
        assert clone(frames[1]).shape == (66, 55)  # while the original is in use
        results.close()
        clone.close()
        assert segment(frames[0]).shape == (66, 55)


def test_clones_in_threads_do_not_mix(segment: fcnrt.Segmenter) -> None:
    frames = [frames_of(1, 30, 40, seed=index)[0] for index in range(4)]
    expected = [segment(frame) for frame in frames]
    clones = [segment.clone() for _ in frames]
    wrong: list[object] = []

    def work(index: int) -> None:
        with clones[index] as own:
            try:
                wrong.extend(index for _ in range(20) if not np.array_equal(own(frames[index]), expected[index]))
            except Exception as error:
                wrong.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_clone_outlives_the_original(model: Path) -> None:
    frame = frames_of(1, 30, 40)[0]
    with fcnrt.Segmenter(model, device="cpu") as segment:
        expected = segment(frame)
        clone = segment.clone()
    with clone:
        np.testing.assert_array_equal(clone(frame), expected)
        second = clone.clone()
    np.testing.assert_array_equal(next(second.stream([frame]))[1], expected)
    second.close()
    with pytest.raises(fcnrt.UsageError, match="this Segmenter was closed"):
        clone.clone()


def test_a_stream_keeps_the_segmenter_to_itself(segment: fcnrt.Segmenter) -> None:
    frame = frames_of(1, 24, 24)[0]
    results = segment.stream([frame] * 4)
    assert segment(frame).shape == (24, 24)  # it has not begun
    next(results)
    uses = [
        lambda: segment(frame),
        lambda: segment.scores(frame),
        segment.clone,
        lambda: next(segment.stream([frame])),
    ]
    for use in uses:
        with pytest.raises(fcnrt.UsageError, match=IN_USE):
            use()
    assert len(list(results)) == 3
    for use in uses:
        use()


def test_a_thread_is_refused_during_a_stream(segment: fcnrt.Segmenter) -> None:
    frame, errors = frames_of(1, 24, 24)[0], []

    def work() -> None:
        try:
            segment(frame)
        except fcnrt.UsageError as error:
            errors.append(str(error))

    results = segment.stream([frame] * 4)
    next(results)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert len(errors) == 1 and IN_USE in errors[0]
    assert len(list(results)) == 3


def test_a_stream_that_is_forgotten_ends(segment: fcnrt.Segmenter) -> None:
    frame = frames_of(1, 24, 24)[0]
    for _ in segment.stream([frame] * 10, depth=4):
        break
    assert segment(frame).shape == (24, 24)
    results = segment.stream([frame] * 10)
    next(results)
    del results
    assert segment(frame).shape == (24, 24)


class Unplugged(BaseException):
    """As KeyboardInterrupt: nothing waits for frames in flight to be yielded."""


@pytest.mark.parametrize("error, first", [(OSError("unplugged"), 2), (Unplugged(), 0)])
def test_errors_come_in_the_order_of_the_frames(error: BaseException, first: int, segment: fcnrt.Segmenter) -> None:
    good = frames_of(1, 24, 24)[0]

    def source() -> Iterator[np.ndarray]:
        yield good
        yield good
        raise error

    labelled = 0
    with pytest.raises(type(error)):
        for _ in segment.stream(source(), depth=9):
            labelled += 1
    assert labelled == first
    assert segment(good).shape == (24, 24)


def test_a_bad_frame_comes_before_the_sources_error(segment: fcnrt.Segmenter) -> None:
    def source() -> Iterator[np.ndarray]:
        yield frames_of(1, 24, 24)[0]
        yield np.zeros((5, 5), np.uint8)
        raise OSError("unplugged")

    results = segment.stream(source(), depth=9)
    next(results)
    with pytest.raises(fcnrt.FrameError, match=r"got \(5, 5\)"):
        next(results)
    assert list(results) == []


def test_stream_of_batches_and_single_frames(model: Path) -> None:
    frames = [frames_of(2, 24, 31), frames_of(1, 40, 24)[0], frames_of(1, 24, 31)]
    with fcnrt.Segmenter(model, device="cpu", input_size=(40, 50)) as segment, segment.clone() as other:
        for frame, labels in segment.stream(frames, depth=2):
            assert labels.shape == frame.shape[:-1]
            np.testing.assert_array_equal(labels, other(frame))


@pytest.mark.parametrize("depth", [0, -3, "3", 1.5, None])
def test_wrong_depths(depth: object, segment: fcnrt.Segmenter) -> None:
    with pytest.raises(fcnrt.UsageError, match=re.escape(f"depth: expected at least 1, got {depth!r}")):
        next(segment.stream([], depth))  # type: ignore[arg-type]
    assert segment(frames_of(1, 24, 24)[0]).shape == (24, 24)


def test_closing_during_a_stream_lets_what_flies_land(model: Path) -> None:
    frame = frames_of(1, 24, 24)[0]
    with fcnrt.Segmenter(model, device="cpu") as other:
        expected = other(frame)
    segment = fcnrt.Segmenter(model, device="cpu")
    results = segment.stream([frame] * 9, depth=3)
    next(results)
    segment.close()
    for _ in range(2):
        np.testing.assert_array_equal(next(results)[1], expected)
    for use in (lambda: next(results), lambda: segment(frame), segment.clone):
        with pytest.raises(fcnrt.UsageError, match="this Segmenter was closed; make a new one"):
            use()
    segment.close()


def test_leaving_a_segmenter_with_an_unfinished_stream(model: Path) -> None:
    with fcnrt.Segmenter(model, device="cpu") as segment:
        engine = weakref.ref(segment._backend)
        results = segment.stream([frames_of(1, 24, 24)[0]] * 9)
        next(results)
    results.close()
    assert engine() is None


def test_closing_in_another_thread_waits_for_nobody_and_frees_at_the_end(model: Path) -> None:
    segment = fcnrt.Segmenter(model, device="cpu")
    begun, closed = threading.Event(), threading.Event()
    label = segment._backend.label

    def slow(*arguments: object) -> None:
        begun.set()
        assert closed.wait(10)
        label(*arguments)  # type: ignore[arg-type]

    segment._backend.label = slow  # type: ignore[method-assign, assignment]
    thread = threading.Thread(target=lambda: (begun.wait(10), segment.close(), closed.set()))
    thread.start()
    assert segment(frames_of(1, 24, 24)[0]).shape == (24, 24)
    thread.join()
    assert not hasattr(segment, "_backend")
    with pytest.raises(fcnrt.UsageError, match="this Segmenter was closed"):
        segment(frames_of(1, 24, 24)[0])


@pytest.mark.parametrize("kind", [TorchLike, CupyLike, PycudaLike, PyavLike])
def test_device_arrays_are_not_for_a_segmenter_on_the_cpu(
    kind: Any, segment: fcnrt.Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = r"^frames: this Segmenter runs on the cpu and takes numpy arrays, got a device array; .*device='cuda'$"
    with simulated_cuda(monkeypatch) as gpu:
        batch, single = kind(gpu, frames_of(2, 24, 31)), kind(gpu, frames_of(1, 24, 31)[0])
        luma, chroma = kind(gpu, np.zeros((24, 31), np.uint8)), kind(gpu, np.zeros((12, 16, 2), np.uint8))
        for frames in (batch, single, fcnrt.Nv12Frame(luma, chroma)):
            with pytest.raises(fcnrt.UsageError, match=text):
                segment(frames)
            with pytest.raises(fcnrt.UsageError, match=text):
                segment(frames, out=np.zeros((24, 31), np.uint8), stream=7)
        with pytest.raises(fcnrt.FrameError, match=f"^out: expected a uint8 numpy array .* got {kind.__name__}"):
            segment(frames_of(1, 24, 31)[0], out=luma)
        for use in (segment.scores, lambda frames: next(segment.stream([frames]))):
            with pytest.raises(fcnrt.FrameError, match=f"expected a uint8 numpy array .* got {kind.__name__}"):
                use(single)
