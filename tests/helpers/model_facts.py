"""What a model file says of itself, as tests write it."""

from __future__ import annotations

FACTS: dict[str, object] = {
    "format": 1,
    "family": "caffe",
    "variant": "fcn8s",
    "classes": ["road", "sky"],
    "palette": "voc",
    "color": "bgr",
    "mean": [104.0, 116.7, 122.7],
    "std": [1.0, 1.0, 1.0],
    "scale": 1.0,
    "precision": "fp32",
    "tail": {"kind": "deconv", "stride": 8, "offset": 31},
    "min_size": 1,
    "checkpoint_sha256": "0" * 64,
    "tool": "test",
}
