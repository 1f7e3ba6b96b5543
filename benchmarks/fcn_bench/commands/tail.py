"""Time the last step, small scores to full-size labels, on the CPU: ours, ONNX Runtime, torch, numpy.

    python benchmarks/tail.py [--json benchmarks/results/tail.json]

Timed: host scores in, host labels out, batch 1, float32. Not timed: making sessions and geometry.
Contenders take turns, each on scores that it has not seen for longer than the last-level cache remembers;
ratios are taken within a round. Scores come from drawn scenes: the share of mixed tiles, on which our time
depends, is printed with every row, and one row of pure noise shows the worst case.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn_export.command_line import add_version
from fcnrt.contract.files import write_json

from ..machine import cache_nbytes, environment
from ..speed.timing import Pace, ratios, take_turns, warm_up

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]
    Contender = Callable[[Array], Array]

OURS, RIVALS = "fcnrt", ("onnxruntime", "torch")
CLASSES = 21
SIZES = ((480, 640), (1080, 1920))
# Worker threads of the last contender may spin on for a moment; nobody should be timed against them.
PAUSE_MS = 2


@dataclass(frozen=True)
class Case:
    """One row: scores of one shape become labels of one size."""

    kind: str
    stride: int
    height: int
    width: int
    content: str = "scene"

    @property
    def offset(self) -> int:
        """Rows and columns that Caffe's FCN-8s and FCN-32s crop from their deconvolutions."""
        return {8: 31, 32: 19}[self.stride] if self.kind == "deconv" else 0

    @property
    def scores_size(self) -> tuple[int, int]:
        """(h, w) of the scores, with the padding's share where a crop follows."""
        h, w = (-(-(size + 2 * self.offset) // self.stride) for size in (self.height, self.width))
        return h, w


def main() -> None:
    args = parse_args()
    print_environment(env := environment_of(args.threads))
    rows = []
    for case in cases(args.quick):
        rows.append(measure(case, args.rounds, args.threads))
        print_row(rows[-1])
    if args.json:
        write_json(args.json, {"benchmark": "tail", "environment": env, "rows": rows})
        print(f"wrote {args.json}")


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tail.py", description=__doc__.splitlines()[0])
    add_version(parser)
    parser.add_argument("--rounds", type=int, default=30, help="timed rounds per row (default 30)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="for ONNX Runtime and torch")
    parser.add_argument("--quick", action="store_true", help="480x640 at stride 8 only")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def cases(quick: bool) -> Iterator[Case]:
    for height, width in SIZES[:1] if quick else SIZES:
        for stride in (8,) if quick else (8, 32):
            for kind in ("half_pixel", "align_corners", "deconv"):
                yield Case(kind, stride, height, width)
        yield Case("none", 1, height, width)
    yield Case("half_pixel", 8, *SIZES[0], content="noise")


def measure(case: Case, rounds: int, threads: int) -> dict[str, Any]:
    """Time one case, contenders interleaved, and compare their labels."""
    import numpy as np

    pool = make_scores(case)
    contenders, absent = enter_contenders(case, threads)
    equal = {name: share_equal(case, contender, pool[:2]) for name, contender in contenders.items()}
    for contender in contenders.values():
        warm_up(contender, pool, warm_up_ms=0)
    elapsed_ms = take_turns(contenders, pool, Pace(iterations=rounds, idle_ms=PAUSE_MS))
    times_ours = ratios(elapsed_ms, OURS)
    return {
        "case": asdict(case),
        "scores_shape": pool[0].shape,
        "mixed_tiles": mixed_share(pool[:8]) if case.kind != "none" else None,
        "median_ms": {name: float(np.median(ms)) for name, ms in elapsed_ms.items()},
        "times_ours": {name: list(ratio.values()) for name, ratio in times_ours.items()},
        "equal_to_reference": equal,
        "absent": absent,
    }


def share_equal(case: Case, contender: Contender, pool: list[Array]) -> float:
    """Share of labels equal to those of the float64 reference."""
    import numpy as np

    from fcnrt.ops import reference

    def expected(scores: Array) -> Array:
        return reference.argmax(reference.upsample(scores, case.height, case.width, tail_of(case)))

    return float(np.mean([(contender(scores) == expected(scores)).mean() for scores in pool]))


# Contenders: each takes scores (1, C, h, w) float32 and returns labels (1, H, W) uint8.


def enter_contenders(case: Case, threads: int) -> tuple[dict[str, Contender], dict[str, str]]:
    """Make all contenders that can run here, and say why the others cannot."""
    makers = {OURS: make_ours, "onnxruntime": make_onnxruntime, "torch": make_torch, "numpy": make_textbook}
    contenders, absent = {}, {}
    for name, make in makers.items():
        try:
            contenders[name] = make(case, threads)
        except ImportError as error:
            absent[name] = str(error)
    return contenders, absent


def tail_of(case: Case) -> Any:
    from fcnrt.contract.spec import Tail

    return Tail(case.kind, case.stride, case.offset)


def make_ours(case: Case, _threads: int) -> Contender:
    import numpy as np

    from fcnrt.ops.host import LabelUpsampler, argmax_labels

    size = (case.height, case.width)
    tail, shape = tail_of(case), (1, CLASSES, *case.scores_size)
    write_labels = argmax_labels if case.kind == "none" else LabelUpsampler(tail, shape, size)

    def run(scores: Array) -> Array:
        labels = np.empty((1, *size), np.uint8)
        write_labels(scores, labels)
        return labels

    return run


def make_onnxruntime(case: Case, threads: int) -> Contender:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(resize_argmax_model(case), options, providers=["CPUExecutionProvider"])
    return lambda scores: session.run(None, {"scores": scores})[0]


def resize_argmax_model(case: Case) -> bytes:
    """Build Resize, crop, ArgMax and Cast as a graph of their own, as an exported file ends."""
    import numpy as np
    from onnx import TensorProto, checker, helper, numpy_helper

    size = (1, CLASSES, case.height, case.width)
    constants: dict[str, Array] = {}
    nodes = []
    if case.kind in ("half_pixel", "align_corners"):
        constants["sizes"] = np.array(size)
        nodes.append(resize("logits", case.kind, ["scores", "", "", "sizes"]))
    elif case.kind == "deconv":
        # A deconvolution is a half-pixel enlargement that starts half a stride before its crop.
        top = case.offset - case.stride // 2
        constants["scales"] = np.array([1, 1, case.stride, case.stride], np.float32)
        constants["begin"], constants["axes"] = np.array([top, top]), np.array([2, 3])
        constants["end"] = np.array([top + case.height, top + case.width])
        nodes.append(resize("uncropped", "half_pixel", ["scores", "", "scales"]))
        nodes.append(helper.make_node("Slice", ["uncropped", "begin", "end", "axes"], ["logits"]))
    logits = nodes[-1].output[0] if nodes else "scores"
    nodes.append(helper.make_node("ArgMax", [logits], ["winners"], axis=1, keepdims=0))
    nodes.append(helper.make_node("Cast", ["winners"], ["labels"], to=TensorProto.UINT8))
    graph = helper.make_graph(
        nodes,
        "tail",
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, (1, CLASSES, *case.scores_size))],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, (1, case.height, case.width))],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    checker.check_model(model)
    return bytes(model.SerializeToString())


