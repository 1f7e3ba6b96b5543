"""NVDEC to TensorRT to NVENC: no pixel passes through the host.

The picture keeps its brightness and takes the colours of its classes: in NV12 that is one gather for the chroma plane.
Needs an NVIDIA GPU with NVDEC and NVENC, PyAV, torch with CUDA, and an engine for that GPU.

python examples/nvdec_to_nvenc.py model.engine street.mp4 overlay.mp4
"""

import sys
from fractions import Fraction

import av
import numpy as np
import torch

import fcnrt
from fcnrt.video import Pipeline, open_source

TICKS = 90_000  # of the clock of the file that is written, per second


def chroma_table(palette: np.ndarray) -> torch.Tensor:
    """U and V of each class, (C, 2) uint8: BT.709, limited range."""
    red, green, blue = palette.astype(np.float32).T / 255
    luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    chroma = np.stack([(blue - luma) / 1.8556, (red - luma) / 1.5748], axis=1)
    return torch.from_numpy((128.5 + 224 * chroma).astype(np.uint8)).cuda()


def main(model: str, video: str, output: str) -> None:
    with (
        fcnrt.Segmenter(model, device="cuda") as segmenter,
        open_source(video, hwaccel="cuda") as source,
        av.open(output, "w") as container,
    ):
        height, width = (side - side % 2 for side in source.size)
        colours = chroma_table(segmenter.palette)
        stream = container.add_stream("h264_nvenc", rate=source.rate or 25, width=width, height=height)
        stream.codec_context.time_base = Fraction(1, TICKS)
        for frame, labels in Pipeline(source, segmenter):
            luma = torch.as_tensor(frame.pixels.luma, device="cuda")[:height, :width]
            chroma = colours[torch.from_dlpack(labels)[:height:2, :width:2].long()]  # (H / 2, W / 2, 2)
            torch.cuda.current_stream().synchronize()  # NVENC works on a stream of its own
            picture = av.VideoFrame.from_dlpack((luma, chroma), format="nv12", primary_ctx=True)
            picture.pts, picture.time_base = round(frame.time * TICKS), Fraction(1, TICKS)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
    elif len(sys.argv) != 4:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])
