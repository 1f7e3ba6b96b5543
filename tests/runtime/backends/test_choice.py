"""Which engine of the CPU runs a file: what was asked for, or measured here, and never other labels unasked."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

import fcnrt
from exports import Export, save
from fcn_bench.parity.certify import certify
from fcnrt.backends import choice, read_model, tuning
from fcnrt.backends.base import Options
from fcnrt.backends.choice import WAYS, Way, choose
from fcnrt.backends.onnx_model import OnnxModel
from fcnrt.contract.certificate import Certificate

ORT, OPENVINO, BFLOAT = WAYS
CERTIFICATE = Certificate(
    subject="", metric="present", reference_miou=0.6, miou=0.6, agreement=1.0, clear_flips=0.0, frames=9, data="camvid",
    data_sha256="b", checkpoint_sha256="c", device="cpu", hardware="a processor", versions={}, date="2026-11-20",
)  # fmt: skip


@pytest.fixture
def model(exported: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tuning, "cache_folder", lambda: tmp_path / "cache")
    return Path(shutil.copy(exported("torchvision fcn"), tmp_path / "net.onnx"))


def chosen(path: Path, threads: int | None = None, **options: Any) -> Way:
    return choose(OnnxModel(path), Options(device="cpu", threads=threads, **options))


def tuned(path: Path, openvino: float, bfloat: float, threads: int | None = None) -> None:
    ratios = {str(ORT): 1.0, str(OPENVINO): openvino, str(BFLOAT): bfloat}
    tuning.remember(path, threads, ratios, {"model": path.name})


def certified(path: Path, *computed_in: str) -> None:
    certify(path, replace(CERTIFICATE, subject=read_model(path).subject(), computed_in=computed_in))


def test_onnx_runtime_in_float32_unless_something_is_known(model: Path) -> None:
    assert chosen(model) == ORT
    assert chosen(model, engine="openvino") == OPENVINO
    assert chosen(model, precision="fp32") == ORT
    assert chosen(model, precision="bf16") == BFLOAT


def test_what_was_measured_to_be_faster_is_taken(model: Path) -> None:
    tuned(model, 0.8, 0.5)
    assert chosen(model) == chosen(model, precision="fp32") == OPENVINO
    assert chosen(model, engine="onnxruntime") == ORT
    tuned(model, 1.2, 0.5)
    assert chosen(model) == ORT and chosen(model, engine="openvino") == OPENVINO


def test_a_gain_that_may_be_noise_changes_nothing(model: Path) -> None:
    tuned(model, 0.98, 1.0)
    assert chosen(model) == ORT


def test_int8_files_keep_their_engine_unless_another_is_asked_for(model: Path) -> None:
    """Engines round int8 differently: the labels would change without a word."""
    proto = onnx.load(model)
    next(entry for entry in proto.metadata_props if entry.key == "fcn.precision").value = '"int8"'
    save(proto, model)
    tuned(model, 0.5, 0.4)
    assert chosen(model) == ORT and chosen(model, engine="openvino") == OPENVINO


def test_bfloat16_needs_a_certificate_that_names_it(model: Path) -> None:
    certified(model)
    tuned(model, 0.9, 0.5)
    assert chosen(model) == OPENVINO
    certified(model, "fp32", "bf16")
    tuned(model, 0.9, 0.5)  # of the file as it is now
    assert chosen(model) == BFLOAT and chosen(model, precision="fp32") == OPENVINO
    assert chosen(model, engine="openvino") == BFLOAT and chosen(model, engine="onnxruntime") == ORT


def test_a_certificate_without_a_measurement_does_not_switch(model: Path) -> None:
    certified(model, "bf16")
    assert chosen(model) == ORT


def test_parity_is_required_of_the_precision_that_computes(model: Path) -> None:
    certified(model)
    fcnrt.Segmenter(model, require_parity=0.1, precision="fp32").close()
    with pytest.raises((fcnrt.ModelFileError, fcnrt.BackendError), match=r"certified, but not for bf16|this processor"):
        fcnrt.Segmenter(model, require_parity=0.1, precision="bf16")


def test_another_file_another_machine_or_other_versions_are_not_known(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tuned(model, 0.8, 0.5, threads=2)
    assert chosen(model, threads=2) == OPENVINO and chosen(model) == chosen(model, threads=1) == ORT
    content = bytearray(model.read_bytes())
    content[-1] ^= 1
    (tmp_path / "other.onnx").write_bytes(content)
    assert tuning.recall(tmp_path / "other.onnx", 2) == {}
    with monkeypatch.context() as patch:
        patch.setattr(tuning, "_machine", lambda: ["another"])
        assert chosen(model, threads=2) == ORT
    monkeypatch.setattr(tuning, "version", lambda package: "9.9.9")
    assert chosen(model, threads=2) == ORT


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"a": {"bytes": "x"}}', "null", "\0"])
def test_a_spoiled_cache_is_none(content: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/tuned.json").write_text(content)
    assert chosen(model) == ORT
    tuned(model, 0.8, 0.5)
    assert chosen(model) == OPENVINO


def test_ratios_that_are_no_numbers_do_not_count(model: Path, tmp_path: Path) -> None:
    tuned(model, 0.8, 0.5)
    path = tmp_path / "cache/tuned.json"
    path.write_text(path.read_text().replace("0.8", '"quick"'))
    assert chosen(model) == ORT and json.loads(path.read_text())


def test_what_is_not_installed_is_not_chosen(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "find_spec", lambda name: None if name == "onnxruntime" else object())
    assert chosen(model) == OPENVINO
    monkeypatch.setattr(choice, "find_spec", lambda name: None)
    assert chosen(model) == ORT  # whose absence is then told


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"engine": "tflite"}, "engine: expected one of 'auto', 'onnxruntime', 'openvino', got 'tflite'"),
        ({"precision": "int4"}, "precision: expected one of 'auto', 'fp32', 'bf16', got 'int4'"),
        ({"engine": "onnxruntime", "precision": "bf16"}, "onnxruntime has no bf16 on the CPU; use engine='openvino'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str, model: Path) -> None:
    with pytest.raises(fcnrt.UsageError, match=message):
        fcnrt.Segmenter(model, device="cpu", **arguments)


@pytest.mark.parametrize("arguments", [{"engine": "openvino"}, {"precision": "bf16"}])
def test_engines_of_the_cpu_on_a_gpu(arguments: dict[str, Any], model: Path) -> None:
    with pytest.raises(fcnrt.UsageError, match="device 'cuda': OpenVINO, bfloat16 and tiles are for the CPU"):
        fcnrt.Segmenter(model, device="cuda", **arguments)
