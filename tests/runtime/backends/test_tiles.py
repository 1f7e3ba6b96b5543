"""Frames in tiles: exactly the labels of the whole, whatever the network, and a word where there can be none."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import fcnrt
from exports import Export
from fcnrt.backends.memory import available_bytes
from fcnrt.backends.onnx_model import OnnxModel
from fcnrt.backends.tiling import tiled, windows
from fcnrt.backends.tiling.grid import Grid, cheapest_grid, own_elements
from fcnrt.backends.tiling.locality import Axis, Locality, locality_of
from frames import frames_of
from int8_files import fully_quantised_file
from network_names import NAMES

SIZES = [(605, 901), (1003, 611)]
BEYOND = 6  # steps that tiles are longer than the shortest


def locality(path: Path) -> Locality:
    return locality_of(OnnxModel(path))


def side_for(path: Path) -> int:
    found = locality(path)
    return found.smallest_tile + BEYOND * found.step


def computed(path: Path, frames: np.ndarray, **options: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, confidence and scores."""
    confidence = np.empty(frames.shape[:3], np.uint8)
    with fcnrt.Segmenter(path, device="cpu", threads=1, **options) as segment:
        labels = segment(frames, confidence=confidence)
        tiles = segment.backend.grid(frames.shape[:3])
        assert (tiles is None) == (options["tile"] == "off")
        return labels, confidence, segment.scores(frames)


def check_equal(path: Path, frames: np.ndarray, to_the_bit: bool = True, **options: Any) -> None:
    whole = computed(path, frames, tile="off", **options)
    tiles = computed(path, frames, tile=side_for(path), **options)
    np.testing.assert_array_equal(tiles[0], whole[0])
    if to_the_bit:
        np.testing.assert_array_equal(tiles[1], whole[1])
        np.testing.assert_array_equal(tiles[2], whole[2])


@pytest.mark.parametrize("name", NAMES)
def test_every_family_at_two_odd_sizes(name: str, exported: Export) -> None:
    for size in SIZES:
        check_equal(exported(name), frames_of(1, *size, seed=3), engine="onnxruntime")


@pytest.mark.parametrize("name", ["caffe fcn16s", "tramac fcn8s", "pochih fcns", "d2l fcn32s", "torchvision fcn"])
def test_half_precision_files(name: str, exported: Export) -> None:
    check_equal(exported(name, "--precision", "fp16"), frames_of(1, *SIZES[0], seed=3), engine="onnxruntime")


@pytest.mark.parametrize("name", ["caffe fcn8s", "tramac fcn8s", "pochih fcn16s", "d2l fcn32s", "tramac-resnet fcn"])
def test_openvino(name: str, exported: Export) -> None:
    """It chooses kernels by shape, so scores may differ in their last bits."""
    pytest.importorskip("openvino")
    check_equal(exported(name), frames_of(1, *SIZES[0], seed=3), False, engine="openvino", precision="fp32")


@pytest.mark.parametrize("name", ["d2l fcn32s", "tramac fcn8s", "torchvision fcn"])
@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_int8_files(name: str, engine: str, exported: Export, tmp_path: Path) -> None:
    """Sums of integers are exact in whatever order; what stays in float is summed by OpenVINO as the shape has it."""
    package = pytest.importorskip(engine)
    if (engine, name) == ("onnxruntime", "tramac fcn8s") and package.__version__ < "1.24":
        pytest.skip(
            "ONNX Runtime 1.23 labels 1 % otherwise where additions behind the scores are quantised (none exported is)"
        )
    path = fully_quantised_file(exported(name), tmp_path / "int8.onnx")
    check_equal(path, frames_of(1, *SIZES[0], seed=3), engine == "onnxruntime", engine=engine, precision="fp32")


