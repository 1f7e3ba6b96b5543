"""Do exported models label as their checkpoint does? A gate with an exit status, and a certificate in the file.

python benchmarks/parity.py model.pth model.onnx model.engine --data VOCdevkit/VOC2012
python benchmarks/parity.py model.pth model-fp16.onnx --data VOCdevkit/VOC2012 --certify

The checkpoint's own network in torch, float32, is the reference; each model labels the same frames at their own size.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from fcn_export.checkpoint_options import checkpoint_options
from fcn_export.command_line import add_checkpoint_flags, add_version, run_command
from fcnrt import FcnrtError
from fcnrt.backends import gpu_index
from fcnrt.contract.arguments import Parser
from fcnrt.errors import print_line, short
from fcnrt.segmenter import PRECISIONS

from ..arguments import add_output, amount, whole_number
from ..data.datasets import DataError
from ..data.flags import add_data_flags, stated_by
from ..data.measured_frames import Frame, MeasuredFrames
from ..machine import PACKAGES, environment
from ..metrics import MEAN_IOU
from ..parity.agreement import CLEAR, MARGINS, Limits, figures
from ..parity.artefacts import Artefact, find_artefacts
from ..parity.certify import certify_files
from ..parity.rows import Checkpoint, Row, measure
from ..parity.tables import tables
from ..parity.torch_reference import TorchReference, as_exported
from ..result_files import RESULTS, now, write_result


class ParityError(Exception):
    """Checkpoint, models and data do not belong together; the text says what differs."""


def main(argv: list[str] | None = None, program: str = "parity.py") -> int:
    """Run the command line.

    Returns:
        exit status: 0 where every model is near enough, 1 where one is not or an input is unusable (a line each on
        stderr), 2 for wrong arguments, 130 after Ctrl-C.
    """
    options = _parser(program).parse_args(argv)
    options.command = [_name(word) for word in (sys.argv[1:] if argv is None else argv)]
    return run_command(
        program,
        lambda: compare(options),
        refusals=(ParityError, DataError),
        interruption="interrupted; every file is whole, what was certified stays so",
    )


def compare(options: argparse.Namespace) -> bool:
    """Measure what the options name, print and write it, certify if wanted; whether every model is near enough.

    Raises:
        ParityError, DataError, ExportError, FcnrtError: an input is unusable or does not belong to the others.
        OSError: a result cannot be written.
    """
    limits = Limits(options.metric, options.max_miou_drop, options.min_agreement, options.max_clear_flips)
    frames = MeasuredFrames(options.data, options.split, options.kind, options.limit, stated_by(options))
    artefacts = find_artefacts(options.models, options.device or ["auto"], options.plain, options.precision)
    checkpoint = _checkpoint(options, artefacts, annotated=frames.classes is not None)
    _check_classes(checkpoint, artefacts, frames)
    if options.certify and frames.classes is None:
        raise ParityError(
            f"--certify: {options.data} is not annotated, and a certificate holds mean IoU; name a data set"
        )
    rows = [Row(artefact, frames.classes is not None, options.worst, options.threads) for artefact in artefacts]
    measure(checkpoint, rows, _progress(frames))
    result = describe(options, limits, checkpoint, rows, frames)
    for line in tables(result):
        print_line(line)
    problems = [f"{row['title']}: {text}" for row in result["rows"] for text in row["shortfalls"]]
    if not any("agreement" in row for row in result["rows"]):
        problems.append("no model could be measured")
    if options.certify:
        problems += certify_files(rows, result)
    _write(result, rows, options.output or _default_output(options, frames))
    for problem in problems:
        print_line(f"parity: {problem}", file=sys.stderr)
    return not problems


def describe(
    options: argparse.Namespace, limits: Limits, checkpoint: Checkpoint, rows: Sequence[Row], frames: MeasuredFrames
) -> dict[str, Any]:
    """Everything that was measured, and of what, where, by what, as JSON values but for NaN."""
    reference = checkpoint.reference
    return {
        "benchmark": "parity",
        "date": now(),
        "command": ["benchmarks/parity.py", *options.command],
        "environment": {**environment((*PACKAGES, "onnx")), "threads": options.threads or "all"},
        "limits": asdict(limits),
        "margins": MARGINS,
        "clear_margin": CLEAR,
        "data": {
            "name": frames.name,
            "frames": len(frames),
            "classes": frames.classes,
            "sha256": frames.sha256,
        },
        "reference": {
            "file": Path(options.checkpoint).name,
            "sha256": reference.sha256,
            "network": reference.name,
            "input": reference.input,
            "device": reference.device,
            "hardware": reference.hardware,
            "figures": figures(checkpoint.scores) if checkpoint.scores else None,
        },
        "rows": [
            {
                **row.as_json(checkpoint),
                "shortfalls": row.shortfalls(checkpoint, limits, options.allow_missing),
            }
            for row in rows
        ],
    }


def _checkpoint(options: argparse.Namespace, artefacts: Sequence[Artefact], annotated: bool) -> Checkpoint:
    if options.threads:
        torch.set_num_threads(options.threads)
    reading = as_exported(options.checkpoint, checkpoint_options(options), [artefact.spec for artefact in artefacts])
    reference = TorchReference(options.checkpoint, reading, options.reference_device)
    return Checkpoint(reference, annotated)


def _check_classes(checkpoint: Checkpoint, artefacts: Sequence[Artefact], frames: MeasuredFrames) -> None:
    """Refuse what cannot be compared: another number of classes means other classes."""
    wanted = checkpoint.reference.classes
    found = {artefact.path: len(artefact.spec.classes) for artefact in artefacts}
    if frames.classes is not None:
        found[Path(frames.name)] = len(frames.classes)
    for name, count in found.items():
        if count != wanted:
            raise ParityError(f"{name}: has {count} classes, but the checkpoint has {wanted}; they cannot be compared")


def _write(result: dict[str, Any], rows: Sequence[Row], path: Path) -> None:
    """JSON, and beside it a folder of the same name with pictures of the worst frames."""
    pictures = path.with_suffix("")
    pictures.mkdir(parents=True, exist_ok=True)
    for number, (row, facts) in enumerate(zip(rows, result["rows"], strict=True), start=1):
        facts["worst"] = row.draw(pictures, f"{number}")
    write_result(_without_nan(result), path)
    print_line(f"wrote {short(path)}, and pictures of the worst frames to {short(pictures)}/")


def _without_nan(value: Any) -> Any:
    """JSON has no NaN: null stands for a figure that is not defined."""
    if isinstance(value, dict):
        return {key: _without_nan(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _default_output(options: argparse.Namespace, frames: MeasuredFrames) -> Path:
    words = re.findall(r"\w+", f"parity {Path(options.checkpoint).stem} {frames.name}")
    return RESULTS / ("-".join(words) + ".json")


def _name(word: str) -> str:
    """A word of the command line, of paths the name alone: where a machine keeps its files is nobody's business."""
    path = Path(word)
    return path.name if path.is_absolute() or path.exists() else word


