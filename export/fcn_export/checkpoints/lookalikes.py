"""Networks that are none of ours: those that resemble one, and what any other file looks like."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Networks that look like ours and are not; the keys that tell them, and why they are refused.
LOOKALIKES = {
    ("conv_block1.0.weight", "classifier.6.weight"): (
        "an FCN of meetps/pytorch-semseg, which is not supported: its revisions upsample in three ways, none of which "
        "is another family's, and normalise in four, and the checkpoint tells neither"
    ),
    ("backbone.conv1.weight", "classifier.0.convs.0.0.weight"): "a DeepLabV3, not an FCN",
    ("jpu.conv5.0.weight", "head.block.0.weight"): "a Tramac FCN with joint pyramid upsampling, not a plain FCN",
    ("jpu.conv5.0.weight", "head.conv5.0.weight"): "a FastFCN with joint pyramid upsampling, not a plain FCN",
    ("feats.0.weight", "fconn.0.weight"): "an FCN of bodokaiser/piwise, which is not supported",
}
# What files of other networks look like: a pattern that a key matches, and the name.
KINDS = (
    (r"segformer\.|decode_head\.linear_c", "a SegFormer"),
    (r"segmentation_head\.0\.weight", "a network of segmentation_models.pytorch"),
    (r"(^|\.)decode_head\.", "a network of mmsegmentation that is no FCN on a ResNet"),
    (r"(^|\.)(aspp|classifier\.0\.convs)\.", "a DeepLab"),
    (r"(^|\.)(inc|down1|up1|outc)\.|(^|\.)(encoder1|upconv4)\.", "a U-Net"),
    (r"roi_heads|rpn", "a detector"),
    (r"(^|\.)model\.\d+\.(conv|cv1)\.", "a YOLO"),
    (r"transformer|attn|attention", "a transformer"),
    (r"(^|\.)layer4\.\d+\.conv2\.weight", "a ResNet without the head of an FCN"),
    (r"(^|\.)features\.28\.weight", "a VGG16 without the layers of an FCN"),
    (r"\.exp_avg$|momentum_buffer$|\.exp_avg_sq$", "the state of an optimiser"),
)


def kind_of(keys: Iterable[str]) -> str:
    """What a file with these keys looks like, as "a ResNet without the head of an FCN (fc.bias, ... 122 tensors)"."""
    keys = sorted(keys)
    kind = next((name for pattern, name in KINDS if any(re.search(pattern, key) for key in keys)), "no known network")
    some = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
    return f"it looks like {kind} ({len(keys)} tensor{'s' * (len(keys) != 1)}: {some})"