def test_batches_other_colours_and_clones(exported: Export) -> None:
    path, frames = exported("tramac fcn16s"), frames_of(2, 611, 530, seed=3)
    check_equal(path, frames, color="bgr")
    with fcnrt.Segmenter(path, device="cpu", tile=side_for(path)) as segment, segment.clone() as other:
        np.testing.assert_array_equal(other(frames), segment(frames))


@pytest.mark.parametrize("name", ["pochih fcns", "torchvision fcn"])
def test_resized_frames(name: str, exported: Export) -> None:
    check_equal(exported(name), frames_of(1, 300, 211, seed=3), input_size=(611, 450), antialias=True)


def test_receptive_fields_and_lattices(exported: Export) -> None:
    found = {name: locality(exported(name)) for name in NAMES}
    assert {name: (item.step, item.has_head) for name, item in found.items() if "tramac" in name} == {
        "tramac fcn32s": (32, False),
        "tramac fcn16s": (32, True),
        "tramac fcn8s": (32, True),
        "tramac-resnet fcn": (8, False),
    }
    assert found["caffe fcn32s"].field == 404  # of fcn32s by Long et al.: a window of 404 pixels


def test_a_label_depends_on_no_pixel_beyond_the_receptive_field(exported: Export) -> None:
    path = exported("torchvision fcn")
    axis = locality(path).parts["scores"].rows
    frame = frames_of(1, 405, 203, seed=3)
    other = frame.copy()
    other[:, : int(25 * axis.stride + axis.first)] ^= 255
    with fcnrt.Segmenter(path, device="cpu", threads=1) as segment:
        before, after = segment.scores(frame), segment.scores(other)
    np.testing.assert_array_equal(before[:, :, 25:], after[:, :, 25:])
    assert (before[:, :, 24] != after[:, :, 24]).any()


def with_node(path: Path, node: onnx.NodeProto) -> OnnxModel:
    """A network with one more node in front of its scores."""
    model = OnnxModel(path)
    graph = model.proto.graph
    position, maker = next((index, item) for index, item in enumerate(graph.node) if "scores" in item.output)
    maker.output[0] = "before"
    graph.node.insert(position + 1, node)
    graph.initializer.append(NUMBERS)
    return model


NUMBERS = onnx.numpy_helper.from_array(np.ones((1, 1, 3, 5), np.float32), "numbers")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        (helper.make_node("Softmax", ["before"], ["scores"], axis=2), "not a layer of windows"),
        (helper.make_node("InstanceNormalization", ["before", "a", "b"], ["scores"]), "not a layer of windows"),
        (helper.make_node("GlobalAveragePool", ["before"], ["scores"]), "not a layer of windows"),
        (helper.make_node("Mul", ["before", "numbers"], ["scores"]), "numbers for each place"),
        (helper.make_node("Concat", ["before", "before"], ["scores"], axis=2), "axis 2"),
        (helper.make_node("Conv", ["before", "numbers"], ["scores"], auto_pad="SAME_UPPER"), "by the picture's size"),
        (helper.make_node("MaxPool", ["before"], ["scores"], auto_pad="VALID", kernel_shape=[2, 2]), "picture's size"),
    ],
)
def test_networks_that_take_the_whole_into_account(node: onnx.NodeProto, reason: str, exported: Export) -> None:
    model = with_node(exported("torchvision fcn"), node)
    with pytest.raises(fcnrt.UsageError, match=f"{node.op_type} scores may take the whole picture.*{reason}") as caught:
        locality_of(model)
    assert "use tile='off'" in str(caught.value)


def test_auto_leaves_alone_what_cannot_have_tiles(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiled, "available_bytes", lambda: 1)
    path = exported("torchvision fcn", "--batch", "1", "--height", "301", "--width", "405")
    with fcnrt.Segmenter(path, device="cpu") as segment:
        assert segment.backend.grid((1, 301, 405)) is None
    with pytest.raises(fcnrt.UsageError, match=r"tile: .* is fixed to one size; export without --height and --width"):
        fcnrt.Segmenter(path, device="cpu", tile=512)


