"""What an engine's sidecar, `<name>.engine.json`, says: the model's facts, the plan it belongs to, the GPU kernels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import ModelFileError, fcnrt_command
from .certificate import KEY as PARITY
from .facts import fact, parsed, written
from .files import write_json
from .flavours import MODULES, FlavourName
from .kernel_records import Record, checked_records
from .precision import FLOATS, Precision
from .profiles import Profile, parse_profile
from .seal import KEY as SEAL
from .seal import broken, content_digest, sealed_content
from .spec import ModelSpec
from .validation import check_format, exactly, one_of, several, text, told, whole

FORMAT = 1  # of the sidecar that is written, and the newest that is read


def rebuild() -> str:
    """What to do where an engine cannot be used."""
    return f"build it again: {fcnrt_command('build MODEL.onnx --force')}"


def _profiles(profiles: tuple[Profile, ...]) -> list[dict[str, list[int]]]:
    return [profile.as_json() for profile in profiles]


@dataclass(frozen=True)
class Sidecar:
    """The facts of an engine, in the order in which they stand in the sidecar.

    Attributes:
        path: the engine's plan.
        spec: the model's own facts.
        sha256, nbytes: of the plan.
        onnx_sha256: of the file that it was built from.
        flavour: "tensorrt" or "tensorrt-rtx", the package that it was built with.
        version: of that package.
        sm: compute capabilities that it was built for, 89 for 8.9.
        hardware_compatible: it runs on newer ones as well.
        version_compatible: it runs in newer TensorRT as well.
        output: "scores", or "labels" where the tail is in the engine.
        scores_type: of the scores' elements.
        profiles: shapes that it takes.
        options: what else the build was asked for.
        tool: what built it.
        layers: how many layers of which type were counted, before the build and after it.
        kernels: compiled GPU kernels, see gpu.kernels.
        parity: the certificate as it stands there, None where there is none.
        described: digest of everything but the certificate.
        sealed: whether that digest stands in the sidecar, and so showed that it is as it was made.
    """

    path: Path
    spec: ModelSpec
    sha256: str = field(metadata=fact(text))
    nbytes: int = field(metadata=fact(whole(), key="bytes"))
    onnx_sha256: str = field(metadata=fact(text))
    flavour: FlavourName = field(metadata=fact(one_of(*MODULES)))
    version: str = field(metadata=fact(text))
    sm: tuple[int, ...] = field(metadata=fact(several(whole(), "sm")))
    hardware_compatible: bool = field(metadata=fact(exactly(bool)))
    version_compatible: bool = field(metadata=fact(exactly(bool)))
    output: Literal["scores", "labels"] = field(metadata=fact(one_of("scores", "labels")))
    scores_type: Precision = field(metadata=fact(one_of(*FLOATS), key="scores"))
    profiles: tuple[Profile, ...] = field(metadata=fact(several(parse_profile, "profiles"), _profiles))
    options: Mapping[str, Any] = field(metadata=fact(exactly(dict)))
    tool: str = field(metadata=fact(text))
    layers: Mapping[str, Any] = field(metadata=fact(exactly(dict)))
    kernels: tuple[Record, ...] = ()
    parity: Any = None
    described: str = field(default="", compare=False)
    sealed: bool = field(default=False, compare=False)

    @property
    def capabilities(self) -> str:
        """The compute capabilities as people write them: "8.6, 8.9"."""
        newer = " and newer" if self.hardware_compatible else ""
        return ", ".join(f"{sm // 10}.{sm % 10}" for sm in self.sm) + newer

    def content(self) -> dict[str, Any]:
        """The sidecar as a JSON object with its seal, but for the certificate."""
        facts = {"model": self.spec.facts(), "engine": written(self), "kernels": list(self.kernels)}
        return sealed_content({"format": FORMAT, **facts})

    def subject(self) -> str:
        """What a certificate is bound to: the sidecar, tail and kernels included, and the plan, which is looked at.

        Raises:
            ModelFileError: the plan is not the one that the sidecar was written for.
        """
        self.plan()
        return self.described

    def plan(self) -> bytes:
        """The plan, if it is the one that the sidecar was written for; raises ModelFileError."""
        try:
            plan = self.path.read_bytes()
        except OSError as error:
            raise ModelFileError(f"{self.path}: cannot be read ({error.strerror}); {rebuild()}") from error
        if hashlib.sha256(plan).hexdigest() != self.sha256:
            raise ModelFileError(
                f"{self.path}: not the engine that {sidecar_path(self.path).name} describes (altered, cut short or "
                f"replaced); {rebuild()}"
            )
        return plan


def sidecar_path(engine: Path) -> Path:
    """`fcn8s.engine.json` beside `fcn8s.engine`."""
    return engine.with_name(engine.name + ".json")


def read_sidecar(engine: Path) -> Sidecar:
    """Read the sidecar of an engine.

    Args:
        engine: the plan's path.

    Raises:
        ModelFileError: the sidecar is missing, damaged or of a newer format.
    """
    content = _read(engine)
    if SEAL in content and content[SEAL] != content_digest(content):
        raise broken(str(engine))
    return _parsed(engine, content)


def write_certificate(engine: Path, record: Mapping[str, Any] | None) -> None:
    """Write a certificate's record into a sidecar, or take it away; all else stays as it is.

    Raises:
        ModelFileError: the sidecar is missing or damaged.
        OSError: it cannot be written.
    """
    content = {key: value for key, value in _read(engine).items() if key != PARITY}
    if record is not None:
        content[PARITY] = dict(record)
    write_json(sidecar_path(engine).resolve(), content)  # a link stays one


def seal_file(engine: Path) -> bool:
    """Seal a sidecar as it is now, which was changed on purpose; a certificate of what it was is taken away.

    Returns:
        Whether there was one.

    Raises:
        ModelFileError: it is no sidecar any more, or of another plan.
        OSError: it cannot be read or written.
    """
    content = _read(engine)
    certified = content.pop(PARITY, None) is not None
    _parsed(engine, content).plan()
    write_json(sidecar_path(engine).resolve(), sealed_content(content))
    return certified


def _parsed(engine: Path, content: Mapping[str, Any]) -> Sidecar:
    path = sidecar_path(engine)
    check_format("format", content.get("format"), FORMAT, str(path), rebuild())
    with told(f"{path}: invalid", rebuild()):
        return parsed(
            Sidecar,
            exactly(dict)(content["engine"]),
            path=engine,
            spec=ModelSpec.from_facts(exactly(dict)(content["model"]), str(path)),
            kernels=checked_records(content["kernels"]),
            parity=content.get(PARITY),
            described=content_digest(content),
            sealed=SEAL in content,
        )


def _read(engine: Path) -> dict[str, Any]:
    path = sidecar_path(engine)
    if not path.is_file():
        raise ModelFileError(f"{engine}: {path.name} is missing beside it; copy both files, or {rebuild()}")
    with told(f"{path}: damaged", rebuild()):
        try:
            content = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(error.strerror) from error
        return exactly(dict)(json.loads(content))
