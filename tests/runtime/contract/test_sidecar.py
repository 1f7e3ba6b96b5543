"""Sidecars of engines: what they say, and one line for each that is missing, damaged, foreign, newer or hostile."""

from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Any

import pytest

from fcnrt import ModelFileError, Tail
from fcnrt.backends import read_spec
from fcnrt.contract.precision import Precision
from fcnrt.contract.profiles import Profile
from fcnrt.contract.sidecar import FORMAT, Sidecar, read_sidecar, rebuild
from model_facts import FACTS

PLAN = b"a plan"
SHA256 = "a27fa2bacd5796b82680016a6b8865a616a9e4f6b6a198d3776ddc07536e3158"
KERNEL = {"name": "resize", "variant": "u8", "sm": 89, "entry": "resize", "warps": 4, "shared_bytes": 0,
          "tile": [1, 256], "parameters": ["*u8", "i64", "fp32"], "cubin": "AAAA"}  # fmt: skip
ENGINE = {
    "sha256": SHA256,
    "bytes": len(PLAN),
    "onnx_sha256": "0" * 64,
    "flavour": "tensorrt",
    "version": "10.3.0",
    "sm": [86, 89],
    "hardware_compatible": False,
    "version_compatible": True,
    "output": "scores",
    "scores": "fp16",
    "profiles": [{"min": [1, 32, 32], "opt": [1, 64, 96], "max": [4, 128, 128]}],
    "layers": {"network": {"CONVOLUTION": {"HALF": 3}}, "engine": None},
    "options": {"workspace_mib": None},
    "tool": "test",
}
FILE = {"format": 1, "model": FACTS, "engine": ENGINE, "kernels": [KERNEL]}


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    (tmp_path / "net.engine").write_bytes(PLAN)
    return tmp_path / "net.engine"


