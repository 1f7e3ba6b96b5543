"""Files in runtimes of others, with no code of ours: OpenCV's DNN."""

from __future__ import annotations

import cv2
import pytest

from exports import Export, plain_session
from fcn_export.graph.verify import textured_frames
from tiny_networks import NAMES

FIXED = ("--height", "65", "--width", "97")


@pytest.mark.parametrize("name", NAMES)
def test_opencv_runs_files_of_fixed_size(name: str, exported: Export) -> None:
    path = exported(name, *FIXED)
    frames = textured_frames(1, 65, 97, seed=7).numpy()
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(frames)
    labels = net.forward()
    assert labels.shape == (1, 65, 97)
    assert (labels == plain_session(path).run(None, {"frames": frames})[0]).mean() >= 0.999
