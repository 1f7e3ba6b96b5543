"""One network of each family at the upstream's own width, from checkpoint to labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import fcnrt
from fcn_export.commands import to_onnx
from fcn_export.graph.verify import textured_frames
from tiny_networks import FULL_WIDTH, drawn, options_for, upstream_state

FIXED = "zijundeng fcn16s"  # one of the two largest is exported for one size, the others for all


@pytest.mark.parametrize("name", FULL_WIDTH)
def test_full_width_network_from_checkpoint_to_labels(name: str, tmp_path: Path) -> None:
    net = drawn(FULL_WIDTH[name])
    frames = textured_frames(1, 75, 118, seed=11)
    with torch.inference_mode():
        logits = net(net.contracts[0].normalise(frames, "rgb"))
    torch.save(upstream_state(net), tmp_path / "net.pth")
    del net
    fixed = ["--height", "75", "--width", "118"] if name == FIXED else []
    assert to_onnx.main([str(tmp_path / "net.pth"), *options_for(name), *fixed]) == 0
    (tmp_path / "net.pth").unlink()
    with fcnrt.Segmenter(tmp_path / "net.onnx") as segment:
        labels = segment(frames.numpy())
    assert len(np.unique(labels)) > 2
    assert (labels == logits.argmax(1).numpy()).mean() >= 0.9995
    (tmp_path / "net.onnx").unlink()
