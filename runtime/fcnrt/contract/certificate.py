"""The certificate of parity in a model file: how far its labels were measured to be from the checkpoint's own.

benchmarks/parity.py measures and writes it: property `fcn.parity` of an ONNX file, `parity` in an engine's sidecar.
It is bound to what the labels depend on and sealed, so that neither the file nor a figure can change by accident or
by a tool without its being noticed. It is no signature: who can write the file can certify anything.
"""

from __future__ import annotations

import hashlib
import json
import math
import reprlib
from dataclasses import dataclass, field
from typing import Any

from ..errors import ModelFileError, fcnrt_command
from .facts import fact, parsed, written
from .validation import by_name, check_format, each, share, text, told, whole

FORMAT = 1  # of the certificate that is written, and the newest that is read
KEY = "parity"  # in a sidecar, and behind the prefix in an ONNX file


def measure() -> str:
    """What to do for a certificate."""
    return f"measure it: {fcnrt_command('parity CHECKPOINT MODEL --data DATA --certify')}"


@dataclass(frozen=True)
class Certificate:
    """What was measured of a model file.

    Attributes:
        subject: digest of what was measured, see `digest`.
        metric: name of the mean IoU's definition in benchmarks/metrics.py.
        reference_miou: of the checkpoint in torch, float32; in [0, 1].
        miou: of the file; in [0, 1].
        agreement: share of all pixels whose labels are equal.
        clear_flips: share of all pixels that are labelled otherwise although the checkpoint's choice was clear.
        frames: how many were labelled.
        data: name of the data set and its split.
        data_sha256: of the frames and their annotation.
        checkpoint_sha256: of the checkpoint's file.
        device: where the file ran, "cpu" or "cuda:N".
        hardware: the device's own name.
        versions: of the packages that computed, by name.
        date: of the measurement, ISO 8601.
        computed_in: precisions beside the file's own that the CPU computed it in, each within these figures.
    """

    subject: str = field(metadata=fact(text))
    metric: str = field(metadata=fact(text))
    reference_miou: float = field(metadata=fact(share))
    miou: float = field(metadata=fact(share))
    agreement: float = field(metadata=fact(share))
    clear_flips: float = field(metadata=fact(share))
    frames: int = field(metadata=fact(whole()))
    data: str = field(metadata=fact(text))
    data_sha256: str = field(metadata=fact(text))
    checkpoint_sha256: str = field(metadata=fact(text))
    device: str = field(metadata=fact(text))
    hardware: str = field(metadata=fact(text))
    versions: dict[str, str] = field(metadata=fact(by_name(text)))
    date: str = field(metadata=fact(text))
    computed_in: tuple[str, ...] = field(default=(), metadata=fact(each(text), list))

    @property
    def points_lost(self) -> float:
        """Points of mean IoU below the checkpoint's; negative where the file does better."""
        return points_lost(self.reference_miou, self.miou)

    def covers(self, precision: str) -> bool:
        """Whether it holds for a file that the CPU computes in a precision; in float32 it is the file's own."""
        return precision != "bf16" or precision in self.computed_in

    def record(self) -> dict[str, Any]:
        """The certificate as it stands in files: JSON values with a format and a seal.

        Raises:
            TypeError, ValueError: a value is not what it is said to be, or a figure is outside its range.
        """
        facts = {"format": FORMAT, **written(self)}
        parsed(Certificate, facts)
        return {**facts, "seal": digest(facts)}


def digest(*values: Any) -> str:
    """sha256 of JSON values and bytes, the former in one spelling: keys sorted, no spaces, ASCII."""
    total = hashlib.sha256()
    for value in values:
        data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()


def points_lost(reference_miou: float, miou: float) -> float:
    """Points (hundredths) of mean IoU lost, to a millionth of a point: beyond that it is rounding; NaN stays NaN."""
    return round(100 * (reference_miou - miou), 6)


def checked_certificate(record: Any, subject: str, source: str) -> Certificate:
    """The certificate in a file, if it counts.

    Args:
        record: what the file holds, None for nothing.
        subject: digest of the file as it is now.
        source: the file's name, for messages.

    Raises:
        ModelFileError: there is none, it is damaged, edited or newer, or the file was changed afterwards.
    """
    if record is None:
        raise ModelFileError(f"{source}: not certified; {measure()}")
    if not isinstance(record, dict):
        raise ModelFileError(f"{source}: its certificate is damaged ({reprlib.repr(record)}); {measure()}")
    check_format("format of its certificate", record.get("format"), FORMAT, source, measure())
    with told(f"{source}: its certificate is damaged", measure()):
        sealed = record.get("seal") == digest({key: value for key, value in record.items() if key != "seal"})
        if not sealed:
            raise ModelFileError(f"{source}: its certificate was edited; {measure()}")
        certificate = parsed(Certificate, record)
    if certificate.subject != subject:
        raise ModelFileError(f"{source}: the file was changed after it was certified; {measure()}")
    return certificate


def check_loss(certificate: Certificate, points: float, source: str) -> None:
    """Raise ModelFileError where a file lost more points of mean IoU than are allowed."""
    lost, measured = certificate.points_lost, f"{certificate.data}, {certificate.device}"
    if not lost <= points:
        raise ModelFileError(
            f"{source}: {lost:g} points of mean IoU below its checkpoint ({measured}), "
            f"require_parity allows {points:g}; export it in a higher precision, or allow more"
        )


def checked_points(points: Any) -> float:
    """An argument that says how many points of mean IoU may be lost; raises ValueError for what is no such number."""
    if isinstance(points, bool) or not isinstance(points, (int, float)) or not 0 <= points < math.inf:
        raise ValueError(f"expected points of mean IoU, a number from 0 up, got {points!r}")
    return float(points)