def written(engine: Path, content: object) -> Path:
    """The engine, beside it a sidecar of this text or of this value."""
    text = content if isinstance(content, str | bytes) else json.dumps(content)
    engine.with_name("net.engine.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    return engine


def changed(where: str, value: object = KeyError) -> dict[str, Any]:
    """A sidecar with one value replaced, or left out."""
    facts = copy.deepcopy(FILE)
    *outer, name = where.split(".")
    place: Any = facts
    for key in outer:
        place = place[int(key) if key.isdigit() else key]
    place[int(name) if name.isdigit() else name] = value
    if value is KeyError:
        del place[name]
    return facts


def refusal(engine: Path) -> str:
    """What read_sidecar says, without the file's name in front and the remedy at the end."""
    with pytest.raises(ModelFileError) as caught:
        read_sidecar(engine)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    assert text.startswith(f"{engine}") and text.endswith(rebuild())
    return text


def test_all_facts_are_read(engine: Path) -> None:
    sidecar = read_sidecar(written(engine, FILE))
    assert sidecar == Sidecar(
        path=engine,
        spec=sidecar.spec,
        sha256=SHA256,
        nbytes=len(PLAN),
        onnx_sha256="0" * 64,
        flavour="tensorrt",
        version="10.3.0",
        sm=(86, 89),
        hardware_compatible=False,
        version_compatible=True,
        output="scores",
        scores_type=Precision.FP16,
        profiles=(Profile((1, 32, 32), (1, 64, 96), (4, 128, 128)),),
        options=ENGINE["options"],
        tool="test",
        layers=ENGINE["layers"],
        kernels=(KERNEL,),
    )
    assert sidecar.spec.tail == Tail("deconv", 8, 31) and sidecar.spec.classes == ("road", "sky")
    assert read_spec(engine) == sidecar.spec


def test_keys_of_later_minor_versions_are_ignored(engine: Path) -> None:
    facts = changed("engine.later", {})
    facts["later"] = [1]
    assert read_sidecar(written(engine, facts)) == read_sidecar(written(engine, FILE))


def test_engines_without_kernels(engine: Path) -> None:
    assert read_sidecar(written(engine, changed("kernels", []))).kernels == ()


@pytest.mark.parametrize(
    "sm, newer, text",
    [
        ([75], False, "7.5"),
        ([86, 89, 120], False, "8.6, 8.9, 12.0"),
        ([80], True, "8.0 and newer"),
        ([100, 121], True, "10.0, 12.1 and newer"),
    ],
)
def test_capabilities_as_people_write_them(sm: list[int], newer: bool, text: str, engine: Path) -> None:
    facts = changed("engine.sm", sm)
    facts["engine"]["hardware_compatible"] = newer
    assert read_sidecar(written(engine, facts)).capabilities == text


@pytest.mark.parametrize(
    "shape, taken",
    [
        ((1, 32, 48), True),
        ((4, 128, 160), True),
        ((2, 64, 64), True),
        ((0, 64, 64), False),
        ((5, 64, 64), False),
        ((1, 31, 64), False),
        ((1, 129, 64), False),
        ((1, 64, 47), False),
        ((1, 64, 161), False),
    ],
)
def test_profiles_take_shapes_within_their_bounds(shape: tuple[int, int, int], taken: bool) -> None:
    assert Profile((1, 32, 48), (2, 64, 64), (4, 128, 160)).takes(shape) == taken


def test_missing_sidecar(engine: Path) -> None:
    assert refusal(engine) == f"{engine}: net.engine.json is missing beside it; copy both files, or {rebuild()}"


@pytest.mark.parametrize(
    "content, text",
    [
        ("", "damaged (Expecting value"),
        (json.dumps(FILE)[:300], "damaged ("),
        ("null", "damaged (expected dict, got None)"),
        ("[]", "damaged (expected dict, got [])"),
        ("NaN", "damaged (expected dict, got nan)"),
        ("[" * 100_000, "damaged (maximum recursion depth exceeded"),
        ('{"model":' * 100_000, "damaged (maximum recursion depth exceeded"),
        ('{"format":' + "9" * 5000 + "}", "damaged (Exceeds the limit"),
        (b"\xff\xfe{\0}\0", "damaged ('utf-8' codec can't decode"),
        (PLAN, "damaged (Expecting value"),
        ("{}", "format is None, expected 1"),
        ('{"keypoints": [1, 2]}', "format is None, expected 1"),
    ],
)
def test_damaged_and_foreign_sidecars(content: str | bytes, text: str, engine: Path) -> None:
    assert text in refusal(written(engine, content))


@pytest.mark.parametrize("newer", [FORMAT + 1, pytest.param(10**400, id="huge")])
def test_newer_sidecars(newer: int, engine: Path) -> None:
    text = refusal(written(engine, changed("format", newer)))
    assert f"this fcnrt reads up to {FORMAT}; upgrade fcnrt, or {rebuild()}" in text


@pytest.mark.parametrize("number", [None, 0, -1, 1.0, "1", True, [1], math.inf, math.nan])
def test_formats_that_are_none(number: object, engine: Path) -> None:
    assert f"format is {number!r}, expected 1; {rebuild()}" in refusal(written(engine, changed("format", number)))


REQUIRED = [
    "model",
    "kernels",
    "engine",
    *(f"engine.{name}" for name in ENGINE),
    *(f"engine.profiles.0.{name}" for name in ("min", "opt", "max")),
]


@pytest.mark.parametrize("where", REQUIRED)
def test_what_is_missing_is_named(where: str, engine: Path) -> None:
    assert f"invalid ('{where.split('.')[-1]}' is missing)" in refusal(written(engine, changed(where)))


ANYTHING = [None, 3, -1, 1.5, True, "text", "", [], {}, [[]], [{}], {"a": 1}, math.inf, -math.inf, math.nan, 10**400,
            "x" * 100_000, [None] * 3, "line\nbreak"]  # fmt: skip
TEXTS, COUNTS = ("text", "line\nbreak", ANYTHING[-3]), (3,)
PROPER: dict[str, tuple[object, ...]] = {
    **dict.fromkeys(("engine.sha256", "engine.onnx_sha256", "engine.version", "engine.tool"), TEXTS),
    "engine.bytes": COUNTS,
    "engine.options": ({}, {"a": 1}),
    "engine.hardware_compatible": (True,),
    "engine.version_compatible": (True,),
    "engine.layers": ({}, {"a": 1}),
    "engine.sm.0": COUNTS,
    "engine.profiles.0.min.1": COUNTS,
    "kernels": ([],),
    "kernels.0.name": TEXTS,
    "kernels.0.variant": TEXTS,
    "kernels.0.entry": TEXTS,
    "kernels.0.cubin": TEXTS,  # whatever is base64: the driver knows what is a cubin
    "kernels.0.sm": COUNTS,
    "kernels.0.warps": COUNTS,
    "kernels.0.shared_bytes": COUNTS,
    "kernels.0.parameters": ([],),
    "kernels.0.tile.0": COUNTS,
}
PLACES = [
    *REQUIRED[1:],
    *("engine.sm.0", "engine.profiles.0", "engine.profiles.0.min.1"),
    *("kernels.0", *(f"kernels.0.{name}" for name in KERNEL), "kernels.0.tile.0", "kernels.0.parameters.0"),
]


@pytest.mark.parametrize("where", PLACES)
def test_values_of_a_wrong_kind_are_refused(where: str, engine: Path) -> None:
    """Nothing is converted: "false" is no false, 8.9 no compute capability."""
    proper = [json.dumps(value) for value in PROPER.get(where, ())]
    for value in ANYTHING:
        if json.dumps(value) not in proper:
            refusal(written(engine, changed(where, value)))


@pytest.mark.parametrize("value", [value for value in ANYTHING if not isinstance(value, dict)], ids=type)
def test_a_model_without_facts(value: object, engine: Path) -> None:
    assert "invalid (expected dict, got " in refusal(written(engine, changed("model", value)))


@pytest.mark.parametrize(
    "where, value, text",
    [
        ("engine.flavour", "tensorflow", "expected one of tensorrt, tensorrt-rtx, got 'tensorflow'"),
        ("engine.output", "logits", "expected one of scores, labels, got 'logits'"),
        ("engine.scores", "int8", "expected one of fp32, fp16, got 'int8'"),
        ("engine.sm", [8.9], "8.9"),
        ("engine.sm", [0], "0"),
        ("engine.sm", [], "sm"),
        ("engine.profiles", [], "profiles"),
        ("engine.profiles.0.min", [1, 2], "[1, 2]"),
        ("engine.profiles.0.min", [1, 32, 32, 3], "[1, 32, 32, 3]"),
        ("engine.profiles.0.min", [0, 32, 32], "0"),
        ("engine.profiles.0.opt", [8, 64, 64], "min <= opt <= max"),
        ("engine.profiles.0.max", [4, 16, 128], "min <= opt <= max"),
        ("engine.hardware_compatible", "false", "'false'"),
        ("kernels.0.tile", [1, 0], "tile"),
        ("kernels.0.tile", [1, 2, 3], "tile"),
        ("kernels.0.warps", 0, "warps"),
        ("kernels.0.warps", 33, "warps"),
        ("kernels.0.parameters", ["*u8", "string"], "parameters"),
        ("kernels.0.cubin", "not base64!", "cubin"),
    ],
)
def test_what_is_wrong_is_said(where: str, value: object, text: str, engine: Path) -> None:
    message = refusal(written(engine, changed(where, value)))
    assert "invalid (" in message and text in message


@pytest.mark.parametrize(
    "key, value",
    [("scale", 10**400), ("mean", [10**400] * 3), ("scale", math.nan), ("std", [math.inf] * 3), ("mean", 5),
     ("tail", None), ("tail", []), ("classes", []), ("palette", [[1, 2]]), ("min_size", 0), ("format", 2)],
)  # fmt: skip
def test_models_facts_that_are_wrong(key: str, value: object, engine: Path) -> None:
    with pytest.raises(ModelFileError) as caught:
        read_sidecar(written(engine, changed(f"model.{key}", value)))
    assert "\n" not in str(caught.value) and "net.engine.json: " in str(caught.value)


def test_the_plan_is_the_one_described(engine: Path) -> None:
    assert read_sidecar(written(engine, FILE)).plan() == PLAN


@pytest.mark.parametrize("content", [b"a Plan", PLAN[:-1], PLAN + b"\0", b"", b"another plan"])
def test_plans_altered_cut_short_or_replaced(content: bytes, engine: Path) -> None:
    sidecar = read_sidecar(written(engine, FILE))
    engine.write_bytes(content)
    with pytest.raises(ModelFileError) as caught:
        sidecar.plan()
    assert str(caught.value) == (
        f"{engine}: not the engine that net.engine.json describes (altered, cut short or replaced); {rebuild()}"
    )


def test_a_plan_that_cannot_be_read(engine: Path) -> None:
    sidecar = read_sidecar(written(engine, FILE))
    engine.unlink()
    with pytest.raises(ModelFileError, match=r"net\.engine: cannot be read \(No such file or directory\)"):
        sidecar.plan()
