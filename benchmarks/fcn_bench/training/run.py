"""One training run: its epochs, what it writes after each of them, and how a stopped one goes on."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from fcn_export.checkpoints.remembered import Remembered
from fcnrt.contract.files import atomic_path

from ..data.datasets import DataSet
from ..metrics import ConfusionMatrix
from . import containers, log
from .feeding import Augmentation, epoch_batches
from .learning import Learner

STATE = "training.pt"  # everything that a stopped run needs to go on
# What must not change when a run goes on. The folder and the threads may.
SHAPING = (
    *("arch", "data", "kind", "train_split", "val_split", "epochs", "batch", "crop", "scales", "lr", "weight_decay"),
    *("schedule", "aux_weight", "balance", "init", "init_input", "bf16", "seed"),
    *("classes", "palette", "masks", "label_values", "void", "holdout", "sigmoid"),
)


class RunError(Exception):
    """A run cannot go on where it stopped; the text says why."""


@dataclass
class Run:
    """What a training run has and does.

    Args:
        learner: the network and what changes it.
        train: samples to learn from.
        val: samples to measure on after each epoch.
        options: of the command line; plain values.
        folder: where everything is written.
    """

    learner: Learner
    train: DataSet
    val: DataSet
    options: argparse.Namespace
    folder: Path

    def __post_init__(self) -> None:
        self.rows: list[log.Row] = []
        self.best_miou = -1.0

    @property
    def epoch(self) -> int:
        """How many epochs are done."""
        return len(self.rows)

    def checkpoint(self, which: str) -> Path:
        """Where the "best" or "last" checkpoint is. The name begins with the variant: some families' keys hide it."""
        return self.folder / f"{self.options.arch}-{which}.pth"

    def go(self, tell: Callable[[str], None] = print) -> None:
        """Train to the last epoch; after each, measure on the validation frames and write everything.

        Raises:
            DataError: a frame cannot be read.
            LearningError: the loss is not finite.
        """
        while self.epoch < self.options.epochs:
            started = time.perf_counter()
            losses = self.learn()
            matrix = self.measure()
            self._record(losses, matrix, time.perf_counter() - started)
            self.write()
            row = self.rows[-1]
            tell(
                f"epoch {self.epoch}/{self.options.epochs}  loss {row['loss']:.3f}  mIoU {row['miou']:.3f}  "
                f"accuracy {row['pixel_accuracy']:.3f}  {row['seconds']:.0f} s"
            )

    def learn(self) -> list[float]:
        """Take all steps of one epoch and return their losses."""
        options = self.options
        augmentation = Augmentation(options.crop, options.scales)
        batches = epoch_batches(self.train, augmentation, options.batch, options.seed, self.epoch, options.workers)
        steps = len(self.train) // options.batch
        losses: list[float] = []
        self.learner.network.train()
        with tqdm(total=steps, desc=f"epoch {self.epoch + 1}", unit="step", leave=False, disable=None) as bar:
            for batch in batches:
                losses.append(self.learner.learn(*batch))
                bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
                bar.update()
        return losses

    def measure(self) -> ConfusionMatrix:
        """Label all validation frames at their own size, in float32 as the exported network does, and count."""
        matrix = ConfusionMatrix(len(self.val.classes))
        for index in range(len(self.val)):
            sample = self.val[index]
            matrix.update(self.learner.label(sample.frame_hwc), sample.labels_hw)
        return matrix

    def _record(self, losses: list[float], matrix: ConfusionMatrix, seconds: float) -> None:
        done = self.rows[-1] if self.rows else {"step": 0, "seconds": 0.0}
        figures = {
            "epoch": self.epoch + 1,
            "step": done["step"] + len(losses),
            "learning_rate": self.learner.schedule.get_last_lr()[0],
            "loss": float(np.mean(losses)),
            "miou": matrix.mean_iou(),
            "pixel_accuracy": matrix.pixel_accuracy(),
            "mean_accuracy": matrix.mean_accuracy(),
            "frequency_weighted_iou": matrix.frequency_weighted_iou(),
            "seconds": seconds,
        }
        per_class = zip(self.val.classes, matrix.iou().tolist(), strict=True)
        self.rows.append(figures | {f"iou {name}": iou for name, iou in per_class})

    def write(self) -> None:
        """Write curves, the last checkpoint, the best one if it is new, and the state to go on from."""
        row = self.rows[-1]
        log.write_csv(self.folder / "curves.csv", self.rows)
        log.write_png(self.folder / "curves.png", self.rows, f"{self.options.arch} on {self.train.name}")
        is_best = row["miou"] > self.best_miou
        self.best_miou = max(self.best_miou, row["miou"])
        progress = containers.Progress(self.epoch, int(row["step"]), self.best_miou, self.options)
        for which in ("best", "last") if is_best else ("last",):
            containers.save(self.checkpoint(which), self.learner, progress, self.facts())
        with atomic_path(self.folder / STATE) as temporary:
            torch.save(self._state(), temporary)

    def facts(self) -> Remembered:
        """What the checkpoints say of themselves."""
        net, palette = self.learner.network.net, self.train.palette
        colours = palette if isinstance(palette, str) else tuple(map(tuple, palette.tolist()))
        return Remembered(net.family, net.variant, self.train.classes, colours, net.contracts[0], self.options.crop)

    def _state(self) -> dict[str, Any]:
        learner = self.learner
        return {
            "options": shaping(self.options),
            "rows": self.rows,
            "best_miou": self.best_miou,
            "network": learner.network.state_dict(),
            "optimiser": learner.optimiser.state_dict(),
            "schedule": learner.schedule.state_dict(),
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if learner.device.type == "cuda" else [],
        }

    def resume(self) -> None:
        """Go on where the run in this folder stopped: the rest is what it would have been without the stop.

        Raises:
            RunError: there is none, it cannot be read, or it was started with other options.
        """
        state = _read_state(self.folder / STATE)
        if self.options.bf16 is None:  # --precision auto: decided when the run began
            self.options.bf16 = self.learner.bf16 = state["options"]["bf16"]
        wanted = shaping(self.options)
        changed = [name for name in SHAPING if (state["options"].get(name) or None) != (wanted[name] or None)]
        if changed:
            name, flag = changed[0], "--" + changed[0].replace("_", "-")
            raise RunError(f"{flag}: the run in {self.folder} has {state['options'].get(name)}, got {wanted[name]}")
        learner = self.learner
        learner.network.load_state_dict(state["network"])
        learner.optimiser.load_state_dict(state["optimiser"])
        learner.schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        if state["cuda_random"] and learner.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_random"])
        self.rows, self.best_miou = state["rows"], state["best_miou"]


def shaping(options: argparse.Namespace) -> dict[str, Any]:
    """The options that make a run what it is."""
    return {name: getattr(options, name) for name in SHAPING}


def _read_state(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise RunError(f"{path}: no such file; there is no run to go on with, drop --resume")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises nearly anything on damaged files
        raise RunError(f"{path}: cannot read the run's state, start again without --resume ({error})") from error
