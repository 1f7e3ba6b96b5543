"""Frames and labels as torch tensors: pixels of one class keep their colour, everything else turns grey.

On a GPU nothing comes back to the host but the finished picture; on the CPU the same lines run on shared memory.

python examples/torch_pipeline.py model.engine street.mp4 person keep.mp4
"""

import sys

import torch

import fcnrt
from fcnrt.video import VideoWriter, open_source

LUMA = (0.2126, 0.7152, 0.0722)  # of ITU-R BT.709


def label(segmenter: fcnrt.Segmenter, frame_hwc: torch.Tensor) -> torch.Tensor:
    """Labels (H, W) of a frame (H, W, 3), uint8, where the frame is."""
    if frame_hwc.is_cuda:
        # Both are ready on torch's stream; neither is copied.
        return torch.from_dlpack(segmenter(frame_hwc, stream=torch.cuda.current_stream()))
    return torch.from_numpy(segmenter(frame_hwc.numpy()))


def keep(frame_hwc: torch.Tensor, labels_hw: torch.Tensor, index: int) -> torch.Tensor:
    grey_hw = frame_hwc.float() @ torch.tensor(LUMA, device=frame_hwc.device)
    return torch.where((labels_hw == index)[..., None], frame_hwc, grey_hw.round().byte()[..., None])


def main(model: str, video: str, name: str, output: str) -> None:
    with fcnrt.Segmenter(model) as segmenter, open_source(video) as source:
        index, device = segmenter.classes.index(name), torch.device(segmenter.device)
        with VideoWriter(output, source.rate or 25, source.size, audio_from=video) as writer:
            for frame in source:
                frame_hwc = torch.from_numpy(frame.pixels).to(device)
                picture_hwc = keep(frame_hwc, label(segmenter, frame_hwc), index)
                writer.write(picture_hwc.cpu().numpy(), frame.time)


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
    elif len(sys.argv) != 5:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])
