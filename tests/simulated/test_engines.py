"""The simulated TensorRT and the simulated CUDA provider of ONNX Runtime keep to the real ones' names and manners."""

from __future__ import annotations

import functools
import json

import numpy as np
import pytest

from exports import plain_session
from fcnrt.gpu import cuda
from frames import frames_of
from simulated import MODES, simulations
from simulated.onnxruntime_cuda import simulated_onnxruntime
from simulated.tensorrt import simulated_tensorrt

SHAPE, PROFILES = (1, 40, 56), [((1, 32, 32), (1, 64, 96), (2, 96, 128)), ((1, 16, 16), (1, 24, 24), (1, 31, 31))]
VERSIONS = [("8.6.1", "tensorrt"), ("10.16.1.11", "tensorrt"), ("11.4.0.106", "tensorrt"), ("1.7.1", "tensorrt-rtx")]
MANAGED = "create_execution_context_without_device_memory"


@pytest.fixture
def simulate(request, monkeypatch):
    with simulations(request, monkeypatch) as simulate:
        yield simulate


@pytest.fixture(scope="module")
def onnx_file(exported):
    return exported("torchvision fcn")


class Engine:
    """A loaded engine, its log, and memory for frames and scores."""

    def __init__(self, trt, plan, shape=SHAPE, flavour_class=None):
        self.trt, module, self.gpu = trt, trt.module, cuda.Gpu()
        self.log = []

        class Log(module.ILogger):
            def __init__(self, messages):
                module.ILogger.__init__(self)
                self._messages = messages

            def log(self, severity, msg):
                self._messages.append((severity, msg))

        with self.gpu.current():
            self.runtime = module.Runtime(Log(self.log))
            self.engine = self.runtime.deserialize_cuda_engine(plan)
            self.stream, self.shape = cuda.Stream(self.gpu), shape
            self.frames = frames_of(*shape, seed=1)
            self.source = self.gpu.uploaded(self.frames)
            self.target = cuda.Memory(self.gpu, 1 << 16)
            self.activations = cuda.Memory(self.gpu, 1 << 16)

    def errors(self):
        return [text for severity, text in self.log if severity.name == "ERROR"]

    def context(self, activations=None):
        """A ready context in memory of ours."""
        if hasattr(self.engine, MANAGED):
            context = self.engine.create_execution_context_without_device_memory()
        else:
            strategies = self.trt.module.ExecutionContextAllocationStrategy
            context = self.engine.create_execution_context(strategies.USER_MANAGED)
        memory = activations or self.activations
        if hasattr(context, "set_device_memory"):
            context.set_device_memory(memory.address, memory.nbytes)
        else:
            context.device_memory = memory.address
        assert context.set_optimization_profile_async(0, self.stream.handle)
        assert context.set_input_shape("frames", (*self.shape, 3)) and context.infer_shapes() == []
        for name, memory in (("frames", self.source), ("scores", self.target)):
            assert context.set_tensor_address(name, memory.address)
        return context

    def scores(self, context):
        """What lies in the target now."""
        return self.trt.gpu.read(self.target.address, tuple(context.get_tensor_shape("scores")), np.float32)


@pytest.fixture
def load(simulate, monkeypatch, tmp_path, onnx_file):
    def load(version="10.16.1.11", flavour="tensorrt", mode="lazy", **plan):
        trt = simulated_tensorrt(monkeypatch, simulate(mode), version, flavour)
        path = trt.write_engine(tmp_path / "a.engine", onnx_file, PROFILES, **plan.pop("plan", {}), **plan)
        return Engine(trt, path.read_bytes())

    return load


def expected_scores(onnx_file, frames):
    from fcnrt.backends.base import Options
    from fcnrt.backends.cpu import open_on_cpu
    from fcnrt.backends.onnx_model import OnnxModel

    return open_on_cpu(OnnxModel(onnx_file), Options(device="cpu", threads=1)).scores(frames)


def public(thing):
    members = dir(thing) if not issubclass(thing, int) else thing.__members__  # of enumerations
    return {name for name in members if not name.startswith("_")} | getattr(thing, "NAMES", set())


def unknown_names(trt, real):
    """The simulation's names that the real bindings have not."""
    assert all(hasattr(real, name) for name in trt.api)
    names = {name: public(simulated) - public(tuple) - {"NAMES"} for name, simulated in trt.api.items()}
    return {name: left for name in names if (left := names[name] - {*dir(getattr(real, name))})}


