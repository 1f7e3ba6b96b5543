"""Open a checkpoint safely and unwrap it to a state dict, whatever container it came in."""

from __future__ import annotations

import argparse
import hashlib
import pickle
import re
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fcnrt.errors import first_line

from ..errors import ExportError
from .pickles import load_module_pickle

MAX_DEPTH = 8  # of dicts within dicts; more is a cycle
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MAX_BYTES = 2**31  # of one tensor: what one ONNX file holds in all
WRAPPERS = ("model_state_dict", "state_dict", "model_state", "model", "net")  # keys that trainers keep weights under
TORCHVISION_NAMES = ("fcn_resnet50", "fcn_resnet101")
_SCALAR = np.float64(0).__reduce__()[0]
# Plain data that trainers store beside weights: the reference trainer's options, wkentaro's best_mean_iu.
HARMLESS: list[Any] = [
    argparse.Namespace,
    np.dtype,
    type(np.dtype(np.float64)),
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
]


@dataclass(frozen=True)
class Checkpoint:
    """A state dict in float32 and what its container tells of it.

    `hints` are names that may tell the variant: trainer's `arch`, a pickled class, the file name, in this order.
    """

    path: Path
    state: dict[str, Tensor]
    hints: tuple[str, ...]
    sha256: str


def load_checkpoint(path: Path, trust_pickle: bool = False) -> Checkpoint:
    """Read a checkpoint file.

    Args:
        path: a file written by torch.save (zip or legacy) or safetensors, a state dict or a trainer's dict.
        trust_pickle: also read whole-module pickles, through an unpickler that runs none of their code.

    Raises:
        ExportError: the file is missing, empty, truncated, not a checkpoint, needs `trust_pickle`,
            or holds weights that are sparse, quantised or not finite.
    """
    if not path.is_file():
        raise ExportError(f"{path}: no such file; expected a checkpoint or one of {', '.join(TORCHVISION_NAMES)}")
    if path.stat().st_size == 0:
        raise ExportError(f"{path}: the file is empty; copy or download it again")
    _check_archive(path)
    content, arch = _read(path, trust_pickle)
    state, more_hints = _unwrap(content, path)
    hints = (*more_hints, arch, path.name)
    return Checkpoint(path, _checked(state, path), tuple(filter(None, hints)), _sha256(path))


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


def _read(path: Path, trust_pickle: bool) -> tuple[Any, str]:
    """The content of a file, and the class name where it is a pickled module."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path), ""
    try:
        with torch.serialization.safe_globals(HARMLESS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch remarks on sparse tensors and old formats
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)), ""
    except pickle.UnpicklingError as error:
        if "Unsupported global" not in str(error) and "Unsupported class" not in str(error):
            raise ExportError(f"{path}: not a checkpoint that torch can read, or a damaged one") from error
        return _read_pickle(path, trust_pickle, str(error))
    except Exception as error:  # torch raises RuntimeError, EOFError, KeyError, struct.error and more on damaged files
        raise ExportError(f"{path}: truncated or not a checkpoint ({first_line(error)})") from error


def _check_archive(path: Path) -> None:
    """torch reads a zip file's records without comparing their checksums."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, zlib.error) as error:
        raise ExportError(f"{path}: truncated or not a checkpoint ({first_line(error)})") from error
    if damaged:
        raise ExportError(f"{path}: damaged, {damaged} fails its checksum; copy or download it again")


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ExportError(f"{path}: damaged or not a safetensors file ({first_line(error)})") from error


def _read_pickle(path: Path, trust_pickle: bool, reason: str) -> tuple[dict[str, Tensor], str]:
    if not trust_pickle:
        found = re.search(r"(?:GLOBAL|class) '?([\w.]+)", reason)
        name = found.group(1) if found else "a class"
        raise ExportError(
            f"{path}: a pickle that names {name}, not plain weights; save model.state_dict() instead, "
            "or add --trust-pickle to read it without running its code"
        )
    try:
        return load_module_pickle(path)
    except ExportError as error:
        raise ExportError(f"{path}: {error}") from None
    except Exception as error:  # a hostile or damaged pickle may fail in any way
        raise ExportError(f"{path}: damaged pickle ({first_line(error)})") from error


def _unwrap(content: Any, path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """Descend through trainers' dicts and strip `module.`; also the `arch` names found on the way."""
    hints: list[str] = []
    for _ in range(MAX_DEPTH):
        if not isinstance(content, Mapping):
            break
        arch = content.get("arch")
        if isinstance(arch, str):
            hints.append(arch)
        wrapped = next((content[key] for key in WRAPPERS if isinstance(content.get(key), Mapping)), None)
        state = {key: value for key, value in content.items() if isinstance(value, Tensor)}
        if wrapped is None and state:
            return _strip_module(state), hints
        content = wrapped
    raise ExportError(
        f"{path}: no weights found; expected a state dict, or a dict with one under {', '.join(WRAPPERS)}"
    )


def _strip_module(state: dict[Any, Tensor]) -> dict[str, Tensor]:
    while all(str(key).startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    return {str(key): value for key, value in state.items()}


def _checked(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Weights as dense float32; BatchNorm's counters, which inference never reads, are dropped."""
    counters = "num_batches_tracked"
    return {key: _checked_tensor(key, value, path) for key, value in state.items() if not key.endswith(counters)}


def _checked_tensor(key: str, value: Tensor, path: Path) -> Tensor:
    if value.layout != torch.strided:
        raise ExportError(f"{path}: {key} is sparse; save the checkpoint with {key}.to_dense()")
    if value.dtype not in FLOATS:
        raise ExportError(f"{path}: {key} is {value.dtype}; expected floating-point weights, not quantised ones")
    if not 0 < 4 * value.numel() < MAX_BYTES:
        raise ExportError(f"{path}: {key} has the shape {tuple(value.shape)}; expected weights of at most 2 GiB")
    if value.is_meta:
        raise ExportError(f"{path}: {key} has no data (meta tensor); save the checkpoint from a loaded model")
    value = value.detach().to(torch.float32).contiguous()
    if not torch.isfinite(value).all():
        raise ExportError(f"{path}: {key} holds NaN or infinity; the training diverged, export an earlier checkpoint")
    return value


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
