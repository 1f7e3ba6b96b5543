"""The rows of a parity table: one model on one device each, counted while frames stream by, and judged at the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fcnrt import FcnrtError, MissingDependency, ModelSpec
from fcnrt.contract.certificate import points_lost
from fcnrt.pictures.palette import named_palette
from fcnrt.pictures.writing import write_image

from ..data.measured_frames import Frame
from ..metrics import Scores
from .agreement import Agreement, Limits, figures, frame_miou, shortfalls
from .artefacts import Artefact, Labeller, hardware_of
from .torch_reference import Preference, TorchReference
from .worst_frames import Case, WorstFrames, side_by_side

WORST_BY = ("disagreement", "iou")


class Checkpoint:
    """The reference's own row.

    Args:
        reference: the network.
        annotated: whether frames come with their classes.

    Attributes:
        scores: its figures of merit so far, None where nothing is annotated.
        frame_miou: mean IoU of the last frame, NaN where none of it was annotated.
    """

    def __init__(self, reference: TorchReference, annotated: bool):
        self.reference = reference
        self.scores = Scores(reference.classes) if annotated else None
        self.frame_miou = float("nan")

    def take(self, frame: Frame) -> Preference:
        """Label a frame and count it."""
        preference = self.reference(frame.frame_hwc)
        if self.scores is not None and frame.truth_hw is not None:
            self.scores.update(preference.labels_hw, frame.truth_hw)
            self.frame_miou = frame_miou(preference.labels_hw, frame.truth_hw, self.reference.classes)
        return preference


class Row:
    """One artefact's row.

    Args:
        artefact: what to run.
        annotated: whether frames come with their classes.
        worst: how many of its worst frames to keep, by each of `WORST_BY`.
        threads: of its engine on the CPU.

    Attributes:
        absent: why it cannot run here, "" where it can.
        failure: what went wrong while it ran, "" for nothing.
        device: where it runs, "cpu" or "cuda:N"; the device asked for where it cannot.
        hardware: that device's own name.
        engine, precision: what runs it, and what it computes in; "" where nothing does.
    """

    def __init__(self, artefact: Artefact, annotated: bool, worst: int, threads: int | None = None):
        self.artefact, self.agreement = artefact, Agreement()
        self.scores = Scores(len(artefact.spec.classes)) if annotated else None
        self.worst = {by: WorstFrames(worst) for by in WORST_BY}
        self.absent = self.failure = self.hardware = self.engine = self.precision = ""
        self.device = artefact.device
        self._labeller: Labeller | None = None
        try:
            self._labeller = artefact.open(threads)
            self.device, self.engine = self._labeller.device, self._labeller.engine
            self.precision = self._labeller.precision
            self.hardware = hardware_of(self.device)
        except FcnrtError as error:
            reason = str(error).removeprefix(f"{artefact.path}: ")
            if _may_be_missing(artefact, error):
                self.absent = reason
            else:
                self.failure = reason

    @property
    def title(self) -> str:
        """The file and how it was run, as people read it."""
        way = "plain graph" if self.artefact.plain else self.device
        if self.artefact.precision != "auto":
            way += f", {self.artefact.precision}"
        return f"{self.artefact.path.name} ({way})"

    def take(self, frame: Frame, preference: Preference, checkpoint: Checkpoint) -> None:
        """Label a frame and count it; after a failure nothing more is tried, and the row has failed."""
        if self._labeller is None:
            return
        try:
            self._count(frame, preference, self._labeller(frame.frame_hwc), checkpoint)
        except (FcnrtError, ValueError) as error:
            self.failure = f"{frame.name}: {error}"
            self.close()

    def close(self) -> None:
        """Free the model; a second call does nothing."""
        if self._labeller is not None:
            self._labeller.close()
            self._labeller = None

    def shortfalls(self, checkpoint: Checkpoint, limits: Limits, allow_missing: bool) -> list[str]:
        """Why the row fails, a line each; none for one that passes."""
        if self.absent:
            return [] if allow_missing else [f"cannot run here: {self.absent}"]
        if self.failure:
            return [self.failure]
        return list(shortfalls(self.agreement, self.scores, checkpoint.scores, limits))

    def as_json(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """Everything that is known of the row; figures only where all frames were labelled."""
        spec, artefact = self.artefact.spec, self.artefact
        about = {
            "title": self.title,
            "file": artefact.path.name,
            "plain_graph": artefact.plain,
            "device": self.device,
            "hardware": self.hardware,
            "precision": spec.precision,
            "engine": self.engine,
            "computed_in": self.precision,
            "sha256": artefact.sha256,  # as it was measured: certifying changes it, but not the subject
            "subject": artefact.subject,
            "same_checkpoint": spec.checkpoint_sha256 == checkpoint.reference.sha256,
            "absent": self.absent,
            "failure": self.failure,
        }
        if self.absent or self.failure:
            return about
        return {**about, "agreement": self.agreement.as_json(), **self._scored(checkpoint)}

    def draw(self, folder: Path, stem: str) -> dict[str, list[dict[str, Any]]]:
        """Write pictures of the worst frames, `stem` first in their names; what they show, the worst first."""
        drawn: dict[str, list[dict[str, Any]]] = {}
        for by, kept in self.worst.items():
            paths = [folder / f"{stem}-{by}-{rank}.png" for rank in range(1, len(kept.cases) + 1)]
            drawn[by] = [self._draw(case, by, path) for case, path in zip(kept.cases, paths, strict=True)]
        return drawn

    def _count(self, frame: Frame, preference: Preference, labels: npt.NDArray[Any], checkpoint: Checkpoint) -> None:
        share = self.agreement.update(labels, preference)
        case = Case(share, frame, preference.labels_hw, labels)
        self.worst["disagreement"].offer(case)
        if self.scores is not None and frame.truth_hw is not None:
            self.scores.update(labels, frame.truth_hw)
            miou = frame_miou(labels, frame.truth_hw, len(self.artefact.spec.classes))
            self.worst["iou"].offer(case._replace(badness=points_lost(checkpoint.frame_miou, miou)))

    def _scored(self, checkpoint: Checkpoint) -> dict[str, Any]:
        if self.scores is None or checkpoint.scores is None:
            return {}
        before, after = figures(checkpoint.scores), figures(self.scores)
        lost = {name: points_lost(before["mean_iou"][name], value) for name, value in after["mean_iou"].items()}
        by_class = map(points_lost, before["class_iou"], after["class_iou"])
        return {**after, "points_lost": lost, "class_points_lost": list(by_class)}

    def _draw(self, case: Case, by: str, path: Path) -> dict[str, Any]:
        text = f"{case.badness:.4%} differ" if by == "disagreement" else f"{case.badness:.4g} points of mIoU lost"
        palette = palette_of(self.artefact.spec)
        write_image(path, side_by_side(case, palette, (self.title, text)))
        return {"frame": case.frame.name, by: case.badness, "picture": path.name}


def _may_be_missing(artefact: Artefact, error: FcnrtError) -> bool:
    """Whether it is the machine that lacks something: an ONNX file that no CPU runs is broken."""
    on_gpu = artefact.path.suffix == ".engine" or artefact.device.startswith("cuda")
    return on_gpu or isinstance(error, MissingDependency)


def palette_of(spec: ModelSpec) -> npt.NDArray[np.uint8]:
    """The classes' colours, (C, 3) uint8 RGB."""
    if isinstance(spec.palette, str):
        return named_palette(spec.palette, len(spec.classes))
    return np.array(spec.palette, np.uint8)


def measure(checkpoint: Checkpoint, rows: Sequence[Row], frames: Iterable[Frame]) -> None:
    """Send frames through the reference and every row, one at a time; afterwards the models are closed."""
    try:
        for frame in frames:
            preference = checkpoint.take(frame)
            for row in rows:
                row.take(frame, preference, checkpoint)
    finally:
        for row in rows:
            row.close()
