"""What an engine's sidecar, `<name>.engine.json`, says: the model's facts, the plan it belongs to, the GPU kernels."""

from __future__ import annotations

import hashlib
import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from ..errors import ModelFileError
from .certificate import digest
from .kernel_records import checked_records
from .spec import ModelSpec, check_format

REBUILD = "build it again: python export/build_engine.py MODEL.onnx --force"
FORMAT = 1  # the newest sidecar that this version reads
Shape = tuple[int, int, int]  # (batch, height, width)
Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Profile:
    """Shapes of frames that an engine takes."""

    min: Shape
    opt: Shape
    max: Shape

    def takes(self, shape: Shape) -> bool:
        """Whether a shape lies between the smallest and the largest."""
        return all(low <= size <= high for low, size, high in zip(self.min, shape, self.max, strict=True))


@dataclass(frozen=True)
class Sidecar:
    """The facts of an engine.

    Attributes:
        path: the engine's plan.
        spec: the model's own facts.
        sha256: of the plan.
        flavour: "tensorrt" or "tensorrt-rtx", the package that it was built with.
        version: of that package.
        sm: compute capabilities that it was built for, 89 for 8.9.
        hardware_compatible: it runs on newer ones as well.
        version_compatible: it runs in newer TensorRT as well.
        output: "scores", or "labels" where the tail is in the engine.
        scores_type: of the scores' elements.
        profiles: shapes that it takes.
        layers: how many layers of which type were counted, before the build and after it.
        kernels: compiled GPU kernels, see gpu.kernels.
        parity: the certificate as it stands there, None where there is none.
        described: digest of everything but the certificate.
    """

    path: Path
    spec: ModelSpec
    sha256: str
    flavour: Literal["tensorrt", "tensorrt-rtx"]
    version: str
    sm: tuple[int, ...]
    hardware_compatible: bool
    version_compatible: bool
    output: Literal["scores", "labels"]
    scores_type: Literal["fp32", "fp16"]
    profiles: tuple[Profile, ...]
    layers: Mapping[str, Any]
    kernels: tuple[Mapping[str, Any], ...]
    parity: Any = None
    described: str = field(default="", compare=False)

    @property
    def capabilities(self) -> str:
        """The compute capabilities as people write them: "8.6, 8.9"."""
        newer = " and newer" if self.hardware_compatible else ""
        return ", ".join(f"{sm // 10}.{sm % 10}" for sm in self.sm) + newer

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
            raise ModelFileError(f"{self.path}: cannot be read ({error.strerror}); {REBUILD}") from error
        if hashlib.sha256(plan).hexdigest() != self.sha256:
            raise ModelFileError(
                f"{self.path}: not the engine that {sidecar_path(self.path).name} describes (altered, cut short or "
                f"replaced); {REBUILD}"
            )
        return plan


def read_sidecar(engine: Path) -> Sidecar:
    """Read the sidecar of an engine.

    Args:
        engine: the plan's path.

    Raises:
        ModelFileError: the sidecar is missing, damaged or of a newer format.
    """
    path, facts = sidecar_path(engine), read_facts(engine)
    check_format("format", facts.get("format"), FORMAT, str(path), REBUILD)
    try:
        return _parsed(engine, facts)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        if isinstance(error, ModelFileError):
            raise
        what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ModelFileError(f"{path}: invalid ({what}); {REBUILD}") from error


def read_facts(engine: Path) -> dict[str, Any]:
    """The sidecar's JSON as it stands.

    Raises:
        ModelFileError: the sidecar is missing or damaged.
    """
    path = sidecar_path(engine)
    if not path.is_file():
        raise ModelFileError(f"{engine}: {path.name} is missing beside it; copy both files, or {REBUILD}")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(facts, dict):
            raise TypeError(f"expected an object, got {type(facts).__name__}")
        return facts
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}: damaged ({error}); {REBUILD}") from error


def sidecar_path(engine: Path) -> Path:
    """`fcn8s.engine.json` beside `fcn8s.engine`."""
    return engine.with_name(engine.name + ".json")


def _parsed(path: Path, facts: Mapping[str, Any]) -> Sidecar:
    engine = _typed(dict, facts["engine"])
    return Sidecar(
        path=path,
        spec=ModelSpec.from_facts(_typed(dict, facts["model"]), str(sidecar_path(path))),
        sha256=_typed(str, engine["sha256"]),
        flavour=_one_of(engine["flavour"], "tensorrt", "tensorrt-rtx"),
        version=_typed(str, engine["version"]),
        sm=tuple(_count(number) for number in _several(engine["sm"], "sm")),
        hardware_compatible=_typed(bool, engine["hardware_compatible"]),
        version_compatible=_typed(bool, engine["version_compatible"]),
        output=_one_of(engine["output"], "scores", "labels"),
        scores_type=_one_of(engine["scores"], "fp32", "fp16"),
        profiles=tuple(_profile(profile) for profile in _several(engine["profiles"], "profiles")),
        layers=_typed(dict, engine["layers"]),
        kernels=checked_records(facts["kernels"]),
        parity=facts.get("parity"),
        described=digest({key: value for key, value in facts.items() if key != "parity"}),
    )


def _profile(value: Any) -> Profile:
    facts = _typed(dict, value)
    profile = Profile(*(_shape(facts[name]) for name in ("min", "opt", "max")))
    if not profile.takes(profile.opt):
        raise ValueError(f"expected min <= opt <= max, got {profile.min}, {profile.opt}, {profile.max}")
    return profile


def _shape(value: Any) -> Shape:
    if len(_typed(list, value)) != 3:
        raise ValueError(f"expected batch, height and width, got {reprlib.repr(value)}")
    batch, height, width = (_count(size) for size in value)
    return batch, height, width


def _count(value: Any) -> int:
    if not 1 <= _typed(int, value) < 1 << 31:
        raise ValueError(f"expected a whole number above 0, got {reprlib.repr(value)}")
    return int(value)


def _several(value: Any, name: str) -> list[Any]:
    if not _typed(list, value):
        raise ValueError(f"expected some {name}, got none")
    return list(value)


def _typed(kind: type[Kind], value: Any) -> Kind:
    """The value, which JSON must have given as this type: nothing is converted."""
    if type(value) is not kind:
        raise TypeError(f"expected {kind.__name__}, got {reprlib.repr(value)}")
    return value


def _one_of(value: Any, *choices: str) -> Any:
    if value not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}, got {reprlib.repr(value)}")
    return value
