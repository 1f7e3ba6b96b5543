"""Denormals are 0 while ONNX Runtime computes, in all threads, and are themselves again behind it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from fcnrt.backends import denormals

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

TINY = np.float32(1e-20)  # whose square is a denormal
SHAPE = (1, 32, 64, 64)


def survive() -> bool:
    return bool(TINY * TINY != 0)


@pytest.fixture
def convolution() -> bytes:
    tensor = onnx.helper.make_tensor_value_info
    weights = onnx.numpy_helper.from_array(np.full((32, 32, 3, 3), TINY), "weights")
    node = onnx.helper.make_node("Conv", ["frames", "weights"], ["scores"], pads=[1, 1, 1, 1])
    values = [tensor(name, onnx.TensorProto.FLOAT, SHAPE) for name in ("frames", "scores")]
    graph = onnx.helper.make_graph([node], "tiny", values[:1], values[1:], [weights])
    model: bytes = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9
    ).SerializeToString()
    return model


@pytest.mark.parametrize("threads", [1, 2])
def test_the_callers_share_of_the_work_is_flushed_too(threads: int, convolution: bytes) -> None:
    import onnxruntime

    from fcnrt.backends.onnxruntime import OrtNetwork

    if denormals._library() is None:
        pytest.skip("nobody knows how on this system")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry("session.set_denormal_as_zero", "1")  # in its own threads
    with ThreadPoolExecutor(1) as maker:  # the first one of a process flushes for good where it is made
        making = maker.submit(onnxruntime.InferenceSession, convolution, options, providers=["CPUExecutionProvider"])
    network = OrtNetwork(making.result())
    frames = np.full(SHAPE, TINY)
    found = [network.run([frames])[0], network.scores(frames), network.scores(frames).copy()]
    assert all(not scores.any() for scores in found)


def test_they_are_themselves_again() -> None:
    before = survive()
    with pytest.raises(ValueError, match="within"), denormals.denormals_flushed():
        raise ValueError("within")
    assert survive() == before


def test_where_nobody_knows_how_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    before = survive()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    denormals._library.cache_clear()
    try:
        with denormals.denormals_flushed():
            assert survive() == before
    finally:
        monkeypatch.undo()
        denormals._library.cache_clear()
