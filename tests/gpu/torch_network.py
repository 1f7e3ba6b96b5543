"""torch in the place of an engine, between frames and scores: real memory, real streams, none of our engines."""

from __future__ import annotations

from typing import Any

import torch

from fcn_export.checkpoints.contracts import choose_contract
from fcn_export.graph.deploy import DeployedFcn, deploy, first_conv
from fcnrt.backends.gpu import DeviceScores, Network
from fcnrt.contract.precision import Precision
from fcnrt.contract.spec import ModelSpec
from fcnrt.contract.types import Shape
from fcnrt.gpu.cuda import Gpu, Stream
from tiny_networks import many_classes, stated_input, tiny

from .prepare import MANY_CLASSES


class TorchNetwork(Network):
    """A network in torch on a stream of its own.

    Args:
        gpu: the device, current.
        spec: of the network's ONNX file.
        network: of `network_on_gpu`.
    """

    engine, output, scores_type = "torch", "scores", Precision.FP32

    def __init__(self, gpu: Gpu, spec: ModelSpec, network: DeployedFcn):
        self.spec, self.color = spec, spec.color
        self.stream = Stream(gpu)
        self._gpu, self._network = gpu, network
        self._scores: torch.Tensor | None = None

    def check_shape(self, shape: Shape) -> None:
        """Any will do."""

    def scores(self, frames: int, shape: Shape) -> DeviceScores:
        device = torch.device("cuda", self._gpu.index)
        stream = torch.cuda.ExternalStream(self.stream.handle, device)
        with torch.inference_mode(), torch.cuda.stream(stream):
            pixels = torch.as_tensor(_Frames(frames, shape), device=device)
            self._scores = self._network(pixels)[1].contiguous()
        batch, classes, height, width = self._scores.shape
        return DeviceScores(self._scores.data_ptr(), (batch, classes, height, width), Precision.FP32)

    def labels(self, frames: int, shape: Shape, labels: int) -> None:
        raise NotImplementedError("it ends at the scores")

    def clone(self) -> TorchNetwork:
        return TorchNetwork(self._gpu, self.spec, self._network)

    def close(self) -> None:
        self._scores = None


def network_on_gpu(gpu: Gpu, name: str, precision: str) -> DeployedFcn:
    """A tiny network as the exporter rewrites it."""
    torch.backends.cudnn.allow_tf32 = False
    net = many_classes() if name == MANY_CLASSES else tiny(name)
    contract = choose_contract(type(net), stated_input(net.family))
    network = deploy(net, contract, "rgb", half=precision == "fp16")
    network._normalise = lambda frames: _normalised(network, frames)  # type: ignore[method-assign]
    return network.to(torch.device("cuda", gpu.index))


def _normalised(network: DeployedFcn, frames: torch.Tensor) -> torch.Tensor:
    """As the original, which looks at a value on the device, and would let the host wait for it."""
    x = (frames.float().permute(0, 3, 1, 2) - network.mean) * network.factor
    return x.to(first_conv(network.net).weight.dtype)


class _Frames:
    """uint8 frames at an address, for torch to look at."""

    def __init__(self, address: int, shape: Shape):
        facts: dict[str, Any] = {"shape": (*shape, 3), "typestr": "|u1", "data": (address, False), "version": 2}
        self.__cuda_array_interface__ = facts