def test_rtx_has_all_names_of_the_simulation(simulate, monkeypatch):
    real = pytest.importorskip("tensorrt_rtx")
    trt = simulated_tensorrt(monkeypatch, simulate(), "1.7.1", "tensorrt-rtx")
    assert unknown_names(trt, real) == {}
    made = {"engine", "active_optimization_profile", "min_severity"}
    assert made <= set().union(*(dir(getattr(real, each)) for each in trt.api))


def test_lean_runtime_has_all_names_of_the_simulation(simulate, monkeypatch):
    real = pytest.importorskip("tensorrt_lean")
    version = real.__version__
    if int(version.split(".")[0]) not in (10, 11):
        pytest.skip(f"no simulation of {version}")
    trt = simulated_tensorrt(monkeypatch, simulate(), version, lean=True)
    assert unknown_names(trt, real) == {} and not hasattr(real, "Builder")
    for name in ("execute_async_v3", "set_input_shape", "set_tensor_address", "set_optimization_profile_async"):
        assert "-> bool" in getattr(real.IExecutionContext, name).__doc__  # False, not an error


def test_rtx_has_the_names_of_a_builder_of_11(simulate, monkeypatch):
    real = pytest.importorskip("tensorrt_rtx")
    plugins = {"PREFER_AOT_PYTHON_PLUGINS", "PREFER_JIT_PYTHON_PLUGINS"}  # the full TensorRT's alone
    trt = simulated_tensorrt(monkeypatch, simulate(), "11.4.0.106")
    assert unknown_names(trt, real) == {"NetworkDefinitionCreationFlag": plugins}


@pytest.mark.parametrize("version, flavour", VERSIONS)
def test_generations_differ_as_their_bindings_do(simulate, monkeypatch, version, flavour):
    api = simulated_tensorrt(monkeypatch, simulate(), version, flavour).api
    has = {
        "strategies": "ExecutionContextAllocationStrategy" in api,
        "without": hasattr(api["ICudaEngine"], MANAGED),
        "v1": hasattr(api["ICudaEngine"], "device_memory_size"),
        "v2": hasattr(api["ICudaEngine"], "device_memory_size_v2"),
        "set_device_memory": hasattr(api["IExecutionContext"], "set_device_memory"),
        "capturable": hasattr(api["IExecutionContext"], "is_stream_capturable"),
    }
    wanted = {
        "8": {"without", "v1"},
        "10": {"strategies", "without", "v1", "v2", "set_device_memory"},
        "11": {"strategies", "v2", "set_device_memory"},
        "1": {"strategies", "v2", "set_device_memory", "capturable"},
    }[version.split(".")[0]]
    assert {name for name, present in has.items() if present} == wanted


@pytest.mark.parametrize("version, flavour", VERSIONS)
@pytest.mark.parametrize("mode", MODES)
def test_an_engine_computes_the_networks_scores_when_its_stream_does(load, onnx_file, version, flavour, mode):
    loaded = load(version, flavour, mode)
    engine = loaded.engine
    assert [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)] == ["frames", "scores"]
    assert engine.get_tensor_profile_shape("frames", 1) == [(1, 16, 16, 3), (1, 24, 24, 3), (1, 31, 31, 3)]
    assert engine.get_tensor_dtype("scores").name == "FLOAT" and engine.get_tensor_shape("scores")[2] == -1
    with loaded.gpu.current():
        context = loaded.context()
        assert context.execute_async_v3(loaded.stream.handle)
        if mode == "lazy":
            assert (loaded.scores(context).view(np.uint8) == 0xA5).all()
        loaded.stream.synchronize()
        np.testing.assert_array_equal(loaded.scores(context), expected_scores(onnx_file, loaded.frames))


def test_half_precision_scores_and_labels_inside(load, onnx_file):
    halves = load(scores="fp16")
    assert halves.engine.get_tensor_dtype("scores").name == "HALF"
    labels = load(output="labels")
    assert labels.engine.get_tensor_name(1) == "labels" and labels.engine.get_tensor_dtype("labels").name == "UINT8"
    with labels.gpu.current():
        context = labels.engine.create_execution_context()
        assert context.set_input_shape("frames", (*SHAPE, 3))
        assert context.set_tensor_address("frames", labels.source.address)
        assert context.set_tensor_address("labels", labels.target.address)
        assert context.execute_async_v3(labels.stream.handle)
        labels.stream.synchronize()
        found = labels.gpu.downloaded(labels.target.address, SHAPE, np.uint8)
    np.testing.assert_array_equal(found, plain_session(onnx_file).run(None, {"frames": labels.frames})[0])


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"version": "10.3.0"}, "Version tag"),
        ({"flavour": "tensorrt-rtx"}, "Version tag"),
        ({"sm": [75]}, "SM 89 is not compatible"),
        ({"version": "10.0", "version_compatible": True}, "host code is not allowed"),
    ],
)
def test_plans_that_are_refused(load, change, reason):
    loaded = load(plan=change)
    assert loaded.engine is None and reason in loaded.errors()[0]


