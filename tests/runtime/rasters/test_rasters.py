"""TIFF and JPEG 2000 by windows: the labels of the whole, at their place on Earth, nothing guessed or half-written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import fcnrt
from exports import Export
from fcnrt.cli.main import main
from fcnrt.pictures.writing import write_image
from fcnrt.rasters import Raster, label_raster
from fcnrt.rasters.writing import CLASSES
from frames import frames_of
from network_names import MANY_CLASSES
from processes import run

rasterio = pytest.importorskip("rasterio")
from rasterio.control import GroundControlPoint  # noqa: E402
from rasterio.enums import ColorInterp  # noqa: E402
from rasterio.rpc import RPC  # noqa: E402

SIZE = (403, 611)
TILE = 320  # of the tiny network, more than its receptive field of 171
PLACE = {"crs": "EPSG:32633", "transform": rasterio.Affine(0.25, 0, 412345.5, 0, -0.25, 5612345.25)}
NAMED = [ColorInterp.red, ColorInterp.green, ColorInterp.blue]

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


@pytest.fixture(scope="module")
def model(exported: Export) -> Path:
    return exported("torchvision fcn")


@pytest.fixture(scope="module")
def segment(model: Path) -> Any:
    with fcnrt.Segmenter(model, device="cpu", threads=1, color="rgb", tile=TILE) as segmenter:
        yield segmenter


@pytest.fixture(scope="module")
def frame() -> np.ndarray:
    return frames_of(1, *SIZE, seed=8)[0]


def make(path: Path, values: np.ndarray, meaning: list[ColorInterp] | None = None, **profile: Any) -> Path:
    """A raster of values (bands, H, W)."""
    count, height, width = values.shape
    profile = {"driver": "GTiff", "dtype": values.dtype.name, "nodata": None, **profile}
    with rasterio.open(path, "w", count=count, height=height, width=width, **profile) as dataset:
        if meaning:
            dataset.colorinterp = meaning
        dataset.write(values)
    return path


def planes(frame: np.ndarray) -> np.ndarray:
    return np.moveaxis(frame, -1, 0)


def labels_of(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def mode_of(path: Path) -> str:
    """As Pillow sees it, which is no GDAL."""
    with Image.open(path) as picture:
        return picture.mode


@pytest.mark.parametrize(
    "profile",
    [
        {},
        {"tiled": True, "blockxsize": 128, "blockysize": 64, "compress": "deflate", "interleave": "pixel"},
        {"interleave": "band", "compress": "lzw", "predictor": 2, "bigtiff": "yes"},
        {"driver": "COG"},
        {"driver": "JP2OpenJPEG", "quality": 100, "reversible": True},
    ],
    ids=["strips", "tiles", "planes of a BigTIFF", "COG", "JPEG 2000"],
)
def test_labels_are_those_of_the_whole(
    profile: dict[str, Any], segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path
) -> None:
    source = make(tmp_path / "huge", planes(frame), photometric=None, **PLACE, **profile)
    label_raster(segment, source, tmp_path / "labels.tif")
    np.testing.assert_array_equal(labels_of(tmp_path / "labels.tif"), segment(frame))
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".xml") == ["huge", "labels.tif"]


def test_no_more_than_a_tile_is_read_at_once(segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path) -> None:
    read = []

    class Watched(Raster):
        def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
            pixels = super().__getitem__(part)
            read.append(pixels.shape[0] * pixels.shape[1])
            return pixels

    with Watched(make(tmp_path / "huge.tif", planes(frame))) as raster:
        label_raster(segment, raster, tmp_path / "labels.tif")
    assert len(read) > 2 and max(read) <= TILE**2


def test_the_place_on_earth_is_kept(segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path) -> None:
    source = make(tmp_path / "huge.tif", planes(frame), **PLACE)
    with rasterio.open(source, "r+") as dataset:
        dataset.update_tags(AREA_OR_POINT="Point")
    label_raster(segment, source, tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as dataset:
        assert (dataset.crs, dataset.transform) == (PLACE["crs"], PLACE["transform"])
        assert dataset.tags()["AREA_OR_POINT"] == "Point" and dataset.nodata is None
        assert dataset.bounds == rasterio.open(source).bounds


def test_control_points_and_rational_polynomials_are_kept(
    segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path
) -> None:
    points = [GroundControlPoint(row, col, 15 + col / 1e4, 50 - row / 1e4) for row, col in [(0, 0), (9, 8), (400, 600)]]
    one = [1.0, *[0.0] * 19]
    rpcs = RPC(100, 10, 50, 1, one, one, 200, 200, 15, 1, one, one, 300, 300)
    source = make(tmp_path / "huge.tif", planes(frame), gcps=points, crs="EPSG:4326", rpcs=rpcs)
    label_raster(segment, source, tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as dataset:
        kept, crs = dataset.gcps
        assert [(point.row, point.x) for point in kept] == [(point.row, point.x) for point in points]
        assert crs == "EPSG:4326" and dataset.rpcs.lat_off == 50


def test_a_world_file_counts_and_a_plain_tiff_has_no_place(
    segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path
) -> None:
    write_image(tmp_path / "huge.tif", frame)
    label_raster(segment, tmp_path / "huge.tif", tmp_path / "labels.tif")
    np.testing.assert_array_equal(labels_of(tmp_path / "labels.tif"), segment(frame))
    with rasterio.open(tmp_path / "labels.tif") as dataset:
        assert dataset.crs is None and dataset.transform.is_identity
    (tmp_path / "huge.tfw").write_text("0.5\n0\n0\n-0.5\n1000\n2000\n")
    label_raster(segment, tmp_path / "huge.tif", tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as dataset:
        assert dataset.transform.a == 0.5 and dataset.transform.f == 2000.25


def test_colours_and_names_are_in_the_file(segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path) -> None:
    source = make(tmp_path / "huge.tif", planes(frame))
    label_raster(segment, source, tmp_path / "labels.tif")
    with rasterio.open(tmp_path / "labels.tif") as dataset:
        assert json.loads(dataset.tags()[CLASSES]) == list(segment.classes)
        colours = [dataset.colormap(1)[index][:3] for index in range(len(segment.classes))]
    assert colours == [tuple(colour) for colour in segment.palette.tolist()]
    assert mode_of(tmp_path / "labels.tif") == "P"
    label_raster(segment, source, tmp_path / "grey.tif", colours=False)
    assert mode_of(tmp_path / "grey.tif") == "L"


def test_more_than_256_classes(exported: Export, frame: np.ndarray, tmp_path: Path) -> None:
    source = make(tmp_path / "huge.tif", planes(frame), nodata=0)
    with fcnrt.Segmenter(exported(MANY_CLASSES), device="cpu", color="rgb", threads=1, tile=TILE) as many:
        label_raster(many, source, tmp_path / "labels.tif")
        with rasterio.open(tmp_path / "labels.tif") as dataset:
            assert dataset.nodata == 65535 and dataset.dtypes == ("uint16",)
            assert dataset.colormap(1)[299][:3] == tuple(many.palette[299].tolist())
            np.testing.assert_array_equal(np.where(frame.any(axis=2), many(frame), 65535), dataset.read(1))


def holed(frame: np.ndarray) -> np.ndarray:
    frame = np.maximum(frame, 1)
    frame[100:260, 90:555] = 0
    return frame


@pytest.mark.parametrize("kind", ["nodata", "alpha", "mask"])
def test_pixels_without_data_are_void(kind: str, segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path) -> None:
    frame = holed(frame)
    valid = 255 * frame.any(axis=2).astype(np.uint8)
    values, path = planes(frame), tmp_path / "huge.tif"
    if kind == "alpha":
        make(path, np.concatenate([values, valid[None]]), [*NAMED, ColorInterp.alpha])
    else:
        make(path, values, nodata=0 if kind == "nodata" else None)
    if kind == "mask":
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as dataset:
            dataset.write_mask(valid)
    label_raster(segment, path, tmp_path / "labels.tif")
    np.testing.assert_array_equal(labels_of(tmp_path / "labels.tif"), np.where(valid, segment(frame), 255))
    with rasterio.open(tmp_path / "labels.tif") as dataset:
        assert dataset.nodata == 255 and dataset.colormap(1)[255][:3] == (0, 0, 0)


def seen(path: Path, **options: Any) -> tuple[np.ndarray, list[str]]:
    with Raster(path, **options) as raster:
        return raster[0 : raster.shape[0], 0 : raster.shape[1]], raster.notes


def test_bands_that_the_file_names_are_taken_and_told(frame: np.ndarray, tmp_path: Path) -> None:
    turned = [ColorInterp.undefined, *reversed(NAMED)]
    path = make(tmp_path / "4.tif", np.concatenate([planes(frame)[:1], planes(frame)[::-1]]), turned)
    pixels, notes = seen(path)
    np.testing.assert_array_equal(pixels, frame)
    assert notes == [f"{path}: has 4 bands, of which by the file 4 is red, 3 is green, 2 is blue"]


def test_bands_that_are_asked_for(frame: np.ndarray, tmp_path: Path) -> None:
    path = make(tmp_path / "5.tif", np.concatenate([planes(frame)[::-1]] * 2)[:5], photometric="minisblack")
    np.testing.assert_array_equal(seen(path, bands=(3, 2, 4))[0], frame[..., [0, 1, 2]])
    np.testing.assert_array_equal(seen(path, bands=(2,))[0], frame[..., [1, 1, 1]])
    assert seen(path, bands=(3, 2, 1))[1] == []


def test_three_bands_without_names_are_told(frame: np.ndarray, tmp_path: Path) -> None:
    path = make(tmp_path / "3.tif", planes(frame), photometric="minisblack")
    pixels, notes = seen(path)
    np.testing.assert_array_equal(pixels, frame)
    assert notes == [f"{path}: bands 1, 2, 3 are taken as red, green, blue; --bands says otherwise"]
    assert seen(make(tmp_path / "rgb.tif", planes(frame), photometric="rgb"))[1] == []


def test_grey_with_alpha_and_colour_maps(frame: np.ndarray, tmp_path: Path) -> None:
    grey = planes(frame)[:1]
    path = make(tmp_path / "2.tif", np.concatenate([grey, grey]), [ColorInterp.gray, ColorInterp.alpha])
    np.testing.assert_array_equal(seen(path)[0], np.repeat(frame[..., :1], 3, axis=2))
    path = make(tmp_path / "map.tif", grey)
    with rasterio.open(path, "r+") as dataset:
        dataset.write_colormap(1, {index: (255 - index, index, index // 2) for index in range(256)})
    np.testing.assert_array_equal(seen(path)[0], np.array(Image.open(path).convert("RGB")))


@pytest.mark.parametrize(
    ("count", "options", "message"),
    [
        (5, {}, r"has 5 bands \(1 gray, 2 undefined, .*\); say by --bands .*, such as --bands 3,2,1"),
        (2, {}, "has 2 bands .* say by --bands"),
        (5, {"bands": (4, 3, 6)}, "expected one band or three, from 1 to 5, got --bands 4,3,6"),
        (5, {"bands": (4, 3)}, "expected one band or three, from 1 to 5, got --bands 4,3"),
    ],
)
def test_bands_are_never_guessed(
    count: int, options: dict[str, Any], message: str, frame: np.ndarray, tmp_path: Path
) -> None:
    values = np.concatenate([planes(frame)] * 2)[:count]
    path = make(tmp_path / "many.tif", values, photometric="minisblack", alpha="unspecified")
    with pytest.raises(fcnrt.MediaError, match=message):
        Raster(path, **options)


def test_values_of_more_bits_are_asked_for(frame: np.ndarray, tmp_path: Path) -> None:
    deep = planes(frame).astype(np.uint16) * 12
    path = make(tmp_path / "deep.tif", deep, photometric="rgb", nodata=0)
    with pytest.raises(
        fcnrt.MediaError, match=r"got 16 bits \(uint16\); say by --levels LOW-HIGH .* most are (\d+) to"
    ) as told:
        Raster(path)
    low, high = (int(word) for word in str(told.value).rsplit("most are ")[1].split(" to "))
    assert np.allclose((low, high), np.percentile(deep, (2, 98)), atol=12)
    expected = np.clip(np.rint(np.moveaxis(deep, 0, -1) / 12), 0, 255)
    np.testing.assert_array_equal(seen(path, levels=(0, 3060))[0], expected)


def test_floats_and_few_bits(frame: np.ndarray, tmp_path: Path) -> None:
    values = planes(frame) / np.float32(255)
    values[:, :50] = np.nan
    path = make(tmp_path / "reflectance.tif", values, photometric="rgb", nodata=np.nan)
    with pytest.raises(fcnrt.MediaError, match=r"got 32 bits \(float32\).* most are 0.* to 0.*"):
        Raster(path)
    np.testing.assert_array_equal(seen(path, levels=(0, 1))[0][50:], frame[50:])
    path = make(tmp_path / "1.tif", (planes(frame)[:1] > 99).astype(np.uint8), nbits=1)
    assert np.unique(seen(path)[0]).tolist() == [0, 255]
    path = make(tmp_path / "4.tif", planes(frame)[:1] // 16, nbits=4)
    with pytest.raises(fcnrt.MediaError, match="got 4 bits"):
        Raster(path)
    np.testing.assert_array_equal(seen(path, levels=(0, 15))[0][..., 0], frame[..., 0] // 16 * 17)


def test_damaged_and_foreign_files(segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path) -> None:
    target = tmp_path / "out/labels.tif"
    target.parent.mkdir()
    target.write_bytes(b"of yesterday")
    whole = make(tmp_path / "huge.tif", planes(frame))
    (tmp_path / "cut.tif").write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    (tmp_path / "head.tif").write_bytes(whole.read_bytes()[:100])
    Image.fromarray(frame).save(tmp_path / "other.png")
    for name, message in (
        ("cut.tif", "cut.tif: "),
        ("head.tif", "head.tif: "),
        ("other.png", "expected TIFF or JPEG 2000, got another format; name a .png"),
        ("none.tif", "cannot be read .No such file"),
        (".", "cannot be read .Is a directory"),
    ):
        with pytest.raises(fcnrt.MediaError, match=message):
            label_raster(segment, tmp_path / name, target)
    with pytest.raises(fcnrt.MediaError, match=r"expected a name that ends in \.tif \.tiff"):
        label_raster(segment, whole, tmp_path / "out/labels.png")
    with pytest.raises(fcnrt.MediaError, match="cannot write: no such folder"):
        label_raster(segment, whole, tmp_path / "nowhere/labels.tif")
    assert [path.name for path in target.parent.iterdir()] == ["labels.tif"] and target.read_bytes() == b"of yesterday"


def test_headers_that_claim_more_than_any_picture_has(tmp_path: Path) -> None:
    layout = {"tiled": True, "blockxsize": 16384, "blockysize": 16384, "sparse_ok": True}
    path, side = tmp_path / "vast.tif", (1 << 20) + 16
    with rasterio.open(path, "w", driver="GTiff", count=3, height=99, width=side, dtype="uint8", **layout):
        pass
    with pytest.raises(fcnrt.MediaError, match=f"refused, it claims 99x{side} pixels, more than {1 << 20}"):
        Raster(path)


def test_an_interrupt_leaves_nothing_half(segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path) -> None:
    class Interrupted(Raster):
        def __getitem__(self, part: tuple[slice, slice]) -> np.ndarray:
            if part[0].start == 0:
                raise KeyboardInterrupt
            return super().__getitem__(part)

    (tmp_path / "out").mkdir()
    with Interrupted(make(tmp_path / "huge.tif", planes(frame))) as raster, pytest.raises(KeyboardInterrupt):
        label_raster(segment, raster, tmp_path / "out/labels.tif")
    assert not list((tmp_path / "out").iterdir())
    segment(frame)  # is not in use any more


FULL_DISK = """
import resource, sys, fcnrt
from fcnrt.rasters import label_raster
with fcnrt.Segmenter(sys.argv[1], device="cpu", threads=1, color="rgb") as segment:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
    try:
        label_raster(segment, sys.argv[2], sys.argv[3])
    except fcnrt.MediaError as error:
        print("told:", error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
@pytest.mark.parametrize("limit", [0, 1000, 4000])
def test_a_full_disk_is_told(limit: int, model: Path, frame: np.ndarray, tmp_path: Path) -> None:
    source = make(tmp_path / "huge.tif", planes(frame))
    (tmp_path / "out").mkdir()
    told = run("-c", FULL_DISK, model, source, tmp_path / "out/labels.tif", str(limit), folder=tmp_path)
    assert told.stdout.startswith(f"told: {tmp_path / 'out/labels.tif'}: "), told
    assert not list((tmp_path / "out").iterdir())


def test_segmenters_that_take_bgr(model: Path, frame: np.ndarray, tmp_path: Path) -> None:
    source = make(tmp_path / "huge.tif", planes(frame))
    with (
        fcnrt.Segmenter(model, device="cpu", color="bgr") as segmenter,
        pytest.raises(fcnrt.UsageError, match="expected one that takes RGB, got BGR; open it with color='rgb'"),
    ):
        label_raster(segmenter, source, tmp_path / "labels.tif")


def test_the_command(
    model: Path, segment: fcnrt.Segmenter, frame: np.ndarray, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make(tmp_path / "huge.tif", planes(frame), photometric="minisblack", **PLACE)
    target = tmp_path / "labels.tif"
    command = ["segment", str(model), str(source), "-o", str(target), "--device", "cpu", "--tile", str(TILE)]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert "bands 1, 2, 3 are taken" in err and "403x611 in 6 tiles" in err and out.startswith("1 frame in")
    np.testing.assert_array_equal(labels_of(target), segment(frame))
    assert main(command) == 1 and "labels.tif exists; add --force" in capsys.readouterr().err
    assert main([*command, "--force", "--bands", "3,2,1", "--label-format", "grey"]) == 0
    np.testing.assert_array_equal(labels_of(target), segment(np.ascontiguousarray(frame[..., ::-1])))
    assert mode_of(target) == "L"


def test_overlays_are_made_as_of_other_pictures(model: Path, frame: np.ndarray, tmp_path: Path) -> None:
    source, target = make(tmp_path / "huge.tif", planes(frame)), tmp_path / "overlay.tif"
    assert main(["segment", str(model), str(source), "-o", str(target), "--device", "cpu", "--overlay"]) == 0
    assert mode_of(target) == "RGB"


def test_several_rasters_each_to_its_own_file(model: Path, frame: np.ndarray, tmp_path: Path) -> None:
    inputs = [str(make(tmp_path / f"{name}.tif", planes(frame)[:, :100, :150])) for name in ("east", "west")]
    (tmp_path / "out").mkdir()
    assert main(["segment", str(model), *inputs, "-o", str(tmp_path / "out/{name}.tif"), "--device", "cpu"]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["east.tif", "west.tif"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["huge.tif", "-o", "l.tif", "--roi", "0,0,9,9"], "--roi: labels as .tif are made by windows, without it"),
        (["huge.tif", "-o", "l.tif", "--events", "e.csv"], "--events: labels as .tif"),
        (["huge.tif", "-o", "l.png", "--labels", "--bands", "3,2,1"], "--bands is for TIFF and JPEG 2000 to labels"),
        (["street.png", "-o", "l.tif", "--labels"], "expected a name that ends in .png for labels, or in .tif for"),
        (["huge.tif", "-o", "l.jpg", "--labels"], "l.jpg: expected a name that ends in .png for labels"),
        (["huge.tif", "-o", "l.tif", "--bands", "9,2,1"], "expected one band or three, from 1 to 3"),
    ],
)
def test_what_the_command_refuses(
    words: list[str], message: str, model: Path, frame: np.ndarray, tmp_path: Path,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    make(tmp_path / "huge.tif", planes(frame)[:, :90, :99])
    Image.fromarray(frame).save(tmp_path / "street.png")
    monkeypatch.chdir(tmp_path)
    assert main(["segment", str(model), *words, "--device", "cpu"]) == 1
    assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir() if path.name[0] not in "eo") == ["huge.tif", "street.png"]


@pytest.mark.parametrize("text", ["1,2", "0,1,2", "r,g,b", ""])
def test_bands_that_are_none(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["segment", "m.onnx", "huge.tif", "-o", "l.tif", "--bands", text])
    assert "expected R,G,B or one number, counted from 1, such as 4,3,2" in capsys.readouterr().err


def test_ctrl_c_at_the_command(model: Path, frame: np.ndarray, tmp_path: Path) -> None:
    source = make(tmp_path / "huge.tif", np.tile(planes(frame), (1, 8, 6)))
    (tmp_path / "out").mkdir()
    command = [sys.executable, "-m", "fcnrt", "segment", str(model), str(source), "-o", "out/labels.tif"]
    with subprocess.Popen(
        [*command, "--device", "cpu", "--tile", str(TILE)], cwd=tmp_path, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "COLUMNS": "80"},
    ) as aside:  # fmt: skip
        assert aside.stderr
        while not list((tmp_path / "out").iterdir()):
            assert aside.poll() is None
        aside.send_signal(signal.SIGINT)
        _, told = aside.communicate()
    assert aside.returncode == 130 and "interrupted; the files written so far are whole" in told
    assert not list((tmp_path / "out").iterdir())


def test_without_rasterio(model: Path, tmp_path: Path, frame: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make(tmp_path / "huge.tif", planes(frame))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(fcnrt.MissingDependency, match=r"rasterio is needed for this: .* -m pip install .*\[geo\]"):
        Raster(source)
