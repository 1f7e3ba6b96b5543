"""The GPU kernels, in Triton: scores to labels, frames to another size, NV12 to RGB.

compile_kernels.py makes cubins of them ahead of time; fcnrt launches those and needs neither this file nor Triton.
Products and sums that belong together are written as tl.fma, and the compiler may fuse no others: so the same
scores have the same labels on every generation of GPU.

No pointer is assumed to be aligned beyond its element: frames may be the caller's, and rows of odd width start
anywhere.
"""

import triton
import triton.language as tl


@triton.jit
def upsample_argmax(
    scores,
    labels,
    confidence,
    row_low,
    row_frac,
    col_low,
    col_frac,
    band_start,
    nonfinite,
    classes,
    score_height,
    score_width,
    height,
    width,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    UNROLL: tl.constexpr,
    CONFIDENCE: tl.constexpr,
):
    """Label the pixels of one band of rows, COLS columns and one frame: interpolate each class, keep the best.

    A band is at most ROWS rows that lie between the same two rows of scores. One thread owns a column of it: it reads
    the four scores around each class once, and every row is then one multiply-add away. Full-size logits exist in
    registers only.

    Args:
        scores: float32 or float16 (N, classes, score_height, score_width), contiguous.
        labels: uint8 or uint16 (N, height, width), contiguous; overwritten.
        confidence: uint8 (N, height, width), the winner's softmax times 255; CONFIDENCE variants alone write it.
        row_low, row_frac: int32 and float32 (height,): row y lies between score rows row_low[y] and row_low[y] + 1,
            at row_frac[y] in [0, 1], which never falls within a band and is 0 where there is no such next row.
        col_low, col_frac: the same for columns (width,).
        band_start: int32 (bands + 1,): rows band_start[b] to band_start[b + 1] - 1 are band b.
        nonfinite: int32 (1,), set to 1 if a score that counts in any pixel is NaN or infinite, else left alone.

    The grid is (ceil(width / COLS), bands, N).
    """
    frame = tl.program_id(2).to(tl.int64)  # offsets beyond 2^31 begin here
    first = tl.load(band_start + tl.program_id(1))
    end = tl.load(band_start + tl.program_id(1) + 1)
    row = first + tl.arange(0, ROWS)
    col = tl.program_id(0) * COLS + tl.arange(0, COLS)
    down = tl.load(row_frac + tl.minimum(row, height - 1))  # (ROWS,)
    left = tl.load(col_low + tl.minimum(col, width - 1))  # (COLS,)
    across = tl.load(col_frac + tl.minimum(col, width - 1))
    rest = 1.0 - across

    # A sample of weight 0 is not read. That keeps reads inside the scores at their border, makes full-size scores
    # cost one read instead of four, and gives samples back as they are. Fractions rise along a band: ask its last.
    has_right = across > 0.0
    has_lower = tl.load(row_frac + end - 1 + tl.full([COLS], 0, tl.int32)) > 0.0  # (COLS,), all alike
    row_offset = (frame * classes * score_height + tl.load(row_low + first)) * score_width
    upper = scores + row_offset + left  # (COLS,)
    lower = upper + score_width
    plane = score_height.to(tl.int64) * score_width

    best = tl.full([ROWS, COLS], -float("inf"), tl.float32)
    winner = tl.full([ROWS, COLS], 0, tl.int32)
    total = tl.full([ROWS, COLS], 0.0, tl.float32)  # of exp(logit - best)
    spoilt = tl.full([COLS], 0.0, tl.float32)
    for index in tl.range(0, classes, loop_unroll_factor=UNROLL):
        upper_left = tl.load(upper).to(tl.float32)
        upper_right = tl.load(upper + 1, mask=has_right, other=0.0).to(tl.float32)
        lower_left = tl.load(lower, mask=has_lower, other=0.0).to(tl.float32)
        lower_right = tl.load(lower + 1, mask=has_lower & has_right, other=0.0).to(tl.float32)
        above = tl.fma(across, upper_right, rest * upper_left)  # (COLS,)
        slope = tl.fma(across, lower_right, rest * lower_left) - above
        logit = tl.fma(down[:, None], slope[None, :], above[None, :])  # (ROWS, COLS)
        # 0 * x is NaN unless x is finite: one operation per column finds what a test of every logit would find.
        spoilt = tl.fma(slope, 0.0, spoilt)
        wins = logit > best  # the tie rule of fcnrt.ops.reference.argmax
        if CONFIDENCE:
            fading = tl.exp(-tl.abs(logit - best))
            total = tl.where(wins, tl.fma(total, fading, 1.0), total + fading)
        best = tl.maximum(best, logit)
        winner = tl.where(wins, index, winner)
        upper += plane
        lower += plane

    tl.store(nonfinite + tl.full([COLS], 0, tl.int32), 1, mask=spoilt != 0.0)
    pixel = (frame * height + first) * width + (row - first)[:, None] * width + col[None, :]
    inside = (row < end)[:, None] & (col < width)[None, :]
    tl.store(labels + pixel, winner.to(labels.dtype.element_ty), mask=inside)
    if CONFIDENCE:
        tl.store(confidence + pixel, _byte(255.0 / total), mask=inside)


