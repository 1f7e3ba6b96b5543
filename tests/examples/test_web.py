"""The page that labels pictures in the browser: in a real Chromium, by onnxruntime-web's WebAssembly."""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import fcnrt
from chromium import Chromium, Tab, chromium
from exports import Export
from files_server import serving
from frames import frames_of
from network_names import CLASSES, MANY_CLASSES
from places import EXAMPLES

PAGE = EXAMPLES / "web"
FIXED = ("--height", "45", "--width", "61")

pytestmark = pytest.mark.skipif(
    not (PAGE / "node_modules").is_dir(), reason="needs onnxruntime-web: npm install --prefix examples/web"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def tab(browser: Chromium) -> Iterator[Tab]:
    with serving(PAGE) as address:
        opened = browser.open(f"{address}/index.html")
        opened.await_("document.readyState == 'complete'")
        yield opened
        opened.close()


def drop(tab: Tab, *paths: Path) -> None:
    """Drop files onto the page, as a hand does."""
    data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        tab.call("Input.dispatchDragEvent", type=kind, x=300, y=200, data=data)


def labelled(tab: Tab, height: int, width: int) -> np.ndarray:
    """The colours of the labels, once a picture of that size has been labelled."""
    tab.await_(f"document.querySelector('#said').innerText.startsWith('{width} \N{MULTIPLICATION SIGN} {height}')")
    drawn = tab.evaluate("document.querySelector('#labels').toDataURL()")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(drawn.partition(",")[2]))).convert("RGB"))


def picture(folder: Path, height: int, width: int) -> tuple[Path, np.ndarray]:
    frame = frames_of(1, height, width, seed=width)[0]
    Image.fromarray(frame).save(folder / f"{height}x{width}.png")
    return folder / f"{height}x{width}.png", frame


@pytest.mark.parametrize(
    ("name", "flags", "sizes"),
    [
        ("caffe fcn8s", (), [(37, 51), (1, 1), (131, 201)]),
        ("torchvision fcn", ("--color", "bgr", "--precision", "fp16"), [(65, 97)]),
        ("tramac fcn16s", FIXED, [(45, 61)]),
        (MANY_CLASSES, (), [(33, 47)]),
    ],
)
def test_a_dropped_picture_gets_the_labels_of_fcnrt(
    name: str, flags: tuple[str, ...], sizes: list[tuple[int, int]], exported: Export, tab: Tab, tmp_path: Path
) -> None:
    model = exported(name, *flags, "--palette", "voc")
    drop(tab, model)
    tab.await_("document.querySelector('#said').innerText == 'Now drop a picture.'")
    with fcnrt.Segmenter(model, color="rgb") as segmenter:
        for size in sizes:
            path, frame = picture(tmp_path, *size)
            drop(tab, path)
            labels = segmenter(frame)
            assert np.array_equal(labelled(tab, *size), segmenter.palette[labels])
            shown = str(tab.evaluate("document.querySelector('#legend').innerText"))
            assert all(segmenter.classes[label] in shown for label in np.unique(labels))


@pytest.mark.parametrize("palette", ["camvid", "cityscapes", "a file"])
def test_the_model_may_come_after_the_picture_with_any_palette(
    palette: str, exported: Export, tmp_path: Path, tab: Tab
) -> None:
    if palette == "a file":
        palette = str(tmp_path / "colours.txt")
        np.savetxt(palette, np.random.default_rng(0).integers(0, 256, (CLASSES, 3)), fmt="%d")
    path, frame = picture(tmp_path, 45, 61)
    drop(tab, path)
    tab.await_("document.querySelector('#said.wrong').innerText.startsWith('Drop the model first')")
    model = exported("torchvision fcn", "--palette", palette)
    drop(tab, model)
    with fcnrt.Segmenter(model) as segmenter:
        assert np.array_equal(labelled(tab, 45, 61), segmenter.palette[segmenter(frame)])


def test_the_model_may_come_by_the_address(exported: Export, tmp_path: Path, tab: Tab) -> None:
    tab.evaluate("location.search = '?model=nowhere.onnx'")
    tab.await_("document.querySelector('#said.wrong').innerText == 'nowhere.onnx: the server answers 404'")


def test_large_pictures_are_scaled_and_the_page_says_so(exported: Export, tmp_path: Path, tab: Tab) -> None:
    drop(tab, exported("torchvision fcn"), picture(tmp_path, 40, 1200)[0])
    assert labelled(tab, 34, 1024).shape == (34, 1024, 3)
    assert "scaled from 1200 \N{MULTIPLICATION SIGN} 40" in tab.text()
    drop(tab, exported("torchvision fcn", *FIXED))
    assert labelled(tab, 45, 61).shape == (45, 61, 3)


def test_what_cannot_be_read_is_told_in_one_line(exported: Export, tmp_path: Path, tab: Tab) -> None:
    model = exported("torchvision fcn")
    cut, foreign, text = tmp_path / "cut.onnx", tmp_path / "foreign.onnx", tmp_path / "notes.txt"
    cut.write_bytes(model.read_bytes()[:-100])
    other = onnx.load(model)
    del other.metadata_props[:]
    onnx.save(other, foreign)
    text.write_text("no picture")
    planes = shutil.copy(exported("torchvision fcn", "--input", "nchw-float"), tmp_path / "planes.onnx")
    for path, message in (
        (cut, "cut.onnx: the file is cut off or is no ONNX file"),
        (foreign, "foreign.onnx: expected a file that fcnrt export wrote; this one has no classes"),
        (planes, "planes.onnx: expected a file from bytes to labels, this one goes from nchw-float to labels"),
        (text, "notes.txt: this browser reads no picture in it"),
    ):
        drop(tab, Path(path))
        tab.await_(f"document.querySelector('#said.wrong').innerText == {message!r}")
