"""Upsample and argmax on the CPU in one step, tile by tile: the labels of ops.reference, never the logits.

Four neighbouring samples of `scores` span a *tile* of output pixels, and in it every logit is a convex
combination of its class's four scores. What holds at the corners therefore holds inside, which makes these
steps exact but for float32 rounding:

1. Argmax of the small `scores`. If one class wins all four corners of a tile, it wins the tile: fill it.
2. In the other tiles, let a and b be two of the corners' winners. A class below the mean of a and b at all
   four corners is below the larger of the two everywhere: it cannot win. Nearly always a and b alone remain,
   and the sign of one bilinear function, b minus a, decides each pixel.
3. The few crowded tiles, with more than two candidates, hold a contest among those.

Output pixels are evenly spaced, so all tiles share one bilinear basis (1, row, column, row * column), and the
logits of many tiles are one small matrix product.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..contract.tail import Tail
from ..contract.types import Array, label_dtype
from ..errors import NOT_FINITE, BackendError, FrameError
from .reference import source_coordinates
from .sampling import linear_samples

# Elements that one numpy call works on: enough to hide the cost of the call, few enough to stay in cache.
_ARGMAX_CHUNK = 1 << 16
_SOFTMAX_CHUNK = 1 << 18
# In tiles, also the largest product (times 4) that OpenBLAS leaves to the calling thread. Its workers would wait
# for cores that the engine's threads still hold: on a busy machine, tens of milliseconds for half of one.
_TILES_CHUNK = 1 << 16


def argmax_labels(scores_nchw: Array, out: Array) -> None:
    """Write the winning class of every position, by the tie rule of reference.argmax.

    np.argmax along axis 1 takes one element per class plane at a time. Here the planes challenge the best
    score so far, one after the other and a few rows at a time, in operations that numpy vectorises.

    Args:
        scores_nchw: float (N, C, H, W), finite, of any strides.
        out: (N, H, W) in `label_dtype(C)`, of any strides; overwritten.

    Raises:
        FrameError: shape or dtype of `out` does not fit the scores.
    """
    _check_labels(out, scores_nchw.shape, scores_nchw.shape[2:])
    rows = max(1, _ARGMAX_CHUNK // scores_nchw.shape[3])
    for scores_chw, labels_hw in zip(scores_nchw, out, strict=True):
        for top in range(0, len(labels_hw), rows):
            _tournament(scores_chw[:, top : top + rows], labels_hw[top : top + rows])


def label_confidence(scores_nchw: Array, tail: Tail, network_size: tuple[int, int], out: Array) -> None:
    """Write how probable the winning class of every pixel is: the largest softmax of the upsampled scores.

    Args:
        scores_nchw: float32 (N, C, h, w), finite.
        tail: how scores become logits.
        network_size: (H, W) of the frames that the network saw.
        out: uint8 (N, H, W) of the labels' size, 255 for a probability of 1; overwritten.

    Raises:
        BackendError: the scores are not finite.
    """
    _, classes, *samples = scores_nchw.shape
    (row_low, row_way), (col_low, col_way) = (
        linear_samples(source_coordinates(tail, count, pixels, seen), count)
        for count, pixels, seen in zip(samples, out.shape[1:], network_size, strict=True)
    )
    rows = max(1, _SOFTMAX_CHUNK // (classes * out.shape[2]))
    for scores_chw, frame in zip(scores_nchw, out, strict=True):
        for top in range(0, len(frame), rows):
            band = slice(top, top + rows)
            with np.errstate(invalid="ignore", over="ignore"):  # of scores that are not finite
                stretched = _between(scores_chw, row_low[band], row_way[band, None], axis=1)  # (C, rows, w)
                logits = _between(stretched, col_low, col_way, axis=2)  # (C, rows, W)
                logits -= logits.max(axis=0)
                total = np.exp(logits, out=logits).sum(axis=0)
            if not np.isfinite(total).all():
                raise BackendError(NOT_FINITE)
            frame[band] = np.rint(255 / total)


class LabelUpsampler:
    """Turns `scores` of one shape into labels of one frame size.

    Geometry and canvas are made once. What a call allocates is a few megabytes and a fraction of the labels'
    own size. An instance serves one thread at a time.

    Attributes:
        rows: of the frame that it labels.
    """

    def __init__(
        self,
        tail: Tail,
        scores_shape: tuple[int, int, int, int],
        frame_size: tuple[int, int],
        network_size: tuple[int, int] | None = None,
        band: slice | None = None,
    ) -> None:
        """Lay out the tiles.

        Args:
            tail: how scores become logits; where it is ``none`` and no frame was resized, `argmax_labels` serves.
            scores_shape: (N, C, h, w), each at least 1, C at most 65536.
            frame_size: (H, W) of the labels, larger or smaller than (h, w).
            network_size: (H, W) that the frames were resized to before the network; None if they were not.
            band: rows of the scores from one to before another, and with them those rows of the frame that lie behind
                them and before the next. Calls then take these rows of the scores and, but at the end, one more.

        Raises:
            ValueError: the tail has no upsampling, and no frame was resized.
        """
        batch, classes, height, width = scores_shape
        rows_seen, cols_seen = network_size or (None, None)
        self._rows = _tiles_along(source_coordinates(tail, height, frame_size[0], rows_seen), height)
        self._cols = _tiles_along(source_coordinates(tail, width, frame_size[1], cols_seen), width)
        self.rows = slice(0, frame_size[0])
        if band:
            self._rows, self.rows = self._rows.band(band.start, band.stop)
            height = min(band.stop + 1, height) - band.start
        self._scores_shape = batch, classes, height, width
        self._frame_size = self.rows.stop - self.rows.start, frame_size[1]
        self._tile_shape = self._rows.offsets.size, self._cols.offsets.size
        self._basis = _bilinear_basis(self._rows.offsets, self._cols.offsets)
        self._tiles_per_pass = max(1, _TILES_CHUNK // max(self._basis.shape[1], classes))
        self._coarse = np.empty((height, width), label_dtype(classes))
        # Tiles cut by the frame's edge are written whole: the canvas is the frame and a margin for them.
        canvas_shape = self._rows.canvas_sample.size, self._cols.canvas_sample.size
        self._canvas = np.empty(canvas_shape, self._coarse.dtype)
        self._tile_at = sliding_window_view(self._canvas, self._tile_shape, writeable=True)

    def __call__(self, scores_nchw: Array, out: Array) -> None:
        """Write the labels of the upsampled scores.

        Args:
            scores_nchw: float (N, C, h, w) as announced, finite; other than float32 is converted to it.
            out: (N, H, W) in `label_dtype(C)`, of any strides; overwritten.

        Raises:
            FrameError: the scores have another shape, or `out` does not fit.
        """
        if scores_nchw.shape != self._scores_shape:
            raise FrameError(
                f"scores: expected shape {self._scores_shape}, got {scores_nchw.shape}; "
                "make one LabelUpsampler per shape"
            )
        _check_labels(out, self._scores_shape, self._frame_size)
        for scores_chw, labels_hw in zip(scores_nchw, out, strict=True):
            self._label_frame(np.ascontiguousarray(scores_chw, np.float32), labels_hw)

    def _label_frame(self, scores_chw: Array, out: Array) -> None:
        argmax_labels(scores_chw[None], self._coarse[None])
        self._fill_canvas()
        planes = scores_chw.reshape(len(scores_chw), -1)  # (C, h * w)
        mixed = np.flatnonzero(self._is_mixed())
        for first in range(0, len(mixed), self._tiles_per_pass):
            self._resolve(planes, mixed[first : first + self._tiles_per_pass])
        top, left = self._tile_shape
        out[...] = self._canvas[top : top + len(out), left : left + out.shape[1]]

    def _fill_canvas(self) -> None:
        """Give every pixel the label of one corner of its tile."""
        widened = self._coarse.take(self._cols.canvas_sample, axis=1)  # (h, canvas width)
        # Whole rows are copied here, which is why columns went first; mode="clip" spares numpy a buffer.
        widened.take(self._rows.canvas_sample, axis=0, out=self._canvas, mode="clip")

    def _is_mixed(self) -> Array:
        """Tell which tiles have corners that disagree: bool (tile rows, tile columns)."""
        low, high = self._rows.low, self._rows.high
        left = self._coarse.take(self._cols.low, axis=1)
        differs_across: Array = left != self._coarse.take(self._cols.high, axis=1)  # (h, tile columns)
        mixed: Array = (left[low] != left[high]) | differs_across[low] | differs_across[high]
        return mixed

    def _resolve(self, planes: Array, tiles: Array) -> None:
        """Label mixed tiles, given by their flat indices, and write them onto the canvas."""
        row, col = np.divmod(tiles, self._cols.start.size)
        samples = self._corner_samples(row, col)
        phase = np.stack((self._rows.phase[row], self._cols.phase[col]))  # (2, tiles)
        labels, bound = self._duel(planes, samples, phase)
        corners = planes.take(samples, axis=1)  # (C, 4, tiles)
        can_win: Array = np.any(corners >= bound, axis=1)  # (C, tiles)
        candidates = can_win.sum(axis=0, dtype=np.intp)
        crowded = np.argsort(-candidates, kind="stable")[: np.count_nonzero(candidates > 2)]
        if crowded.size:
            labels[crowded] = self._contest(corners[..., crowded], can_win[:, crowded], phase[:, crowded])
        tile_rows, tile_cols = self._rows.start[row], self._cols.start[col]
        self._tile_at[tile_rows, tile_cols] = labels.reshape(-1, *self._tile_shape)

    def _corner_samples(self, row: Array, col: Array) -> Array:
        """Locate the tiles' corners in a flat plane of scores: (4, tiles), in reading order."""
        width = self._coarse.shape[1]
        top, bottom = self._rows.low[row] * width, self._rows.high[row] * width
        left, right = self._cols.low[col], self._cols.high[col]
        return np.stack((top + left, top + right, bottom + left, bottom + right))

    def _duel(self, planes: Array, samples: Array, phase: Array) -> tuple[Array, Array]:
        """Let two of the corners' winners share each tile.

        Returns the labels (tiles, pixels) and the mean of the two at the corners, float32 (4, tiles).
        """
        winners = self._coarse.reshape(-1)[samples]
        a, b = winners.min(axis=0), winners.max(axis=0)
        scores_a = planes.take(a.astype(np.intp) * planes.shape[1] + samples)
        scores_b = planes.take(b.astype(np.intp) * planes.shape[1] + samples)
        labels = np.repeat(a[:, None], self._basis.shape[1], axis=1)
        _award(labels, self._interpolate(scores_b - scores_a, phase) > 0, b[:, None])
        return labels, (scores_a + scores_b) / 2

    def _contest(self, corners: Array, can_win: Array, phase: Array) -> Array:
        """Let all candidates of each tile compete, most crowded tile first: labels (tiles, pixels).

        In ascending order the candidates challenge the best so far. All are measured against the tile's
        first candidate, because differences of scores lose less to rounding than logits do.
        """
        tile, candidate = np.nonzero(can_win.T)
        counts = np.bincount(tile)
        first = np.cumsum(counts) - counts
        base = corners[candidate[first], :, np.arange(len(counts))]  # (tiles, 4)
        labels = np.repeat(candidate[first, None].astype(self._coarse.dtype), self._basis.shape[1], axis=1)
        best = np.zeros(labels.shape, np.float32)
        for k in range(1, counts[0]):
            n = np.count_nonzero(counts > k)  # these n tiles have a k-th challenger
            challenger = candidate[first[:n] + k]
            margin = corners[challenger, :, np.arange(n)] - base[:n]  # (n, 4)
            leads = self._interpolate(margin.T, phase[:, :n])
            _award(labels[:n], leads > best[:n], challenger[:, None].astype(labels.dtype))
            np.maximum(best[:n], leads, out=best[:n])
        return labels

    def _interpolate(self, corners: Array, phase: Array) -> Array:
        """Evaluate bilinear functions, known at the corners (4, tiles), at all pixels: (tiles, pixels)."""
        top_left, top_right, bottom_left, bottom_right = corners
        row_phase, col_phase = phase
        left_slope, right_slope = bottom_left - top_left, bottom_right - top_right
        left, right = top_left + row_phase * left_slope, top_right + row_phase * right_slope
        across, twist = right - left, right_slope - left_slope
        value, row_slope = left + col_phase * across, left_slope + col_phase * twist
        pixels: Array = np.stack((value, row_slope, across, twist), axis=1) @ self._basis
        return pixels


