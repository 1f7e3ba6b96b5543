"""Stand-ins for full TensorRT 8.6, 10 and 11, which run on GPUs only: modules with the names of that generation alone.

    fake = fake_tensorrt("8.6.1")
    monkeypatch.setitem(sys.modules, "tensorrt", fake)

The names below are those of the Python bindings 8.6.1, 10.16.1 and 11.4.0, for the classes that a builder touches.
Another name, read or set, raises AttributeError, as it does there. The parser makes one layer per ONNX node, typed as
that generation types it; what is asked of the builder is recorded in `fake.record`.

What this proves: which calls are made, and with what. Not that TensorRT accepts them, nor what it builds.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
from onnx import TensorProto, numpy_helper

GENERATIONS = ("8.6.1", "10.16.1.11", "11.4.0.106")

_ENUMS = {
    "NetworkDefinitionCreationFlag": {
        8: "EXPLICIT_BATCH EXPLICIT_PRECISION",
        10: "EXPLICIT_BATCH STRONGLY_TYPED PREFER_AOT_PYTHON_PLUGINS PREFER_JIT_PYTHON_PLUGINS",
        11: "STRONGLY_TYPED PREFER_AOT_PYTHON_PLUGINS PREFER_JIT_PYTHON_PLUGINS",
    },
    "BuilderFlag": {
        8: "FP16 INT8 DEBUG GPU_FALLBACK STRICT_TYPES REFIT DISABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS SAFETY_SCOPE "
        "OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS DIRECT_IO REJECT_EMPTY_ALGORITHMS "
        "ENABLE_TACTIC_HEURISTIC VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME FP8",
        10: "FP16 BF16 INT8 DEBUG GPU_FALLBACK REFIT DISABLE_TIMING_CACHE EDITABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS "
        "SAFETY_SCOPE OBEY_PRECISION_CONSTRAINTS PREFER_PRECISION_CONSTRAINTS DIRECT_IO REJECT_EMPTY_ALGORITHMS "
        "VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME FP8 ERROR_ON_TIMING_CACHE_MISS DISABLE_COMPILATION_CACHE WEIGHTLESS "
        "STRIP_PLAN REFIT_IDENTICAL WEIGHT_STREAMING INT4 REFIT_INDIVIDUAL STRICT_NANS MONITOR_MEMORY FP4 "
        "DISTRIBUTIVE_INDEPENDENCE",
        11: "DEBUG GPU_FALLBACK REFIT DISABLE_TIMING_CACHE EDITABLE_TIMING_CACHE TF32 SPARSE_WEIGHTS SAFETY_SCOPE "
        "DIRECT_IO VERSION_COMPATIBLE EXCLUDE_LEAN_RUNTIME ERROR_ON_TIMING_CACHE_MISS DISABLE_COMPILATION_CACHE "
        "STRIP_PLAN REFIT_IDENTICAL WEIGHT_STREAMING REFIT_INDIVIDUAL STRICT_NANS MONITOR_MEMORY "
        "DISTRIBUTIVE_INDEPENDENCE",
    },
    "PreviewFeature": {
        8: "FASTER_DYNAMIC_SHAPES_0805 DISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805 PROFILE_SHARING_0806",
        10: "PROFILE_SHARING_0806 ALIASED_PLUGIN_IO_10_03 RUNTIME_ACTIVATION_RESIZE_10_10 MULTIDEVICE_RUNTIME_10_16",
        11: "ALIASED_PLUGIN_IO_10_03 RUNTIME_ACTIVATION_RESIZE_10_10",
    },
    "HardwareCompatibilityLevel": {
        8: "NONE AMPERE_PLUS",
        10: "NONE AMPERE_PLUS SAME_COMPUTE_CAPABILITY",
        11: "NONE AMPERE_PLUS SAME_COMPUTE_CAPABILITY",
    },
    "DataType": {
        8: "FLOAT HALF INT8 INT32 BOOL UINT8 FP8",
        10: "FLOAT HALF BF16 INT8 INT32 INT64 BOOL UINT8 FP8 INT4 FP4 E8M0",
        11: "FLOAT HALF BF16 INT8 INT32 INT64 BOOL UINT8 FP8 INT4 FP4 E8M0",
    },
    "ProfilingVerbosity": {
        8: "LAYER_NAMES_ONLY DETAILED NONE DEFAULT VERBOSE",
        10: "LAYER_NAMES_ONLY DETAILED NONE",
        11: "LAYER_NAMES_ONLY DETAILED NONE",
    },
    "MemoryPoolType": dict.fromkeys((8, 10, 11), "WORKSPACE DLA_MANAGED_SRAM DLA_LOCAL_DRAM DLA_GLOBAL_DRAM"),
    "TensorFormat": dict.fromkeys((8, 10, 11), "LINEAR CHW2 HWC8 CHW4 CHW16 CHW32"),
    "LayerInformationFormat": dict.fromkeys((8, 10, 11), "ONELINE JSON"),
}
_CONFIG_8 = (
    "add_optimization_profile builder_optimization_level clear_flag create_timing_cache flags get_flag "
    "get_memory_pool_limit get_preview_feature get_timing_cache hardware_compatibility_level profiling_verbosity "
    "set_flag set_memory_pool_limit set_preview_feature set_timing_cache"
)
_CONFIG = {8: _CONFIG_8, 10: f"{_CONFIG_8} progress_monitor", 11: f"{_CONFIG_8} progress_monitor"}

_LAYERS = {
    "Conv": "CONVOLUTION", "ConvTranspose": "DECONVOLUTION", "Cast": "CAST", "Shape": "SHAPE", "MaxPool": "POOLING",
    "Relu": "ACTIVATION", "Resize": "RESIZE", "Slice": "SLICE", "Gather": "GATHER", "ArgMax": "TOPK",
    "Concat": "CONCATENATION", "Add": "ELEMENTWISE", "Sub": "ELEMENTWISE", "Mul": "ELEMENTWISE", "Mod": "ELEMENTWISE",
}  # fmt: skip
_TYPES = {
    TensorProto.FLOAT: "FLOAT", TensorProto.FLOAT16: "HALF", TensorProto.UINT8: "UINT8", TensorProto.INT64: "INT64",
    TensorProto.INT32: "INT32", TensorProto.BOOL: "BOOL",
}  # fmt: skip


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
    plan: bytes | None = b"a plan"
    build_error: str = ""
    halves_become_floats: bool = False  # as a build that asks a typed network for FP16 by flag did
    inspector: str | None = None
    opens: bool = True
    accepts_timing_cache: bool = True


class _Named:
    """An object that has the attributes in NAMES and no others."""

    NAMES: frozenset[str] = frozenset()

    def __setattr__(self, name: str, value: Any) -> None:
        if not name.startswith("_") and name not in self.NAMES:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        object.__setattr__(self, name, value)


def fake_tensorrt(version: str) -> Any:
    """A module that looks like TensorRT of that version to a builder; `record` holds what was asked of it."""
    major = int(version.split(".")[0])
    trt: Any = ModuleType("tensorrt")
    trt.__version__, trt.record, trt.major = version, Record(), major
    for name, members in _ENUMS.items():
        setattr(trt, name, enum.IntEnum(name, members[major].split(), start=0))
    trt.ILogger = _logger_class()
    if major >= 10:
        trt.IProgressMonitor = type("IProgressMonitor", (), {"__init__": lambda self: None})
    trt.IBuilderConfig = _config_class(trt)
    trt.ILayer = _layer_class("ILayer", major)
    for kind in ("IConvolutionLayer", "IDeconvolutionLayer"):
        setattr(trt, kind, _layer_class(kind, major))
    trt.Builder, trt.OnnxParser, trt.Runtime = _builder_class(trt), _parser_class(trt), _runtime_class(trt)
    return trt


def _logger_class() -> type:
    severity = enum.IntEnum("Severity", "INTERNAL_ERROR ERROR WARNING INFO VERBOSE", start=0)
    return type("ILogger", (), {"Severity": severity, "__init__": lambda self: None, **severity.__members__})


def _config_class(trt: Any) -> type:
    record = trt.record

    class IBuilderConfig(_Named):
        NAMES = frozenset(_CONFIG[trt.major].split())

        def __init__(self) -> None:
            record.config, record.flags = self, {"TF32"}
            record.preview = {"PROFILE_SHARING_0806"} if trt.major == 10 else set()

        def set_flag(self, flag: Any) -> None:
            record.flags.add(trt.BuilderFlag(flag).name)

        def clear_flag(self, flag: Any) -> None:
            record.flags.discard(trt.BuilderFlag(flag).name)

        def get_preview_feature(self, feature: Any) -> bool:
            return feature.name in record.preview

        def set_preview_feature(self, feature: Any, on: bool) -> None:
            record.preview.add(feature.name)

        def set_memory_pool_limit(self, pool: Any, nbytes: int) -> None:
            record.pools[pool.name] = nbytes

        def add_optimization_profile(self, profile: Any) -> int:
            record.profiles.append(profile.shapes)
            return len(record.profiles) - 1

        def create_timing_cache(self, data: bytes) -> Any:
            record.timing_cache = data
            return SimpleNamespace(serialize=lambda: data + b" and more")

        def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            return bool(record.accepts_timing_cache)

    return IBuilderConfig


def _layer_class(name: str, major: int) -> type:
    """A layer class; up to 10 its layers have precisions, but a strongly typed network lets nobody set them."""

    def set_precision(self: Any, value: Any) -> None:
        assert not self._strong, "setting a precision in a strongly typed network"
        self._precision = value

    def set_output_type(self: Any, index: int, value: Any) -> None:
        assert not self._strong, "setting an output type in a strongly typed network"
        self._output_types[index] = value

    members: dict[str, Any] = {
        "type": property(lambda self: self._type),
        "name": property(lambda self: self._name),
        "num_inputs": property(lambda self: len(self._inputs)),
        "num_outputs": property(lambda self: len(self._outputs)),
        "get_input": lambda self, index: self._inputs[index],
        "get_output": lambda self, index: self._outputs[index],
        "get_output_type": lambda self, index: self._output_types.get(index, self._outputs[index].dtype),
    }
    if major < 11:
        members |= {
            "NAMES": frozenset({"precision"}),
            "precision": property(lambda self: self._precision, set_precision),
            "precision_is_set": property(lambda self: self._precision is not None),
            "set_output_type": set_output_type,
        }
    if name != "ILayer":
        members["kernel"] = property(lambda self: self._kernel)
    return type(name, (_Named,), members)


def _builder_class(trt: Any) -> type:
    record = trt.record

    class Profile:
        def set_shape(self, name: str, *shapes: tuple[int, ...]) -> None:
            assert name == "frames"
            self.shapes = shapes

    class Builder:
        def __init__(self, logger: Any) -> None:
            self._logger = logger
            if not record.starts:
                logger.log(trt.ILogger.ERROR, "CUDA initialization failure with error: 35")
                raise TypeError("pybind11::init(): factory function returned nullptr")

        def create_network(self, flags: int) -> Any:
            record.creation_flags = flags
            record.network = _Network()
            return record.network

        def create_builder_config(self) -> Any:
            return trt.IBuilderConfig()

        def create_optimization_profile(self) -> Any:
            return Profile()

        def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
            monitor = getattr(config, "progress_monitor", None)
            if monitor is not None:
                monitor.phase_start("Building engine", None, 2)
                if not all([monitor.step_complete("Building engine", step) for step in (0, 1)]):
                    return None
                monitor.phase_finish("Building engine")
            if record.build_error:
                self._logger.log(trt.ILogger.ERROR, record.build_error)
            return None if record.build_error else record.plan

    return Builder


class _Network:
    """A parsed network; filled by the parser."""

    def __init__(self) -> None:
        self.layers: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    num_layers = property(lambda self: len(self.layers))
    num_inputs = property(lambda self: len(self.inputs))
    num_outputs = property(lambda self: len(self.outputs))

    def get_layer(self, index: int) -> Any:
        return self.layers[index]

    def get_input(self, index: int) -> Any:
        return self.inputs[index]

    def get_output(self, index: int) -> Any:
        return self.outputs[index]


def _parser_class(trt: Any) -> type:
    record = trt.record

    class OnnxParser:
        num_errors = 0

        def __init__(self, network: Any, logger: Any) -> None:
            self._network = network

        def parse(self, data: bytes) -> bool:
            if not record.understands:
                return True
            model = onnx.shape_inference.infer_shapes(onnx.load_model_from_string(data))
            typed = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
            strong = trt.major >= 11 or (typed is not None and bool(record.creation_flags & 1 << int(typed)))
            _Parse(trt, model, strong).fill(self._network)
            return True

    return OnnxParser


class _Parse:
    """One ONNX graph as a network: a layer per node, with tensors typed as the generation types them."""

    def __init__(self, trt: Any, model: onnx.ModelProto, strong: bool):
        self._trt, self._graph, self._strong = trt, model.graph, strong
        self._weights = {tensor.name: tensor for tensor in model.graph.initializer}
        values = [*model.graph.input, *model.graph.value_info, *model.graph.output]
        self._types = {value.name: value.type.tensor_type.elem_type for value in values}
        self._tensors = {value.name: self._tensor(value, True) for value in model.graph.input}

    def fill(self, network: _Network) -> None:
        network.inputs = list(self._tensors.values())
        for node in self._graph.node:
            network.layers.append(self._layer(node))
        for value in self._graph.output:
            output = self._tensors[value.name]
            output.dtype, output.shape = self._data_type(value.name, True), _shape(value)
            network.outputs.append(output)

    def _layer(self, node: onnx.NodeProto) -> Any:
        layer = self._trt.ILayer()
        layer._type = SimpleNamespace(name=_LAYERS.get(node.op_type, "SHUFFLE"))
        layer._name, layer._strong, layer._precision, layer._output_types = node.name, self._strong, None, {}
        layer._inputs = [self._tensors[name] for name in node.input if name in self._tensors]
        cast = node.op_type == "Cast"
        layer._outputs = [SimpleNamespace(name=name, dtype=self._data_type(name, cast)) for name in node.output]
        for output in layer._outputs:
            output.shape = ()
            self._tensors[output.name] = output
        if node.op_type in ("Conv", "ConvTranspose"):
            layer._kernel = numpy_helper.to_array(self._weights[node.input[1]])
        return layer

    def _tensor(self, value: onnx.ValueInfoProto, typed: bool) -> Any:
        dtype = self._data_type(value.name, typed)
        return SimpleNamespace(name=value.name, dtype=dtype, shape=_shape(value))

    def _data_type(self, name: str, typed: bool) -> Any:
        """The file's type; a weakly typed network calls everything float that no cast or interface types."""
        found = _TYPES[self._types[name]]
        if found == "HALF" and ((not self._strong and not typed) or self._trt.record.halves_become_floats):
            found = "FLOAT"
        if found == "INT64" and self._trt.major == 8:
            found = "INT32"
        return self._trt.DataType[found]


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dim.dim_value or -1 for dim in value.type.tensor_type.shape.dim)


