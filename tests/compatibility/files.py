"""Files for other runtimes, each with frames and the labels that fcnrt gives: python files.py FOLDER [NETWORK ...].

Run with tests/helpers on the path. Beside each NAME.onnx lies NAME.npz: frames as the file takes them, by their
"BATCHxHEIGHTxWIDTH", and "BATCHxHEIGHTxWIDTH labels".
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import fcnrt
from exports import exporter
from frames import frames_of
from network_names import NAMES

FREE = ((1, 1, 1), (1, 33, 47), (1, 65, 97), (1, 83, 51), (2, 64, 96), (1, 131, 201))
CALIBRATED = ("caffe fcn8s", "torchvision fcn", "d2l fcn32s")
PLANES = ("caffe fcn8s", "tramac fcn16s", "pochih fcns", "torchvision fcn")


def main(folder: Path, networks: tuple[str, ...]) -> None:
    torch.set_num_threads(1)
    (folder / "exported").mkdir(parents=True)
    export = exporter(folder / "exported")
    pictures = calibration_pictures(folder / "pictures")
    for name in networks:
        for group, height, width, flags in kinds(name, pictures):
            size = (height, width) if height else None
            path = folder / f"{group}, {name}{f' {height}x{width}' if height else ''}.onnx"
            path.write_bytes(export(name, *flags).read_bytes())
            write_cases(path, size, planes=group.startswith("planes"))


def kinds(name: str, pictures: Path) -> Iterator[tuple[str, int, int, tuple[str, ...]]]:
    """Groups that a network's files belong to, fixed height and width or 0, and the flags of the exporter."""
    half = ("--precision", "fp16")
    yield "fp32", 0, 0, ()
    yield "fp16", 0, 0, half
    yield "fp32 fixed", 65, 97, fixed(65, 97)
    yield "fp32 fixed", 45, 61, fixed(45, 61)
    yield "fp16 fixed", 65, 97, (*half, *fixed(65, 97))
    if name in CALIBRATED:
        yield "int8", 0, 0, ("--precision", "int8", "--calibration", str(pictures))
    if name in PLANES:
        yield "planes fixed", 65, 97, (*fixed(65, 97), "--input", "nchw-float", "--output-type", "labels-int32")


def fixed(height: int, width: int) -> tuple[str, ...]:
    return "--height", str(height), "--width", str(width)


def calibration_pictures(folder: Path) -> Path:
    folder.mkdir()
    for index in range(12):
        Image.fromarray(frames_of(1, 65 - index, 97, seed=index)[0]).save(folder / f"{index}.png")
    return folder


def write_cases(path: Path, size: tuple[int, int] | None, planes: bool) -> None:
    """Frames as a file takes them, and their labels."""
    cases = {}
    with fcnrt.Segmenter(path, threads=1) as segmenter:
        for shape in [(1, *size), (2, *size)] if size else FREE:
            if min(shape[1:]) < segmenter.spec.min_size:
                continue
            frames = frames_of(*shape, seed=shape[1])
            key = "x".join(map(str, shape))
            cases[key] = np.ascontiguousarray(np.moveaxis(frames, 3, 1), np.float32) if planes else frames
            cases[f"{key} labels"] = segmenter(frames)
    np.savez_compressed(path.with_suffix(".npz"), **cases)


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(sys.argv[2:]) or NAMES)
