"""Own data: own classes in every layout, masks of values and colours, shares held out, a look before training."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import data_trees as trees
from fcn_bench.data.census import census, check_classes, lines, look_through
from fcn_bench.data.datasets import DataError, InMemory, open_data
from fcn_bench.data.flags import add_data_flags, stated_by
from fcn_bench.data.masks import MaskReader
from fcn_bench.data.measured_frames import MeasuredFrames
from fcn_bench.data.sample_sheet import VOID_COLOUR, sample_sheet
from fcn_bench.data.stated import Stated

NAMES = ("soil", "leaf", "Blüte")
HOLDOUT = Stated(holdout=0.34)
COLOURS = np.array([(0, 0, 0), (250, 3, 9), (7, 8, 200)], np.uint8)


def stated(*words: str) -> Stated:
    parser = argparse.ArgumentParser()
    add_data_flags(parser)
    return stated_by(parser.parse_args(("--data", ".", *words)))


# Classes, in every layout.


@pytest.mark.parametrize("make", [trees.voc, trees.cityscapes, trees.pairs])
def test_own_classes_win_in_a_published_layout(make, tmp_path: Path) -> None:
    root = make(tmp_path)
    (tmp_path / "names.txt").write_text("a\n" + "\n".join(f"own {index}" for index in range(22)) + "\n")
    assert open_data(root, "train").classes[0] != "a" and open_data(root, "train").assumed
    said = open_data(root, "train", stated=Stated(classes=str(tmp_path / "names.txt")))
    assert (len(said.classes), said.palette, said.assumed) == (23, "generated", None)
    (tmp_path / "names.txt").rename(root / "classes.txt")
    assert open_data(root, "train").classes == said.classes
    assert open_data(root, "train", stated=Stated(classes="ade20k")).classes[0] == "wall"


def test_pictures_and_masks_in_two_folders(tmp_path: Path) -> None:
    data = open_data(trees.own(tmp_path / "garden"), "train", stated=HOLDOUT)
    assert (data.name, data.classes, data.palette, data.assumed) == ("garden", NAMES, "generated", None)
    held = open_data(tmp_path / "garden", "val", stated=HOLDOUT)
    assert len(data) == 4 and len(held) == 2
    assert not {sample.name for sample in data} & {sample.name for sample in held}
    (sample,) = [sample for each in (data, held) for sample in each if sample.name == "day1/shot_3"]
    np.testing.assert_array_equal(sample.labels_hw, trees.labels(3, 3, size=(29, 53)))


def test_folders_of_any_name(tmp_path: Path) -> None:
    root = trees.own(tmp_path)
    (root / "masks").rename(root / "painted")
    (root / "classes.txt").rename(root / "names")
    said = stated("--masks", str(root / "painted"), "--classes", str(root / "names"), "--holdout", "0.2")
    assert len(open_data(root / "images", "train", stated=said)) == 5
    assert len(MeasuredFrames(str(root / "images"), "val", stated=said)) == 1


def test_lists_name_the_splits_and_a_share_is_held_out_of_train(tmp_path: Path) -> None:
    root = trees.own(tmp_path)
    (root / "train.txt").write_text("day0/shot_0.jpg\nday1/shot_1\n\nday0/shot_2\n")
    (root / "val.txt").write_text("day0/shot_4\n")
    assert [sample.name for sample in open_data(root, "train")] == ["day0/shot_0", "day1/shot_1", "day0/shot_2"]
    assert [sample.name for sample in open_data(root, "val")] == ["day0/shot_4"]
    held = [open_data(root, split, stated=HOLDOUT)[0].name for split in ("val",)]
    assert held[0] in {"day0/shot_0", "day1/shot_1", "day0/shot_2"}


def test_a_share_is_the_same_however_many_there_are(tmp_path: Path) -> None:
    first = {sample.name for sample in open_data(trees.own(tmp_path, 6), "val", stated=Stated(holdout=0.5))}
    trees.own(tmp_path, 7)
    again = {sample.name for sample in open_data(tmp_path, "val", stated=Stated(holdout=0.5))}
    assert len(first) == 3 and len(first & again) >= 2
    camvid = trees.pairs(tmp_path / "camvid", {"train": 4})
    assert len(open_data(camvid, "val", stated=Stated(holdout=0.25))) == 1  # in every layout


# Masks.


def saved(folder: Path, picture: Image.Image, name: str = "mask.png") -> Path:
    picture.save(folder / name)
    return folder / name


INDICES = np.array([[0, 1, 2], [2, 255, 0]], np.uint8)


@pytest.mark.parametrize("name", ["mask.png", "mask.bmp", "mask.tif"])
def test_colours_become_classes(name: str, tmp_path: Path) -> None:
    picture = np.where(INDICES[..., None] == 255, np.uint8(9), COLOURS[np.minimum(INDICES, 2)])
    path = saved(tmp_path, Image.fromarray(picture), name)
    reader = MaskReader(3, colours=COLOURS, void_colours=((9, 9, 9),))
    np.testing.assert_array_equal(reader(path), INDICES)
    with pytest.raises(DataError, match=r"expected the colours of 3 classes, got 9,9,9 .16.67% of it.; .*--void 9,9,9"):
        MaskReader(3, colours=COLOURS)(path)
    with pytest.raises(DataError, match=r"a mask in colours; which .* palette.txt"):
        MaskReader(3)(path)
    with pytest.raises(DataError, match="two classes have the same colour"):
        MaskReader(3, colours=COLOURS[[0, 0, 1]])(path)


def test_transparency_is_dropped(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.insert(COLOURS[[[0, 1], [2, 1]]], 3, 77, axis=2)))
    np.testing.assert_array_equal(MaskReader(3, colours=COLOURS)(path), [[0, 1], [2, 1]])


@pytest.mark.parametrize(
    ("stored", "reader", "expected"),
    [
        (INDICES, MaskReader(3), INDICES),
        (np.array([[0, 255]], np.uint8), MaskReader(2, values=(0, 255)), [[0, 1]]),  # black and white
        (np.array([[0, 255, 128]], np.uint8), MaskReader(2, values=(255, 0), void=frozenset({128})), [[1, 0, 255]]),
        (np.array([[0, 300, 7]], np.uint16), MaskReader(2, values=(7, 300), void=frozenset({0})), [[255, 1, 0]]),
        (np.array([[0, 70000]], np.int32), MaskReader(2, values=(0, 70000)), [[0, 1]]),
        (np.array([[True, False]]), MaskReader(2), [[1, 0]]),
        (np.array([[0, 3, 1]], np.uint8), MaskReader(3, void=frozenset({3, 0})), [[255, 255, 1]]),
    ],
)
def test_values_become_classes(stored, reader: MaskReader, expected, tmp_path: Path) -> None:
    found = reader(saved(tmp_path, Image.fromarray(stored), "mask.tif"))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.uint8


def test_palette_files_colour_masks_and_drawings(tmp_path: Path) -> None:
    root = trees.own(tmp_path)
    (root / "palette.txt").write_text("0 0 0\n250 3 9\n7 8 200\n")
    path = root / "masks/day0/shot_0.png"
    coloured = np.where(trees.labels(0, 3)[..., None] == 255, np.uint8(255), COLOURS[np.minimum(trees.labels(0, 3), 2)])
    Image.fromarray(coloured).save(path)
    data = open_data(root, "train", stated=stated("--holdout", "0.1", "--void", "255,255,255", "--void", "9"))
    np.testing.assert_array_equal(data.palette, COLOURS)
    (first,) = [sample for sample in data if sample.name == "day0/shot_0"]
    np.testing.assert_array_equal(first.labels_hw, trees.labels(0, 3))


# What is refused.


def _without_classes(root: Path) -> None:
    (root / "classes.txt").unlink()


@pytest.mark.parametrize(
    ("damage", "words", "expected"),
    [
        (_without_classes, ["--holdout", "0.2"], r"whose classes are these\? write their names to .*classes.txt"),
        (lambda root: None, [], r"lacks train.txt, names of pictures.*--holdout 0.1"),
        (lambda root: (root / "masks/day0/shot_0.png").unlink(), ["--holdout", "0.2"],
         r"lacks masks of 1 of the 6 pictures, such as day0/shot_0.png"),
        (lambda root: trees.save_frame(root / "images/day0/shot_0.png", 3), ["--holdout", "0.2"], "keep one of them"),
        (lambda root: (root / "train.txt").write_text("gone\n"), [], "found none named gone"),
        (lambda root: (root / "classes.txt").write_text("a\nb\na\n"), ["--holdout", "0.2"], "none of them twice"),
        (lambda root: (root / "palette.txt").write_text("1 2 3\n"), ["--holdout", "0.2"],
         "1 colours, but there are 3 classes"),
        (lambda root: None, ["--holdout", "0.99"], "leaves none of 6 samples to train on"),
        (lambda root: None, ["--holdout", "0.2", "--label-values", "0,1"], "for each of the 3 classes, got 2"),
        (lambda root: None, ["--holdout", "0.2", "--classes", "no file"], "--classes no file: neither a text file nor"),
        (lambda root: None, ["--holdout", "0.2", "--masks", "no folder"], "no folder: no such folder"),
    ],
)  # fmt: skip
def test_what_is_amiss_is_one_line(damage, words: list[str], expected: str, tmp_path: Path) -> None:
    root = trees.own(tmp_path)
    damage(root)
    with pytest.raises(DataError, match=expected) as caught:
        open_data(root, "train", stated=stated(*words))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("words", [["--holdout", "1"], ["--void", "1,2"], ["--label-values", "a"], ["--void", "-1"]])
def test_wrong_flags_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        stated(*words)
    assert "expected" in capsys.readouterr().err


def test_generated_streets_take_no_other_classes() -> None:
    with pytest.raises(DataError, match="scenes: has classes, colours and splits of its own"):
        open_data("scenes", "train", stated=HOLDOUT)


def test_a_share_is_held_out_as_val_alone(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="divides the data into train and val, got test"):
        open_data(trees.own(tmp_path), "test", stated=HOLDOUT)


# The look before training.


def test_census_counts_classes_frames_and_sizes(tmp_path: Path) -> None:
    data = InMemory(open_data(trees.own(tmp_path), "train", stated=HOLDOUT))
    found = census(data, "train", workers=2)
    labels = [data[index].labels_hw for index in range(len(data))]
    assert found.pixels.tolist() == [sum(int((each == index).sum()) for each in labels) for index in range(3)]
    assert found.frames.max() == found.samples == 4 and found.sizes == ((29, 53), (37, 53))
    assert found.void == pytest.approx(sum((each == 255).sum() for each in labels) / sum(each.size for each in labels))
    table = list(lines(data.classes, found))
    assert len(table) == 4 and "Blüte" in table[2] and "of the annotated pixels, in 4 frames" in table[0]


def test_black_and_white_masks_are_told_from_void(tmp_path: Path) -> None:
    root = trees.own(tmp_path, classes=("other", "leaf"))
    for path in (root / "masks").rglob("*.png"):
        Image.fromarray(np.where(np.asarray(Image.open(path)) == 1, 255, 0).astype(np.uint8)).save(path)
    data = open_data(root, "train", stated=HOLDOUT)
    with pytest.raises(DataError, match=r"no class but other; .* --label-values 0,255 for black and white"):
        check_classes(data, census(data, "train"))
    said = Stated(holdout=0.34, values=(0, 255))
    train, val = (open_data(root, split, stated=said) for split in ("train", "val"))
    found, _ = look_through(train, val, ("train", "val"), 1)
    assert found.pixels.min() > 0


def test_published_classes_that_no_mask_has_are_asked_about(tmp_path: Path) -> None:
    root = trees.voc(tmp_path)
    for path in (root / "SegmentationClass").iterdir():
        trees.save_labels(path, trees.labels(1, 11), palette=True)
    data = InMemory(open_data(root, "train"))
    with pytest.raises(DataError, match=r"no mask has .*, \.\.\., so whose classes are these\?.*add --classes voc"):
        check_classes(data, census(data, "train"))
    insisted = open_data(root, "train", stated=Stated(classes="voc"))
    check_classes(insisted, census(insisted, "train"))


def test_a_damaged_sample_is_found_before_training(tmp_path: Path) -> None:
    root = trees.own(tmp_path)
    (root / "images/day0/shot_2.jpg").write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"shot_2.jpg: expected a picture"):
        look_through(*(open_data(root, part, stated=HOLDOUT) for part in ("train", "val")), ("train", "val"), 2)


def test_three_samples_are_drawn(tmp_path: Path) -> None:
    data = open_data(trees.own(tmp_path), "train", stated=HOLDOUT)
    sheet = sample_sheet(data)
    assert sheet.shape[0] > 3 * 250 and sheet.shape[1] >= 1200 and sheet.dtype == np.uint8
    assert (sheet[:10, 400:800] == VOID_COLOUR).all()  # the border that nobody annotated