@pytest.mark.parametrize("damage", [lambda plan: b"", lambda plan: b"garbage", lambda plan: plan[:-1]])
def test_damaged_plans_are_refused(load, damage, tmp_path):
    loaded = load()
    with loaded.gpu.current():
        assert loaded.runtime.deserialize_cuda_engine(damage((tmp_path / "a.engine").read_bytes())) is None
    assert "does not match" in loaded.errors()[0]


def test_compatible_plans_are_loaded(load):
    assert load(sm=[80], hardware_compatible=True).engine is not None


def test_a_logger_must_be_constructed(simulate, monkeypatch):
    module = simulated_tensorrt(monkeypatch, simulate()).module

    class Log(module.ILogger):
        def __init__(self):
            pass

    with pytest.raises(TypeError, match="must be called"):
        module.Runtime(Log())


MISUSES = {
    "a shape beyond the profile": (lambda c, e: c.set_input_shape("frames", (1, 31, 32, 3)), "is not within"),
    "a shape of wrong rank": (lambda c, e: c.set_input_shape("frames", (40, 56, 3)), "is not within"),
    "the shape of an output": (lambda c, e: c.set_input_shape("scores", (1, 2, 3, 4)), "no input"),
    "an unknown tensor": (lambda c, e: c.set_tensor_address("labels", e.target.address), "no tensor"),
    "an unaligned address": (lambda c, e: c.set_tensor_address("frames", e.source.address + 16), "not aligned"),
    "an unknown profile": (lambda c, e: c.set_optimization_profile_async(2, e.stream.handle), "the engine has 2"),
}


@pytest.mark.parametrize("what", MISUSES)
def test_misuse_is_answered_with_false_and_logged(load, what):
    loaded = load()
    with loaded.gpu.current():
        call, reason = MISUSES[what]
        context = loaded.context()
        assert call(context, loaded) is False
        loaded.stream.synchronize()
    assert reason in loaded.errors()[-1]


def test_executions_that_lack_something(load):
    loaded = load()
    with loaded.gpu.current():
        context = loaded.context()
        assert context.set_optimization_profile_async(1, loaded.stream.handle)  # forgets the shape
        assert not context.execute_async_v3(loaded.stream.handle) and "shape" in loaded.errors()[-1]
        assert context.infer_shapes() == ["frames"]
        bare = loaded.engine.create_execution_context()
        assert bare.set_input_shape("frames", (*SHAPE, 3))
        assert (
            not bare.execute_async_v3(loaded.stream.handle) and "no address for frames, scores" in loaded.errors()[-1]
        )
        context.set_device_memory(loaded.activations.address, 100)
        assert "bytes" in loaded.errors()[-1]


@pytest.mark.parametrize(
    "function", ["set_input_shape", "set_tensor_address", "set_optimization_profile_async", "execute_async_v3"]
)
def test_functions_fail_when_a_test_wants_it(load, function):
    loaded = load()
    with loaded.gpu.current():
        context = loaded.context()
        arguments = {
            "set_input_shape": ("frames", (*SHAPE, 3)),
            "set_tensor_address": ("frames", loaded.source.address),
            "set_optimization_profile_async": (0, loaded.stream.handle),
            "execute_async_v3": (loaded.stream.handle,),
        }[function]
        loaded.trt.refuse(function, after=1)
        assert [getattr(context, function)(*arguments) for _ in range(3)] == [True, False, True]
        loaded.stream.synchronize()


def test_two_contexts_in_the_same_memory_race_on_two_streams_only(load):
    loaded = load()
    with loaded.gpu.current():
        first, second, other = loaded.context(), loaded.context(), cuda.Stream(loaded.gpu)
        loaded.stream.synchronize()  # their profiles are set on it
        target = cuda.Memory(loaded.gpu, 1 << 16)
        assert second.set_tensor_address("scores", target.address)
        for context in (first, second):
            assert context.execute_async_v3(loaded.stream.handle)
        loaded.stream.synchronize()
        with loaded.trt.gpu.expecting("race: TensorRT and TensorRT"):
            assert first.execute_async_v3(loaded.stream.handle) and second.execute_async_v3(other.handle)
            loaded.gpu.synchronize()


