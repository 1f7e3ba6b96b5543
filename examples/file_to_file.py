"""A video file to an overlay video, with its audio, times and rate: decoding, network, drawing and encoding overlap.

python examples/file_to_file.py model.onnx street.mp4 overlay.mp4
"""

import sys

import fcnrt
from fcnrt.video import Drawing, OverlayVideo, Pipeline, open_source


def main(model: str, video: str, output: str) -> None:
    with fcnrt.Segmenter(model) as segmenter, open_source(video) as source:
        drawing = Drawing(segmenter.palette, boundaries=True, legend=segmenter.classes)
        overlays = OverlayVideo(output, source, drawing, audio_from=video)
        print(Pipeline(source, segmenter, [overlays]).run())


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
    elif len(sys.argv) != 4:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])
