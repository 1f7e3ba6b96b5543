"""Export a trained FCN checkpoint to one self-contained ONNX file: uint8 frames in, uint8 labels out.

python export/to_onnx.py fcn8s.pth
python export/to_onnx.py fcn_resnet50 --precision fp16 -o fcn_resnet50-fp16.onnx
"""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from fcnrt.contract.arguments import Parser
from fcnrt.contract.files import atomic_path
from fcnrt.contract.interface import Input, InputRange, Interface, Output, Tensor
from fcnrt.contract.precision import Precision
from fcnrt.contract.profiles import DIMENSIONS, MAX_SIDE
from fcnrt.contract.spec import ModelSpec
from fcnrt.errors import fcnrt_command, print_line, short

from ..checkpoint_options import checkpoint_options
from ..command_line import add_checkpoint_flags, add_version, run_command, tool
from ..errors import ExportError
from ..quantization.exporting import add_flags as add_quantisation_flags
from ..quantization.exporting import calibration_frames, quantise
from ..quantization.exporting import report as report_quantisation

if TYPE_CHECKING:  # torch and onnx are imported where they are used: --help is instant
    from onnx import ModelProto

    from ..checkpoints.opening import Opened
    from ..families import Fcn
    from ..graph.deploy import DeployedFcn
    from ..graph.verify import Agreement, Case

TOOL = tool("to_onnx")
SUFFIXES = (".pth", ".pt", ".tar", ".pkl", ".ckpt", ".bin", ".safetensors")


def main(argv: list[str] | None = None, program: str = "to_onnx.py") -> int:
    """Run the command line; the exit status is 0, 1 for a refusal (one line on stderr), 2 for wrong arguments."""
    options = _parser(program).parse_args(argv)
    return run_command(program, lambda: export(options))


def export(options: argparse.Namespace) -> Path:
    """Checkpoint to verified ONNX file, as the parsed options say; prints what was made and the next command.

    Returns:
        The path of the file.

    Raises:
        ExportError: anything about the checkpoint or the options that prevents it.
        OSError: the output cannot be written.
    """
    from ..checkpoints.opening import open_checkpoint
    from ..graph.onnx_file import write_model
    from ..graph.verify import reference_cases

    interface = _interface(options)
    frames = calibration_frames(options)
    output = _checked_output(options.output or _default_output(options), options.checkpoint)
    opened = open_checkpoint(options.checkpoint, checkpoint_options(options))
    net, contract = opened.net, opened.contract
    fixed = _fixed_dimensions(options, net)
    facts = _facts(options, opened, interface)

    cases = reference_cases(net, contract, options.color, fixed)
    network = _deployed(options, opened, interface, cases)
    spec = ModelSpec(**facts, tail=network.tail)
    model = _traced(network, spec, fixed, options.opset)
    quantisation = None
    with atomic_path(output) as temporary:
        agreement = _write_verified(model, temporary, network, cases, spec.precision)
        if frames is not None:
            quantisation = quantise(model, net, frames, options, fixed)
            write_model(quantisation.model, temporary)
    _report(output, opened, spec, agreement, fixed)
    if frames is not None and quantisation is not None:
        report_quantisation(quantisation, frames)
    print_line(f"next: {fcnrt_command(f'segment {shlex.quote(short(output))} street.jpg -o out/')}")
    return output


def _checked_output(output: Path, checkpoint: str) -> Path:
    if output.resolve() == Path(checkpoint).resolve():
        raise ExportError(f"-o {output}: this is the checkpoint, which would be lost; choose another name")
    if output.suffix != ".onnx" or output.is_dir():
        raise ExportError(f"-o {output}: expected a file name that ends in .onnx")
    return output


def _interface(options: argparse.Namespace) -> Interface:
    planes = options.input == "nchw-float"
    if options.input_range is not None and not planes:
        raise ExportError(f"--input-range {options.input_range}: is of floats; add --input nchw-float")
    interface = Interface(options.input, options.input_range or "0-255", options.output_type)
    if options.precision == Precision.INT8 and interface != Interface():
        raise ExportError(
            f"--precision int8: expected --input nhwc-uint8 and --output-type labels with it, got {interface.input} "
            f"and {interface.output}; leave these out, or export fp32 and let the server's own tool quantise"
        )
    return interface


def _deployed(options: argparse.Namespace, opened: Opened, interface: Interface, cases: list[Case]) -> DeployedFcn:
    from ..graph.deploy import deploy
    from ..graph.verify import check_half_range

    half = options.precision == Precision.FP16
    network = deploy(opened.net, opened.contract, options.color, half, interface)
    if half:
        check_half_range(network, cases)
    return network


def _traced(network: DeployedFcn, spec: ModelSpec, fixed: dict[str, int], opset: int) -> ModelProto:
    from ..graph.onnx_file import add_metadata, trace

    model = trace(network, fixed, opset)
    add_metadata(model, spec)
    return model


def _write_verified(
    model: ModelProto, path: Path, network: DeployedFcn, cases: list[Case], precision: Precision
) -> Agreement:
    from ..graph.onnx_file import write_model
    from ..graph.verify import compare

    write_model(model, path)
    # int8 is made of what was verified
    return compare(path, network, cases, Precision.FP32 if precision == Precision.INT8 else precision)


