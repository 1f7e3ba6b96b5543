"""The model that a command works with, and how it runs."""

from __future__ import annotations

import argparse
from typing import Any

from ..segmenter import ENGINES, PRECISIONS, Segmenter
from .argument_types import points, positive, size, tile


def add_model_arguments(group: Any) -> None:
    """Add the flags of `open_segmenter` to a group of a parser's arguments."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (auto)")
    group.add_argument("--threads", type=positive, help="threads of the engine on the CPU (all cores)")
    group.add_argument(
        "--engine",
        default="auto",
        choices=ENGINES,
        help="of the CPU (auto: onnxruntime, or what `fcnrt tune` found to be faster)",
    )
    group.add_argument(
        "--precision",
        default="auto",
        choices=PRECISIONS,
        help="that the CPU computes in (auto: fp32, or bf16 where that is faster and the file is certified for it)",
    )
    group.add_argument(
        "--input-size", type=size, metavar="HxW", help="resize frames to this for the network; labels keep their size"
    )
    group.add_argument(
        "--tile",
        type=tile,
        default="auto",
        metavar="auto|off|N",
        help="on the CPU, compute large frames in tiles of at most N x N pixels, with the same labels "
        "(auto: what would not fit in memory)",
    )
    group.add_argument("--no-graph", action="store_true", help="on GPUs, do not replay the network as a CUDA graph")
    group.add_argument(
        "--require-parity", type=points, metavar="POINTS", help="refuse a model not certified to lose at most these"
    )


def open_segmenter(options: argparse.Namespace) -> Segmenter:
    """A Segmenter of `options.model` that takes RGB; raises FcnrtError."""
    return Segmenter(
        options.model,
        device=options.device,
        threads=options.threads,
        color="rgb",
        input_size=options.input_size,
        graphs=not options.no_graph,
        engine=options.engine,
        precision=options.precision,
        tile=options.tile,
        require_parity=options.require_parity,
    )
