"""Train a slim FCN on generated street scenes.

python benchmarks/train.py -o slim.pth --steps 300 --seed 0
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

import scenes
from metrics import VOID

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "export"))
from fcn_models import Fcn, TorchvisionFcn
from fcn_models.resnet import ResNetPlan, Stage
from files import atomic_path

# Frames (N, H, W, 3) RGB and labels (N, H, W), both uint8.
Batch = tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]

SIZE = (240, 320)
BATCH = 3
SLIM = ResNetPlan((16,), (Stage(1, 16, 64), Stage(2, 24, 96), Stage(2, 32, 128), Stage(3, 48, 128)), bottleneck=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; the exit status is 0, or 2 for wrong arguments."""
    options = _parser().parse_args(argv)
    net = slim_fcn(len(scenes.CLASSES), options.seed)
    with a_core_left_free():
        losses = train(net, scene_batches(options.seed), options.steps, class_weights=balanced_weights(options.seed))
    save_checkpoint(net, options.output)
    print(f"{options.output}  loss {np.mean(losses[-20:]):.3f} after {len(losses)} steps")
    print(f"next: python export/to_onnx.py {options.output}")
    return 0


def slim_fcn(classes: int, seed: int = 0) -> TorchvisionFcn:
    """A torchvision FCN with a dilated ResNet of 0.3 million weights.

    Args:
        classes: number of classes.
        seed: of the random weights.
    """
    torch.manual_seed(seed)
    return TorchvisionFcn(plan=SLIM, hidden=64, classes=classes)


def train(
    net: Fcn,
    batches: Iterable[Batch],
    steps: int,
    learning_rate: float = 4e-3,
    class_weights: Tensor | None = None,
    progress: bool = True,
) -> list[float]:
    """Train with per-pixel cross-entropy by AdamW on a one-cycle schedule; void pixels (255) do not count.

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
    net.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(net.parameters(), learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, learning_rate, total_steps=steps)
    losses: list[float] = []
    with tqdm(total=steps, desc="train", unit="step", leave=False, disable=None if progress else True) as bar:
        for frames_nhwc, labels_nhw in itertools.islice(batches, steps):
            logits_nchw = net(net.contracts[0].normalise(torch.from_numpy(frames_nhwc), "rgb"))
            loss = pixel_loss(logits_nchw, torch.from_numpy(labels_nhw).long(), class_weights)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
            bar.set_postfix(loss=f"{np.mean(losses[-20:]):.3f}", refresh=False)
            bar.update()
    net.eval()
    return losses


def pixel_loss(logits_nchw: Tensor, labels_nhw: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy over the pixels that are not void; `labels_nhw` is int64."""
    return F.cross_entropy(logits_nchw, labels_nhw, class_weights, ignore_index=VOID)


def balanced_weights(seed: int, size: tuple[int, int] = SIZE, count: int = 40) -> Tensor:
    """Weights (C,) for `train` that help rare classes mildly: their share of pixels to the power -0.4.

    Args:
        seed: of the scenes that are counted, which are the first of `scene_batches`.
        size: height and width in pixels.
        count: number of scenes.
    """
    _, labels_nhw = _draw_batch(seed, range(count), size)
    pixels = torch.from_numpy(labels_nhw).flatten().bincount(minlength=len(scenes.CLASSES))
    return (pixels.clamp(min=1) / pixels.sum()) ** -0.4


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
    """Write the bare state dict, as the family's upstream does; the file appears whole or not at all."""
    with atomic_path(path) as temporary:
        torch.save({key: value.contiguous() for key, value in net.state_dict().items()}, temporary)


def scene_batches(seed: int, batch: int = BATCH, size: tuple[int, int] = SIZE) -> Iterator[Batch]:
    """Endless batches of street scenes, none drawn twice, made in a second thread while the network learns.

    Args:
        seed: the same one gives the same batches.
        batch: scenes per batch.
        size: height and width in pixels.
    """
    return _prefetched(_draw_batch(seed, range(start, start + batch), size) for start in itertools.count(0, batch))


def _draw_batch(seed: int, indices: Iterable[int], size: tuple[int, int]) -> Batch:
    # The 0 is training's own stream: others are for scenes that must not have been trained on.
    pairs = [scenes.scene(np.random.default_rng((seed, 0, index)), *size) for index in indices]
    frames, labels = zip(*pairs, strict=True)
    return np.stack(frames), np.stack(labels)


def _prefetched(batches: Iterator[Batch], depth: int = 3) -> Iterator[Batch]:
    with ThreadPoolExecutor(1, thread_name_prefix="scenes") as worker:
        coming = deque(worker.submit(next, batches) for _ in range(depth))
        while True:
            yield coming.popleft().result()
            coming.append(worker.submit(next, batches))


def whole_number(text: str) -> int:
    """An argparse type: a whole number from 1 up."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1 up, got {text!r}")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("slim.pth"), help="checkpoint to write (slim.pth)")
    parser.add_argument("--steps", type=whole_number, default=300, help=f"batches of {BATCH} scenes to train on (300)")
    parser.add_argument("--seed", type=int, default=0, help="of weights and scenes (0)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
