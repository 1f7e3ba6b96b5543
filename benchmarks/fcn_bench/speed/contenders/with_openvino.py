"""OpenVINO on the exported file: upsampling and argmax in the graph."""

from __future__ import annotations

from functools import partial

from fcnrt.backends.openvino import shared_core

from .base import CannotRun, Contender, Setup


def _contender(setup: Setup, precision: str) -> Contender:
    """The file, reshaped to the frames' size as OpenVINO's guides advise, compiled for the latency of one frame."""
    if setup.device != "cpu":
        raise CannotRun("OpenVINO has no CUDA device")
    core = shared_core()
    usual = core.get_property("CPU", "INFERENCE_PRECISION_HINT").to_string()
    if precision not in (usual, "f32") and precision.upper() not in core.get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise CannotRun(f"this CPU has no {precision} instructions that OpenVINO uses")
    model = core.read_model(setup.model)
    model.reshape({"frames": [*setup.shape, 3]})
    hints = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": setup.threads,
        "INFERENCE_PRECISION_HINT": precision,
    }
    try:
        compiled = core.compile_model(model, "CPU", hints)
    except RuntimeError as error:  # its first lines are places in OpenVINO's source
        raise CannotRun(f"OpenVINO: {str(error).strip().splitlines()[-1]}") from error
    note = "its default precision here" if precision == usual else ""
    return Contender(
        lambda frames: compiled(frames)[0], precision.replace("f32", "fp32"), f"static shape; {note}".strip("; ")
    )


fp32 = partial(_contender, precision="f32")
bf16 = partial(_contender, precision="bf16")
