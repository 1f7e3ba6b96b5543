"""A PyCUDA program hands in a GPUArray and its stream, and gets the labels in a GPUArray of its own.

Needs a GPU and PyCUDA (the extra 'pycuda'). Prints the share of each class in each frame.

python examples/pycuda_pipeline.py model.engine street.mp4
"""

import sys

import numpy as np

import fcnrt
from fcnrt.video import open_source


def main(model: str, video: str) -> None:
    import pycuda.autoprimaryctx  # noqa: F401  (the context that fcnrt works in, too)
    from pycuda.driver import Stream
    from pycuda.gpuarray import GPUArray

    stream = Stream()
    with fcnrt.Segmenter(model, device="cuda") as segmenter, open_source(video) as source:
        frames_gpu = GPUArray((*source.size, 3), np.uint8)
        labels_gpu = GPUArray(source.size, np.uint8)  # uint16 for more than 256 classes
        for frame in source:
            frames_gpu.set_async(frame.pixels, stream=stream)
            segmenter(frames_gpu, out=labels_gpu, stream=stream)  # does not wait: it is in order on the stream
            labels = labels_gpu.get_async(stream=stream)
            stream.synchronize()
            shares = np.bincount(labels.ravel(), minlength=len(segmenter.classes)) / labels.size
            print(f"{float(frame.time):9.2f} s", *(f"{share:6.1%}" for share in shares))


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
    elif len(sys.argv) != 3:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])
