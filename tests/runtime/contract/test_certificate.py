"""Certificates of parity: what they say, what they are bound to, and every way in which one stops counting."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from exports import Export, plain_session, save
from fcn_bench.parity.certify import CertifyError, certify, revoke
from fcnrt import ModelFileError, Segmenter, UsageError
from fcnrt.backends import certificate_of, read_model, read_spec
from fcnrt.cli.main import main
from fcnrt.contract.certificate import FORMAT, Certificate, checked_certificate, digest, measure, points_lost
from fcnrt.contract.seal import sealed_content
from fcnrt.contract.sidecar import sidecar_path
from fcnrt.pictures.writing import write_image
from frames import frames_of
from simulated.host import MakeHost

KEY = "fcn.parity"
CERTIFICATE = Certificate(
    subject="a" * 64,
    metric="present",
    reference_miou=0.6,
    miou=0.5995,
    agreement=0.9996,
    clear_flips=0.0,
    frames=101,
    data="camvid val",
    data_sha256="b" * 64,
    checkpoint_sha256="c" * 64,
    device="cpu",
    hardware="a processor",
    versions={"fcnrt": "0.1.0", "torch": "2.14.1"},
    date="2026-11-20T12:00:00+00:00",
)


@pytest.fixture
def model(exported: Export, tmp_path: Path) -> Path:
    return Path(shutil.copy(exported("torchvision fcn"), tmp_path / "net.onnx"))


def certified(path: Path, **changes: Any) -> Path:
    certify(path, replace(CERTIFICATE, subject=read_model(path).subject(), **changes))
    return path


def metadata(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def set_property(path: Path, key: str, value: str) -> None:
    proto = onnx.load(path)
    entry = next((entry for entry in proto.metadata_props if entry.key == key), None) or proto.metadata_props.add(
        key=key
    )
    entry.value = value
    save(proto, path)


def refusal(path: Path, points: float = 0.1) -> str:
    """What a Segmenter that wants parity says, without the file's name."""
    with pytest.raises(ModelFileError) as caught:
        Segmenter(path, device="cpu", require_parity=points)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path}: ")


def test_what_is_written_is_read(model: Path) -> None:
    found = certificate_of(read_model(certified(model)))
    assert found == replace(CERTIFICATE, subject=found.subject)
    assert found.points_lost == 0.05
    with Segmenter(model, device="cpu", require_parity=0.05) as segment:
        assert segment(frames_of(1, 33, 47)[0]).shape == (33, 47)


def test_certifying_changes_nothing_but_the_metadata(model: Path) -> None:
    before, facts = onnx.load(model), metadata(model)
    labels = plain_session(model).run(None, {"frames": frames_of(1, 45, 38)})[0]
    certified(certified(model), miou=0.59)
    after = onnx.load(model)
    assert {key: value for key, value in metadata(model).items() if key != KEY} == facts
    assert [entry.key for entry in after.metadata_props].count(KEY) == 1
    assert after.graph.SerializeToString() == before.graph.SerializeToString()
    onnx.checker.check_model(str(model), full_check=True)
    assert np.array_equal(plain_session(model).run(None, {"frames": frames_of(1, 45, 38)})[0], labels)
    assert certificate_of(read_model(model)).miou == 0.59
    assert os.listdir(model.parent) == ["net.onnx"]


