"""ONNX Runtime on the exported file, without code of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fcn_export.quantization.qdq import FrameReader, quiet_quantizer
from fcnrt.contract.onnx_file import OnnxFile

from .base import CannotRun, Contender, Setup, calibration_of, in_order
from .ours import computed_in

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def bare_scores(setup: Setup) -> Contender:
    """The same graph cut at the scores, and nothing else: what no runtime around ONNX Runtime can fall below."""
    model = OnnxFile(setup.model, setup.model.read_bytes())
    model.cut_at_scores()
    session = new_session(model.proto.SerializeToString(), setup)
    return Contender(
        lambda frames: session.run(["scores"], {"frames": frames})[0],
        computed_in(setup),
        note="stops at the scores: no labels, a floor only",
        gives="scores",
    )


def whole_graph(setup: Setup) -> Contender:
    """The portable file as it is: upsampling and argmax in the graph."""
    session = new_session(setup.model, setup)
    return Contender(lambda frames: session.run(["labels"], {"frames": frames})[0], computed_in(setup))


def static_int8(setup: Setup) -> Contender:
    """The file quantised by ONNX Runtime's own tool as its guides advise for x86: U8S8, per channel, 7-bit weights."""
    path = setup.folder / "ort-int8.onnx"
    if not path.exists():
        _quantise(setup, path)
    session = new_session(path, setup)
    return Contender(
        lambda frames: session.run(["labels"], {"frames": frames})[0],
        "int8",
        note="quantize_static, argmax in the graph",
    )


def new_session(model: Path | bytes, setup: Setup) -> Any:
    """A session with default options but for the threads."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(4)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setup.threads
    options.log_severity_level = 4
    provider = PROVIDERS[setup.device]
    if provider not in onnxruntime.get_available_providers():
        raise CannotRun(f"this onnxruntime has no {provider}")
    session = onnxruntime.InferenceSession(model, options, providers=[provider])
    if provider not in session.get_providers():  # ONNX Runtime falls back without a word
        raise CannotRun(f"{provider} does not load")
    return session


def _quantise(setup: Setup, path: Path) -> None:
    if setup.device != "cpu":
        raise CannotRun("quantised for the CPU")
    calibration = calibration_of(setup)
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with quiet_quantizer():
        quantize_static(
            setup.model,
            path,
            FrameReader(in_order(setup, frame) for frame in calibration),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            op_types_to_quantize=["Conv", "Add"],
        )
