"""Damaged files, seeded: refused in one line, or as good as before. `make fuzz` tries thousands."""

from __future__ import annotations

import json
import os
import pickle
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from exports import Export
from fcn_export.checkpoints.reading import load_checkpoint
from fcnrt.contract.seal import sealed, sealed_content
from fcnrt.contract.sidecar import sidecar_path
from hostile.checkpoint_mutators import BYTES, PICKLE, ZIP
from hostile.json_mutators import JSON
from hostile.mutators import MUTATORS, Mutator
from hostile.outcomes import FINE, Trials, labels_of
from simulated.host import MakeHost
from tiny_networks import tiny, upstream_state

CASES = 300
MODELS = "tramac fcn8s", "caffe fcn32s", "d2l fcn32s"
MINUTES = float(os.environ.get("FUZZ_MINUTES", 0))
STATE = {key: value for key, value in upstream_state(tiny("d2l fcn32s")).items() if value.numel() < 1000}

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="needs SIGALRM"),
    pytest.mark.filterwarnings("ignore:.*carries no digest:RuntimeWarning"),
]


def saved(path: Path, **options: Any) -> bytes:
    torch.save({"model": STATE, "epoch": 3, "args": {"lr": 0.1}}, path, **options)
    return path.read_bytes()


def plain(path: Path) -> bytes:
    return pickle.dumps({key: value.numpy() for key, value in STATE.items()}, 4)


def without_code(path: Path) -> bytes:
    safetensors.torch.save_file(STATE, path)
    return path.read_bytes()


# Formats without checksums cannot tell one weight from another: what they give is as good as what was there.
CHECKPOINTS: dict[str, tuple[Callable[[Path], bytes], tuple[Mutator, ...]]] = {
    "zip": (saved, ZIP),
    "old format": (partial(saved, _use_new_zipfile_serialization=False), PICKLE[:5]),
    "pickle": (plain, PICKLE),
    "safetensors": (without_code, BYTES),
}


def weights_of(path: Path) -> Any:
    return load_checkpoint(path, trust_pickle=True).state


def finite(found: Any, _: Any) -> bool:
    return all(bool(torch.isfinite(value).all()) for value in found.values())


def resealed(change: Mutator) -> Mutator:
    """A mutator whose file is sealed as it is: what is refused then is refused for what it is."""

    def changed(data: bytes, random: np.random.Generator) -> bytes:
        damaged = change(data, random)
        try:
            return sealed(damaged)
        except ValueError:
            return damaged

    changed.__name__ = f"{change.__name__}, sealed"
    return changed


def resealed_json(change: Mutator) -> Mutator:
    """The same for a sidecar."""

    def changed(data: bytes, random: np.random.Generator) -> bytes:
        damaged = change(data, random)
        try:
            return json.dumps(sealed_content(json.loads(damaged))).encode()
        except (ValueError, RecursionError, AttributeError, TypeError):
            return damaged

    changed.__name__ = f"{change.__name__}, sealed"
    return changed


def anything(found: Any, _: Any) -> bool:
    """Of what was sealed as it is, the labels may be others."""
    return True


def trials_of(kind: str, exported: Export, make_host: MakeHost, folder: Path) -> Trials:
    target = folder / "mutant.onnx"
    if kind in MODELS:
        return Trials(exported(kind).read_bytes(), MUTATORS, target, labels_of)
    if kind == "sealed":
        changes = tuple(map(resealed, MUTATORS))
        return Trials(exported("caffe fcn32s").read_bytes(), changes, target, labels_of, anything)
    if kind in CHECKPOINTS:
        make, changes = CHECKPOINTS[kind]
        return Trials(make(folder / "whole"), changes, folder / "mutant.pth", weights_of, finite)
    engine = make_host().model(exported("d2l fcn32s"))
    sidecar, changes = sidecar_path(engine), JSON if kind == "sidecar" else tuple(map(resealed_json, JSON))
    use = partial(labels_of_engine, engine)
    return Trials(sidecar.read_bytes(), changes, sidecar, use, np.array_equal if kind == "sidecar" else anything)


def labels_of_engine(engine: Path, sidecar: Path) -> np.ndarray:
    return labels_of(engine, "cuda")


SHARES = {**dict.fromkeys(MODELS, 34), "sealed": 30, "zip": 52, "old format": 20, "pickle": 40, "safetensors": 10,
          "sidecar": 23, "sealed sidecar": 23}  # fmt: skip


def test_all_cases_are_shared_out() -> None:
    assert sum(SHARES.values()) == CASES


@pytest.mark.parametrize("kind", SHARES)
def test_damaged_files_are_refused_or_harmless(
    kind: str, exported: Export, make_host: MakeHost, tmp_path: Path
) -> None:
    trials = trials_of(kind, exported, make_host, tmp_path)
    found = Counter(trials.run(seed) for seed in range(SHARES[kind]))
    assert set(found) <= set(FINE) and found["refused"], found


@pytest.mark.skipif(not MINUTES, reason="make fuzz MINUTES=15")
@pytest.mark.parametrize("kind", SHARES)
def test_thousands(
    kind: str, exported: Export, make_host: MakeHost, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trials = trials_of(kind, exported, make_host, tmp_path)
    end, random = time.monotonic() + 60 * MINUTES / len(SHARES), np.random.default_rng()
    found: Counter[str] = Counter()
    while time.monotonic() < end:
        found[trials.run(int(random.integers(1 << 31)))] += 1
    with capsys.disabled():
        print(f"\n{kind}: {found.total()} damaged files: {dict(found)}")
    assert set(found) <= set(FINE)
