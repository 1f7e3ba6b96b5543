"""One build: parse the prepared graph, prove its precision, build the plan, look into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcnrt.contract.files import atomic_path
from fcnrt.contract.flavours import cause, logger_of
from fcnrt.contract.precision import Precision
from fcnrt.contract.profiles import Profile
from fcnrt.errors import one_line

from ..errors import ExportError
from .gpu_device import Gpu, make_current
from .layer_census import TYPES, Census, check_engine, check_network, engine_census, network_census
from .progress import cancellable, monitor_of, progress_bar
from .source import EngineSource, tensor_types
from .trt_flavours import BuildOptions, Flavour, configure
from .weak_typing import constrain

TensorFacts = tuple[str, str, tuple[int, ...]]  # name, TensorRT's type, shape with -1 where it is dynamic


@dataclass(frozen=True)
class Built:
    """A serialised engine and what is in it.

    Attributes:
        plan: the bytes of the plan, in TensorRT's own memory.
        network_layers: census of the parsed network.
        engine_layers: census of the engine, None where it could not be opened.
        unopened: why not.
    """

    plan: Any
    network_layers: Census
    engine_layers: Census | None
    unopened: str = ""


def build(
    flavour: Flavour,
    source: EngineSource,
    options: BuildOptions,
    gpu: Gpu | None,
    timing_cache: Path | None = None,
    verbose: bool = False,
) -> Built:
    """Build an engine.

    Args:
        flavour: the TensorRT to build with.
        source: the graph.
        options: as checked by `trt_flavours.check_options`.
        gpu: the GPU to build on; None to build ahead of time.
        timing_cache: file that measurements are taken from and added to.
        verbose: print TensorRT's log on stderr.

    Raises:
        ExportError: TensorRT refuses, or the precision is not that of the file; the text names the cause.
        KeyboardInterrupt: the user stopped it.
    """
    log = logger_of(flavour.trt)
    log.printed = verbose
    log.errors.clear()
    if gpu is not None:
        make_current(gpu)
    with cancellable(flavour.reports_progress) as cancelled, progress_bar(not verbose) as show:
        builder = _Builder(flavour, source, log)
        network = builder.parse()
        if cancelled():
            raise KeyboardInterrupt
        config = builder.configure(network, options)
        if flavour.reports_progress:
            monitor = monitor_of(flavour.trt, cancelled, show)  # a name of its own: it must outlive the build
            config.progress_monitor = monitor
        plan = builder.serialise(network, config, timing_cache)
        layers = network_census(network)
        opened = builder.inspect(plan, options) if gpu is not None else (None, "built ahead of time")
    if timing_cache is not None:
        builder.write_timing_cache(timing_cache)
    return Built(plan, layers, *opened)


class _Builder:
    """TensorRT's builder for one source, and the parser, which must outlive the network."""

    def __init__(self, flavour: Flavour, source: EngineSource, log: Any):
        self._flavour, self._trt, self._source, self._log = flavour, flavour.trt, source, log
        try:
            self._builder = self._trt.Builder(log)
        except Exception as error:  # pybind11's TypeError about a null pointer, when CUDA does not start
            reason = first_cause(log.errors) if log.errors else one_line(error)
            raise ExportError(
                f"{flavour.title} does not start on this machine ({reason}); it needs an NVIDIA driver and GPU, "
                "--flavour tensorrt-rtx --sm ... needs none"
            ) from error

    def parse(self) -> Any:
        """The network that TensorRT makes of the graph; interface and precision are those of the file."""
        source = self._source
        network = self._builder.create_network(self._flavour.creation_flags)
        self._parser = self._trt.OnnxParser(network, self._log)
        if not self._parser.parse(source.model.SerializeToString()):
            raise self._failure(f"cannot parse {source.path}", self._parser_errors())
        self._check_interface(network)
        if Precision.FP16 in source.convolutions and not self._flavour.strongly_typed:
            constrain(self._trt, network, tensor_types(source))
        check_network(self._trt, network, source.convolutions, str(source.path))
        return network

    def configure(self, network: Any, options: BuildOptions) -> Any:
        """A builder config with everything but progress monitor and timing cache."""
        config = self._builder.create_builder_config()
        configure(self._flavour, config, options, self._source.convolutions)
        for profile in options.profiles:
            self._add_profile(config, profile)
        linear = 1 << int(self._trt.TensorFormat.LINEAR)
        for tensor in (network.get_input(0), network.get_output(0)):
            tensor.allowed_formats = linear  # or TensorRT may choose a vectorised layout for the scores
        return config

    def serialise(self, network: Any, config: Any, timing_cache: Path | None) -> Any:
        """Build the plan, with measurements from the timing cache's file."""
        if timing_cache is not None:
            self._timing_cache = self._load_timing_cache(config, timing_cache)
        plan = self._builder.build_serialized_network(network, config)
        if plan is None:
            raise self._failure(f"cannot build {self._source.path}", self._log.errors)
        return plan

    def write_timing_cache(self, path: Path) -> None:
        """Keep the measurements, those that were read and those of this build."""
        with atomic_path(path) as temporary:
            temporary.write_bytes(memoryview(self._timing_cache.serialize()))

    def inspect(self, plan: Any, options: BuildOptions) -> tuple[Census | None, str]:
        """The census of the plan's layers; or None, and why it cannot be opened.

        Raises:
            ExportError: its convolutions are in another precision than the file's.
        """
        self._log.errors.clear()
        runtime = self._trt.Runtime(self._log)
        if options.version_compatible:
            runtime.engine_host_code_allowed = True  # such a plan carries the runtime that we just built it with
        engine = runtime.deserialize_cuda_engine(plan)
        if engine is None:
            return None, first_cause(self._log.errors)
        information = engine.create_engine_inspector().get_engine_information(self._trt.LayerInformationFormat.JSON)
        try:
            census = engine_census(information)
        except ValueError:
            return None, "its inspector gives no JSON"
        check_engine(census, self._source.convolutions, str(self._source.path))
        return census, ""

    def _check_interface(self, network: Any) -> None:
        """The parser answers True to anything: look what it made."""
        found = [network.get_input(index) for index in range(network.num_inputs)]
        found += [network.get_output(index) for index in range(network.num_outputs)]
        got = [(tensor.name, tensor.dtype.name, tuple(tensor.shape)) for tensor in found]
        expected = expected_interface(self._source)
        if len(got) != 2 or not all(_fits(*pair) for pair in zip(got, expected, strict=True)):
            raise ExportError(
                f"{self._source.path}: expected a network from {_tensor_text(expected[0])} to "
                f"{_tensor_text(expected[1])}, {self._flavour.title} made "
                f"{' and '.join(map(_tensor_text, got)) or 'none'}; please report this"
            )

    def _add_profile(self, config: Any, profile: Profile) -> None:
        wanted = self._builder.create_optimization_profile()
        try:
            wanted.set_shape("frames", *((*shape, 3) for shape in profile.bounds))
            added = config.add_optimization_profile(wanted) >= 0
        except ValueError:
            added = False
        if not added:
            raise self._failure(f"refuses the profile {profile}", self._log.errors)

    def _load_timing_cache(self, config: Any, path: Path) -> Any:
        """The cache that the config takes measurements from and adds them to; it must live until the plan is built."""
        cache = config.create_timing_cache(path.read_bytes() if path.exists() else b"")
        if cache is None or not config.set_timing_cache(cache, False):
            raise ExportError(
                f"--timing-cache {path}: expected one of {self._flavour.title} and this GPU, got another "
                f"({first_cause(self._log.errors)}); delete it, or name another file"
            )
        return cache

    def _parser_errors(self) -> list[str]:
        errors = [self._parser.get_error(index) for index in range(self._parser.num_errors)]
        return [f"{error.desc()} at node {error.node()}" for error in errors] or list(self._log.errors)

    def _failure(self, what: str, errors: Sequence[str]) -> ExportError:
        reason = first_cause(errors)
        remedy = "--verbose shows its log"
        if "workspace" in reason.lower():
            remedy = "raise --workspace, or leave it out"
        elif "memory" in reason.lower():
            remedy = "lower --max, or use a GPU with more memory"
        return ExportError(f"{self._flavour.title} {what} ({reason}); {remedy}")