@dataclass(frozen=True)
class _TileAxis:
    """The tiles along one axis: runs of equally many pixels that lie between the same two samples."""

    low: Array  # (tiles,) sample before the tile
    high: Array  # (tiles,) sample after it; equal to `low` beyond the border
    start: Array  # (tiles,) first pixel, counted on the canvas
    phase: Array  # (tiles,) float32 distance of the first pixel from the sample before it, in samples
    offsets: Array  # (pixels per tile,) float32 distance of each pixel from the first, in samples
    canvas_sample: Array  # (canvas pixels,) `low` of each pixel of the canvas, whose margins are one tile

    def band(self, first: int, stop: int) -> tuple[_TileAxis, slice]:
        """The tiles behind some of the samples, and the pixels that they cover; both are counted anew."""
        length = self.offsets.size
        tiles = slice(*map(int, np.searchsorted(self.low, (first, stop))))
        pixels = slice(*map(int, np.searchsorted(self.canvas_sample[length:-length], (first, stop))))
        part = _TileAxis(
            low=self.low[tiles] - first,
            high=self.high[tiles] - first,
            start=self.start[tiles] - pixels.start,
            phase=self.phase[tiles],
            offsets=self.offsets,
            canvas_sample=np.clip(self.canvas_sample[pixels.start : pixels.stop + 2 * length], first, stop - 1) - first,
        )
        return part, pixels


