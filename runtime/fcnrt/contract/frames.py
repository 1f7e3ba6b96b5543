"""What comes as frames, and what takes results, checked.

For each of the usual other things it tells the line of Python that makes frames of it.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ..errors import FrameError
from .types import Array, UInt8Array

EXPECTED = "frames: expected a uint8 numpy array (H, W, 3) or (N, H, W, 3)"


def checked_batch(frames: Any) -> UInt8Array:
    """Frames as a batch (N, H, W, 3), of the same memory.

    Args:
        frames: uint8 (H, W, 3) or (N, H, W, 3), of any strides.

    Raises:
        FrameError: anything else, with what to do to it.
    """
    if not isinstance(frames, np.ndarray):
        raise FrameError(f"{EXPECTED}, got {_of_another_type(frames)}")
    if frames.dtype != np.uint8:
        raise FrameError(f"{EXPECTED}, got {frames.dtype}{_range(frames)}; {_of_another_dtype(frames)}")
    if frames.ndim not in (3, 4) or frames.shape[-1] != 3 or 0 in frames.shape:
        raise FrameError(f"{EXPECTED}, got {frames.shape}{_of_another_shape(frames.shape)}")
    return frames if frames.ndim == 4 else frames[None]


def check_target(name: str, array: Any, shape: tuple[int, ...], dtype: type[np.generic]) -> None:
    """Raise FrameError unless something is an array that results of a shape and type can be written to."""
    got = ""
    if not isinstance(array, np.ndarray):
        got = type(array).__name__
    elif array.dtype != dtype or array.shape != shape:
        got = f"{array.dtype} {array.shape}"
    elif not array.flags.writeable:
        got = "a read-only one"
    if got:
        raise FrameError(f"{name}: expected a {np.dtype(dtype)} numpy array {shape}, got {got}")


def check_apart(frames: Array, labels: Array, confidence: Array | None) -> None:
    """Raise FrameError where results would be written over the frames, or over each other."""
    if np.shares_memory(labels, frames):
        raise shared("out", "frames")
    if confidence is not None and np.shares_memory(confidence, frames):
        raise shared("confidence", "frames")
    if confidence is not None and np.shares_memory(confidence, labels):
        raise shared("confidence", "out")


def shared(name: str, other: str) -> FrameError:
    """What to say of an array whose memory is another's."""
    return FrameError(f"{name}: expected an array of its own, got one that shares memory with `{other}`")


def _of_another_type(frames: Any) -> str:
    if frames is None:
        return "None, which is no picture; did cv2.imread not find or not understand the file?"
    if isinstance(frames, (str, os.PathLike)):
        return f"a path; read it: np.asarray(PIL.Image.open({os.fspath(frames)!r}).convert('RGB'))"
    if isinstance(frames, (list, tuple)):
        return f"a {type(frames).__name__}; make one batch of frames of equal size: np.stack(frames)"
    module, name = type(frames).__module__.partition(".")[0], type(frames).__name__
    if module == "PIL":
        return "a picture of Pillow's; convert it: np.asarray(frames.convert('RGB'))"
    if module == "torch":
        return "a tensor on the CPU; hand over its memory: frames.numpy()"
    return name


def _range(frames: Array) -> str:
    if not frames.size or frames.dtype.kind not in "fiu":
        return ""
    return f" of {frames.min():.6g} to {frames.max():.6g}"


def _of_another_dtype(frames: Array) -> str:
    if frames.dtype == bool:
        return "make them pixel values: frames.astype(np.uint8) * 255"
    if frames.dtype.kind not in "fiu" or not frames.size:
        return "convert them to pixel values from 0 to 255"
    low, high = float(frames.min()), float(frames.max())
    if low < 0 or not np.isfinite([low, high]).all():
        return "these were normalised already, which the file does itself; give the pixels before that, 0 to 255"
    if frames.dtype.kind == "f" and high <= 1:
        return "if 1 is white: (frames * 255).round().astype(np.uint8)"
    if high <= 255:
        return "frames.round().astype(np.uint8)" if frames.dtype.kind == "f" else "frames.astype(np.uint8)"
    bits = int(high).bit_length()
    return f"if white is {2**bits - 1} ({bits} bits): (frames * (255 / {2**bits - 1})).round().astype(np.uint8)"


def _of_another_shape(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return ", which is empty"
    if len(shape) == 2:
        return ", which is grey; repeat it: np.stack([frames] * 3, axis=-1)"
    if len(shape) in (3, 4) and shape[-1] == 4:
        return ", which has an alpha channel; leave it out: frames[..., :3]"
    if len(shape) in (3, 4) and shape[-1] == 1:
        return ", which is grey; repeat it: np.repeat(frames, 3, axis=-1)"
    if len(shape) in (3, 4) and shape[-3] == 3:
        return ", whose channels come first; put them last: np.moveaxis(frames, -3, -1)"
    return ""