def test_a_link_stays_a_link(model: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to(model)
    certified(link)
    assert link.is_symlink() and certificate_of(read_model(model)) == certificate_of(read_model(link))


def test_failed_writes_leave_the_file_as_it_was(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = model.read_bytes()

    def refused(*arguments: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(OSError, match="no space left"):
        certified(model)
    assert model.read_bytes() == before and os.listdir(model.parent) == ["net.onnx"]


def test_only_what_was_measured_is_certified(model: Path) -> None:
    before = model.read_bytes()
    with pytest.raises(CertifyError, match=r"net\.onnx: changed while it was measured"):
        certify(model, CERTIFICATE)
    assert model.read_bytes() == before


def test_revoked(model: Path) -> None:
    before = model.read_bytes()
    assert not revoke(model)
    assert revoke(certified(model))
    assert model.read_bytes() == before and refusal(model) == f"not certified; {measure()}"


def test_files_without_a_certificate_serve_those_who_ask_for_none(model: Path) -> None:
    with Segmenter(model, device="cpu"):
        pass
    assert refusal(model) == f"not certified; {measure()}"


@pytest.mark.parametrize(
    ("lost", "allowed", "taken"),
    [(0.05, 0.1, True), (0.1, 0.1, True), (0.1001, 0.1, False), (0.0, 0, True), (1e-5, 0, False), (-3.0, 0, True)],
)
def test_the_loss_that_is_allowed(lost: float, allowed: float, taken: bool, model: Path) -> None:
    certified(model, miou=0.6 - lost / 100)
    if taken:
        Segmenter(model, device="cpu", require_parity=allowed).close()
    else:
        assert refusal(model, allowed) == (
            f"{lost:g} points of mean IoU below its checkpoint (camvid val, cpu), require_parity allows {allowed:g}; "
            "export it in a higher precision, or allow more"
        )


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf, "0.1", True, [0.1]])
def test_requirements_that_are_none(value: Any, model: Path) -> None:
    with pytest.raises(UsageError, match="require_parity: expected points of mean IoU, a number from 0 up, got "):
        Segmenter(certified(model), require_parity=value)


def test_a_missing_file_is_missed_first(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere\.onnx: no such file"):
        Segmenter(tmp_path / "nowhere.onnx", require_parity=0.1)


@pytest.mark.parametrize("name", ["miou", "reference_miou", "agreement", "frames", "date", "subject"])
def test_edited_figures_are_noticed(name: str, model: Path) -> None:
    record = json.loads(metadata(certified(model))[KEY])
    record[name] = record[name] + 1 if name == "frames" else 0.6 if isinstance(record[name], float) else "d" * 64
    if name == "reference_miou":
        record[name] = 0.5
    set_property(model, KEY, json.dumps(record))
    assert refusal(model) == f"its certificate was edited; {measure()}"


def test_certificates_of_another_file(exported: Export, model: Path) -> None:
    text = metadata(certified(model))[KEY]
    other = Path(shutil.copy(exported("d2l fcn32s"), model.with_name("other.onnx")))
    set_property(other, KEY, text)
    assert refusal(other) == f"the file was changed after it was certified; {measure()}"


def test_changed_weights(model: Path) -> None:
    certified(model)
    proto = onnx.load(model)
    tensor = next(tensor for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    values = numpy_helper.to_array(tensor).copy()
    values.flat[0] = np.nextafter(values.flat[0], np.inf)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    save(proto, model)
    assert refusal(model) == f"the file was changed after it was certified; {measure()}"


def test_changed_facts(model: Path) -> None:
    """Whoever passes frames goes by the order of channels that the metadata names."""
    certified(model)
    set_property(model, "fcn.color", '"bgr"')
    assert refusal(model) == f"the file was changed after it was certified; {measure()}"


def test_what_other_tools_add_and_rewrite_is_harmless(model: Path) -> None:
    certified(model)
    proto = onnx.load(model)
    proto.metadata_props.add(key="quantised.by", value="nobody")
    entries = list(proto.metadata_props)
    del proto.metadata_props[:]
    proto.metadata_props.extend(entries[::-1])
    onnx.save(proto, model)
    assert certificate_of(read_model(model)).frames == 101


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "its certificate is damaged ('{')"),
        ("[]", "its certificate is damaged ([])"),
        ("7", "its certificate is damaged (7)"),
        ("null", "not certified"),
        ("[" * 100_000, "its certificate is damaged ('[[["),
        ("{}", "format of its certificate is None, expected 1"),
        ('{"format": 2}', "format of its certificate is 2, this fcnrt reads up to 1; upgrade fcnrt, or"),
        ('{"format": true}', "format of its certificate is True, expected 1"),
        ('{"format": 1}', "its certificate was edited"),
        ('{"format": 1, "miou": NaN}', "its certificate was edited"),
        ('{"format": 1, "x": ' + "[" * 400 + "]" * 400 + "}", "its certificate was edited"),
    ],
    ids=lambda text: text[:30],
)
def test_damaged_certificates_spoil_nothing_else(text: str, reason: str, model: Path) -> None:
    set_property(model, KEY, text)
    assert read_spec(model).family == "torchvision"
    assert refusal(model).startswith(reason) and refusal(model).endswith(measure())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("miou", value) for value in (math.nan, math.inf, -0.1, 1.1, "0.6", None, True, [0.6])),
        *(("reference_miou", value) for value in (math.nan, -math.inf, 60.0)),
        *(("agreement", value) for value in (math.nan, 2, "all")),
        *(("clear_flips", value) for value in (math.nan, -1)),
        *(("frames", value) for value in (0, -1, 1.5, True, "many", math.nan)),
        *(("metric", value) for value in ("", None, 3)),
        *(("versions", value) for value in ([], None, {"torch": 2}, {"": "2"})),
        *((name, "") for name in ("subject", "data", "data_sha256", "checkpoint_sha256", "device", "hardware", "date")),
    ],
)
def test_values_that_never_count(name: str, value: Any) -> None:
    """Sealed as they are, and refused all the same; nor can they be written."""
    facts = {**CERTIFICATE.record(), name: value}
    del facts["seal"]
    with pytest.raises(ModelFileError, match="its certificate is damaged"):
        checked_certificate({**facts, "seal": digest(facts)}, CERTIFICATE.subject, "net.onnx")
    with pytest.raises((TypeError, ValueError)):
        replace(CERTIFICATE, **{name: value}).record()


