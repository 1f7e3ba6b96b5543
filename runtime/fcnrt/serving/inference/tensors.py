"""Requests and answers of the Open Inference Protocol: tensors in JSON, or as bytes behind it.

https://github.com/kserve/open-inference-protocol and, for the bytes, Triton's extension for binary tensor data.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ...contract.types import Array, UInt8Array
from .limits import Refusal

MOST_DIGITS = 18  # of a count of bytes
HEADER_LENGTH = "Inference-Header-Content-Length"
FRAMES, LABELS = "frames", "labels"  # as the model files call them

_SHAPE = "[batch, height, width, 3]"


class Inference(NamedTuple):
    """What is asked for.

    Attributes:
        id: that the answer repeats, if there is one.
        frames: uint8 (N, H, W, 3).
        binary: whether the labels are to come as bytes.
    """

    id: str | None
    frames: UInt8Array
    binary: bool


def datatype(dtype: np.dtype[Any] | type[np.generic]) -> str:
    """What the protocol calls a type of numpy's."""
    return np.dtype(dtype).name.upper()


def parse_inference(body: bytes, header_length: str | None, most_pixels: int) -> Inference:
    """Read the body of a request.

    Args:
        body: JSON, and behind it perhaps bytes of tensors.
        header_length: bytes of the JSON, as a header of the request says where there are others.
        most_pixels: of the frames together.

    Raises:
        Refusal: it is not as the protocol, or this model, has it.
    """
    length = _length(header_length, len(body))
    asked = _json(body[:length])
    shape, tensor = _frames_tensor(asked)
    pixels = shape[0] * shape[1] * shape[2]
    if pixels > most_pixels:
        raise Refusal(413, f"{FRAMES}: expected at most {most_pixels} pixels, got {pixels}")
    binary_size = _parameters(tensor).get("binary_data_size")
    if binary_size is None:
        frames = _from_json(tensor.get("data"), shape)
    else:
        frames = _from_bytes(body[length:], binary_size, shape)
    return Inference(asked.get("id"), frames, _wants_bytes(asked))


def inference_answer(model: str, inference: Inference, labels: Array) -> tuple[bytes, dict[str, str]]:
    """The body of an answer, and its headers; `labels` are (N, H, W)."""
    output: dict[str, Any] = {"name": LABELS, "datatype": datatype(labels.dtype), "shape": list(labels.shape)}
    told = {"model_name": model, "model_version": "1", "outputs": [output]}
    if inference.id is not None:
        told["id"] = inference.id
    if not inference.binary:
        output["data"] = labels.ravel().tolist()
        return json.dumps(told).encode(), {"Content-Type": "application/json"}
    output["parameters"] = {"binary_data_size": labels.nbytes}
    head = json.dumps(told).encode()
    return head + labels.astype(labels.dtype.newbyteorder("<"), copy=False).tobytes(), {
        "Content-Type": "application/octet-stream",
        HEADER_LENGTH: str(len(head)),
    }


def _length(header_length: str | None, size: int) -> int:
    if header_length is None:
        return size
    if not header_length.isdecimal() or len(header_length) > MOST_DIGITS or int(header_length) > size:
        raise Refusal(400, f"{HEADER_LENGTH}: expected 0 to {size}, the bytes of the body, got {header_length!r}")
    return int(header_length)


def _json(text: bytes) -> dict[str, Any]:
    try:
        asked = json.loads(text)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Refusal(400, f"expected JSON, got something else ({error})") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets in thousands of brackets
        raise Refusal(400, "expected JSON, got some with far too long numbers or too many brackets") from None
    if not isinstance(asked, dict):
        raise Refusal(400, 'expected a JSON object with "inputs"')
    return asked


def _frames_tensor(asked: Mapping[str, Any]) -> tuple[list[int], Mapping[str, Any]]:
    """Shape and description of the one input."""
    inputs = asked.get("inputs")
    if not (isinstance(inputs, list) and len(inputs) == 1 and isinstance(inputs[0], dict)):
        raise Refusal(400, f"inputs: expected one, {FRAMES}")
    tensor = inputs[0]
    if (tensor.get("name"), tensor.get("datatype")) != (FRAMES, "UINT8"):
        got = f"{tensor.get('name')!r} of {tensor.get('datatype')!r}"
        raise Refusal(400, f"inputs: expected {FRAMES!r} of 'UINT8', got {got}")
    shape = tensor.get("shape")
    if not (isinstance(shape, list) and len(shape) == 4 and shape[3] == 3 and all(map(_is_side, shape))):
        raise Refusal(400, f"{FRAMES}: expected shape {_SHAPE}, got {shape}")
    return shape, tensor


def _is_side(value: Any) -> bool:
    return type(value) is int and value > 0


def _parameters(described: Mapping[str, Any]) -> Mapping[str, Any]:
    parameters = described.get("parameters", {})
    if not isinstance(parameters, dict):
        raise Refusal(400, "parameters: expected a JSON object")
    return parameters


def _from_json(data: Any, shape: list[int]) -> UInt8Array:
    try:
        values = np.asarray(data)
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
            raise ValueError("other values")
        return values.astype(np.uint8).reshape(shape)
    except ValueError:
        count = int(np.prod(shape, dtype=object))
        raise Refusal(400, f"{FRAMES}: expected data of {count} whole numbers from 0 to 255, got other data") from None


def _from_bytes(raw: bytes, size: Any, shape: list[int]) -> UInt8Array:
    count = int(np.prod(shape, dtype=object))
    if not size == len(raw) == count:
        raise Refusal(400, f"{FRAMES}: expected {count} bytes for shape {shape}, got {len(raw)}, announced as {size}")
    return np.frombuffer(raw, np.uint8).reshape(shape)


def _wants_bytes(asked: Mapping[str, Any]) -> bool:
    """Whether the labels are to come as bytes: what is said of them goes before what is said of all outputs."""
    usual = bool(_parameters(asked).get("binary_data_output", False))
    outputs = asked.get("outputs") or [{"name": LABELS}]
    if not (isinstance(outputs, list) and len(outputs) == 1 and isinstance(outputs[0], dict)):
        raise Refusal(400, f"outputs: expected one, {LABELS}")
    if outputs[0].get("name") != LABELS:
        raise Refusal(400, f"outputs: expected {LABELS!r}, got {outputs[0].get('name')!r}")
    return bool(_parameters(outputs[0]).get("binary_data", usual))