def _between(values: Array, low: Array, way: Array, axis: int) -> Array:
    """Interpolate between samples and the ones after them."""
    high = np.minimum(low + 1, values.shape[axis] - 1)
    before = values.take(low, axis)
    between: Array = before + way * (values.take(high, axis) - before)
    return between


def _tiles_along(coordinates: Array, samples: int) -> _TileAxis:
    """Cover one axis with tiles of one length; those in the same interval between samples may overlap."""
    interval = np.clip(np.floor(coordinates), -1, samples - 1).astype(np.intp)
    first, count = np.unique(interval, return_index=True, return_counts=True)[1:]
    length = _tile_length(count)
    start = np.concatenate([_starts(*run, length) for run in zip(first, count, strict=True)])
    owner = interval[np.clip(start, 0, None)]
    step = (coordinates[-1] - coordinates[0]) / max(len(coordinates) - 1, 1)
    return _TileAxis(
        low=np.clip(owner, 0, None),
        high=np.clip(owner + 1, None, samples - 1),
        start=start + length,
        phase=(coordinates[0] + step * start - owner).astype(np.float32),
        offsets=(step * np.arange(length)).astype(np.float32),
        canvas_sample=np.clip(np.pad(interval, length, mode="edge"), 0, None),
    )


def _tile_length(counts: Array) -> int:
    """Choose the length that covers runs of so many pixels with the least work.

    Only the first and the last run, cut by the frame's edge, may be shorter than a tile. At a ratio such as
    31.8 halves beat whole runs, of which most would need a second tile for their 32nd pixel.
    """
    longest = counts[1:-1].min() if len(counts) > 2 else counts.max()
    work_per_tile = 4  # what a tile costs besides its pixels, in pixels
    return min(
        range(1, int(longest) + 1),
        key=lambda length: float(np.ceil(counts / length).sum() * (length + work_per_tile)),
    )