@pytest.mark.parametrize("name", sorted(Certificate.__dataclass_fields__.keys() - {"computed_in"}))
def test_missing_values_are_named(name: str) -> None:
    facts = {key: value for key, value in CERTIFICATE.record().items() if key not in (name, "seal")}
    with pytest.raises(ModelFileError, match=f"its certificate is damaged .'{name}' is missing"):
        checked_certificate({**facts, "seal": digest(facts)}, CERTIFICATE.subject, "net.onnx")


def test_a_certificate_from_before_bfloat16_holds_for_the_files_own_precision() -> None:
    facts = {key: value for key, value in CERTIFICATE.record().items() if key not in ("computed_in", "seal")}
    found = checked_certificate({**facts, "seal": digest(facts)}, CERTIFICATE.subject, "net.onnx")
    assert found == CERTIFICATE and found.covers("fp32") and not found.covers("bf16")


def test_the_record_is_plain_json() -> None:
    record = json.loads(json.dumps(CERTIFICATE.record(), allow_nan=False))
    assert record["format"] == FORMAT
    assert checked_certificate(record, CERTIFICATE.subject, "net.onnx") == CERTIFICATE


@pytest.mark.parametrize(
    ("before", "after", "points"), [(0.6, 0.599, 0.1), (0.5, 0.6, -10.0), (0.59506, 0.59506, 0.0), (1.0, 0.0, 100.0)]
)
def test_points(before: float, after: float, points: float) -> None:
    assert points_lost(before, after) == points
    assert math.isnan(points_lost(before, math.nan)) and math.isnan(points_lost(math.nan, after))


# Engines: the certificate lies in the sidecar and is bound to it and to the plan.


@pytest.fixture
def engine(make_host: MakeHost, exported: Export) -> Path:
    return make_host().model(exported("torchvision fcn"))


def engine_refusal(engine: Path) -> str:
    with pytest.raises(ModelFileError) as caught:
        Segmenter(engine, device="cuda", require_parity=0.1)
    return str(caught.value).removeprefix(f"{engine}: ")


