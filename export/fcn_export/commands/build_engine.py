"""Build a TensorRT engine from an exported ONNX file: a plain plan and, beside it, what must be known to run it.

python export/build_engine.py fcn8s.onnx --min 1x256x256 --opt 1x720x1280 --max 4x1088x1920
python export/build_engine.py fcn8s.onnx --flavour tensorrt-rtx --sm 75 80 86 89 120
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcnrt.contract.arguments import Parser
from fcnrt.contract.flavours import MODULES
from fcnrt.contract.profiles import shape_text
from fcnrt.contract.sidecar import Sidecar, sidecar_path
from fcnrt.errors import fcnrt_command, print_line, short

from ..command_line import add_version, run_command, tool
from ..engines.shape_profiles import chosen_profiles, parse_profile, parse_shape
from ..errors import ExportError

if TYPE_CHECKING:  # onnx and TensorRT are imported where they are used: --help is instant
    from ..engines.builder import Built
    from ..engines.gpu_device import Gpu
    from ..engines.source import EngineSource
    from ..engines.trt_flavours import BuildOptions, Flavour

TOOL = tool("build_engine")
MAX_WORKSPACE_MIB = 2**20
HARDWARE_COMPATIBLE_FROM = 80  # TensorRT's AMPERE_PLUS


def main(argv: list[str] | None = None, program: str = "build_engine.py") -> int:
    """Run the command line; the exit status is 0, 1 for a refusal (one line on stderr), 2 for wrong arguments."""
    options = _parser(program).parse_args(argv)
    return run_command(program, lambda: build_engine(options))


def build_engine(options: argparse.Namespace) -> Path:
    """ONNX file to engine and sidecar, as the parsed options say; prints what was made and the next command.

    Returns:
        The path of the engine.

    Raises:
        ExportError: anything about the file, the options, TensorRT or the GPU that prevents it.
        OSError: a file cannot be read or written.
    """
    from ..engines.sidecar import is_current, request, write_engine
    from ..engines.source import check_sizes, read_source
    from ..engines.trt_flavours import check_options, load_flavour

    engine = _checked_output(options)
    source = read_source(options.model, options.tail)
    flavour = load_flavour(options.flavour or ("tensorrt-rtx" if options.sm else None))
    gpu, chosen = _choices(options, source, flavour)
    check_options(flavour, chosen, options.timing_cache is not None, gpu)
    wanted = request(engine, flavour, source, chosen, gpu.name if gpu else None, TOOL)
    if not options.force and is_current(wanted):
        print_line(f"{engine} is up to date: same file, options and {flavour.title}; --force builds it again")
        return engine

    activations = max(check_sizes(source, profile.max) for profile in chosen.profiles)
    _check_memory(activations, gpu)
    kernels = _kernels(source, chosen.sms)  # first: a missing compiler shows before minutes of building
    built = _built(options, source, flavour, gpu, chosen)
    layers = {"network": built.network_layers, "engine": built.engine_layers}
    sidecar = write_engine(wanted, built.plan, layers, kernels)
    _report(sidecar, flavour, activations, built.unopened)
    return engine


def _checked_output(options: argparse.Namespace) -> Path:
    """Where the engine goes: an .engine file, and neither it, its sidecar nor the timing cache on top of another."""
    engine = options.output or _default_output(options.model)
    if engine.suffix != ".engine" or engine.is_dir():
        raise ExportError(f"-o {engine}: expected a file name that ends in .engine, which is how fcnrt knows it")
    files = {"the ONNX file": options.model, f"-o {engine}": engine, "its sidecar": sidecar_path(engine)}
    if options.timing_cache is not None:
        files["--timing-cache"] = options.timing_cache
    taken: dict[str, str] = {}
    for name, path in files.items():
        other = taken.setdefault(os.path.realpath(path), name)
        if other != name:
            raise ExportError(f"{name}: {path} is {other} as well, which would be lost; choose another name")
    return Path(engine)


def _default_output(model: Path) -> Path:
    return model.with_suffix(".engine") if model.suffix == ".onnx" else model.with_name(model.name + ".engine")


def _choices(options: argparse.Namespace, source: EngineSource, flavour: Flavour) -> tuple[Gpu | None, BuildOptions]:
    """The GPU to build on, None to build ahead of time, and what to build."""
    from ..engines.trt_flavours import BuildOptions

    bounds = (options.min, options.opt, options.max)
    profiles = chosen_profiles(options.profile or (), bounds, source.fixed, source.spec.min_size)
    gpu, sms = _targets(options, flavour)
    return gpu, BuildOptions(
        profiles,
        sms,
        options.workspace,
        options.optimization_level,
        options.version_compatible,
        options.hardware_compatible,
        options.tf32,
    )


def _targets(options: argparse.Namespace, flavour: Flavour) -> tuple[Gpu | None, tuple[int, ...]]:
    """The GPU to build on, if any, and the compute capabilities to build for."""
    if not flavour.ahead_of_time:
        if options.sm:
            raise ExportError(
                f"--sm: {flavour.title} builds for the GPU that it runs on; leave it out, or add --flavour tensorrt-rtx"
            )
        gpu = _gpu(options, flavour, "build ahead of time with --flavour tensorrt-rtx --sm 89")
        return gpu, _compatible_sms(gpu.sm) if options.hardware_compatible else (gpu.sm,)
    gpu = None if options.sm else _gpu(options, flavour, "name the GPUs to build for, as in --sm 89 120")
    sms = tuple(sorted(set(options.sm))) if options.sm else (gpu.sm,)
    for sm in sms:
        if sm not in flavour.sms:
            known = ", ".join(map(str, flavour.sms))
            raise ExportError(
                f"--sm {sm}: {flavour.title} builds for {known}; choose among these, or build with --flavour tensorrt "
                "on such a GPU"
            )
    return gpu, sms


def _gpu(options: argparse.Namespace, flavour: Flavour, remedy: str) -> Gpu:
    from ..engines.gpu_device import NoGpu, find_gpu

    try:
        return find_gpu(options.device or 0)
    except NoGpu as error:
        raise ExportError(f"{flavour.title} finds no GPU to build for ({error}); {remedy}") from error


def _compatible_sms(sm: int) -> tuple[int, ...]:
    """The GPUs that a hardware-compatible engine runs on, as far as there are kernels for them."""
    from ..kernels.compiling import CAPABILITIES

    return tuple(sorted({sm, *(known for known in CAPABILITIES if known >= HARDWARE_COMPATIBLE_FROM)}))


def _check_memory(activations: int, gpu: Gpu | None) -> None:
    if gpu is not None and activations > gpu.memory_bytes:
        raise ExportError(
            f"--max: expected activations within the {gpu.memory_bytes / 1e9:.1f} GB of {gpu.name}, got at least "
            f"{activations / 1e9:.1f} GB; lower it"
        )


def _kernels(source: EngineSource, sms: tuple[int, ...]) -> list[dict[str, Any]]:
    """Records of the GPU kernels for this engine; an engine that ends in labels can do without them."""
    from ..kernels.compiling import compile_kernels

    try:
        records = compile_kernels(sms, source.scores, source.labels)
    except ExportError as error:
        if source.output == "scores":
            raise
        print_line(f"build_engine: no kernels for resizing and video frames: {error}", file=sys.stderr)
        return []
    return [record for record in records if source.output == "scores" or record["name"] != "upsample_argmax"]


def _built(
    options: argparse.Namespace, source: EngineSource, flavour: Flavour, gpu: Gpu | None, chosen: BuildOptions
) -> Built:
    from ..engines.builder import build

    if not flavour.reports_progress:
        print_line(f"building with {flavour.title}: this takes minutes", file=sys.stderr)
    return build(flavour, source, chosen, gpu, options.timing_cache, options.verbose)


def _report(engine: Sidecar, flavour: Flavour, activations: int, unopened: str) -> None:
    path, spec = engine.path, engine.spec
    output_type = f"{engine.scores_type.dtype} (N, C, h, w)" if engine.output == "scores" else "uint8 (N, H, W)"
    print_line(f"{short(path)}  {engine.nbytes / 1e6:.1f} MB")
    print_line(f"  network    {spec.family} {spec.variant}, {len(spec.classes)} classes, {spec.precision}")
    print_line(
        f"  runs on    {flavour.title}, compute capability {', '.join(f'{sm // 10}.{sm % 10}' for sm in engine.sm)}"
    )
    print_line(f"  output     {engine.output} {output_type}")
    for profile in engine.profiles:
        low, best, high = map(shape_text, profile.bounds)
        print_line(f"  profile    {low} to {high}, fastest at {best}")
    print_line(f"  memory     activations take at least {activations / 1e6:.0f} MB at the largest size")
    print_line(f"  precision  {_convolutions_text(engine.layers['network'])} in the parsed network, as in the file")
    print_line(f"  engine     {_layers_text(engine.layers['engine'], unopened)}")
    print_line(f"  kernels    {len(engine.kernels)}")
    ahead = "" if engine.options["gpu"] else f"copy it and {sidecar_path(path).name} to such a GPU, then "
    print_line(f"next: {ahead}{fcnrt_command(f'segment {shlex.quote(short(path))} street.mp4 -o out/')}")


def _convolutions_text(layers: dict[str, dict[str, int]]) -> str:
    from ..engines.layer_census import census_text, convolutions

    return f"{census_text(convolutions(layers))} convolutions"


def _layers_text(layers: dict[str, dict[str, int]] | None, unopened: str) -> str:
    """What the inspector shows of the finished engine."""
    from ..engines.layer_census import census_text

    if layers is None:
        return f"layers not looked at ({unopened})"
    return "; ".join(f"{kind} {census_text(counts)}" for kind, counts in layers.items()) or "no layers shown"


def _parser(program: str = "build_engine.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__)
    add_version(parser)
    parser.add_argument("model", type=Path, help="ONNX file that export/to_onnx.py wrote")
    parser.add_argument("-o", "--output", type=Path, metavar="NAME.engine", help="default: beside the ONNX file")
    parser.add_argument("--flavour", choices=tuple(MODULES), help="default: the one that is installed")
    parser.add_argument(
        "--tail",
        choices=("kernel", "graph"),
        default="kernel",
        help="kernel (default): the engine ends at the scores, fcnrt makes the labels; graph: argmax is in the engine",
    )
    _add_shapes(parser.add_argument_group("frames", "sizes are BATCHxHEIGHTxWIDTH, or frames:BATCHxHEIGHTxWIDTHx3"))
    _add_targets(parser.add_argument_group("target"))
    _add_builder(parser.add_argument_group("builder"))
    parser.add_argument("--force", action="store_true", help="build even if the engine is up to date")
    parser.add_argument("--verbose", action="store_true", help="print TensorRT's log on stderr")
    return parser


def _add_shapes(group: argparse._ArgumentGroup) -> None:
    shape = _converter(parse_shape)
    for bound, what in (("min", "smallest"), ("opt", "the size to be fastest at"), ("max", "largest")):
        group.add_argument(f"--{bound}", f"--{bound}Shapes", type=shape, metavar="NxHxW", help=what)
    group.add_argument(
        "--profile",
        type=_converter(parse_profile),
        action="append",
        metavar="MIN:OPT:MAX",
        help="one range of sizes; may be repeated",
    )


def _add_targets(group: argparse._ArgumentGroup) -> None:
    one = group.add_mutually_exclusive_group()
    one.add_argument("--device", type=_whole(0, 63), metavar="N", help="GPU to build on (default: 0)")
    one.add_argument(
        "--sm",
        type=_whole(10, 999),
        nargs="+",
        metavar="CC",
        help="tensorrt-rtx: build ahead of time for these compute capabilities, 89 for 8.9; needs no GPU",
    )
    group.add_argument("--version-compatible", action="store_true", help="run in newer TensorRT as well")
    group.add_argument("--hardware-compatible", action="store_true", help="run on all GPUs from Ampere on")


def _add_builder(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--workspace", type=_whole(1, MAX_WORKSPACE_MIB), metavar="MIB", help="limit of scratch memory")
    group.add_argument("--timing-cache", type=Path, metavar="FILE", help="keep measurements for the next build")
    group.add_argument("--optimization-level", type=_whole(0, 5), metavar="0-5", help="time spent on it (default: 3)")
    group.add_argument(
        "--tf32", action="store_true", help="allow TF32 in float32 layers: faster, but rounds as halves do"
    )


def _converter(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An argparse type that shows the parser's own words."""

    def convert(text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"expected a whole number from {least} to {most}, got {text!r}")
        return int(text)

    return _converter(parse)
