"""Labels to the bytes of a PNG of class indices, in Triton's Python backend with numpy and Pillow.

With fcnrt there it has the file's palette, without it is grey.
"""

import io
import json

import numpy as np
import triton_python_backend_utils as pb_utils
from PIL import Image


class TritonPythonModel:
    """A palette PNG, or one of 16 bits and grey beyond 256 classes."""

    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        palette, classes = (json.loads(parameters[f"fcn.{key}"]["string_value"]) for key in ("palette", "classes"))
        self._palette = colours(palette, len(classes))

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        labels = pb_utils.get_input_tensor_by_name(request, "labels").as_numpy()[0]
        data = np.array([self._encoded(labels)], dtype=np.object_)
        return pb_utils.InferenceResponse([pb_utils.Tensor("png", data)])

    def _encoded(self, labels):
        picture = Image.fromarray(labels if labels.dtype == np.uint8 else labels.astype(np.uint16))
        if picture.mode == "L" and self._palette is not None:
            picture.putpalette(self._palette)
        file = io.BytesIO()
        picture.save(file, "PNG")
        return file.getvalue()


def colours(palette, classes):
    """A palette as Pillow takes it: a name's by fcnrt."""
    if isinstance(palette, str):
        try:
            from fcnrt.pictures.palette import named_palette
        except ImportError:
            return None
        palette = named_palette(palette, classes).tolist()
    return [value for colour in palette[:256] for value in colour]
