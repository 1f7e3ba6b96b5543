"""Files in another runtime: python inside.py RUNTIME FOLDER FILE...

Runs in that runtime's own environment, with numpy and the runtime alone, on Python 3.7 or newer. Prints a line of JSON
for each file: what share of the labels is fcnrt's, for each shape of frames, or why there are none.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile

import numpy as np


def onnx_runtime(model):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda frames: session.run(None, {"frames": frames})[0]


def open_vino(path):
    import openvino

    exact = {"INFERENCE_PRECISION_HINT": "f32"}  # or a processor with bfloat16 takes that
    compiled = openvino.Core().compile_model(path, "CPU", exact)
    return lambda frames: compiled({"frames": frames})[compiled.output(0)]


def opencv(path):
    import cv2

    net = cv2.dnn.readNetFromONNX(path)

    def run(frames):
        net.setInput(frames)
        return net.forward()

    return run


def reference(path):
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(path)
    return lambda frames: evaluator.run(None, {"frames": frames})[0]


def simplified(path):
    import onnx
    import onnxsim

    return onnx_runtime(onnxsim.simplify(onnx.load(path))[0].SerializeToString())


def slimmed(path):
    import onnx
    import onnxslim

    return onnx_runtime(onnxslim.slim(onnx.load(path)).SerializeToString())


def mnn(path):
    import _tools  # the program mnnconvert around it installs a logger at every call, and reports to it
    import MNN

    converted = os.path.join(tempfile.mkdtemp(), "model.mnn")
    words = ["-f", "ONNX", "--modelFile", path, "--MNNModel", converted, "--bizCode", "fcnrt"]
    _tools.mnnconvert(["mnnconvert", *words])
    net = MNN.nn.load_module_from_file(converted, ["frames"], ["labels"])
    kinds = {"uint8": MNN.expr.uint8, "float32": MNN.expr.float}

    def run(frames):
        given = MNN.expr.const(frames, list(frames.shape), MNN.expr.NCHW, kinds[str(frames.dtype)])
        return net.forward([given])[0].read()

    return run


def tract(path):
    import tract

    model = tract.onnx().load(path).into_model().into_runnable()
    return lambda frames: model.run([frames])[0].to_numpy()


def ours(path):
    import fcnrt

    segmenter = fcnrt.Segmenter(path, threads=1)

    def run(frames):
        planes = frames.dtype == np.float32  # which fcnrt makes itself
        return segmenter(np.moveaxis(frames, 1, 3).astype(np.uint8) if planes else frames)

    return run


RUNTIMES = {
    "onnxruntime": onnx_runtime,
    "openvino": open_vino,
    "opencv": opencv,
    "reference": reference,
    "onnxsim": simplified,
    "onnxslim": slimmed,
    "MNN": mnn,
    "tract": tract,
    "fcnrt": ours,
}


def shares(load, path):
    """Of each shape, the share of labels that are equal, or an error."""
    cases = np.load(path[: -len("onnx")] + "npz")
    try:
        run = load(path)
    except Exception as error:
        return {"every shape": told(error)}
    return {shape: share(run, cases[shape], cases[shape + " labels"]) for shape in cases.files if "labels" not in shape}


def share(run, frames, expected):
    try:
        labels = np.asarray(run(frames))
    except Exception as error:
        return told(error)
    if labels.shape != expected.shape:
        return f"labels of the shape {labels.shape}, expected {expected.shape}"
    return float((labels == expected).mean())


def told(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "{}: {}".format(type(error).__name__, lines[0] if lines else "")


def main(runtime, folder, names):
    for name in names:
        found = shares(RUNTIMES[runtime], os.path.join(folder, name))
        print(json.dumps({"file": name, "shares": found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
