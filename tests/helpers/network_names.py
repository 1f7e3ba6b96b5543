"""The tiny networks of tiny_networks.py by name, for where there is no torch to make them with."""

from __future__ import annotations

CLASSES = 7
MANY_CLASSES = "torchvision fcn 300 classes"
NAMES = (
    *(f"caffe {variant}" for variant in ("fcn32s", "fcn16s", "fcn8s", "fcn8s-atonce")),
    *(f"zijundeng {variant}" for variant in ("fcn32s", "fcn16s", "fcn8s")),
    *(f"tramac {variant}" for variant in ("fcn32s", "fcn16s", "fcn8s")),
    *(f"pochih {variant}" for variant in ("fcn32s", "fcn16s", "fcn8s", "fcns")),
    *(f"pochih fcns {body}" for body in ("vgg11", "vgg13", "vgg19")),
    "tramac-resnet fcn",
    "torchvision fcn",
    "torchvision fcn basic blocks",
    "d2l fcn32s",
    "d2l fcn32s wider middle",
)
