"""A simulated TensorRT: its Python API, built with and run on simulated streams, computed by ONNX Runtime on the CPU.

    trt = simulated_tensorrt(monkeypatch, gpu, "10.16.1.11")  # or flavour="tensorrt-rtx", or lean=True
    trt.write_engine(path, onnx_file, profiles=[((1, 64, 64), (1, 96, 128), (2, 160, 192))])

A plan is a header and the ONNX file, cut at `scores`. The builder makes one of what is asked of it; that stands in
`trt.record`, beside the answers that a test wants. `write_engine` makes one without a build, with any facts. As
TensorRT does, functions return False or None for misuse and log the reason; the log's words are not TensorRT's. An
enqueued execution takes addresses and shapes as they are then, writes the context's activation memory and state, and
so races with whatever else uses that memory. A captured one is good as long as its context lives and is not given
another shape.

Differences of generation, by the attributes of the bindings of 8.6.1, 10.16.1, 11.4.0 and RTX 1.7.1: 8.6 has
create_execution_context_without_device_memory, device_memory_size and the attribute device_memory; 10 adds allocation
strategies, device_memory_size_v2 and set_device_memory; 11 and RTX drop the first two; RTX alone tells whether a
context can be captured. Before 10, contexts share a profile only if the plan was built for that.

The builder's half is of 8.6, 10 and 11: RTX builds without a GPU, so tests build with the real one. Names are in
tensorrt_names.py; another one, read or set, raises AttributeError, as it does there.

Not proved: which networks and options TensorRT accepts, its numerics, its need of memory, its real conditions for
capture, and what else makes it refuse.
"""

from __future__ import annotations

import hashlib
import json
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest

from fcnrt.contract import profiles as contract_profiles
from fcnrt.contract.files import write_json
from fcnrt.contract.flavours import LEAN_MODULES, MODULES
from fcnrt.contract.seal import sealed_content
from fcnrt.contract.sidecar import FORMAT, sidecar_path
from fcnrt.contract.spec import ModelSpec
from fcnrt.contract.types import Shape

from .machine import SimulatedCuda
from .network import cut_at_scores
from .tensorrt_builder import Builder, IBuilderConfig, IProgressMonitor, Record
from .tensorrt_names import Dims, Generation, ILogger, Logger, config_names, enumerations
from .tensorrt_parser import OnnxParser, layer_class
from .tensorrt_runtime import Runtime, context_class, engine_class

Profile = tuple[Shape, Shape, Shape]  # smallest, optimal, largest

_MAGIC = b"simulated plan\n"
_OF_THE_PLAN_ALONE = ("model", "profile_sharing", "activation_nbytes", "inspected")


@dataclass(frozen=True)
class Plan:
    """What a plan says of itself, and the model in it."""

    flavour: str
    version: str
    sm: Sequence[int]
    profiles: Sequence[Profile]
    output: str
    scores: str
    hardware_compatible: bool
    version_compatible: bool
    profile_sharing: bool
    activation_nbytes: int
    model: bytes
    inspected: str = json.dumps({"Layers": []})  # what the inspector says of the engine

    def serialized(self) -> bytes:
        facts = asdict(self)
        facts["model"] = len(self.model)
        return _MAGIC + json.dumps(facts).encode() + b"\n" + self.model


