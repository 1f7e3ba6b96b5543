"""The plan and what must be known of it, `NAME.engine` and `NAME.engine.json`, written together and found again."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from fcnrt.contract.files import atomic_path, json_text
from fcnrt.contract.sidecar import Sidecar, read_sidecar, sidecar_path
from fcnrt.errors import ModelFileError

from .layer_census import Census
from .source import EngineSource
from .trt_flavours import BuildOptions, Flavour


def request(
    engine: Path, flavour: Flavour, source: EngineSource, options: BuildOptions, gpu_name: str | None, tool: str
) -> Sidecar:
    """The sidecar of an engine before it is built: all that decides what it is; equal requests make equal engines."""
    return Sidecar(
        path=engine,
        spec=source.spec,
        sha256="",
        nbytes=0,
        onnx_sha256=source.sha256,
        flavour=flavour.name,
        version=flavour.version,
        sm=options.sms,
        hardware_compatible=options.hardware_compatible,
        version_compatible=options.version_compatible,
        output=source.output,
        scores_type=source.scores,
        profiles=options.profiles,
        options={
            "workspace_mib": options.workspace_mib,
            "optimization_level": options.optimization_level,
            "tf32": options.tf32,
            "gpu": gpu_name,  # a plan of full TensorRT is tuned for one model of GPU
        },
        tool=tool,
        layers={},
    )


def is_current(wanted: Sidecar) -> bool:
    """Whether an engine and its sidecar lie there, belong together, and are what was asked for."""
    try:
        found = read_sidecar(wanted.path)
        found.plan()
    except ModelFileError:
        return False
    return replace(found, sha256="", nbytes=0, layers={}, kernels=(), parity=None) == wanted


def write_engine(
    wanted: Sidecar, plan: Any, layers: dict[str, Census | None], kernels: list[dict[str, Any]]
) -> Sidecar:
    """Write plan and sidecar, whole or not at all, the sidecar last.

    A crash between the two leaves a plan whose sha256 is not the old sidecar's, which the runtime refuses.

    Args:
        wanted: of `request`.
        plan: the plan's bytes, anything with the buffer protocol.
        layers: census of the parsed network and of the engine.
        kernels: records of the GPU kernels.

    Returns:
        What the sidecar says.

    Raises:
        OSError: the folder cannot be written.
    """
    data = memoryview(plan)
    sha256 = hashlib.sha256(data).hexdigest()
    sidecar = replace(wanted, sha256=sha256, nbytes=data.nbytes, layers=layers, kernels=tuple(kernels))
    with atomic_path(sidecar_path(wanted.path)) as described, atomic_path(wanted.path) as temporary:
        described.write_text(json_text(sidecar.content()), encoding="utf-8")
        temporary.write_bytes(data)
    return sidecar
