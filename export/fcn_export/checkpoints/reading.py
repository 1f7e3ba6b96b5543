"""Open a checkpoint safely and find the network's weights in it, whatever container they came in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fcnrt.contract.files import file_sha256
from fcnrt.errors import first_line

from ..errors import ExportError
from .containers import READERS
from .containers.base import NOT_MINE
from .content import Content, content_of
from .pickles.budget import most_bytes
from .remembered import Remembered, remembered
from .selection import Selected, select

MAX_RANK = 8  # a convolution's weights have 4; torch itself computes with up to 64
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_BYTES = 2**31  # of one tensor: what one ONNX file holds in all
TORCHVISION_NAMES = ("fcn_resnet50", "fcn_resnet101")


@dataclass(frozen=True)
class Checkpoint:
    """A state dict in float32 and what its container tells of it.

    Attributes:
        hints: names that may tell the variant: trainer's `arch`, a pickled class, the file name, in this order.
        told: what a trainer of ours wrote of the network beside the weights.
        meta: what mmsegmentation wrote.
        weights: the key or prefix that the state dict had in the file; "" if none.
        others: networks of the file that were not taken, as `--weights` names them.
        left_out: names of tensors beside the network that belong to none.
    """

    path: Path
    state: dict[str, Tensor]
    hints: tuple[str, ...]
    sha256: str
    told: Remembered | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    others: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()


def load_checkpoint(path: Path, trust_pickle: bool = False, weights: str | None = None) -> Checkpoint:
    """Read a checkpoint file.

    Args:
        path: a file of torch.save, torch.jit or torch.export, safetensors, a pickle of tensors, or an archive with one
            of them: a state dict, or anything that holds one.
        trust_pickle: also take the weights of whole pickled modules; none of their code is run.
        weights: of several networks in it the one under this key or prefix.

    Raises:
        ExportError: the file is missing, empty, truncated, not a checkpoint, needs `trust_pickle` or `weights`,
            or holds weights that are sparse, quantised or not finite.
    """
    if not path.exists():
        raise ExportError(f"{path}: no such file; expected a checkpoint or one of {', '.join(TORCHVISION_NAMES)}")
    try:
        root, content = _read(path)
        selected = select(content, weights)
        _check_trust(content, selected, trust_pickle)
        state = _checked(selected.state, path.stat().st_size)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from error
    hints = (*content.archs, *content.modules.values(), path.name)
    about = (remembered(root, path), content.meta, selected.name, selected.others, selected.left_out)
    return Checkpoint(path, state, hints, file_sha256(path), *about)


def fetch_torchvision(name: str) -> Checkpoint:
    """Torchvision's published weights of `fcn_resnet50` or `fcn_resnet101`, through torchvision's own API.

    Raises:
        ExportError: they are not in torch's cache and cannot be downloaded.
    """
    weights = torchvision_weights(name)
    cached = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    if not cached.exists():
        try:
            weights.get_state_dict(progress=True, check_hash=True)
        except (OSError, RuntimeError) as error:
            raise ExportError(
                f"{name}: cannot download {weights.url} ({error}); put the file at {cached} or name a checkpoint file"
            ) from error
    return load_checkpoint(cached)


def torchvision_weights(name: str) -> Any:
    """torchvision's entry for the published weights of a model."""
    from torchvision.models import get_model_weights

    return next(iter(get_model_weights(name)))


def _read(path: Path) -> tuple[Any, Content]:
    """What a file holds, by the first reader that knows it, and the tensors in it."""
    try:
        found = next((root for root in (reader(path) for reader in READERS) if root is not NOT_MINE), None)
        return found, content_of(found)
    except ExportError:
        raise
    except Exception as error:  # a damaged or hostile file may make unpickling and unpacking fail in any way
        raise ExportError(f"truncated or not a checkpoint ({first_line(error)})") from error


def _check_trust(content: Content, selected: Selected, trust_pickle: bool) -> None:
    if selected.in_module and not trust_pickle:
        kind = next(iter(content.modules.values()), "DataParallel")
        raise ExportError(
            f"holds a whole pickled module ({kind}), not plain weights; "
            "save model.state_dict() instead, or add --trust-pickle to read it without running its code"
        )


def _checked(state: dict[str, Tensor], size: int) -> dict[str, Tensor]:
    """Weights as dense float32; BatchNorm's counters, which inference never reads, are dropped."""
    counters = "num_batches_tracked"
    kept = {key: value for key, value in state.items() if not key.endswith(counters)}
    _check_declared(kept, size)
    return {key: _checked_tensor(key, value) for key, value in kept.items()}


def _check_declared(state: dict[str, Tensor], size: int) -> None:
    """Refuse a small file whose tensors repeat a few numbers many times over, before they are written out."""
    declared = {key: torch.float32.itemsize * value.numel() for key, value in state.items()}
    if sum(declared.values()) > most_bytes(size):
        key = max(declared, key=declared.__getitem__)
        raise ExportError(
            f"declares {sum(declared.values()) >> 20} MiB of weights in {size / 2**20:.1f} MiB, the largest part is "
            f"{key} of shape {tuple(state[key].shape)}; is it a checkpoint?"
        )


def _checked_tensor(key: str, value: Tensor) -> Tensor:
    if value.layout != torch.strided:
        raise ExportError(f"{key} is sparse; save the checkpoint with {key}.to_dense()")
    if value.dtype not in FLOATS:
        raise ExportError(f"{key} is {value.dtype}; expected floating-point weights, not quantised ones")
    if not 0 < 4 * value.numel() < MAX_BYTES:
        raise ExportError(f"{key} has the shape {tuple(value.shape)}; expected weights of at most 2 GiB")
    if value.dim() > MAX_RANK:
        raise ExportError(f"{key} has {value.dim()} dimensions; expected weights of at most {MAX_RANK}")
    if value.is_meta:
        raise ExportError(f"{key} has no data (meta tensor); save the checkpoint from a loaded model")
    value = value.detach().to(torch.float32).contiguous()
    if not torch.isfinite(value).all():
        raise ExportError(f"{key} holds NaN or infinity; the training diverged, export an earlier checkpoint")
    return value