def resize(output: str, transformation: str, inputs: list[str]) -> Any:
    from onnx import helper

    return helper.make_node("Resize", inputs, [output], mode="linear", coordinate_transformation_mode=transformation)


def make_torch(case: Case, threads: int) -> Contender:
    import torch
    from torch.nn.functional import interpolate

    torch.set_num_threads(threads)
    top = case.offset - case.stride // 2

    def logits_of(scores: torch.Tensor) -> torch.Tensor:
        if case.kind == "none":
            return scores
        if case.kind == "deconv":
            logits = interpolate(scores, scale_factor=case.stride, mode="bilinear")
            return logits[:, :, top : top + case.height, top : top + case.width]
        aligned = case.kind == "align_corners"
        return interpolate(scores, (case.height, case.width), mode="bilinear", align_corners=aligned)

    @torch.inference_mode()
    def run(scores: Array) -> Array:
        return logits_of(torch.from_numpy(scores)).max(dim=1)[1].to(torch.uint8).numpy()

    return run


def make_textbook(case: Case, _threads: int) -> Contender:
    """Full-size float32 logits by two passes of linear interpolation, then np.argmax."""
    import numpy as np

    from fcnrt.ops.reference import source_coordinates

    def stretch(scores: Array, pixels: int, axis: int) -> Array:
        last = scores.shape[axis] - 1
        inside = np.clip(source_coordinates(tail_of(case), last + 1, pixels), 0, last)
        low = inside.astype(np.intp)
        weight = (inside - low).astype(np.float32).reshape((-1, 1) if axis == 2 else (-1,))
        high = np.minimum(low + 1, last)
        return scores.take(low, axis) * (1 - weight) + scores.take(high, axis) * weight

    def run(scores: Array) -> Array:
        logits = scores
        if case.kind != "none":
            logits = stretch(stretch(scores, case.height, 2), case.width, 3)
        return np.argmax(logits, axis=1).astype(np.uint8)

    return run


