"""Make what tests/gpu takes from torch and Triton, for a GPU host that lacks them: ONNX files and compiled kernels.

PYTHONPATH=tests/helpers python tests/gpu/prepare.py FOLDER --sm 90
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

PRECISIONS = ("fp32", "fp16")
MANY_CLASSES = "torchvision fcn 300 classes"


def file_name(name: str, precision: str) -> str:
    """Of a tiny network's ONNX file."""
    return f"{name} {precision}.onnx".replace(" ", "-")


def kernels_name(sm: int) -> str:
    """Of the file of kernels for a compute capability."""
    return f"kernels_sm{sm}.json"


def export(name: str, precision: str, folder: Path) -> Path:
    """Write the ONNX file of a network of tiny_networks.py; needs torch."""
    import torch

    from fcn_export.commands import to_onnx
    from tiny_networks import many_classes, options_for, tiny, upstream_state

    target = folder / file_name(name, precision)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = Path(scratch) / "net.pth"
        torch.save(upstream_state(many_classes() if name == MANY_CLASSES else tiny(name)), checkpoint)
        flags = ["-o", str(target), "--precision", precision, *options_for(name)]
        if to_onnx.main([str(checkpoint), *flags]):
            raise RuntimeError(f"{name}: the export failed, see above")
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sm", type=int, nargs="+", required=True, help="compute capabilities of the GPUs, 90 for 9.0")
    options = parser.parse_args()
    from fcn_export.kernels.compiling import compile_kernels
    from tiny_networks import NAMES

    options.folder.mkdir(parents=True, exist_ok=True)
    for sm in options.sm:
        (options.folder / kernels_name(sm)).write_text(json.dumps(compile_kernels([sm])), encoding="utf-8")
    for name in NAMES:
        for precision in PRECISIONS:
            export(name, precision, options.folder)
    export(MANY_CLASSES, "fp32", options.folder)
    print(f"next, where the GPU is: FCNRT_GPU_MODELS={options.folder} pytest --confcutdir=tests/gpu tests/gpu -rs")


if __name__ == "__main__":
    main()