def edit_sidecar(engine: Path, edit: Any) -> None:
    facts = json.loads(sidecar_path(engine).read_text())
    edit(facts)
    sidecar_path(engine).write_text(json.dumps(sealed_content(facts)))


def test_certified_engines_run(engine: Path) -> None:
    plan, before = engine.read_bytes(), json.loads(sidecar_path(engine).read_text())
    assert engine_refusal(engine) == f"not certified; {measure()}"
    certified(engine, device="cuda:0")
    with Segmenter(engine, device="cuda", require_parity=0.1) as segment:
        assert segment(frames_of(1, 65, 43)[0]).shape == (65, 43)
    after = json.loads(sidecar_path(engine).read_text())
    assert after.pop("parity")["device"] == "cuda:0" and after == before and engine.read_bytes() == plan
    assert revoke(engine) and json.loads(sidecar_path(engine).read_text()) == before


def test_figures_of_engines_are_sealed(engine: Path) -> None:
    edit_sidecar(certified(engine), lambda facts: facts["parity"].update(miou=0.6))
    assert engine_refusal(engine) == f"its certificate was edited; {measure()}"


@pytest.mark.parametrize(
    "edit",
    [
        lambda facts: facts["model"].update(color="bgr"),
        lambda facts: facts["kernels"].pop(),
        lambda facts: facts["engine"].update(tool="another"),
    ],
    ids=["facts", "kernels", "record"],
)
def test_changed_sidecars(edit: Any, engine: Path) -> None:
    edit_sidecar(certified(engine), edit)
    assert engine_refusal(engine) == f"the file was changed after it was certified; {measure()}"


def test_changed_plans(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certified(engine)
    engine.write_bytes(engine.read_bytes() + b"\0")
    assert engine_refusal(engine).startswith("not the engine that ")
    with pytest.raises(ModelFileError, match="not the engine that "):
        certificate_of(read_model(engine))
    assert main(["info", str(engine)]) == 0
    assert "  parity      none: not the engine that " in capsys.readouterr().out


# The command line.


def test_info_prints_the_certificate(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(certified(model))]) == 0
    assert capsys.readouterr().out.endswith(
        "  parity      0.0500 points of mean IoU lost (60.000 to 59.950, `present`), 99.9600% of labels equal, "
        "101 frames of camvid val\n"
        "              on cpu (a processor), 2026-11-20T12:00:00+00:00, fcnrt 0.1.0, torch 2.14.1\n"
    )
    assert main(["info", str(certified(model, miou=0.61))]) == 0
    assert "1.0000 points of mean IoU gained (60.000 to 61.000" in capsys.readouterr().out


def test_info_says_why_there_is_none(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(model)]) == 0
    assert capsys.readouterr().out.endswith(f"  parity      none: not certified; {measure()}\n")
    set_property(certified(model), "fcn.classes", json.dumps([f"thing {index}" for index in range(7)]))
    assert main(["info", str(model)]) == 0
    assert f"  parity      none: the file was changed after it was certified; {measure()}" in capsys.readouterr().out


def test_info_of_engines(engine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(certified(engine, device="cuda:0"))]) == 0
    assert "on cuda:0 (a processor)" in capsys.readouterr().out


def test_segment_can_require_parity(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "street.png"
    write_image(picture, frames_of(1, 33, 47)[0])
    command = ["segment", str(model), str(picture), "-o", str(tmp_path / "out"), "--require-parity", "0.1"]
    assert main(command) == 1
    assert capsys.readouterr().err == f"fcnrt: {model}: not certified; {measure()}\n"
    certified(model)
    assert main(command) == 0


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "much"])
def test_points_on_the_command_line(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["segment", "net.onnx", "street.png", "-o", "out", "--require-parity", value])
    assert caught.value.code == 2 and "expected points of mean IoU such as 0.1" in capsys.readouterr().err
