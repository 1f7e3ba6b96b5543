"""Frames to labels by fcnrt, in Triton's Python backend, whose environment must have fcnrt with its extra `cpu`."""

from pathlib import Path

import triton_python_backend_utils as pb_utils

import fcnrt


class TritonPythonModel:
    """One Segmenter, which a thread of its own calls."""

    def initialize(self, args):
        folder = Path(args["model_repository"]) / args["model_version"]
        (path,) = (path for path in folder.iterdir() if path.suffix in (".onnx", ".engine"))
        on_gpu = args["model_instance_kind"] == "GPU"
        self._segment = fcnrt.Segmenter(path, device=f"cuda:{args['model_instance_device_id']}" if on_gpu else "cpu")

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        frames = pb_utils.get_input_tensor_by_name(request, "frames").as_numpy()
        try:
            labels = self._segment(frames)
        except fcnrt.FcnrtError as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor("labels", labels)])

    def finalize(self):
        self._segment.close()