def _progress(frames: MeasuredFrames) -> Iterable[Frame]:
    """A bar on a terminal, nothing elsewhere."""
    return tqdm(frames, unit="frame", disable=None, leave=False)


def _device(text: str) -> str:
    try:
        gpu_index(text)
    except FcnrtError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def _share(text: str) -> float:
    value = amount(text)
    if value > 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text!r}")
    return value


def _parser(program: str = "parity.py") -> argparse.ArgumentParser:
    parser = Parser(prog=program, description=__doc__)
    add_version(parser)
    parser.add_argument("checkpoint", help="checkpoint file, or fcn_resnet50 / fcn_resnet101 for torchvision's weights")
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL", help=".onnx and .engine files made from it")
    _add_data_options(parser)
    _add_gate_options(parser)
    _add_reference_options(parser)
    _add_machine_options(parser)
    return parser


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data, as for train.py")
    add = group.add_argument
    add_data_flags(group)
    add("--split", default="val", help="of the data set (val)")
    add("--limit", type=whole_number, metavar="N", help="N frames, evenly spread (all)")


def _add_gate_options(parser: argparse.ArgumentParser) -> None:
    usual = Limits()
    add = parser.add_argument_group("gate").add_argument
    add("--metric", choices=MEAN_IOU, default=usual.metric, help=f"definition of mean IoU ({usual.metric})")
    add(
        "--max-miou-drop",
        type=amount,
        default=usual.max_miou_drop,
        metavar="POINTS",
        help=f"below the reference's mean IoU ({usual.max_miou_drop:g})",
    )
    add(
        "--min-agreement",
        type=_share,
        default=usual.min_agreement,
        metavar="SHARE",
        help=f"of labels that equal the reference's ({usual.min_agreement:g})",
    )
    add(
        "--max-clear-flips",
        type=_share,
        default=usual.max_clear_flips,
        metavar="SHARE",
        help=f"of labels that differ where the reference's class led by more than {CLEAR:g} "
        f"({usual.max_clear_flips:g})",
    )
    add("--allow-missing", action="store_true", help="pass over models that cannot run on this machine")
    add("--certify", action="store_true", help="write the result into the models that pass")


def _add_reference_options(parser: argparse.ArgumentParser) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    group = parser.add_argument_group("reference, where the checkpoint cannot tell")
    add_checkpoint_flags(group)
    group.add_argument(
        "--reference-device", default=device, choices=("cpu", "cuda"), help=f"where torch computes (here {device})"
    )


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("models")
    add = group.add_argument
    add("--device", action="append", type=_device, help="auto, cpu, cuda or cuda:N; repeat it for a row each (auto)")
    add(
        "--precision",
        nargs="+",
        default=["auto"],
        choices=PRECISIONS,
        help="that the CPU computes .onnx files in: several for a row each, as fp32 bf16 (auto)",
    )
    add("--plain", action="store_true", help="also ONNX Runtime alone, on the whole graph with no code of ours")
    add("--threads", type=whole_number, metavar="N", help="on the CPU (all cores)")
    add("--worst", type=whole_number, default=3, metavar="N", help="frames to draw, by disagreement and by IoU (3)")
    add_output(group, "results/parity-CHECKPOINT-DATA.json, and pictures beside it")