# Scores like a trained network's.


def make_scores(case: Case) -> list[Array]:
    """Draw a few scenes and vary them until all scores together exceed the last-level cache."""
    import numpy as np

    rng = np.random.default_rng(0)
    h, w = case.scores_size
    if case.content == "noise":
        bases = [rng.normal(size=(1, CLASSES, h, w)).astype(np.float32) for _ in range(4)]
    else:
        bases = [draw_scores(rng, h, w) for _ in range(2 if case.kind == "none" else 8)]
    count = max(len(bases), -(-5 * cache_nbytes() // (4 * bases[0].nbytes)))
    return [np.roll(bases[i % len(bases)], i // len(bases), axis=(2, 3)) for i in range(count)]


def draw_scores(rng: np.random.Generator, h: int, w: int) -> Array:
    """Blurred membership in the regions of a scene, plus smooth and rough noise: (1, C, h, w)."""
    import numpy as np

    rows, cols = 2 * min(h, 180), 2 * min(w, 320)  # full-size scores are drawn coarsely, then repeated
    regions = draw_regions(rng, rows, cols)
    one_hot = regions == np.arange(CLASSES)[:, None, None]
    member = one_hot.reshape(CLASSES, rows // 2, 2, cols // 2, 2).mean(axis=(2, 4))
    scores = 8 * box_blur(member, 1) + 1.5 * box_blur(rng.normal(size=member.shape), 1)
    scores = scores.repeat(-(-h // (rows // 2)), axis=1).repeat(-(-w // (cols // 2)), axis=2)[:, :h, :w]
    return (scores + 0.15 * rng.normal(size=scores.shape)).astype(np.float32)[None]


def draw_regions(rng: np.random.Generator, height: int, width: int) -> Array:
    """Label each point with the class of its nearest centre, distances warped: ragged cells (H, W)."""
    import numpy as np

    y, x = np.mgrid[:height, :width] + 0.15 * height * box_blur(
        rng.normal(size=(2, height, width)), max(1, height // 20)
    )
    nearest, label = np.full((height, width), np.inf), np.zeros((height, width), np.intp)
    for _ in range(40):
        distance = np.hypot(y - rng.uniform(0, height), x - rng.uniform(0, width))
        label = np.where(distance < nearest, rng.integers(CLASSES), label)
        nearest = np.minimum(nearest, distance)
    return label


def box_blur(planes: Array, radius: int) -> Array:
    """Average over (2 * radius + 1) squared neighbours, borders repeated."""
    import numpy as np

    width = 2 * radius + 1
    for axis in (1, 2):
        margin = [(radius, radius) if i == axis else (0, 0) for i in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(planes, margin, mode="edge"), width, axis)
        planes = windows.mean(axis=-1)
    return planes


def mixed_share(pool: list[Array]) -> float:
    """Share of the squares between four neighbouring samples whose winners differ."""
    import numpy as np

    labels = np.concatenate(pool).argmax(axis=1)  # (frames, h, w)
    corners = [labels[:, y : y - 1 or None, x : x - 1 or None] for y in (0, 1) for x in (0, 1)]
    return float(np.any([corner != corners[0] for corner in corners], axis=0).mean())


# Report.


def environment_of(threads: int) -> dict[str, Any]:
    shares = {"onnxruntime": threads, "torch": threads, "fcnrt": "1, and numpy's BLAS its own"}
    return {**environment(("numpy", "onnxruntime-gpu", "onnxruntime", "torch")), "threads": shares}


def print_environment(env: dict[str, Any]) -> None:
    for key, value in env.items():
        print(f"{key}: {value}")
    print("\nmedian ms per frame; (times ours, median of rounds, 10th to 90th percentile); float32, 21 classes")


def print_row(row: dict[str, Any]) -> None:
    case, ms = row["case"], row["median_ms"]
    mixed = "" if row["mixed_tiles"] is None else f", {row['mixed_tiles']:.1%} of tiles mixed"
    print(f"\n{case['kind']} stride {case['stride']}, {case['height']}x{case['width']}, {case['content']}{mixed}")
    for name, median in ms.items():
        ratio = "({:.1f}x, {:.1f} to {:.1f})".format(*row["times_ours"][name]) if name != OURS else ""
        print(f"  {name:12} {median:9.2f} ms  equal {row['equal_to_reference'][name]:.4%}  {ratio}")
    rivals = [row["times_ours"][name][0] for name in RIVALS if name in ms]
    if rivals:
        print(f"  best of {' and '.join(RIVALS)} / {OURS}: {min(rivals):.1f}")
    for name, reason in row["absent"].items():
        print(f"  {name:12} absent: {reason}")
