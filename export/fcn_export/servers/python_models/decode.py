"""The bytes of a JPEG, PNG or WebP to a frame, in Triton's Python backend with numpy and Pillow."""

import io
import json

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "WEBP")
MAX_PIXELS = 1 << 26


class TritonPythonModel:
    """Pictures in the channel order that the file's frames have."""

    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        self._bgr = json.loads(parameters["fcn.color"]["string_value"]) == "bgr"

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        (data,) = pb_utils.get_input_tensor_by_name(request, "picture").as_numpy().ravel()
        try:
            frame = self._decoded(data)
        except Exception as error:  # Pillow's have no base class of their own
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"picture: {error}"))
        return pb_utils.InferenceResponse([pb_utils.Tensor("frames", frame[None])])

    def _decoded(self, data):
        with Image.open(io.BytesIO(data), formats=FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(f"expected up to {MAX_PIXELS} pixels, got {picture.width}x{picture.height}")
            frame = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        return np.ascontiguousarray(frame[..., ::-1] if self._bgr else frame)
