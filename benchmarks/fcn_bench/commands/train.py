"""Train any FCN of fcn_export.families: per-pixel cross-entropy, SGD with momentum, random scale, crop and flip.

python benchmarks/train.py --arch fcn32s-resnet18 --data VOCdevkit/VOC2012 --epochs 60
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shlex
import textwrap
from pathlib import Path

import torch
from torch.optim.lr_scheduler import LambdaLR

from fcn_export.command_line import add_version, run_command
from fcnrt.contract.arguments import Parser
from fcnrt.errors import fcnrt_command, pip_install, print_line, short
from fcnrt.pictures.fonts import note_on
from fcnrt.pictures.writing import write_image

from ..arguments import amount, size, span, whole_number
from ..data.census import Census, census, lines, look_through
from ..data.datasets import DataError, DataSet, InMemory, open_data
from ..data.flags import add_data_flags, stated_by
from ..data.sample_sheet import sample_sheet
from ..training.architectures import ARCHITECTURES
from ..training.initial_weights import CLASSIFICATION_INPUTS, InitError, draw, load_classification
from ..training.learning import SCHEDULES, Learner, LearningError, TrainingNetwork, class_weights, parameter_groups
from ..training.precision import WORTH, bf16_times, described
from ..training.run import STATE, Run, RunError

MOMENTUM = 0.9


def main(argv: list[str] | None = None, program: str = "train.py") -> int:
    """Run the command line.

    Returns:
        exit status: 0, 1 where data, weights or options do not fit, 2 for wrong arguments, 130 after Ctrl-C.
    """
    options = _parser(program).parse_args(argv)
    options.output = options.output or Path("runs", options.arch)
    return run_command(
        program,
        lambda: train(options),
        refusals=(DataError, InitError, LearningError, RunError),
        interruption=lambda: _interruption(options.output),
    )


def _interruption(folder: Path) -> str:
    if (folder / STATE).exists():
        return f"stopped; the same command with --resume goes on from {folder}"
    return "stopped before the first epoch was done; the same command begins again"


def train(options: argparse.Namespace) -> None:
    """Train as the parsed options say; prints a line per epoch and what was made.

    Raises:
        DataError, InitError, LearningError, RunError, ExportError: data, weights or options do not fit.
        OSError: a file cannot be read or written.
    """
    training = prepare(options)
    training.go(lambda line: print_line(line, flush=True))
    _report(training)


def prepare(options: argparse.Namespace) -> Run:
    """Make everything that the options ask for, ready to go.

    Raises:
        DataError, InitError, RunError, ExportError: data, weights or options do not fit; the text says why.
    """
    _check_machine(options.device)
    if not options.resume and (options.output / STATE).exists():
        raise RunError(f"{options.output}: holds a run already; add --resume to go on with it, or name another -o")
    train, val = (_open(options, split) for split in (options.train_split, options.val_split))
    if len(train) < options.batch:
        raise DataError(f"{options.data}: {len(train)} frames to train on do not fill a --batch of {options.batch}")
    net = _network(options, _scored_classes(options, train))
    counted = None if options.resume else _show_data(options, train, val)
    run = Run(_learner(options, net, train, counted), train, val, plain(options), options.output)
    if options.resume:
        run.resume()
    _announce(run)
    return run


def plain(options: argparse.Namespace) -> argparse.Namespace:
    """The options as values that a checkpoint may hold: paths become text."""
    values = {name: str(value) if isinstance(value, Path) else value for name, value in vars(options).items()}
    return argparse.Namespace(**values)


def _open(options: argparse.Namespace, split: str) -> DataSet:
    data = open_data(options.data, split, options.kind, stated_by(options))
    return InMemory(data) if options.cache else data


def _scored_classes(options: argparse.Namespace, train: DataSet) -> int:
    """How many logits a pixel has: with a sigmoid one, for the second of two classes."""
    if options.sigmoid and len(train.classes) != 2:
        raise DataError(f"--sigmoid: is for two classes, and {options.data} has {len(train.classes)}; leave it out")
    return 1 if options.sigmoid else len(train.classes)


def _show_data(options: argparse.Namespace, train: DataSet, val: DataSet) -> Census | None:
    """Check the data, say what there is of each class, and draw a few samples; streets that we draw are not counted.

    Raises:
        DataError: they cannot be trained on as meant.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    sheet = options.output / "samples.png"
    print_line(f"data       {options.data}: {len(train)} frames to train on, {len(val)} to validate on", flush=True)
    counted = None
    if train.root is not None:
        counted, _ = look_through(train, val, (options.train_split, options.val_split), options.workers)
        for line in lines(train.classes, counted):
            print_line(line)
    write_image(sheet, sample_sheet(train))
    if note := note_on(train.classes):
        print_line(note)
    print_line(f"samples    {sheet}: look whether these are the classes that you mean", flush=True)
    return counted


