"""The builder of the simulated TensorRT: it records what is asked of it, and its plans run in the simulated runtime."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from .tensorrt_names import ILogger, Named
from .tensorrt_parser import Network, inspector_text

if TYPE_CHECKING:
    from .tensorrt import Plan, SimulatedTensorRT

_PROFILE_SHARING = "PROFILE_SHARING_0806"
_SCORES = {"FLOAT": "fp32", "HALF": "fp16"}


@dataclass
class Record:
    """What a builder was asked for, and how it is to answer."""

    creation_flags: int | None = None
    flags: set[str] = field(default_factory=set)
    preview: set[str] = field(default_factory=set)
    pools: dict[str, int] = field(default_factory=dict)
    profiles: list[tuple[tuple[int, ...], ...]] = field(default_factory=list)
    timing_cache: bytes | None = None
    host_code_allowed: bool = False
    network: Any = None
    config: Any = None
    # answers
    starts: bool = True
    understands: bool = True  # or the parser answers True and has made nothing, as for an empty file
    build_error: str = ""
    halves_become_floats: bool = False  # as a build that asks a typed network for FP16 by flag did
    inspector: str | None = None
    accepts_timing_cache: bool = True


class IBuilderConfig(Named):
    _trt: SimulatedTensorRT

    def __init__(self) -> None:
        self._record = self._trt.record
        self._record.config, self._record.flags, self._record.profiles = self, {"TF32"}, []
        self._record.preview = {_PROFILE_SHARING} if self._trt.generation == 10 else set()

    def set_flag(self, flag: Any) -> None:
        self._record.flags.add(self._trt.api["BuilderFlag"](flag).name)

    def clear_flag(self, flag: Any) -> None:
        self._record.flags.discard(self._trt.api["BuilderFlag"](flag).name)

    def get_preview_feature(self, feature: Any) -> bool:
        return feature.name in self._record.preview

    def set_preview_feature(self, feature: Any, on: bool) -> None:
        self._record.preview.add(feature.name)

    def set_memory_pool_limit(self, pool: Any, nbytes: int) -> None:
        self._record.pools[pool.name] = nbytes

    def add_optimization_profile(self, profile: Any) -> int:
        self._record.profiles.append(profile.shapes)
        return len(self._record.profiles) - 1

    def create_timing_cache(self, data: bytes) -> Any:
        self._record.timing_cache = data
        return SimpleNamespace(serialize=lambda: data + b" and more")

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        return self._record.accepts_timing_cache


class IProgressMonitor:
    def __init__(self) -> None:
        pass


class _Profile:
    def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
        assert name == "frames"
        self.shapes = shapes


class Builder:
    _trt: SimulatedTensorRT

    def __init__(self, logger: ILogger) -> None:
        self._logger = self._trt.logger_in_use(logger)
        if not self._trt.record.starts:
            self._logger.log(ILogger.ERROR, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int) -> Any:
        self._trt.record.creation_flags, self._trt.record.network = flags, Network()
        return self._trt.record.network

    def create_builder_config(self) -> Any:
        return self._trt.api["IBuilderConfig"]()

    def create_optimization_profile(self) -> Any:
        return _Profile()

    def build_serialized_network(self, network: Network, config: Any) -> bytes | None:
        if not _reported_to(getattr(config, "progress_monitor", None)):
            return None
        if self._trt.record.build_error:
            self._logger.log(ILogger.ERROR, self._trt.record.build_error)
            return None
        return _plan(self._trt, network, config).serialized()


def _reported_to(monitor: Any) -> bool:
    """Whether the progress monitor, if there is one, lets the build go on to its end."""
    if monitor is None:
        return True
    monitor.phase_start("Building engine", None, 2)
    goes_on = all([monitor.step_complete("Building engine", step) for step in (0, 1)])
    if goes_on:
        monitor.phase_finish("Building engine")
    return goes_on


def _plan(trt: SimulatedTensorRT, network: Network, config: Any) -> Plan:
    record, output = trt.record, network.get_output(0)
    level = getattr(config, "hardware_compatibility_level", None)
    return trt.plan(
        network.model,
        profiles=[[shape[:3] for shape in shapes] for shapes in record.profiles],
        output=output.name,
        scores=_SCORES.get(output.dtype.name, "fp32"),
        hardware_compatible=getattr(level, "name", "NONE") != "NONE",
        version_compatible="VERSION_COMPATIBLE" in record.flags,
        profile_sharing=_PROFILE_SHARING in record.preview or trt.generation not in (8, 10),
        inspected=inspector_text(network, trt.generation) if record.inspector is None else record.inspector,
    )
