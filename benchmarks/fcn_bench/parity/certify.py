"""Certificates of parity, written into the files that they certify."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fcnrt
from fcnrt import FcnrtError
from fcnrt.backends import read_model
from fcnrt.contract import onnx_file, sidecar
from fcnrt.contract.certificate import Certificate
from fcnrt.errors import print_line

if TYPE_CHECKING:  # they need torch, and certificates do not
    from .rows import Row

# By suffix, the packages that may have run a file.
ENGINES = {".onnx": ("onnxruntime", "onnxruntime-gpu", "openvino"), ".engine": ("tensorrt", "tensorrt-rtx")}


class CertifyError(Exception):
    """A file cannot be certified; the text says why."""


def certify_files(rows: Sequence[Row], result: dict[str, Any]) -> list[str]:
    """Certify each file whose rows all pass, by the row that lost most; one that falls short loses what it had.

    Returns:
        Why files that passed could not be certified, a line each.
    """
    problems = []
    judged = list(zip(rows, result["rows"], strict=True))
    for path in dict.fromkeys(row.artefact.path for row in rows):
        mine = [(row, facts) for row, facts in judged if row.artefact.path == path]
        try:
            print_line(f"{path.name}: {_certify_file(path, mine, result)}")
        except (CertifyError, FcnrtError, OSError) as error:
            problems.append(f"{path.name}: not certified: {error}")
    return problems


def _certify_file(path: Path, rows: list[tuple[Row, dict[str, Any]]], result: dict[str, Any]) -> str:
    """Write or take away one file's certificate; what was done."""
    if any(facts["shortfalls"] for _, facts in rows):
        worse = any("agreement" in facts and facts["shortfalls"] for _, facts in rows)
        return "not certified" + (", and its old certificate taken away" if worse and revoke(path) else "")
    ran = [(row, facts) for row, facts in rows if "agreement" in facts and not facts["plain_graph"]]
    if not ran:
        return "not certified: it did not run here"
    if not all(facts["same_checkpoint"] for _, facts in ran):
        raise CertifyError("it was exported from another checkpoint than the one that it was compared with")
    row, facts = max(ran, key=lambda pair: pair[1]["points_lost"][result["limits"]["metric"]])
    certify(path, replace(_certificate(row, facts, result), computed_in=_precisions(ran)))
    return "certified"


def _certificate(row: Row, facts: dict[str, Any], result: dict[str, Any]) -> Certificate:
    metric, reference, data = result["limits"]["metric"], result["reference"], result["data"]
    return Certificate(
        subject=row.artefact.subject,
        metric=metric,
        reference_miou=reference["figures"]["mean_iou"][metric],
        miou=facts["mean_iou"][metric],
        agreement=facts["agreement"]["equal_share"],
        clear_flips=facts["agreement"]["clear_flips"],
        frames=data["frames"],
        data=data["name"],
        data_sha256=data["sha256"],
        checkpoint_sha256=reference["sha256"],
        device=row.device,
        hardware=row.hardware,
        versions=_versions(row, result["environment"]["versions"]),
        date=result["date"],
    )


def _precisions(ran: list[tuple[Row, dict[str, Any]]]) -> tuple[str, ...]:
    """What the CPU computed a file in."""
    return tuple(sorted({row.precision for row, _ in ran if row.device == "cpu"}))


def _versions(row: Row, installed: Mapping[str, str]) -> dict[str, str]:
    """Of what computed the labels on both sides."""
    used = row.engine.partition(" ")[0]
    names = ("torch", *(name for name in ENGINES[row.artefact.path.suffix] if name.startswith(used)))
    return {"fcnrt": fcnrt.__version__, **{name: installed[name] for name in names if name in installed}}


def certify(path: Path, certificate: Certificate) -> None:
    """Write a certificate into an ONNX file's metadata or an engine's sidecar; the file changes whole or not at all.

    Raises:
        CertifyError: the file is not what was measured.
        OSError: it cannot be written.
    """
    if read_model(path).subject() != certificate.subject:
        raise CertifyError(f"{path}: changed while it was measured; measure it again")
    _write(path, certificate.record())


def revoke(path: Path) -> bool:
    """Take a file's certificate away; whether there was one."""
    if read_model(path).parity is None:
        return False
    _write(path, None)
    return True


def _write(path: Path, record: dict[str, Any] | None) -> None:
    file = sidecar if path.suffix == ".engine" else onnx_file
    file.write_certificate(path, record)
