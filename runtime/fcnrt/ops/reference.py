"""Normalise, resize, upsample, argmax and softmax in numpy, written to be read: the definition of correct.

Everything is computed in float64 and nothing is fast. Every other implementation is tested against this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..contract.tail import Tail
from ..contract.types import Array, label_dtype
from ..errors import FrameError


class Nv12Coefficients(NamedTuple):
    """How a video frame's luma Y and chroma U, V become colours: grey is luma_gain * (Y - luma_offset), and then

    R = grey + red_v * (V - 128), G = grey + green_u * (U - 128) + green_v * (V - 128), B = grey + blue_u * (U - 128).
    """

    luma_offset: float
    luma_gain: float
    red_v: float
    green_u: float
    green_v: float
    blue_u: float


# What red and blue weigh in luma: ITU-R BT.601 and BT.709.
_LUMA_WEIGHTS = {"bt601": (0.299, 0.114), "bt709": (0.2126, 0.0722)}


def normalise(
    frames_nhwc: Array,
    *,
    swap_channels: bool = False,
    scale: float = 1.0,
    mean: Sequence[float] = (0.0, 0.0, 0.0),
    std: Sequence[float] = (1.0, 1.0, 1.0),
) -> Array:
    """Turn camera frames into the network's input, (frames * scale - mean) / std.

    Args:
        frames_nhwc: uint8 (N, H, W, 3).
        swap_channels: reverse the colour order (RGB to BGR or back) before anything else.
        scale: factor on the raw values, 1/255 for networks that want [0, 1].
        mean: subtracted after scaling, one value per channel in the network's colour order.
        std: divided by at the end, in the same order.

    Returns:
        float64 (N, 3, H, W).
    """
    frames = frames_nhwc[..., ::-1] if swap_channels else frames_nhwc
    normalised: Array = (frames * np.float64(scale) - np.asarray(mean)) / np.asarray(std)
    return np.moveaxis(normalised, -1, 1)  # (N, 3, H, W)


def resize(frames_nhwc: Array, size: tuple[int, int], antialias: bool) -> Array:
    """Resize frames by bilinear interpolation between pixel centres, as torchvision's evaluation presets do.

    Args:
        frames_nhwc: uint8 (N, H, W, 3).
        size: (height, width) of the result.
        antialias: where the frame shrinks, average over all pixels that the result's pixel covers, with weights that
            fall linearly (torch's and Pillow's bilinear filter); False takes the two nearest on each axis.

    Returns:
        uint8 (N, height, width, 3), halves rounded up.
    """
    rows = _resize_weights(frames_nhwc.shape[1], size[0], antialias)
    cols = _resize_weights(frames_nhwc.shape[2], size[1], antialias)
    return _to_bytes(np.einsum("yi,xj,nijc->nyxc", rows, cols, frames_nhwc, optimize=True))


def nv12_to_rgb(luma: Array, chroma: Array, matrix: str, full_range: bool) -> Array:
    """Turn an NV12 frame, as video decoders write it, into RGB.

    Args:
        luma: uint8 (H, W).
        chroma: uint8 (ceil(H / 2), ceil(W / 2), 2), U before V; pixel (y, x) takes sample (y // 2, x // 2).
        matrix: "bt601" (standard definition) or "bt709" (high definition).
        full_range: whether luma spans 0 to 255, not the usual 16 to 235.

    Returns:
        uint8 (H, W, 3), halves rounded up.

    Raises:
        FrameError: the matrix is unknown.
    """
    factors = nv12_coefficients(matrix, full_range)
    height, width = luma.shape
    u, v = np.moveaxis(chroma.repeat(2, axis=0).repeat(2, axis=1)[:height, :width] - 128.0, -1, 0)
    grey = factors.luma_gain * (luma - factors.luma_offset)
    green = grey + factors.green_u * u + factors.green_v * v
    return _to_bytes(np.stack((grey + factors.red_v * v, green, grey + factors.blue_u * u), axis=-1))


def nv12_coefficients(matrix: str, full_range: bool) -> Nv12Coefficients:
    """Return the factors of a colour matrix, from the weights of red and blue in luma (ITU-R BT.601, BT.709).

    Args:
        matrix: "bt601" or "bt709".
        full_range: whether luma spans 0 to 255 and chroma 1 to 255, not 16 to 235 and 16 to 240.

    Raises:
        FrameError: the matrix is unknown.
    """
    if matrix not in _LUMA_WEIGHTS:
        known = " or ".join(_LUMA_WEIGHTS)
        raise FrameError(f"matrix: expected {known}, got {matrix!r}; the video stream's colour space says which")
    red, blue = _LUMA_WEIGHTS[matrix]
    green = 1 - red - blue
    offset, luma_gain, chroma_gain = (0.0, 1.0, 1.0) if full_range else (16.0, 255 / 219, 255 / 224)
    red_v, blue_u = 2 * (1 - red) * chroma_gain, 2 * (1 - blue) * chroma_gain
    return Nv12Coefficients(offset, luma_gain, red_v, -blue_u * blue / green, -red_v * red / green, blue_u)


def source_coordinates(tail: Tail, samples: int, pixels: int, network_pixels: int | None = None) -> Array:
    """Where each output pixel lies on the grid of scores, along one axis.

    Args:
        tail: the geometry; its formulas stand in the docstring of Tail.
        samples: length of the axis of `scores` (h or w).
        pixels: length of the same axis of the labels (H or W).
        network_pixels: what that axis was resized to before the network saw the frame; None if it was not. The
            formulas then hold at the pixel's place in the resized frame, (y + 1/2) * network_pixels / pixels - 1/2.

    Returns:
        float64 (pixels,), evenly spaced; values outside [0, samples - 1] lie beyond the border.

    Raises:
        ValueError: the tail has no upsampling and `network_pixels` is None.
    """
    seen = network_pixels or pixels
    pixel = (np.arange(pixels) + 0.5) * seen / pixels - 0.5
    if tail.kind == "half_pixel":
        return (pixel + 0.5) * samples / seen - 0.5
    if tail.kind == "align_corners":
        return pixel * (samples - 1) / max(seen - 1, 1)
    if tail.kind == "deconv":
        return (pixel + tail.offset + 0.5) / tail.stride - 1.0
    if network_pixels is not None:
        return pixel + tail.offset
    raise ValueError(
        f"tail: expected half_pixel, align_corners or deconv, got {tail.kind!r}; "
        "its scores are full size, take their argmax"
    )


def upsample(
    scores_nchw: Array, height: int, width: int, tail: Tail, network_size: tuple[int, int] | None = None
) -> Array:
    """Enlarge scores to full-size logits by separable bilinear interpolation.

    Args:
        scores_nchw: float (N, C, h, w).
        height: rows of the result.
        width: columns of the result.
        tail: the geometry. Samples beyond the border repeat the border's. A real transposed convolution
            fades to zero there instead, which scales all classes alike: values differ, labels do not
            (Long, Shelhamer and Darrell 2015 for the network, model files' `tail` for the geometry).
        network_size: (height, width) that the frame was resized to before the network; None if it was not.

    Returns:
        float64 (N, C, height, width); where `tail.kind` is ``none`` and nothing was resized, a part of the scores.
    """
    scores = np.asarray(scores_nchw, np.float64)
    if tail.kind == "none" and network_size is None:
        rows, cols = (slice(tail.offset, tail.offset + size) for size in (height, width))
        return scores[:, :, rows, cols]
    seen = network_size or (height, width)
    stretched = _interpolate(scores, source_coordinates(tail, scores.shape[2], height, seen[0]), axis=2)
    return _interpolate(stretched, source_coordinates(tail, scores.shape[3], width, seen[1]), axis=3)


def argmax(logits_nchw: Array) -> Array:
    """Name the class with the largest logit in every pixel; on ties the lowest index.

    That is the tie rule of every implementation, as it is of numpy, torch and ONNX (ArgMax, select_last_index 0). Who
    implements it owes:

    - classes challenge the best so far in ascending order and win by more, never by as much;
    - classes whose scores are equal have equal logits: every class is interpolated by the same operations, in the same
      order, and none is rounded that the others are not;
    - a class that is left out early could not even tie, or could only tie with a lower index;
    - labels are narrowed after the comparison, and NaN and infinity are refused, since they have no order.

    Args:
        logits_nchw: real (N, C, H, W), free of NaN.

    Returns:
        (N, H, W) in `label_dtype(C)`.
    """
    winners: Array = np.argmax(logits_nchw, axis=1)  # (N, H, W)
    return winners.astype(label_dtype(logits_nchw.shape[1]))


def softmax(logits_nchw: Array) -> Array:
    """Turn logits into probabilities over the classes.

    Args:
        logits_nchw: real (N, C, H, W), of any finite size: the largest is subtracted before exponentiation.

    Returns:
        float64 (N, C, H, W), summing to 1 along axis 1.
    """
    logits = np.asarray(logits_nchw, np.float64)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: Array = weights / weights.sum(axis=1, keepdims=True)
    return probabilities


def _interpolate(scores: Array, coordinates: Array, axis: int) -> Array:
    """Sample `scores` linearly along one axis, clamping to the border."""
    last = scores.shape[axis] - 1
    inside = np.clip(coordinates, 0, last)
    low = np.floor(inside).astype(np.intp)
    high = np.minimum(low + 1, last)
    weight = np.expand_dims(inside - low, tuple(range(1, scores.ndim - axis)))
    between: Array = scores.take(low, axis) * (1 - weight) + scores.take(high, axis) * weight
    return between


def _resize_weights(source: int, target: int, antialias: bool) -> Array:
    """Return what each source pixel weighs in each target pixel along one axis: float64 (target, source)."""
    ratio = source / target
    reach = max(ratio, 1.0) if antialias else 1.0  # in source pixels, where the weights reach 0
    centre = (np.arange(target) + 0.5) * ratio
    distance = np.abs(np.arange(source) + 0.5 - centre[:, None])
    weights = np.maximum(1 - distance / reach, 0)
    # Near the border the triangle is cut off. Giving its share to the rest repeats the border's pixel.
    weights /= weights.sum(axis=1, keepdims=True)
    return weights


def _to_bytes(values: Array) -> Array:
    return np.clip(np.floor(values + 0.5), 0, 255).astype(np.uint8)
