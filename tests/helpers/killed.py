"""What a process is killed at: python killed.py KIND TARGET [SOURCE], over and over until it is."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def facts(target: Path) -> None:
    from fcnrt.contract.files import write_json

    write_json(target, {"numbers": list(range(20_000))})


def video(target: Path) -> None:
    from fcnrt.video import VideoWriter

    with VideoWriter(target, 25, (48, 64)) as writer:
        for level in range(60):
            writer.write(np.full((48, 64, 3), level, np.uint8))


def export(target: Path, checkpoint: str) -> None:
    from fcn_export.commands import to_onnx

    assert to_onnx.main([checkpoint, "-o", str(target)]) == 0


def build(target: Path, model: str) -> None:
    from fcn_export.commands import build_engine

    flags = ["--sm", "89", "--profile", "1x64x64:1x65x97:1x128x128", "--tail", "graph", "--force"]
    assert build_engine.main([model, "-o", str(target), *flags]) == 0


def main(kind: str, target: str, *source: str) -> None:
    work = {"facts": facts, "video": video, "export": export, "build": build}[kind]
    while True:
        work(Path(target), *source)
        print("done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
