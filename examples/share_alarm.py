"""Watches a camera or stream and tells when a class covers more than a share of the picture, and when no longer.

python examples/share_alarm.py model.onnx rtsp://camera/stream person 0.02
"""

import sys
from collections.abc import Iterator

import numpy as np

import fcnrt
from fcnrt.video import FrameSource, Pipeline, open_source


def changes(segmenter: fcnrt.Segmenter, source: FrameSource, name: str, limit: float) -> Iterator[tuple[float, float]]:
    """Yield (seconds since the start, share of pixels) whenever the share crosses the limit."""
    label, above = segmenter.classes.index(name), False
    for frame, labels in Pipeline(source, segmenter):  # of a live source always the newest frame
        share = np.count_nonzero(labels == label) / labels.size
        if (share > limit) != above:
            above = not above
            yield float(frame.time), share


def main(model: str, address: str, name: str, limit: str) -> None:
    with fcnrt.Segmenter(model) as segmenter, open_source(address) as source:  # a lost stream is connected again
        for seconds, share in changes(segmenter, source, name, float(limit)):
            print(f"{seconds:9.2f} s  {'ALARM' if share > float(limit) else 'clear'}  {name} {share:.1%}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--help"]:
        print(__doc__)
    elif len(sys.argv) != 5:
        sys.exit(__doc__)
    else:
        main(*sys.argv[1:])
