"""The names that TensorRT's Python bindings have, by generation: those of 8.6.1, 10.16.1, 11.4.0 and RTX 1.7.1.

They are held against the real bindings where those are installed, in test_engines.py.
"""

from __future__ import annotations

import enum
from typing import Any

Generation = int | str  # 8, 10, 11 or "rtx"

_BUILDER_FLAGS_11 = (
    "DEBUG GPU_FALLBACK REFIT DISABLE_TIMING_CACHE EDITABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS SAFETY_SCOPE DIRECT_IO "
    "VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME ERROR_ON_TIMING_CACHE_MISS DISABLE_COMPILATION_CACHE STRIP_PLAN "
    "REFIT_IDENTICAL WEIGHT_STREAMING REFIT_INDIVIDUAL STRICT_NANS MONITOR_MEMORY DISTRIBUTIVE_INDEPENDENCE"
)
# A generation that is not named has the names of "all"; none at all where there is no "all".
_ENUMS: dict[str, dict[Generation, str]] = {
    "NetworkDefinitionCreationFlag": {
        8: "EXPLICIT_BATCH EXPLICIT_PRECISION",
        10: "EXPLICIT_BATCH STRONGLY_TYPED PREFER_AOT_PYTHON_PLUGINS PREFER_JIT_PYTHON_PLUGINS",
        11: "STRONGLY_TYPED PREFER_AOT_PYTHON_PLUGINS PREFER_JIT_PYTHON_PLUGINS",
        "rtx": "STRONGLY_TYPED",
    },
    "BuilderFlag": {
        8: "FP16 INT8 DEBUG GPU_FALLBACK STRICT_TYPES REFIT DISABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS SAFETY_SCOPE "
        "OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS DIRECT_IO REJECT_EMPTY_ALGORITHMS "
        "ENABLE_TACTIC_HEURISTIC VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME FP8",
        10: f"{_BUILDER_FLAGS_11} FP16 BF16 INT8 FP8 INT4 FP4 OBEY_PRECISION_CONSTRAINTS "
        "PREFER_PRECISION_CONSTRAINTS REJECT_EMPTY_ALGORITHMS WEIGHTLESS",
        "all": _BUILDER_FLAGS_11,
    },
    "PreviewFeature": {
        8: "FASTER_DYNAMIC_SHAPES_0805 DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805 PROFILE_SHARING_0806",
        10: "PROFILE_SHARING_0806 ALIASED_PLUGIN_IO_10_03 RUNTIME_ACTIVATION_RESIZE_10_10 MULTIDEVICE_RUNTIME_10_16",
        "all": "ALIASED_PLUGIN_IO_10_03 RUNTIME_ACTIVATION_RESIZE_10_10",
    },
    "HardwareCompatibilityLevel": {8: "NONE AMPERE_PLUS", "all": "NONE AMPERE_PLUS SAME_COMPUTE_CAPABILITY"},
    "DataType": {
        8: "FLOAT HALF INT8 INT32 BOOL UINT8 FP8",
        "all": "FLOAT HALF BF16 INT8 INT32 INT64 BOOL UINT8 FP8 INT4 FP4 E8M0",
    },
    "ProfilingVerbosity": {
        8: "LAYER_NAMES_ONLY DETAILED NONE DEFAULT VERBOSE",
        "all": "LAYER_NAMES_ONLY DETAILED NONE",
    },
    "MemoryPoolType": {"all": "WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM"},
    "TensorFormat": {"all": "LINEAR CHW2 HWC8 CHW4 CHW16 CHW32"},
    "LayerInformationFormat": {"all": "ONELINE JSON"},
    "TensorIOMode": {"all": "NONE INPUT OUTPUT"},
    "ExecutionContextAllocationStrategy": {8: "", "all": "STATIC ON_PROFILE_CHANGE USER_MANAGED"},
}
_CONFIG = (
    "add_optimization_profile builder_optimization_level clear_flag create_timing_cache flags get_flag "
    "get_memory_pool_limit get_preview_feature get_timing_cache hardware_compatibility_level profiling_verbosity "
    "set_flag set_memory_pool_limit set_preview_feature set_timing_cache"
)


class Severity(enum.Enum):
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)


class Dims(tuple[int, ...]):
    """A shape; -1 where it is open."""


class ILogger:
    Severity = Severity
    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = Severity

    def __init__(self) -> None:
        self._constructed = True

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError("ILogger.log must be overridden")


class Logger(ILogger):
    def __init__(self, min_severity: Severity = Severity.WARNING):
        super().__init__()
        self.min_severity = min_severity

    def log(self, severity: Severity, msg: str) -> None:
        if severity.value <= self.min_severity.value:
            print(f"[TRT] [{severity.name[0]}] {msg}")


class Named:
    """An object whose attributes can be set if they are in NAMES, as those of the bindings."""

    NAMES: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self.NAMES:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        object.__setattr__(self, name, value)


def enumerations(generation: Generation) -> dict[str, Any]:
    """The enumerations of a generation, by name."""
    members = {name: of.get(generation, of.get("all", "")).split() for name, of in _ENUMS.items()}
    return {name: enum.IntEnum(name, named, start=0) for name, named in members.items() if named}


def config_names(generation: Generation) -> frozenset[str]:
    """The attributes of a builder's config."""
    return frozenset(_CONFIG.split()) | (frozenset() if generation == 8 else {"progress_monitor"})