def _runtime_class(trt: Any) -> type:
    record = trt.record

    class Runtime(_Named):
        NAMES = frozenset({"engine_host_code_allowed"})

        def __init__(self, logger: Any) -> None:
            self._logger = logger

        def deserialize_cuda_engine(self, plan: Any) -> Any:
            record.host_code_allowed = getattr(self, "engine_host_code_allowed", False)
            if not record.opens:
                self._logger.log(trt.ILogger.ERROR, "the plan cannot be opened")
                return None
            text = inspector_text(record.network, trt.major) if record.inspector is None else record.inspector
            inspector = SimpleNamespace(get_engine_information=lambda form: text)
            return SimpleNamespace(create_engine_inspector=lambda: inspector)

    return Runtime


def inspector_text(network: _Network, major: int) -> str:
    """What the inspector says of an engine with dynamic shapes: the types of tensors only from 11 on."""
    layers = []
    for layer in network.layers:
        if layer.type.name == "CONVOLUTION":
            precision = getattr(layer, "precision", None) or layer.get_output(0).dtype
            word = {"FLOAT": "Float", "HALF": "Half"}[precision.name]
            tensor = {"Name": "x", "Format/Datatype": "N/A due to dynamic shapes"}
            if major >= 11:
                tensor = {"Name": "x", "Format": "N/A due to dynamic shapes", "DataType": word}
            described = {"Name": layer.name, "LayerType": "CaskConvolution", "ParameterType": "Convolution"}
            layers.append({**described, "Inputs": [tensor], "Outputs": [tensor], "Weights": {"Type": word, "Count": 9}})
    return json.dumps({"Layers": layers, "Bindings": ["frames", "scores"]})
