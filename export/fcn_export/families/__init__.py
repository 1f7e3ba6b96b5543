"""The FCN families in PyTorch, one file each: facts, recognition, layers, forward pass."""

from .base import Fcn, InputContract, ScoreConv, ScoreDeconv, State, Told
from .caffe import CaffeFcn
from .d2l import D2lFcn
from .mmseg import MmsegFcn
from .pochih import PochihFcn
from .torchvision_fcn import TorchvisionFcn
from .tramac import TramacResNetFcn, TramacVggFcn
from .zijundeng import YassoualiFcn, ZijundengFcn

# In the order of recognition: the first whose keys match is the family.
FAMILIES: tuple[type[Fcn], ...] = (
    CaffeFcn,
    TramacVggFcn,
    TramacResNetFcn,
    PochihFcn,
    TorchvisionFcn,
    MmsegFcn,
    D2lFcn,
    ZijundengFcn,
    YassoualiFcn,
)

__all__ = ["FAMILIES", "Fcn", "InputContract", "ScoreConv", "ScoreDeconv", "State", "Told"]