def expected_interface(source: EngineSource) -> tuple[TensorFacts, TensorFacts]:
    """Name, TensorRT type and shape of the network's input and output; -1 is a dynamic size."""
    batch, height, width = (-1 if size is None else size for size in source.fixed)
    frames = ("frames", "UINT8", (batch, height, width, 3))
    if source.output == "labels":
        labels = source.spec.interface.output_tensor(source.classes)
        return frames, ("labels", labels.dtype.upper(), (batch, height, width))
    return frames, ("scores", TYPES[source.scores], (batch, source.classes, -1, -1))


def _fits(got: TensorFacts, expected: TensorFacts) -> bool:
    """Whether names, types and ranks are equal, and sizes where both are known: TensorRT need not infer them all."""
    sizes = zip(got[2], expected[2], strict=False)
    return (*got[:2], len(got[2])) == (*expected[:2], len(expected[2])) and all(
        -1 in pair or pair[0] == pair[1] for pair in sizes
    )


def first_cause(errors: Sequence[str]) -> str:
    """The first error in one line: those that follow are consequences."""
    if not errors:
        return "it gives no reason"
    return cause(errors[0]) + (f", and {len(errors) - 1} more, see --verbose" if len(errors) > 1 else "")


def _tensor_text(facts: TensorFacts) -> str:
    name, data_type, shape = facts
    return f"{name} {data_type.lower()} {shape}"
