"""Real pictures and a really trained checkpoint, where a machine has them.

FCNRT_CAMVID names a folder with val/ and valannot/ (CamVid, 11 classes, 11 = void), FCNRT_CAMVID_CHECKPOINT a d2l
state dict trained on it with input divided by 255.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import fcnrt
from fcn_bench.metrics import VOID, ConfusionMatrix
from fcn_export.commands import to_onnx
from fcn_export.families.d2l import D2lFcn

FOLDER, CHECKPOINT = os.environ.get("FCNRT_CAMVID"), os.environ.get("FCNRT_CAMVID_CHECKPOINT")
pytestmark = pytest.mark.skipif(not (FOLDER and CHECKPOINT), reason="FCNRT_CAMVID and FCNRT_CAMVID_CHECKPOINT not set")


def test_miou_and_labels_equal_torchs(tmp_path: Path) -> None:
    arguments = [str(CHECKPOINT), "--input-scale", "1/255", "--classes", "camvid", "-o", str(tmp_path / "net.onnx")]
    assert to_onnx.main(arguments) == 0
    net = D2lFcn(classes=11).eval()
    net.load_state_dict(torch.load(str(CHECKPOINT), weights_only=True))
    ours, torchs, equal, pixels = ConfusionMatrix(11), ConfusionMatrix(11), 0, 0
    with fcnrt.Segmenter(tmp_path / "net.onnx") as segment:
        for path in sorted(Path(str(FOLDER), "val").glob("*.png")):
            frame = np.array(Image.open(path).convert("RGB"))
            truth = np.array(Image.open(Path(str(FOLDER), "valannot", path.name)))
            truth[truth == 11] = VOID
            with torch.inference_mode():
                logits = net(net.contracts[0].normalise(torch.from_numpy(frame)[None], "rgb"))
            reference, labels = logits.argmax(1)[0].numpy().astype(np.uint8), segment(frame)
            ours.update(labels, truth)
            torchs.update(reference, truth)
            equal, pixels = equal + int((labels == reference).sum()), pixels + labels.size
    assert abs(ours.mean_iou() - torchs.mean_iou()) <= 1e-4
    assert equal / pixels >= 0.9999