def test_a_profile_is_set_in_the_order_of_its_stream(load):
    loaded = load()
    with loaded.gpu.current():
        context, other = loaded.context(), cuda.Stream(loaded.gpu)
        with loaded.trt.gpu.expecting("race"):
            assert context.execute_async_v3(other.handle)
            loaded.gpu.synchronize()


@pytest.mark.parametrize("version, shared", [("8.6.1", False), ("8.6.1", True), ("10.16.1.11", False)])
def test_contexts_share_a_profile_where_the_generation_or_the_plan_lets_them(load, version, shared):
    loaded = load(version, profile_sharing=shared)
    with loaded.gpu.current():
        first = loaded.context()
        second = loaded.engine.create_execution_context()
        may = shared or version != "8.6.1"
        assert second.active_optimization_profile == (0 if may else -1)
        assert second.set_optimization_profile_async(0, loaded.stream.handle) == may
        assert second.set_optimization_profile_async(1, loaded.stream.handle)
        loaded.stream.synchronize()
        assert may or "chosen by another" in loaded.errors()[-1]
        del first
        assert second.set_optimization_profile_async(0, loaded.stream.handle)
        loaded.stream.synchronize()


def test_a_context_is_captured_after_a_first_run_and_not_given_other_shapes(load, onnx_file):
    loaded = load()
    with loaded.gpu.current():
        context, stream = loaded.context(), loaded.stream
        with pytest.raises(Exception, match="INVALIDATED"):
            loaded.gpu.captured(stream, lambda: context.execute_async_v3(stream.handle))
        assert "capturing" in loaded.errors()[-1]
        assert context.execute_async_v3(stream.handle)
        graph = loaded.gpu.captured(stream, lambda: context.execute_async_v3(stream.handle))
        graph.launch(stream)
        stream.synchronize()
        np.testing.assert_array_equal(loaded.scores(context), expected_scores(onnx_file, loaded.frames))
        assert context.set_input_shape("frames", (1, 48, 56, 3))
        graph.launch(stream)
        with loaded.trt.gpu.expecting("another shape"):
            stream.synchronize()


def test_a_graph_does_not_outlive_its_context(load):
    loaded = load()
    with loaded.gpu.current():
        context, stream = loaded.context(), loaded.stream
        assert context.execute_async_v3(stream.handle)
        graph = loaded.gpu.captured(stream, functools.partial(context.execute_async_v3, stream.handle))
        stream.synchronize()
        del context
        with loaded.trt.gpu.expecting("TensorRT: 256 bytes"):
            graph.launch(stream)


def test_engines_that_cannot_be_captured(load):
    loaded = load("1.7.1", "tensorrt-rtx")
    loaded.trt.capturable = False
    with loaded.gpu.current():
        context = loaded.context()
        assert context.execute_async_v3(loaded.stream.handle)
        assert not context.is_stream_capturable(loaded.stream.handle)
        with pytest.raises(Exception, match="INVALIDATED"):
            loaded.gpu.captured(loaded.stream, lambda: context.execute_async_v3(loaded.stream.handle))
        loaded.stream.synchronize()


def test_out_of_memory_at_loading_and_for_contexts(load, tmp_path):
    loaded = load()
    machine, plan = loaded.trt.gpu, (tmp_path / "a.engine").read_bytes()
    machine.capacity = machine.bytes_alive() + 1000
    with loaded.gpu.current():
        assert loaded.runtime.deserialize_cuda_engine(plan) is None
        assert loaded.engine.create_execution_context() is None
    assert len(loaded.errors()) == 2 and all("OUT_OF_MEMORY" in text for text in loaded.errors())


def test_calls_without_a_context(load, tmp_path):
    loaded = load()
    with loaded.gpu.current():
        context = loaded.context()
    with loaded.trt.gpu.expecting("without a current context"):
        context.execute_async_v3(loaded.stream.handle)
    with loaded.gpu.current():
        loaded.stream.synchronize()


def test_the_sidecar_is_the_builders(load, tmp_path):
    loaded = load()
    from fcnrt.contract.sidecar import read_sidecar

    sidecar = read_sidecar(tmp_path / "a.engine")
    assert sidecar.plan() and sidecar.profiles[1].max == (1, 31, 31) and sidecar.sm == (89,)
    assert json.loads((tmp_path / "a.engine.json").read_text())["engine"]["flavour"] == loaded.trt.flavour


