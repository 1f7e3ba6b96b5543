"""OpenVINO on the exported file: upsampling and argmax in the graph, and bare."""

from __future__ import annotations

import contextlib
import io
import logging
from functools import partial
from pathlib import Path
from typing import Any

from fcnrt.backends.openvino import no_telemetry, shared_core
from fcnrt.contract.onnx_file import OnnxFile

from .base import CannotRun, Contender, Setup, calibration_of, in_order


def _contender(setup: Setup, precision: str) -> Contender:
    """The file, reshaped to the frames' size as OpenVINO's guides advise, compiled for the latency of one frame."""
    core = _core(setup)
    usual = core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
    if precision not in (usual, "f32") and precision.upper() not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise CannotRun(f"this CPU has no {precision} instructions that OpenVINO uses")
    compiled = _compiled(setup, core.read_model(setup.model), precision)
    note = "its default precision here" if precision == usual else ""
    return Contender(
        lambda frames: compiled(frames)[0], precision.replace("f32", "fp32"), f"static shape; {note}".strip("; ")
    )


fp32 = partial(_contender, precision="f32")
bf16 = partial(_contender, precision="bf16")


def nncf_int8(setup: Setup) -> Contender:
    """The file quantised by NNCF with its defaults, which it is told a few frames for."""
    path = setup.folder / "openvino-int8.xml"
    if not path.exists():  # else NNCF is not even loaded
        _quantise(setup, path)
    compiled = _compiled(setup, _core(setup).read_model(path), "f32")
    return Contender(lambda frames: compiled(frames)[0], "int8", "static shape; quantised by NNCF's defaults")


def bare_scores(setup: Setup) -> Contender:
    """The same graph cut at the scores, nothing copied: what our OpenVINO network cannot fall below."""
    model = OnnxFile(setup.model, setup.model.read_bytes())
    model.cut_at_scores()
    request = _compiled(setup, _core(setup).read_model(model.proto.SerializeToString()), "f32").create_infer_request()
    return Contender(
        lambda frames: request.infer([frames], share_inputs=True, share_outputs=True)[0],
        "fp32",
        note="static shape; stops at the scores: no labels, a floor only",
        gives="scores",
    )


def _core(setup: Setup) -> Any:
    if setup.device != "cpu":
        raise CannotRun("OpenVINO has no CUDA device")
    return shared_core()


def _compiled(setup: Setup, graph: Any, precision: str) -> Any:
    graph.reshape({"frames": [*setup.shape, 3]})
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": setup.threads,
        "INFERENCE_PRECISION_HINT": precision,
    }
    try:
        return shared_core().compile_model(graph, "CPU", hints)
    except RuntimeError as error:  # its first lines are places in OpenVINO's source
        raise CannotRun(f"OpenVINO: {str(error).strip().splitlines()[-1]}") from error


def _quantise(setup: Setup, path: Path) -> None:
    calibration = calibration_of(setup)
    with no_telemetry():
        import nncf
    import openvino

    nncf.set_log_level(logging.ERROR)
    frames = nncf.Dataset(calibration, lambda frame: {"frames": in_order(setup, frame)})
    with contextlib.redirect_stdout(io.StringIO()):  # its progress bars
        graph = nncf.quantize(_core(setup).read_model(setup.model), frames, subset_size=len(calibration))
    openvino.save_model(graph, path, compress_to_fp16=False)
