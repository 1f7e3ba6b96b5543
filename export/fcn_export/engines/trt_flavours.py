"""What differs between TensorRT 8.6, 10, 11 and TensorRT for RTX, looked up by what the installed module has.

- 8.6 types networks weakly: halves are allowed by the FP16 flag and then demanded layer by layer (weak_typing.py).
- 10 has the STRONGLY_TYPED creation flag; 11 and RTX are always strongly typed and have no FP16 flag.
- RTX alone builds for GPUs that are not there, compiles on the target, and so times nothing while it builds.

Names were checked against the bindings of 8.6.1, 10.16.1, 11.4.0 and RTX 1.7.1.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from fcnrt.contract.flavours import MODULES, FlavourName, version_tuple
from fcnrt.contract.precision import Precision
from fcnrt.contract.profiles import Profile
from fcnrt.errors import first_line, pip_install

from ..errors import ExportError
from .gpu_device import Gpu

OLDEST: dict[FlavourName, str] = {"tensorrt": "8.6", "tensorrt-rtx": "1.1"}


@dataclass(frozen=True)
class BuildOptions:
    """What the user may choose about an engine; `sms` are the compute capabilities that it will run on."""

    profiles: tuple[Profile, ...]
    sms: tuple[int, ...]
    workspace_mib: int | None = None
    optimization_level: int | None = None
    version_compatible: bool = False
    hardware_compatible: bool = False
    tf32: bool = False


@dataclass(frozen=True)
class Flavour:
    """An installed TensorRT: its module, and what that can do."""

    name: FlavourName
    trt: Any

    @property
    def version(self) -> str:
        return str(self.trt.__version__)

    @property
    def title(self) -> str:
        return f"TensorRT {'for RTX ' if self.ahead_of_time else ''}{self.version}"

    @property
    def ahead_of_time(self) -> bool:
        """Whether it builds without a GPU, for compute capabilities that are named."""
        return hasattr(self.trt.IBuilderConfig, "set_compute_capability")

    @property
    def strongly_typed(self) -> bool:
        """Whether the types in the file are the types of the network; otherwise they are only a wish."""
        flags = self.trt.NetworkDefinitionCreationFlag
        return hasattr(flags, "STRONGLY_TYPED") or not hasattr(self.trt.BuilderFlag, "FP16")

    @property
    def reports_progress(self) -> bool:
        return hasattr(self.trt, "IProgressMonitor")

    @property
    def sms(self) -> tuple[int, ...]:
        """The compute capabilities that can be named."""
        names = dir(self.trt.ComputeCapability) if self.ahead_of_time else []
        return tuple(sorted(int(name[2:]) for name in names if re.fullmatch(r"SM\d+", name)))

    @property
    def creation_flags(self) -> int:
        """Flags of create_network: both are ignored by the versions in which they are a matter of course."""
        flags = self.trt.NetworkDefinitionCreationFlag
        wanted = (getattr(flags, name, None) for name in ("EXPLICIT_BATCH", "STRONGLY_TYPED"))
        return sum(1 << int(flag) for flag in wanted if flag is not None)


def load_flavour(name: FlavourName | None) -> Flavour:
    """The TensorRT asked for, or else the one that is installed, TensorRT before TensorRT for RTX.

    Args:
        name: "tensorrt", "tensorrt-rtx" or None.

    Raises:
        ExportError: it is not installed, does not load, or is too old.
    """
    missing = []
    for candidate in (name,) if name else MODULES:
        try:
            module = importlib.import_module(MODULES[candidate])
        except ImportError as error:
            missing.append(f"{candidate}: {first_line(error)}")
        else:
            return _checked_version(candidate, module)
    wanted = name or "tensorrt or tensorrt-rtx"
    raise ExportError(f"{wanted} cannot be imported ({'; '.join(missing)}); {pip_install(name or 'tensorrt-rtx')}")


def check_options(flavour: Flavour, options: BuildOptions, timing_cache: bool, gpu: Gpu | None) -> None:
    """Refuse what this TensorRT would ignore or fail on.

    Raises:
        ExportError: with the reason, and what to do instead.
    """
    if flavour.ahead_of_time:
        _check_rtx_options(flavour, options, timing_cache)
    elif options.hardware_compatible and gpu is not None and gpu.sm < 80:
        raise ExportError(
            f"--hardware-compatible: needs a GPU of compute capability 8.0 or newer to build on, {gpu.name} has "
            f"{gpu.sm // 10}.{gpu.sm % 10}; leave it out"
        )


def configure(flavour: Flavour, config: Any, options: BuildOptions, precisions: Collection[str]) -> None:
    """Set a builder config up, all but the profiles and the timing cache.

    Args:
        precisions: of the network's convolutions.
    """
    trt = flavour.trt
    if flavour.ahead_of_time:
        _set_targets(flavour, config, options.sms)
    if Precision.INT8 in precisions and not flavour.strongly_typed:
        config.set_flag(trt.BuilderFlag.INT8)  # explicit quantisation: Q/DQ alone says where
    if Precision.FP16 in precisions and not flavour.strongly_typed:
        config.set_flag(trt.BuilderFlag.FP16)
        config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    if not options.tf32:  # on by default, where a float32 file should give what float32 gives elsewhere
        config.clear_flag(trt.BuilderFlag.TF32)
    if options.workspace_mib is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * 2**20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    if options.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # or the inspector would tell names alone
    _share_profiles(trt, config)


def _checked_version(name: FlavourName, module: ModuleType) -> Flavour:
    flavour = Flavour(name, module)
    if version_tuple(flavour.version) < version_tuple(OLDEST[name]):
        raise ExportError(
            f"{name} {flavour.version}: expected {OLDEST[name]} or newer, which reads uint8 frames and opset 17; "
            "upgrade it"
        )
    return flavour


def _check_rtx_options(flavour: Flavour, options: BuildOptions, timing_cache: bool) -> None:
    if timing_cache:
        raise ExportError(f"--timing-cache: {flavour.title} times no kernels while it builds; leave it out")
    if options.version_compatible:
        raise ExportError(
            f"--version-compatible: engines of {flavour.title} run on that release alone; leave it out, "
            "and build again after an upgrade"
        )
    if options.hardware_compatible:
        raise ExportError(f"--hardware-compatible: {flavour.title} takes a list of GPUs; use --sm 80 86 89 120")


def _set_targets(flavour: Flavour, config: Any, sms: tuple[int, ...]) -> None:
    config.num_compute_capabilities = len(sms)
    for index, sm in enumerate(sms):
        if not config.set_compute_capability(getattr(flavour.trt.ComputeCapability, f"SM{sm}"), index):
            raise ExportError(f"--sm {sm}: {flavour.title} refuses this compute capability; leave it out")


def _share_profiles(trt: Any, config: Any) -> None:
    """Let several execution contexts use one profile: a preview of 8.6, on from 10, gone in 11."""
    sharing = getattr(trt.PreviewFeature, "PROFILE_SHARING_0806", None)
    if sharing is not None and not config.get_preview_feature(sharing):
        config.set_preview_feature(sharing, True)