class Session:
    """A session of the simulated CUDA provider on a stream of ours."""

    def __init__(self, machine, ort, onnx_file):
        self.ort, self.gpu, self.machine = ort, cuda.Gpu(), machine
        with self.gpu.current():
            self.stream = cuda.Stream(self.gpu)
            settings = {"device_id": "0", "user_compute_stream": str(self.stream.handle)}
            providers = [("CUDAExecutionProvider", settings)]
            self.session = ort.InferenceSession(onnx_file.read_bytes(), ort.SessionOptions(), providers=providers)
            self.frames = frames_of(*SHAPE, seed=1)
            self.source = self.gpu.uploaded(self.frames)

    def run(self, target=None, asynchronous=True):
        options, binding = self.ort.RunOptions(), self.session.io_binding()
        if asynchronous:
            options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        binding.bind_input("frames", "cuda", 0, np.uint8, (*SHAPE, 3), self.source.address)
        where = () if target is None else (np.uint8, SHAPE, target)
        binding.bind_output("labels", "cuda", 0, *where)
        self.session.run_with_iobinding(binding, options)
        return binding

    def labels(self, address):
        return self.machine.read(address, SHAPE, np.uint8)


@pytest.fixture
def session(simulate, monkeypatch, onnx_file):
    machine = simulate("lazy")
    return Session(machine, simulated_onnxruntime(monkeypatch, machine), onnx_file)


def test_a_run_is_queued_on_the_stream_that_was_given(session, onnx_file):
    expected = plain_session(onnx_file).run(None, {"frames": session.frames})[0]
    with session.gpu.current():
        target = cuda.Memory(session.gpu, expected.nbytes)
        session.run(target.address)
        assert (session.labels(target.address) == 0xA5).all()
        session.stream.synchronize()
        np.testing.assert_array_equal(session.labels(target.address), expected)


def test_a_run_waits_unless_told_not_to(session, onnx_file):
    with session.gpu.current(), session.machine.counting() as made:
        output = session.run(asynchronous=False).get_outputs()[0]
        assert output.shape() == list(SHAPE) and output.device_name() == "cuda"
        expected = plain_session(onnx_file).run(None, {"frames": session.frames})[0]
        np.testing.assert_array_equal(session.labels(output.data_ptr()), expected)
    assert made["waits"] == 1


def test_outputs_without_an_address_reuse_forgotten_ones(session):
    with session.gpu.current():
        first = session.run().get_outputs()[0]
        second = session.run().get_outputs()[0]
        addresses = first.data_ptr(), second.data_ptr()
        del first
        assert addresses[0] != addresses[1] and session.run().get_outputs()[0].data_ptr() == addresses[0]
        session.stream.synchronize()


def test_bindings_that_are_wrong(session):
    with session.gpu.current():
        binding = session.session.io_binding()
        with pytest.raises(RuntimeError, match="input data type"):
            binding.bind_input("frames", "cuda", 0, np.float32, (*SHAPE, 3), session.source.address)
        with pytest.raises(RuntimeError, match="Failed to find scores"):
            binding.bind_output("scores", "cuda", 0)
        with session.machine.expecting("bound on cpu"):
            binding.bind_output("labels")
        with pytest.raises(RuntimeError, match="bind both"):
            session.session.run_with_iobinding(binding)
        binding.bind_input("frames", "cuda", 0, np.uint8, (*SHAPE, 3), session.source.address)
        binding.bind_output("labels", "cuda", 0, np.uint8, (1, 2, 3), session.source.address)
        with pytest.raises(RuntimeError, match="invalid output"):
            session.session.run_with_iobinding(binding)
        with session.machine.expecting("captured stream"):
            session.gpu.captured(session.stream, session.run)


def test_a_provider_without_its_libraries_falls_back(simulate, monkeypatch, onnx_file):
    ort = simulated_onnxruntime(monkeypatch, simulate())
    ort.loads = False
    session = ort.InferenceSession(onnx_file.read_bytes(), None, providers=["CUDAExecutionProvider"])
    assert session.get_providers() == ["CPUExecutionProvider"]


def test_broken_contexts_and_failing_runs_raise(session):
    session.ort.failing = "CUDNN_STATUS_EXECUTION_FAILED"
    with session.gpu.current():
        with pytest.raises(RuntimeError, match="CUDNN"):
            session.run()
        session.ort.failing = ""
        session.machine.break_at_launch(1)
        session.run()
        with pytest.raises(Exception, match="restart"):
            session.stream.synchronize()
        with pytest.raises(RuntimeError, match="ILLEGAL_ADDRESS"):
            session.run()