@triton.jit
def resize(
    source,
    target,
    row_first,
    row_weight,
    col_first,
    col_weight,
    row_taps,
    col_taps,
    source_height,
    source_width,
    source_row_bytes,
    source_frame_bytes,
    height,
    width,
    swap,
    COLS: tl.constexpr,
):
    """Resize uint8 frames: weighted sums of row_taps x col_taps pixels, COLS pixels of one row per program.

    Args:
        source: uint8 (N, source_height, source_width, 3), rows source_row_bytes and frames source_frame_bytes apart.
        target: uint8 (N, height, width, 3), contiguous; overwritten.
        row_first, row_weight: int32 (height,) and float32 (height, row_taps): row y is the sum of source rows
            row_first[y] + k, or the last row beyond it, weighted with row_weight[y, k].
        col_first, col_weight: the same for columns.
        swap: not 0 to reverse the channels.

    The grid is (ceil(width / COLS), height, N).
    """
    y = tl.program_id(1)
    x = tl.program_id(0) * COLS + tl.arange(0, COLS)
    inside = x < width
    frame = source + tl.program_id(2) * source_frame_bytes
    top = tl.load(row_first + y)
    left = tl.load(col_first + x, mask=inside, other=0)
    red = tl.full([COLS], 0.0, tl.float32)  # the first channel, whatever its colour
    green = tl.full([COLS], 0.0, tl.float32)
    blue = tl.full([COLS], 0.0, tl.float32)
    for k in range(col_taps):
        pixel = frame + 3 * tl.minimum(left + k, source_width - 1)
        col_share = tl.load(col_weight + x * col_taps + k, mask=inside, other=0.0)
        for j in range(row_taps):
            sample = pixel + tl.minimum(top + j, source_height - 1) * source_row_bytes
            share = tl.load(row_weight + y * row_taps + j) * col_share
            red = tl.fma(share, tl.load(sample).to(tl.float32), red)
            green = tl.fma(share, tl.load(sample + 1).to(tl.float32), green)
            blue = tl.fma(share, tl.load(sample + 2).to(tl.float32), blue)
    row = target + (tl.program_id(2).to(tl.int64) * height + y) * width * 3
    _store_rgb(row + 3 * x, red, green, blue, swap, inside)


@triton.jit
def nv12_to_rgb(
    luma,
    chroma,
    target,
    luma_row_bytes,
    chroma_row_bytes,
    height,
    width,
    luma_offset,
    luma_gain,
    red_v,
    green_u,
    green_v,
    blue_u,
    swap,
    COLS: tl.constexpr,
):
    """Turn one NV12 frame, as video decoders write it, into RGB; COLS pixels of one row per program.

    Args:
        luma: uint8 (height, width) with rows luma_row_bytes apart.
        chroma: uint8 (ceil(height / 2), ceil(width / 2), 2), U before V, with rows chroma_row_bytes apart;
            four pixels share a sample.
        target: uint8 (height, width, 3), contiguous; overwritten.
        luma_offset, luma_gain: grey is luma_gain * (Y - luma_offset).
        red_v, green_u, green_v, blue_u: what U - 128 and V - 128 add to it.
        swap: not 0 for BGR.

    The grid is (ceil(width / COLS), height, 1).
    """
    y = tl.program_id(1).to(tl.int64)
    x = tl.program_id(0) * COLS + tl.arange(0, COLS)
    inside = x < width
    pair = chroma + y // 2 * chroma_row_bytes + x // 2 * 2
    u = tl.load(pair, mask=inside, other=0).to(tl.float32) - 128.0
    v = tl.load(pair + 1, mask=inside, other=0).to(tl.float32) - 128.0
    grey = tl.load(luma + y * luma_row_bytes + x, mask=inside, other=0).to(tl.float32)
    grey = luma_gain * (grey - luma_offset)
    red = tl.fma(red_v, v, grey)
    green = tl.fma(green_u, u, tl.fma(green_v, v, grey))
    blue = tl.fma(blue_u, u, grey)
    _store_rgb(target + y * width * 3 + 3 * x, red, green, blue, swap, inside)


@triton.jit
def _store_rgb(pixel, red, green, blue, swap, inside):
    first = tl.where(swap != 0, 2, 0)
    tl.store(pixel + first, _byte(red), mask=inside)
    tl.store(pixel + 1, _byte(green), mask=inside)
    tl.store(pixel + (2 - first), _byte(blue), mask=inside)


@triton.jit
def _byte(value):
    """Round halves up and clamp: floor(value + 0.5), which truncation is for numbers that are not negative."""
    return tl.clamp(value + 0.5, 0.0, 255.0).to(tl.uint8)