def test_auto_tiles_what_would_not_fit(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    path, frames = exported("torchvision fcn"), frames_of(1, 405, 611, seed=3)
    with fcnrt.Segmenter(path, device="cpu", threads=1) as segment:
        assert segment.backend.grid((1, 405, 611)) is None
        whole = segment(frames)
    monkeypatch.setattr(tiled, "available_bytes", lambda: 3 << 20)
    with fcnrt.Segmenter(path, device="cpu", threads=1) as segment:
        assert len(segment.backend.grid((1, 405, 611))) > 1
        assert segment.backend.grid((1, 200, 203)) is None
        np.testing.assert_array_equal(segment(frames), whole)
    with fcnrt.Segmenter(path, device="cpu", threads=1, tile="off") as segment:
        assert segment.backend.grid((1, 405, 611)) is None


def test_what_ran_before_has_its_memory(exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    tiling = tiled.Tiling(OnnxModel(exported("torchvision fcn")), "auto")
    monkeypatch.setattr(tiled, "available_bytes", lambda: 100 << 20)
    assert tiling.grid((1, 900, 900)) is None
    monkeypatch.setattr(tiled, "available_bytes", lambda: 0)
    assert tiling.grid((1, 899, 900)) is None and tiling.grid((1, 900, 1000)) is not None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 128}, r"tile: expected at least 184 \(each label depends on 171 pixels .* steps of 8\), got 128"),
        ({"tile": 0}, "tile: expected 'auto', 'off' or a side in pixels, 1 to 65535, got 0"),
        ({"tile": True}, "got True"),
        ({"tile": "yes"}, "got 'yes'"),
        (
            {"tile": 512, "device": "cuda"},
            "device 'cuda': OpenVINO, bfloat16 and tiles are for the CPU; use device='cpu'",
        ),
    ],
)
def test_wrong_arguments(options: dict[str, Any], message: str, exported: Export) -> None:
    with pytest.raises(fcnrt.UsageError, match=message):
        fcnrt.Segmenter(exported("torchvision fcn"), **({"device": "cpu"} | options))


@pytest.mark.parametrize("pixels", [0, 200 * 300, 512 * 512, 10**9])
def test_grids_cover_every_pixel_within_their_bound(pixels: int) -> None:
    grid = cheapest_grid(1003, 611, pixels, step=32, overlap=96)
    for spans, side in ((grid.rows, 1003), (grid.columns, 611)):
        assert spans[0].start == 0 and spans[-1].stop == side
        assert all(span.start % 32 == 0 for span in spans) and all(span.stop % 32 == 0 for span in spans[:-1])
        assert all(before.stop - after.start == 96 for before, after in pairwise(spans))
    height, width = grid.shape
    assert height * width <= max(pixels, 128 * 128)
    assert (len(grid) == 1) == (pixels == 10**9) and (grid.work == 1) == (len(grid) == 1)


