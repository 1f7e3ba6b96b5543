"""The plan and what must be known of it, `NAME.engine` and `NAME.engine.json`, written together and found again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from fcnrt.contract.files import atomic_path, json_text

from .layer_census import Census
from .source import EngineSource
from .trt_flavours import BuildOptions, Flavour

FORMAT = 1  # of the sidecar; the runtime refuses newer ones


def sidecar_of(engine: Path) -> Path:
    """`fcn8s.engine.json` beside `fcn8s.engine`."""
    return engine.with_name(engine.name + ".json")


def request(
    flavour: Flavour, source: EngineSource, options: BuildOptions, gpu_name: str | None, tool: str
) -> dict[str, Any]:
    """Everything that decides what an engine is, as it stands in the sidecar; equal requests make equal engines."""
    wanted = {
        "onnx_sha256": source.sha256,
        "flavour": flavour.name,
        "version": flavour.version,
        "sm": options.sms,
        "hardware_compatible": options.hardware_compatible,
        "version_compatible": options.version_compatible,
        "output": source.output,
        "scores": source.scores,
        "profiles": [profile.as_json() for profile in options.profiles],
        "options": {
            "workspace_mib": options.workspace_mib,
            "optimization_level": options.optimization_level,
            "tf32": options.tf32,
            "gpu": gpu_name,  # a plan of full TensorRT is tuned for one model of GPU
        },
        "tool": tool,
    }
    found: dict[str, Any] = json.loads(json.dumps(wanted))  # tuples become lists, as they are read back
    return found


def is_current(engine: Path, wanted: dict[str, Any]) -> bool:
    """Whether an engine and its sidecar lie there, belong together, and are what was asked for."""
    try:
        sidecar = json.loads(sidecar_of(engine).read_bytes())
        record = sidecar["engine"]
        asked_for = sidecar["format"] == FORMAT and all(record[key] == value for key, value in wanted.items())
        return asked_for and engine.stat().st_size == record["bytes"] and _sha256(engine) == record["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def write_engine(
    engine: Path,
    plan: Any,
    facts: dict[str, Any],
    wanted: dict[str, Any],
    layers: dict[str, Census | None],
    kernels: list[dict[str, Any]],
) -> dict[str, Any]:
    """Write plan and sidecar, whole or not at all, the sidecar last.

    A crash between the two leaves a plan whose sha256 is not the old sidecar's, which the runtime refuses.

    Args:
        plan: the plan's bytes, anything with the buffer protocol.
        facts: the ONNX file's `fcn.*` facts.
        wanted: of `request`.
        layers: census of the parsed network and of the engine.
        kernels: records of the GPU kernels.

    Returns:
        What the sidecar says.

    Raises:
        OSError: the folder cannot be written.
    """
    data = memoryview(plan)
    record = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": data.nbytes, **wanted, "layers": layers}
    sidecar = {"format": FORMAT, "model": facts, "engine": record, "kernels": kernels}
    with atomic_path(sidecar_of(engine)) as described, atomic_path(engine) as temporary:
        described.write_text(json_text(sidecar), encoding="utf-8")
        temporary.write_bytes(data)
    return sidecar


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