def _learner(options: argparse.Namespace, net: torch.nn.Module, train: DataSet, counted: Census | None) -> Learner:
    network = TrainingNetwork(net, options.aux_weight)
    optimiser = torch.optim.SGD(parameter_groups(network, options.weight_decay), options.lr, MOMENTUM)
    steps = options.epochs * (len(train) // options.batch)
    factor = SCHEDULES[options.schedule]
    schedule = LambdaLR(optimiser, lambda step: factor(step / steps))
    if options.balance and counted is None:
        counted = census(train, options.train_split, options.workers)
    weights = class_weights(torch.from_numpy(counted.pixels), options.balance) if options.balance and counted else None
    options.bf16 = _takes_bf16(options, network)
    return Learner(network, optimiser, schedule, options.device, bool(options.bf16), weights)


def _takes_bf16(options: argparse.Namespace, network: TrainingNetwork) -> bool | None:
    """Whether to compute in bfloat16, which is said at once; None where the run that goes on has decided."""
    if options.precision == "fp32":
        return False
    if options.resume:
        return True if options.precision == "bf16" else None
    times = bf16_times(network, options.device)
    chosen = options.precision == "bf16" or times < WORTH
    print_line(f"precision  {described(options.precision, chosen, times)}", flush=True)
    return chosen


def _network(options: argparse.Namespace, classes: int) -> torch.nn.Module:
    torch.manual_seed(options.seed)
    torch.backends.cudnn.deterministic = True
    net = ARCHITECTURES[options.arch].make(classes)
    if min(options.crop) < net.min_size:
        raise DataError(f"--crop {options.crop[0]}x{options.crop[1]}: {options.arch} needs at least {net.min_size}")
    if not options.resume:
        draw(net)
        if options.init:
            load_classification(net, options.init, options.init_input)
    return net


def _check_machine(device: str) -> None:
    if importlib.util.find_spec("matplotlib") is None:
        raise RunError(f"matplotlib: needed for the curves: {pip_install('fcnrt[bench]')}")
    if device == "cuda" and not torch.cuda.is_available():
        raise RunError("--device cuda: torch finds no GPU here that it can use; give --device cpu")


def _announce(run: Run) -> None:
    options, learner = run.options, run.learner
    weights = sum(parameter.numel() for parameter in learner.network.net.parameters())
    where = f"{learner.device}, {torch.get_num_threads()} threads" if learner.device.type == "cpu" else learner.device
    print_line(f"network    {options.arch}, {weights / 1e6:.1f} million weights, {len(run.train.classes)} classes")
    print_line(
        f"computing  on {where}, {'bfloat16' if learner.bf16 else 'float32'}, from epoch {run.epoch + 1}", flush=True
    )


def _report(run: Run) -> None:
    best = max(run.rows, key=lambda row: row["miou"])
    path = run.checkpoint("best")
    print_line(
        f"{short(path)}  mIoU {best['miou']:.3f} after epoch {best['epoch']:.0f}, {path.stat().st_size / 1e6:.1f} MB"
    )
    print_line(f"next: {fcnrt_command(f'export {shlex.quote(short(path))}')}")


def _parser(program: str = "train.py") -> argparse.ArgumentParser:
    names = textwrap.fill(", ".join(ARCHITECTURES), 100, break_on_hyphens=False)
    parser = Parser(
        prog=program,
        description=__doc__,
        epilog=f"architectures:\n{names}",
    )
    add_version(parser)
    parser.add_argument("--arch", required=True, choices=ARCHITECTURES, metavar="NAME", help="see below")
    _add_data_options(parser)
    _add_learning_options(parser)
    _add_machine_options(parser)
    return parser


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    add = group.add_argument
    add_data_flags(group)
    add("--train-split", default="train", help="what to train on (train)")
    add("--val-split", default="val", help="what to validate on (val)")
    add("--crop", type=size, default=(320, 480), metavar="HxW", help="pixels of each training picture (320x480)")
    add("--scales", type=span, default=(0.5, 2.0), metavar="A,B", help="bounds of the random magnification (0.5,2)")
    add("--cache", action="store_true", help="keep decoded frames in memory")


def _add_learning_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("learning").add_argument
    add("--epochs", type=whole_number, default=60, help="passes over the training frames (60)")
    add("--batch", type=whole_number, default=8, help="pictures per step (8)")
    add("--lr", type=amount, default=0.01, help="highest learning rate (0.01)")
    add("--schedule", choices=SCHEDULES, default="poly", help="of the learning rate (poly)")
    add("--weight-decay", type=amount, default=1e-4, help="of all weights but biases and BatchNorm (1e-4)")
    add("--aux-weight", type=amount, default=0.5, help="of the auxiliary loss where upstream has one; 0: none (0.5)")
    add("--balance", type=amount, default=0.0, metavar="P", help="weigh classes by their share of pixels to -P (0)")
    add("--sigmoid", action="store_true", help="one logit for the second of two classes instead of one for each")
    add("--init", type=Path, metavar="FILE", help="torchvision's classification weights of the body, a state dict")
    add("--init-input", choices=CLASSIFICATION_INPUTS, default="torchvision", help="what they were trained on")
    add("--seed", type=int, default=0, help="of weights, order and variations (0)")


def _add_machine_options(parser: argparse.ArgumentParser) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    workers = max(1, min(8, (os.cpu_count() or 1) - 1))
    add = parser.add_argument_group("machine").add_argument
    add("--device", default=device, choices=("cpu", "cuda"), help=f"where to compute (here {device})")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="fp32",
        help="bf16 computes in bfloat16 where torch's autocast allows it; auto measures which is faster here (fp32)",
    )
    add("--bf16", action="store_const", const="bf16", dest="precision", help="the same as --precision bf16")
    add("--workers", type=whole_number, default=workers, help=f"threads that read frames ahead (here {workers})")
    add("--resume", action="store_true", help="go on with the run in the output folder")
    add("-o", "--output", type=Path, help="folder for checkpoints and curves (runs/NAME)")
