"""`fcnrt info`: what a model file says of itself."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..backends import certificate_of, read_model
from ..contract.profiles import shape_text
from ..contract.seal import seal_command
from ..contract.sidecar import Sidecar
from ..contract.spec import BYTES_TO_LABELS, ModelSpec
from ..errors import BackendError, MissingDependency, ModelFileError, one_line
from ..segmenter import Segmenter

if TYPE_CHECKING:
    from ..backends.onnx_model import OnnxModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `fcnrt info`."""
    parser.add_argument("model", type=Path, help="a file made by export/to_onnx.py or export/build_engine.py")
    parser.set_defaults(run=info)


def info(options: argparse.Namespace) -> int:
    """Print what a model file says of itself."""
    model = read_model(options.model)
    if not isinstance(model, Sidecar):
        model.check_file()
    spec, tail = model.spec, model.spec.tail
    source = f", {spec.input_source}" if spec.input_source else ""
    print(one_line(options.model))
    _show("network", f"{spec.family} {spec.variant}, made by {spec.tool}")
    _show("classes", f"{len(spec.classes)}: {', '.join(spec.classes)}")
    _show("palette", spec.palette if isinstance(spec.palette, str) else "its own")
    _show("frames", f"uint8 {spec.color}, {_sizes(model)}")
    if spec.interface != BYTES_TO_LABELS:
        _show("interface", _interface(spec))
    _show("trained on", f"(frame * {spec.scale:.6g} - {_triple(spec.mean)}) / {_triple(spec.std)}{source}")
    _show("precision", spec.precision)
    _show("tail", tail.kind + (f", stride {tail.stride}, offset {tail.offset}" if tail.stride else ""))
    _show("checkpoint", f"sha256 {spec.checkpoint_sha256}")
    _show("digest", "as it was made" if model.sealed else f"none; add one: {seal_command(options.model)}")
    if isinstance(model, Sidecar):
        _show_engine(model)
    else:
        _show_engine_of_the_cpu(options.model)
    _show_parity(model)
    return 0


def _sizes(model: OnnxModel | Sidecar) -> str:
    """What sizes go in; an engine tells the rest by its profiles."""
    if isinstance(model, Sidecar) or not any(model.fixed_shape):
        return f"from {model.spec.min_size}x{model.spec.min_size} up"
    return f"{' x '.join(str(side or 'any') for side in model.fixed_shape)} alone (batch x height x width)"


def _show(name: str, text: object) -> None:
    """Print a row; texts from files may hold anything."""
    print(f"  {name:<11} {one_line(text)}")


def _show_engine(engine: Sidecar) -> None:
    output = f"scores ({engine.scores_type})" if engine.output == "scores" else "labels"
    kernels = sorted({record["name"] for record in engine.kernels})
    _show("engine", f"{engine.flavour} {engine.version}, for compute capability {engine.capabilities}")
    for profile in engine.profiles:
        low, usual, high = map(shape_text, profile.bounds)
        _show("profile", f"{low} to {high}, fastest at {usual} (batch x height x width)")
    _show("output", f"{output}; kernels: {', '.join(kernels) or 'none'}")
    _show("layers", f"{_convolutions(engine.layers.get('network') or {})} as parsed")


def _show_engine_of_the_cpu(model: Path) -> None:
    """What runs the file here: the precision is what the engine says it computes in, which it may have changed."""
    try:
        with Segmenter(model, device="cpu") as segmenter:
            _show("on the CPU", f"{segmenter.engine}, computed in {segmenter.precision}")
    except (BackendError, MissingDependency) as error:
        _show("on the CPU", f"cannot run here: {error}")


def _show_parity(model: OnnxModel | Sidecar) -> None:
    try:
        found = certificate_of(model)
    except ModelFileError as error:
        _show("parity", f"none: {str(error).removeprefix(f'{model.path}: ')}")
        return
    lost, versions = found.points_lost, ", ".join(f"{name} {version}" for name, version in found.versions.items())
    _show(
        "parity",
        f"{abs(lost):.4f} points of mean IoU {'lost' if lost > 0 else 'gained'} "
        f"({100 * found.reference_miou:.3f} to {100 * found.miou:.3f}, `{found.metric}`), "
        f"{found.agreement:.4%} of labels equal, {found.frames} frames of {found.data}",
    )
    _show("", f"on {found.device} ({found.hardware}), {found.date}, {versions}")


def _convolutions(census: Mapping[str, Mapping[str, int]]) -> str:
    """How many convolutions there are of each precision, transposed ones among them."""
    found: Counter[str] = Counter()
    for kind, counts in census.items():
        if "convolution" in kind:
            found.update(counts)
    return ", ".join(f"{count} convolutions in {precision}" for precision, count in found.items()) or "none counted"


def _interface(spec: ModelSpec) -> str:
    interface = spec.interface
    floats = {"0-255": " of 0 to 255", "normalised": ", normalised"}[interface.input_range]
    output = interface.output_tensor(len(spec.classes))
    return f"{interface.input_tensor()}{floats if interface.planes else ''} to {output}"


def _triple(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in values) + ")"
