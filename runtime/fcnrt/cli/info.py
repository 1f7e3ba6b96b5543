"""`fcnrt info`: what a model file says of itself."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from ..backends import read_certificate, read_spec
from ..contract.profiles import shape_text
from ..contract.sidecar import Sidecar, read_sidecar
from ..errors import BackendError, MissingDependency, ModelFileError
from ..segmenter import Segmenter


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt info`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.set_defaults(run=info)


def info(options: argparse.Namespace) -> int:
    """Print what a model file says of itself."""
    spec = read_spec(options.model)
    tail = spec.tail
    print(f"{options.model}")
    print(f"  network     {spec.family} {spec.variant}, made by {spec.tool}")
    print(f"  classes     {len(spec.classes)}: {', '.join(spec.classes)}")
    print(f"  palette     {spec.palette if isinstance(spec.palette, str) else 'its own'}")
    print(f"  frames      uint8 {spec.color}, from {spec.min_size}x{spec.min_size} up")
    source = f", {spec.input_source}" if spec.input_source else ""
    print(f"  trained on  (frame * {spec.scale:.6g} - {_triple(spec.mean)}) / {_triple(spec.std)}{source}")
    print(f"  precision   {spec.precision}")
    print(f"  tail        {tail.kind}" + (f", stride {tail.stride}, offset {tail.offset}" if tail.stride else ""))
    print(f"  checkpoint  sha256 {spec.checkpoint_sha256}")
    if options.model.suffix == ".engine":
        _print_engine(read_sidecar(options.model))
    else:
        _print_engine_of_the_cpu(options.model)
    _print_parity(options.model)
    return 0


def _print_engine(engine: Sidecar) -> None:
    output = f"scores ({engine.scores_type})" if engine.output == "scores" else "labels"
    kernels = sorted({record["name"] for record in engine.kernels})
    print(f"  engine      {engine.flavour} {engine.version}, for compute capability {engine.capabilities}")
    for profile in engine.profiles:
        low, usual, high = map(shape_text, profile.bounds)
        print(f"  profile     {low} to {high}, fastest at {usual} (batch x height x width)")
    print(f"  output      {output}; kernels: {', '.join(kernels) or 'none'}")
    print(f"  layers      {_convolutions(engine.layers.get('network') or {})} as parsed")


def _print_engine_of_the_cpu(model: Path) -> None:
    """What runs the file here: the precision is what the engine says it computes in, which it may have changed."""
    try:
        with Segmenter(model, device="cpu") as segmenter:
            print(f"  on the CPU  {segmenter.engine}, computed in {segmenter.precision}")
    except (BackendError, MissingDependency) as error:
        print(f"  on the CPU  cannot run here: {error}")


def _print_parity(path: Path) -> None:
    try:
        found = read_certificate(path)
    except ModelFileError as error:
        print(f"  parity      none: {str(error).removeprefix(f'{path}: ')}")
        return
    lost, versions = found.points_lost, ", ".join(f"{name} {version}" for name, version in found.versions.items())
    print(
        f"  parity      {abs(lost):.4f} points of mean IoU {'lost' if lost > 0 else 'gained'} "
        f"({100 * found.reference_miou:.3f} to {100 * found.miou:.3f}, `{found.metric}`), "
        f"{found.agreement:.4%} of labels equal, {found.frames} frames of {found.data}"
    )
    print(f"              on {found.device} ({found.hardware}), {found.date}, {versions}")


def _convolutions(census: Mapping[str, Mapping[str, int]]) -> str:
    """How many convolutions there are of each precision, transposed ones among them."""
    found: Counter[str] = Counter()
    for kind, counts in census.items():
        if "convolution" in kind:
            found.update(counts)
    return ", ".join(f"{count} convolutions in {precision}" for precision, count in found.items()) or "none counted"


def _triple(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