def test_elements_are_given_once_and_by_tiles_that_know_all_they_depend_on() -> None:
    axis = Axis(Fraction(8), Fraction(-41), Fraction(50))
    spans = cheapest_grid(1003, 50, 200 * 50, step=16, overlap=96).rows
    owns = [own_elements(spans, index, axis, -(-span.length // 8)) for index, span in enumerate(spans)]
    assert owns[0][1].start == 0 and owns[-1][1].stop == 126
    for index, (inside, whole) in enumerate(owns):
        assert inside.length == whole.length and whole.start - inside.start == spans[index].start // 8
        assert index == 0 or (whole.start == owns[index - 1][1].stop)
        assert index == 0 or 8 * whole.start - 41 >= spans[index].start
        assert index == len(owns) - 1 or 8 * (whole.stop - 1) + 50 < spans[index].stop


def test_what_is_told_of_a_grid() -> None:
    grid = cheapest_grid(1000, 600, 512 * 512, step=32, overlap=96)
    assert isinstance(grid, Grid) and "tiles of at most" in str(grid) and "the same labels" in str(grid)
    assert replace(grid, rows=grid.rows[:1]).shape == grid.shape


def test_memory_of_machines_and_of_groups(tmp_path: Path) -> None:
    assert available_bytes(tmp_path) == float("inf")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/meminfo").write_text("MemTotal: 900 kB\nMemAvailable:    512 kB\n")
    assert available_bytes(tmp_path) == 512 << 10
    (tmp_path / "proc/self/cgroup").write_text("0::/user/fcnrt\n")
    for group, limit in (("user/fcnrt", "max"), ("user", "300000"), ("", "400000")):
        folder = tmp_path / "sys/fs/cgroup" / group
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("max", limit), ("current", "200000"), ("stat", "anon 1\ninactive_file 1000\n")):
            (folder / f"memory.{name}").write_text(text)
    assert available_bytes(tmp_path) == 101000


def test_the_graph_is_cut_only_in_memory(exported: Export) -> None:
    path = exported("tramac fcn8s")
    before = path.read_bytes()
    check_equal(path, frames_of(1, 611, 530, seed=3))
    assert path.read_bytes() == before


class Rows:
    """A picture that gives no more than some pixels at once."""

    def __init__(self, pixels: np.ndarray, limit: int) -> None:
        self.shape, self.read = pixels.shape, 0
        self._pixels, self._limit = pixels, limit

    def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
        pixels = self._pixels[part]
        assert pixels.shape[0] * pixels.shape[1] <= self._limit
        self.read += 1
        return pixels


def put_together(segment: fcnrt.Segmenter, picture: Any) -> np.ndarray:
    labels = np.zeros(picture.shape[:2], np.uint8)
    covered = np.zeros(picture.shape[:2], np.uint8)
    for rows, columns, part in segment.windows(picture):
        labels[rows, columns] = part
        covered[rows, columns] += 1
    assert (covered == 1).all()
    return labels


@pytest.mark.parametrize("name", NAMES)
def test_windows_have_the_labels_of_the_whole(name: str, exported: Export, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "WINDOW_PIXELS", 60_000)
    path, frame = exported(name), frames_of(1, *SIZES[0], seed=3)[0]
    side = side_for(path)
    picture = Rows(frame, side**2)
    with fcnrt.Segmenter(path, device="cpu", threads=1, engine="onnxruntime", tile=side) as segment:
        found = put_together(segment, picture)
        assert picture.read > 1
    with fcnrt.Segmenter(path, device="cpu", threads=1, engine="onnxruntime", tile="off") as segment:
        np.testing.assert_array_equal(found, segment(frame))
        np.testing.assert_array_equal(put_together(segment, frame), found)


def test_windows_of_openvino_and_of_resized_pictures(exported: Export) -> None:
    path, frame = exported("caffe fcn8s"), frames_of(1, 605, 801, seed=3)[0]
    for options in ({"engine": "openvino", "precision": "fp32"}, {"input_size": (611, 450)}):
        with fcnrt.Segmenter(path, device="cpu", threads=1, tile=side_for(path), **options) as segment:
            np.testing.assert_array_equal(put_together(segment, frame), segment(frame))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (
            np.zeros((5, 4), np.uint8),
            r"picture: expected something of shape \(H, W, 3\) .* got ndarray of shape \(5, 4\)",
        ),
        ("street.tif", "got str of shape None"),
        (np.zeros((65, 70, 3), np.uint16), "frames: expected a uint8 numpy array"),
    ],
)
def test_pictures_that_are_none(picture: Any, message: str, exported: Export) -> None:
    with fcnrt.Segmenter(exported("torchvision fcn"), device="cpu") as segment:
        with pytest.raises(fcnrt.FrameError, match=message):
            next(segment.windows(picture))
        segment(np.zeros((65, 70, 3), np.uint8))  # is not in use any more
