"""Each GPU kernel on a tiny case against ops.reference, once, before it is trusted with frames."""

from __future__ import annotations

import numpy as np

from ..contract.precision import Precision
from ..contract.tail import Tail
from ..contract.types import Array, label_dtype
from ..errors import BackendError
from ..ops import reference
from .arrays import DeviceFrames, Nv12Frame, packed_view
from .cuda import Memory, Stream
from .kernels import DeviceNv12Converter, DeviceResizer, DeviceUpsampler, Kernels

# Enlarging, where the rows of a band share their reading of the scores, and scores at full size, where they do not.
_UPSAMPLINGS = ((Tail("half_pixel"), (3, 4), (17, 25)), (Tail("none", offset=1), (7, 9), (5, 6)))
_TIE = 1e-3  # logits closer than this may change places in float32


def prove_upsampling(kernels: Kernels, stream: Stream, classes: int, scores_type: Precision) -> None:
    """Hold the kernels that make labels against the reference.

    Args:
        kernels: for this GPU.
        stream: to run on; the host waits for it.
        classes: of the model: the type of the labels depends on it.
        scores_type: of the network's scores.

    Raises:
        BackendError: there is no such kernel, or it computes wrong values.
    """
    for tail, samples, frame_size in _UPSAMPLINGS:
        scores = _scores((2, min(classes, 300), *samples)).astype(scores_type.dtype)
        logits = reference.upsample(scores, *frame_size, tail)
        upsample = DeviceUpsampler(kernels, tail, scores.shape, scores_type, frame_size, frame_size)
        plain, _, warned = _upsampled(kernels, stream, upsample, scores, logits.shape, confident=False)
        labels, confidence, warned_too = _upsampled(kernels, stream, upsample, scores, logits.shape, confident=True)
        right = _same_labels(plain, logits) and _same_labels(labels, logits) and _same_confidence(confidence, logits)
        scores[:, :, 1, 1] = np.nan
        *_, warned_of_nan = _upsampled(kernels, stream, upsample, scores, logits.shape, confident=False)
        _settle(kernels, "upsample_argmax", right and (warned, warned_too, warned_of_nan) == (0, 0, 1))


def prove_resizing(kernels: Kernels, stream: Stream) -> None:
    """Hold the kernel that resizes frames against the reference; the rest as in `prove_upsampling`."""
    frames = np.random.default_rng(0).integers(0, 256, (2, 9, 14, 3), np.uint8)
    source = kernels.gpu.uploaded(frames)
    view = packed_view(source.address, frames.shape, np.uint8, source)
    for antialias, size, swap in ((True, (5, 6), False), (False, (13, 17), True)):
        target = Memory(kernels.gpu, 2 * size[0] * size[1] * 3)
        DeviceResizer(kernels, frames.shape[1:3], size, antialias, swap)(view, target.address, stream)
        stream.synchronize()
        resized = kernels.gpu.downloaded(target.address, (2, *size, 3), np.uint8)
        expected = reference.resize(frames[..., ::-1] if swap else frames, size, antialias)
        _settle(kernels, "resize", _near(resized, expected))


def prove_nv12(kernels: Kernels, stream: Stream) -> None:
    """Hold the kernel that reads decoders' frames against the reference; the rest as in `prove_upsampling`."""
    noise = np.random.default_rng(0)
    planes = noise.integers(0, 256, (5, 7), np.uint8), noise.integers(0, 256, (3, 4, 2), np.uint8)
    memory = [kernels.gpu.uploaded(plane) for plane in planes]
    views = [packed_view(part.address, plane.shape, np.uint8, part) for part, plane in zip(memory, planes, strict=True)]
    target = Memory(kernels.gpu, 5 * 7 * 3)
    source = Nv12Frame(*planes, matrix="bt709", full_range=False)
    frame = DeviceFrames(tuple(views), False, source)
    rgb = reference.nv12_to_rgb(*planes, source.matrix, source.full_range)
    for swap, expected in ((False, rgb), (True, rgb[..., ::-1])):
        DeviceNv12Converter(kernels, swap)(frame, target.address, stream)
        stream.synchronize()
        _settle(kernels, "nv12_to_rgb", _near(kernels.gpu.downloaded(target.address, rgb.shape, np.uint8), expected))


def _scores(shape: tuple[int, int, int, int]) -> Array:
    """Two frames; in the second, each class ties with the one as far from the end as it is from the beginning.

    Against the tie rule of reference.argmax, which the kernels owe.
    """
    scores = np.random.default_rng(0).normal(size=shape)
    scores[1] = np.maximum(scores[1], scores[1, ::-1])
    return scores


def _upsampled(
    kernels: Kernels,
    stream: Stream,
    upsample: DeviceUpsampler,
    scores: Array,
    logits_shape: tuple[int, ...],
    confident: bool,
) -> tuple[Array, Array, int]:
    """Labels, confidence and the flag as the kernel leaves them."""
    batch, classes, *size = logits_shape
    shape, dtype = (batch, *size), label_dtype(classes)
    gpu, blank = kernels.gpu, np.zeros(shape, np.uint8)
    source, flag = gpu.uploaded(scores), gpu.uploaded(np.zeros(1, np.int32))
    labels, confidence = gpu.uploaded(blank.astype(dtype)), gpu.uploaded(blank)
    upsample(source.address, labels.address, confidence.address if confident else None, flag.address, stream)
    stream.synchronize()
    warned = int(gpu.downloaded(flag.address, (1,), np.int32)[0])
    return gpu.downloaded(labels.address, shape, dtype), gpu.downloaded(confidence.address, shape, np.uint8), warned


def _same_labels(labels: Array, logits: Array) -> bool:
    """Whether the labels are the reference's wherever the two best logits are apart."""
    chosen = np.take_along_axis(logits, labels[:, None].clip(max=logits.shape[1] - 1).astype(np.intp), axis=1)[:, 0]
    best = logits.max(axis=1)
    return bool(np.all((labels == reference.argmax(logits)) | ((chosen > best - _TIE) & (chosen < best))))


def _same_confidence(confidence: Array, logits: Array) -> bool:
    return _near(confidence, np.rint(255 * reference.softmax(logits).max(axis=1)))


def _near(values: Array, expected: Array) -> bool:
    """Whether bytes are equal but for rounding."""
    return bool(np.all(np.abs(values.astype(np.float64) - expected) <= 1))


def _settle(kernels: Kernels, name: str, right: bool) -> None:
    if not right:
        raise BackendError(
            f"kernel {name} computes wrong values on {kernels.gpu.name} (cuda:{kernels.gpu.index}) and is not used; "
            "build the engine with --tail graph"
        )