def _facts(options: argparse.Namespace, opened: Opened, interface: Interface) -> dict[str, Any]:
    """What the file says of itself but for the tail; mean and std are in the channel order that frames have."""
    from ..class_names import class_names, palette

    net, contract = opened.net, opened.contract.in_order(options.color)
    names = _default_classes(net) if options.classes is None else options.classes
    told = options.classes is None and opened.classes is not None
    told_palette = opened.palette if options.palette is None and options.classes is None else None
    return {
        "family": net.family,
        "variant": net.variant,
        "classes": tuple(opened.classes if told else class_names(names, net.classes)),
        "palette": told_palette or palette(options.palette, names, net.classes),
        "color": options.color,
        "mean": contract.mean,
        "std": contract.std,
        "scale": contract.scale,
        "precision": Precision(options.precision),
        "min_size": net.min_size,
        "checkpoint_sha256": opened.checkpoint.sha256,
        "input_color": opened.contract.color,
        "input_source": opened.contract_source,
        "tool": TOOL,
        "interface": interface,
    }


def _default_classes(net: Fcn) -> str | None:
    return "binary" if net.one_class else net.default_classes.get(net.classes)


def _fixed_dimensions(options: argparse.Namespace, net: Fcn) -> dict[str, int]:
    fixed = {name: getattr(options, name) for name in DIMENSIONS if getattr(options, name) is not None}
    for name, size in fixed.items():
        least = 1 if name == "batch" else net.min_size
        if size < least:
            raise ExportError(f"--{name} {size}: {net.family} {net.variant} needs at least {least}")
    return fixed


def _default_output(options: argparse.Namespace) -> Path:
    path = Path(options.checkpoint)
    while path.suffix in SUFFIXES:  # model_best.pth.tar; but pochih's names end in no suffix and hold dots
        path = path.with_suffix("")
    suffix = "" if options.precision == Precision.FP32 else f"-{options.precision}"
    return path.parent / f"{path.name or 'model'}{suffix}.onnx"  # a folder such as "." has no name


def _report(output: Path, opened: Opened, spec: ModelSpec, agreement: Agreement, fixed: dict[str, int]) -> None:
    from ..graph.verify import USUAL

    net = opened.net
    classes = spec.classes
    interface = spec.interface
    frames = _tensor_text(interface.input_tensor(), interface.frame_axes, fixed)
    made = interface.output_tensor(len(classes))
    some = ", ".join(classes[:4]) + (", ..." if len(classes) > 4 else "")
    sizes = ", ".join(f"{height}x{width}" for height, width in agreement.sizes)
    print_line(f"{short(output)}  {output.stat().st_size / 1e6:.1f} MB")
    print_line(f"  network    {net.family} {net.variant} ({net.source})")
    for line in opened.assumptions:
        print_line(f"  {line}")
    print_line(f"  classes    {len(classes)}: {some}")
    print_line(f"  frames     {frames} {spec.color}{_range_text(interface)}, from {net.min_size}x{net.min_size} up")
    print_line(f"  {made.name}     {_tensor_text(made, interface.output_axes, fixed)}")
    print_line(f"  precision  {spec.precision}")
    before = ", before int8" if spec.precision == Precision.INT8 else ""
    print_line(f"  agreement  {agreement.share:.4%} of {agreement.pixels} labels equal torch's, at {sizes}{before}")
    if agreement.share < USUAL:
        print_line(f"  caution    trained networks keep {USUAL:.1%}: compare mIoU before you rely on this file")


def _tensor_text(tensor: Tensor, axes: tuple[int, int, int], fixed: dict[str, int]) -> str:
    names = {axis: str(fixed.get(name, name)) for axis, name in zip(axes, DIMENSIONS, strict=True)}
    return f"{tensor.dtype} ({', '.join(names.get(axis, str(size)) for axis, size in enumerate(tensor.sizes))})"


def _range_text(interface: Interface) -> str:
    texts = {"0-255": " of 0 to 255", "normalised": ", normalised as in training"}
    return texts[interface.input_range] if interface.planes else ""


def _parser(program: str = "to_onnx.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__)
    add_version(parser)
    parser.add_argument("checkpoint", help="checkpoint file, or fcn_resnet50 / fcn_resnet101 for torchvision's weights")
    parser.add_argument("-o", "--output", type=Path, help="ONNX file to write (default: beside the checkpoint)")
    parser.add_argument(
        "--precision", choices=tuple(map(str, Precision)), default="fp32", help="type of the network's body"
    )
    parser.add_argument("--color", choices=("rgb", "bgr"), default="rgb", help="channel order that frames will have")
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="voc, cityscapes, camvid, ade20k, binary, or a file of one name a line, or JSON",
    )
    parser.add_argument(
        "--palette", metavar="NAME", help="voc, cityscapes, camvid, generated, or a file of 'R G B' lines (0 to 255)"
    )
    parser.add_argument(
        "--input",
        choices=get_args(Input),
        default="nhwc-uint8",
        help="what frames are given as: bytes (default), or planes of floats for servers that take no bytes",
    )
    parser.add_argument(
        "--input-range", choices=get_args(InputRange), help="of floats (default: 0-255), normalised: as in training"
    )
    parser.add_argument(
        "--output-type",
        choices=get_args(Output),
        default="labels",
        help="labels of the smallest type (default), labels-int32, or scores-float: every class's score of every pixel",
    )
    for name in DIMENSIONS:
        parser.add_argument(f"--{name}", type=_size, metavar="N", help=f"fix the {name} (default: dynamic)")
    add_checkpoint_flags(parser)
    add_quantisation_flags(parser)
    parser.add_argument("--opset", type=int, default=17, metavar="N", choices=range(17, 21), help="17 (default) to 20")
    return parser


def _size(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_SIDE:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 to {MAX_SIDE}, got {text!r}")
    return int(text)
