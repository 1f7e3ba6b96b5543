"""The demo's training: a slim FCN on generated streets that no one sees twice, in about a minute on any machine."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from fcn_bench.data import scenes
from fcn_bench.training.architectures import slim
from fcn_bench.training.feeding import Batch, prefetched
from fcn_bench.training.learning import Learner, TrainingNetwork, class_weights
from fcn_export.families import Fcn, TorchvisionFcn
from fcnrt.contract.files import atomic_path

SIZE = (240, 320)
BATCH = 3
TRAINING_S = 75.0
# mIoU on new streets after 100, 200, 300, 400 steps: 0.49, 0.57, 0.62, 0.66. From 300 on the picture convinces.
FEWEST_STEPS, MOST_STEPS = 300, 1200


def slim_fcn(classes: int, seed: int = 0) -> TorchvisionFcn:
    """A torchvision FCN with a dilated ResNet of 0.3 million weights.

    Args:
        classes: number of classes.
        seed: of the random weights.
    """
    torch.manual_seed(seed)
    return slim(classes)


def train(
    net: Fcn,
    batches: Iterable[Batch],
    steps: int,
    learning_rate: float = 4e-3,
    class_weights: Tensor | None = None,
    progress: bool = True,
) -> list[float]:
    """Train with per-pixel cross-entropy by AdamW on a one-cycle schedule; void pixels (255) do not count.

    AdamW, because SGD needs several minutes for what is learned here in one.

    Args:
        net: trained in place, left in eval mode.
        batches: frames (N, H, W, 3) uint8 RGB with labels (N, H, W) uint8; at most `steps` of them are taken.
        steps: length of the schedule, at least 1.
        learning_rate: the highest one, reached after 30 % of the steps.
        class_weights: (C,) float32, how much a pixel of each class counts; alike by default.
        progress: whether to show a bar with the loss.

    Returns:
        The loss of each step.
    """
    optimiser = torch.optim.AdamW(net.parameters(), learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    network = TrainingNetwork(net, auxiliary_weight=0).train()
    learner = Learner(network, optimiser, schedule, class_weights=class_weights)
    losses: list[float] = []
    with tqdm(total=steps, desc="train", unit="step", leave=False, disable=None if progress else True) as bar:
        for frames_nhwc, labels_nhw in itertools.islice(batches, steps):
            losses.append(learner.learn(frames_nhwc, labels_nhw))
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
            bar.update()
    net.eval()
    return losses


def steps_within(seconds: float, step_seconds: float) -> int:
    """How many steps take so long, but no fewer than a convincing picture needs and no more than still help."""
    return min(max(round(seconds / step_seconds), FEWEST_STEPS), MOST_STEPS)


def seconds_per_step(seed: int, size: tuple[int, int] = SIZE, count: int = 12) -> float:
    """What a step of `train` on `scene_batches` takes here, measured on a network that is thrown away.

    Args:
        seed: of network and scenes.
        size: height and width in pixels.
        count: steps to take; the first third warms up, and uses up the batches that are drawn ahead.
    """
    starts: list[float] = []

    def noted() -> Iterator[Batch]:
        for batch in scene_batches(seed, size=size):
            starts.append(time.perf_counter())
            yield batch

    train(slim_fcn(len(scenes.CLASSES), seed), noted(), count, progress=False)
    first = count // 3
    return (starts[-1] - starts[first]) / (count - 1 - first)


def balanced_weights(seed: int, size: tuple[int, int] = SIZE, count: int = 40) -> Tensor:
    """Weights (C,) for `train` that help rare classes mildly: their share of pixels to the power -0.4.

    Args:
        seed: of the scenes that are counted, which are the first of `scene_batches`.
        size: height and width in pixels.
        count: number of scenes.
    """
    _, labels_nhw = _draw_batch(seed, range(count), size)
    return class_weights(torch.from_numpy(labels_nhw).flatten().bincount(minlength=len(scenes.CLASSES)), 0.4)


@contextlib.contextmanager
def a_core_left_free() -> Iterator[None]:
    """Let torch use one core less: scenes are drawn there, and torch's threads wait for the one that is held up."""
    threads = torch.get_num_threads()
    torch.set_num_threads(max(1, threads - 1))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def save_checkpoint(net: nn.Module, path: Path) -> None:
    """Write the bare state dict, as torchvision publishes weights; the file appears whole or not at all."""
    with atomic_path(path) as temporary:
        torch.save({key: value.contiguous() for key, value in net.state_dict().items()}, temporary)


def scene_batches(seed: int, batch: int = BATCH, size: tuple[int, int] = SIZE) -> Iterator[Batch]:
    """Endless batches of street scenes, none drawn twice, made in a second thread while the network learns.

    Args:
        seed: the same one gives the same batches.
        batch: scenes per batch.
        size: height and width in pixels.
    """
    starts = itertools.count(0, batch)
    return prefetched(partial(_draw_batch, seed, range(first, first + batch), size) for first in starts)


def _draw_batch(seed: int, indices: Iterable[int], size: tuple[int, int]) -> Batch:
    # The 0 is training's own stream: others are for scenes that must not have been trained on.
    pairs = [scenes.scene(np.random.default_rng((seed, 0, index)), *size) for index in indices]
    frames, labels = zip(*pairs, strict=True)
    return np.stack(frames), np.stack(labels)