class SimulatedTensorRT:
    """An installed TensorRT.

    Attributes:
        module: what `import tensorrt` gives.
        api: the module's classes by name.
        record: what was asked of the builder, and how it is to answer.
        capturable: whether an execution can be captured at all.
    """

    def __init__(self, gpu: SimulatedCuda, version: str, flavour: str, lean: bool = False):
        self.gpu, self.version, self.flavour, self.lean = gpu, version, flavour, lean
        self.generation: Generation = "rtx" if flavour == "tensorrt-rtx" else int(version.split(".")[0])
        self.capturable, self.record = True, Record()
        self._log: Callable[[], Any] = lambda: None
        self._refusals: dict[str, list[int]] = {}
        self.api = self._runtime_api() | ({} if lean or self.generation == "rtx" else self._builder_api())
        for name in ("NetworkDefinitionCreationFlag", "TensorFormat") if lean else ():
            del self.api[name]
        self.module = ModuleType(LEAN_MODULES[0] if lean else MODULES[flavour])
        vars(self.module).update(self.api, __version__=version)

    def _runtime_api(self) -> dict[str, Any]:
        common = {kind.__name__: kind for kind in (ILogger, Logger, Dims)}
        engine, context = engine_class(self.generation), context_class(self.generation)
        return {
            **common,
            **enumerations(self.generation),
            "Runtime": self._bound(Runtime),
            "ICudaEngine": engine,
            "IExecutionContext": context,
        }

    def _builder_api(self) -> dict[str, Any]:
        layers = ("ILayer", "IConvolutionLayer", "IDeconvolutionLayer")
        return {
            **{name: layer_class(name, self.generation) for name in layers},
            **({} if self.generation == 8 else {"IProgressMonitor": IProgressMonitor}),
            "Builder": self._bound(Builder),
            "IBuilderConfig": self._bound(IBuilderConfig, NAMES=config_names(self.generation)),
            "OnnxParser": self._bound(OnnxParser),
        }

    def _bound(self, kind: type, **members: Any) -> type:
        """A class of this TensorRT alone."""
        return type(kind.__name__, (kind,), {"_trt": self, **members})

    def logger_in_use(self, logger: ILogger) -> ILogger:
        """TensorRT listens to one log for a process: the first, for as long as it lives."""
        if not getattr(logger, "_constructed", False):
            raise TypeError("ILogger.__init__() must be called when overriding __init__")
        used: ILogger = self._log() or logger
        self._log = weakref.ref(used)
        return used

    def refuse(self, function: str, after: int = 0, times: int = 1) -> None:
        """Let a function fail without a reason, after so many more calls that work, so many times."""
        self._refusals[function] = [after, times]

    def refuses(self, function: str) -> bool:
        """Count a call; whether the test wants it to fail."""
        after, times = self._refusals.get(function, (0, 0))
        if function in self._refusals:
            self._refusals[function] = [max(0, after - 1), times if after else max(0, times - 1)]
        return not after and times > 0

    def plan(self, model: bytes, **facts: Any) -> Plan:
        """A plan for this machine."""
        target = {"flavour": self.flavour, "version": self.version, "sm": [self.gpu.sm]}
        defaults = {"hardware_compatible": False, "version_compatible": False}
        inner = {"profile_sharing": True, "activation_nbytes": 1 << 16}
        return Plan(**{**target, **defaults, **inner, **facts}, model=model)

    def write_engine(
        self,
        path: Path,
        onnx_file: Path,
        profiles: Sequence[Profile],
        kernels: Sequence[dict[str, Any]] = (),
        output: str = "scores",
        scores: str = "fp32",
        sidecar: dict[str, Any] | None = None,
        **other: Any,
    ) -> Path:
        """Write a plan and its sidecar; what is in `other` replaces fields of Plan, and `sidecar` facts of "engine"."""
        model = onnx.load(onnx_file)
        spec = ModelSpec.from_metadata({entry.key: entry.value for entry in model.metadata_props}, str(onnx_file))
        inside = cut_at_scores(model) if output == "scores" else model.SerializeToString()
        plan = self.plan(inside, profiles=profiles, output=output, scores=scores, **other)
        engine = {key: value for key, value in asdict(plan).items() if key not in _OF_THE_PLAN_ALONE}
        path.write_bytes(plan.serialized())
        facts = {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
            "onnx_sha256": hashlib.sha256(onnx_file.read_bytes()).hexdigest(),
            **engine,
            "profiles": [contract_profiles.Profile(*profile).as_json() for profile in profiles],
            "options": {},
            "tool": "a test",
            "layers": {"network": {}, "engine": None},
            **(sidecar or {}),
        }
        content = {"format": FORMAT, "model": spec.facts(), "engine": facts, "kernels": list(kernels)}
        write_json(sidecar_path(path), sealed_content(content))
        return path

    def read_plan(self, data: bytes) -> Plan | None:
        """The plan in some bytes, None if there is no whole one."""
        header, _, model = data.removeprefix(_MAGIC).partition(b"\n")
        if not data.startswith(_MAGIC):
            return None
        facts = json.loads(header)
        complete = facts["model"] == len(model)
        return Plan(**{**facts, "model": model}) if complete else None

    def why_not(self, plan: Plan | None, host_code_allowed: bool) -> str:
        """Why a plan cannot be loaded here; "" if it can."""
        if self.refuses("deserialize_cuda_engine"):
            return "refused by the test"
        if plan is None:
            return "Serialization assertion: magic tag or size does not match"
        if self.lean and not plan.version_compatible:
            return "Expecting a version compatible engine"
        if (plan.flavour, plan.version) != (self.flavour, self.version) and not plan.version_compatible:
            return f"Version tag does not match: {self.version} is running, the plan was made by {plan.version}"
        if plan.version_compatible and not host_code_allowed:
            return "Deserializing a plan with host code is not allowed"
        newer = plan.hardware_compatible and self.gpu.sm >= 80
        if self.gpu.sm not in plan.sm and not newer:
            return f"Target GPU SM {self.gpu.sm} is not compatible with the plan's SM {plan.sm}"
        return ""


def simulated_tensorrt(
    monkeypatch: pytest.MonkeyPatch,
    gpu: SimulatedCuda,
    version: str = "10.16.1.11",
    flavour: str = "tensorrt",
    lean: bool = False,
) -> SimulatedTensorRT:
    """Install a TensorRT on a simulated machine: what `import tensorrt`, or `tensorrt_rtx`, gives from now on.

    With `lean` it is the runtime without a builder, and `import tensorrt` fails.
    """
    trt = SimulatedTensorRT(gpu, version, flavour, lean)
    monkeypatch.setitem(sys.modules, trt.module.__name__, trt.module)
    if lean:
        monkeypatch.setitem(sys.modules, MODULES[flavour], None)
    return trt
