"""Upsampling with argmax, resizing and NV12 on the GPU: kernels compiled ahead of time, launched from here.

The kernels are written in Triton (fcn_export.kernels) and come as records in an engine's sidecar or in a pack beside
this module. They depend on the GPU's generation, not on the model. Each is held against ops.reference on a tiny case
before it is trusted with frames.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contract.kernel_records import Record, checked_records, labels_name, upsampling_variant
from ..contract.precision import Precision
from ..contract.tail import Tail
from ..errors import BackendError
from ..ops import reference
from ..ops.sampling import bands, linear_samples, resize_taps
from .arrays import DeviceFrames, DeviceView
from .cuda import Gpu, Kernel, Stream

PACKS = Path(__file__).parent / "packs"  # made by `make kernels`, one file per GPU generation
_SHARED_ROWS = 8  # output rows that the fast variant computes from one reading of the scores


@dataclass(frozen=True)
class _Loaded:
    kernel: Kernel
    tile: tuple[int, int]

    def grid(self, width: int, rows: int, frames: int) -> tuple[int, int, int]:
        return -(-width // self.tile[1]), rows, frames


class Kernels:
    """The kernels among some records that run on a GPU.

    Args:
        gpu: the device; it must be current whenever this class is used.
        records: compiled kernels, see export/compile_kernels.py.
    """

    def __init__(self, gpu: Gpu, records: Sequence[Record]):
        self.gpu = gpu
        self._records = {
            (record["name"], record["variant"]): record
            for record in sorted(records, key=lambda record: int(record["sm"]))
            if _runs_on(int(record["sm"]), gpu.sm)
        }
        self._loaded: dict[tuple[str, str], _Loaded] = {}

    def __contains__(self, name: str) -> bool:
        return any(name == known for known, _ in self._records)

    def load(self, name: str, variant: str) -> _Loaded:
        """A kernel ready for launching.

        Raises:
            BackendError: there is none for this GPU, or the driver refuses it.
        """
        key = name, variant
        if key not in self._loaded:
            if key not in self._records:
                raise BackendError(
                    f"no kernel {name} {variant} for compute capability {self.gpu.capability}; build the engine again "
                    "on this machine, or with --tail graph"
                )
            self._loaded[key] = self._load(self._records[key])
        return self._loaded[key]

    def _load(self, record: Record) -> _Loaded:
        try:
            kernel = Kernel(
                self.gpu,
                base64.b64decode(record["cubin"]),
                record["entry"],
                threads=32 * record["warps"],
                shared_bytes=record["shared_bytes"],
                parameters=record["parameters"],
            )
        except BackendError as error:
            raise BackendError(
                f"{error}: kernel {record['name']} {record['variant']} does not load; update the NVIDIA driver, or "
                "build the engine with --tail graph"
            ) from error
        return _Loaded(kernel, tuple(record["tile"]))


class DeviceUpsampler:
    """Turns `scores` of one shape into labels of one frame size; ops.host.LabelUpsampler for the GPU.

    Args:
        kernels: with an upsample_argmax for this GPU.
        tail: how scores become logits, of any kind.
        scores_shape: (N, C, h, w).
        scores_type: of the scores' elements.
        frame_size: (H, W) of the labels.
        network_size: (H, W) that the network saw; the frame's own where it was not resized.
    """

    def __init__(
        self,
        kernels: Kernels,
        tail: Tail,
        scores_shape: tuple[int, int, int, int],
        scores_type: Precision,
        frame_size: tuple[int, int],
        network_size: tuple[int, int],
    ):
        batch, classes, *samples = scores_shape
        axes = [
            linear_samples(reference.source_coordinates(tail, count, pixels, seen), count)
            for count, pixels, seen in zip(samples, frame_size, network_size, strict=True)
        ]
        (row_low, _), _ = axes
        starts = bands(row_low, _SHARED_ROWS)
        shared_rows = _SHARED_ROWS
        if len(row_low) < 2 * (len(starts) - 1):  # hardly two rows a band: most of a tile would idle
            starts, shared_rows = bands(row_low, 1), 1
        self._plain, self._confident = (
            kernels.load(
                "upsample_argmax", upsampling_variant(scores_type, labels_name(classes), shared_rows, confident)
            )
            for confident in (False, True)
        )
        self._tables = [kernels.gpu.uploaded(table) for axis in axes for table in axis]
        self._tables.append(kernels.gpu.uploaded(starts))
        self._grid_shape = frame_size[1], len(starts) - 1, batch
        self._sizes = (classes, *samples, *frame_size)

    def __call__(self, scores: int, labels: int, confidence: int | None, nonfinite: int, stream: Stream) -> None:
        """Enqueue the work on a stream.

        Args:
            scores: address of the scores, contiguous.
            labels: address of the labels (N, H, W) in `label_dtype(C)`, contiguous; written.
            confidence: address of the winners' probabilities (N, H, W), uint8 with 255 for 1; None to do without.
            nonfinite: address of an int32 that becomes 1 where a winning score is NaN or infinite.
            stream: of the GPU that the tables lie on.
        """
        chosen = self._plain if confidence is None else self._confident
        tables = (table.address for table in self._tables)
        chosen.kernel.launch(
            stream, chosen.grid(*self._grid_shape), scores, labels, confidence or 0, *tables, nonfinite, *self._sizes
        )


class DeviceResizer:
    """Resizes frames of one size on the GPU, and reverses their channels on the way.

    Args:
        kernels: with a resize for this GPU.
        source_size: (H, W) of the frames.
        target_size: (H, W) of what comes out; the same size makes a contiguous copy.
        antialias: average over what a pixel covers when reducing.
        swap: reverse the channels, RGB to BGR or back.
    """

    def __init__(
        self,
        kernels: Kernels,
        source_size: tuple[int, int],
        target_size: tuple[int, int],
        antialias: bool,
        swap: bool,
    ):
        self._loaded = kernels.load("resize", "u8")
        taps = [resize_taps(*sides, antialias) for sides in zip(source_size, target_size, strict=True)]
        self._tables = [kernels.gpu.uploaded(table) for axis in taps for table in axis]
        self._counts = [weights.shape[1] for _, weights in taps]
        self._source_size, self._target_size, self._swap = source_size, target_size, int(swap)

    def __call__(self, source: DeviceView, target: int, stream: Stream) -> None:
        """Enqueue the work: frames (N, H, W, 3) with padded rows to contiguous ones at an address."""
        height, width = self._target_size
        self._loaded.kernel.launch(
            stream,
            self._loaded.grid(width, height, source.shape[0]),
            source.address,
            target,
            *(table.address for table in self._tables),
            *self._counts,
            *self._source_size,
            source.strides[1],
            source.strides[0],
            height,
            width,
            self._swap,
        )


class DeviceNv12Converter:
    """Turns a decoder's NV12 frame into RGB or BGR on the GPU.

    Args:
        kernels: with an nv12_to_rgb for this GPU.
        swap: make BGR.
    """

    def __init__(self, kernels: Kernels, swap: bool):
        self._loaded = kernels.load("nv12_to_rgb", "u8")
        self._swap = int(swap)

    def __call__(self, frames: DeviceFrames, target: int, stream: Stream) -> None:
        """Enqueue the work: one NV12 frame to contiguous (H, W, 3) at an address."""
        assert frames.source is not None
        luma, chroma = frames.planes
        _, height, width = frames.shape
        self._loaded.kernel.launch(
            stream,
            self._loaded.grid(width, height, 1),
            luma.address,
            chroma.address,
            target,
            luma.strides[0],
            chroma.strides[0],
            height,
            width,
            *reference.nv12_coefficients(frames.source.matrix, frames.source.full_range),
            self._swap,
        )


def installed_kernels(sm: int) -> list[Record]:
    """The records of the packs installed beside this module that may run on a compute capability.

    Raises:
        BackendError: a pack is damaged.
    """
    packs = [pack for pack in sorted(PACKS.glob("sm_*.json")) if _runs_on(int(pack.stem.removeprefix("sm_")), sm)]
    return [record for pack in packs for record in _read_pack(pack)]


def _read_pack(path: Path) -> tuple[Record, ...]:
    try:
        return checked_records(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, RecursionError, ValueError) as error:
        raise BackendError(f"{path}: damaged ({error}); make it again with `make kernels`") from error


def _runs_on(built_for: int, sm: int) -> bool:
    """Whether code for one compute capability runs on another: within a major one upwards, but for some."""
    # From Hopper on Triton uses features of the very architecture, and Jetson Orin (8.7) shares code with no other.
    if built_for >= 90 or 87 in (built_for, sm):
        return built_for == sm
    return built_for // 10 == sm // 10 and built_for <= sm