def _starts(first: int, count: int, length: int) -> Array:
    """Place tiles on a run of pixels: the last ends with the run, the frame's edge may cut a single one."""
    end = first + count
    last = end - length if first == 0 else max(first, end - length)
    return np.minimum(np.arange(first, end, length), last)


def _bilinear_basis(row_offsets: Array, col_offsets: Array) -> Array:
    """Return 1, row, column and row * column at each pixel of a tile: float32 (4, pixels)."""
    rows, cols = np.meshgrid(row_offsets, col_offsets, indexing="ij")
    return np.stack((np.ones_like(rows), rows, cols, rows * cols)).reshape(4, -1)


def _tournament(scores_chw: Array, labels_hw: Array) -> None:
    best = scores_chw[0].copy()
    labels_hw[...] = 0
    for index, challenger in enumerate(scores_chw[1:], start=1):
        _award(labels_hw, challenger > best, labels_hw.dtype.type(index))
        np.maximum(best, challenger, out=best)
    if not np.isfinite(best).all():  # NaN and infinity among the winners; a maximum passes NaN on
        raise BackendError(NOT_FINITE)


def _award(labels: Array, wins: Array, challenger: Any) -> None:
    """Set labels to the challenger where it wins, by the tie rule of reference.argmax.

    It is the highest index so far: a maximum will do.
    """
    # An order of magnitude faster than a masked assignment.
    np.maximum(labels, wins * challenger, out=labels)


def _check_labels(out: Array, scores_shape: tuple[int, ...], frame_size: tuple[int, ...]) -> None:
    shape, dtype = (scores_shape[0], *frame_size), np.dtype(label_dtype(scores_shape[1]))
    if out.shape != shape or out.dtype != dtype:
        raise FrameError(
            f"labels: expected {dtype} {shape} for scores {scores_shape}, got {out.dtype} {out.shape}; "
            "allocate them with that dtype and shape"
        )
