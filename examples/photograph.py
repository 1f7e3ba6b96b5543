"""Labels of a photograph that scikit-learn brings along: a pagoda between trees (CC BY 2.0, danielbuechele).

Writes photograph, labels and overlay side by side, and prints the share of each class that was found. What is right
depends on what your network has seen: one of streets knows trees, sky and buildings. Needs scikit-learn's files alone:
pip install --no-deps scikit-learn

python examples/photograph.py model.onnx photograph.png
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import fcnrt


def photograph() -> Path:
    """Where the picture is installed; scikit-learn itself is not imported."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        sys.exit("photograph.py: needs the picture in scikit-learn; pip install --no-deps scikit-learn")
    return Path(package.origin).parent / "datasets/images/china.jpg"


def side_by_side(
    frame_hwc: np.ndarray, labels_hw: np.ndarray, segmenter: fcnrt.Segmenter, found: list[int]
) -> np.ndarray:
    """Photograph, labels and overlay (H, 3 W, 3), and below them the names of the classes found."""
    palette = segmenter.palette
    pictures = np.hstack([frame_hwc, palette[labels_hw], fcnrt.overlay(frame_hwc, labels_hw, palette)])
    names = fcnrt.legend([segmenter.classes[index] for index in found], palette[found], columns=len(found))
    width = max(pictures.shape[1], names.shape[1])
    rows = (np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in (pictures, names))
    return np.vstack([*rows])


def main(model: str, output: str) -> None:
    frame_hwc = np.array(Image.open(photograph()).convert("RGB"))
    with fcnrt.Segmenter(model, color="rgb") as segmenter:
        labels_hw = segmenter(frame_hwc)
        pixels = np.bincount(labels_hw.ravel(), minlength=len(segmenter.classes))
        found = [int(index) for index in np.argsort(-pixels) if pixels[index]]
        for index in found:
            print(f"{pixels[index] / labels_hw.size:6.1%}  {segmenter.classes[index]}")
        Image.fromarray(side_by_side(frame_hwc, labels_hw, segmenter, found)).save(output)
    print(output)


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
    elif len(sys.argv) != 3:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])
