"""Every container opens; everything else is refused with one clear line."""

from __future__ import annotations

import argparse
import pickle
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.serialization import MAGIC_NUMBER, PROTOCOL_VERSION

from fcn_export.checkpoints import reading
from fcn_export.checkpoints.reading import fetch_torchvision, load_checkpoint
from fcn_export.errors import ExportError
from tiny_networks import tiny, upstream_state

NET = tiny("caffe fcn8s")
STATE = upstream_state(NET)


def module_prefixed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"module.{key}": value for key, value in state.items()}


CONTAINERS: dict[str, Any] = {
    "bare": STATE,
    "parallel": module_prefixed(STATE),
    "parallel twice": module_prefixed(module_prefixed(STATE)),
    "wkentaro": {
        "epoch": 3,
        "iteration": 7,
        "arch": "FCN8s",
        "optim_state_dict": {"state": {}},
        "model_state_dict": STATE,
        "best_mean_iu": np.float64(0.61),
    },
    "torchvision": {
        "model": STATE,
        "optimizer": {"state": {}, "param_groups": []},
        "lr_scheduler": {"last_epoch": 2},
        "epoch": 2,
        "args": argparse.Namespace(lr=0.01, data_path="/data"),
        "scaler": None,
    },
    "dusty-nv": {"arch": "fcn_resnet18", "model": STATE, "num_classes": 21, "resolution": (320, 320)},
    "lightning": {"state_dict": STATE, "epoch": 1},
    "semseg": {"epoch": 9, "model_state": module_prefixed(STATE), "best_iou": 0.5},
    "half": {key: value.half() for key, value in STATE.items()},
    "double with counters": {
        **{key: value.double() for key, value in STATE.items()},
        "bn.num_batches_tracked": torch.tensor(5),
    },
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(container: str, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "model_best.pth.tar"
    torch.save(CONTAINERS[container], path, _use_new_zipfile_serialization=not legacy)
    loaded = load_checkpoint(path)
    assert loaded.state.keys() == STATE.keys()
    tolerance = 1e-3 if container == "half" else 0
    for key, value in STATE.items():
        assert loaded.state[key].dtype == torch.float32
        torch.testing.assert_close(loaded.state[key], value, rtol=tolerance, atol=tolerance)
    arch = {"wkentaro": "FCN8s", "dusty-nv": "fcn_resnet18"}.get(container)
    assert loaded.hints == ((arch, path.name) if arch else (path.name,))


def test_loose_tensors_beside_the_weights_are_no_weights(tmp_path: Path) -> None:
    torch.save({"best_acc1": torch.tensor(0.5), "state_dict": STATE}, tmp_path / "net.pth")
    assert load_checkpoint(tmp_path / "net.pth").state.keys() == STATE.keys()


def test_flipped_byte_in_the_weights_is_noticed(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "net.pth")
    content = bytearray((tmp_path / "net.pth").read_bytes())
    content[content.index(STATE["fc7.bias"].numpy().tobytes()) + 7] ^= 16
    (tmp_path / "net.pth").write_bytes(content)
    with pytest.raises(ExportError, match=r"damaged, .* fails its checksum"):
        load_checkpoint(tmp_path / "net.pth")


def test_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file({key: value.contiguous() for key, value in STATE.items()}, path)
    assert load_checkpoint(path).state.keys() == STATE.keys()


def test_partial_module_prefix_stays(tmp_path: Path) -> None:
    torch.save({"module.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "x.pth")
    assert set(load_checkpoint(tmp_path / "x.pth").state) == {"module.a", "b"}


def test_sha256_is_of_the_file(tmp_path: Path) -> None:
    import hashlib

    torch.save(STATE, tmp_path / "x.pth")
    expected = hashlib.sha256((tmp_path / "x.pth").read_bytes()).hexdigest()
    assert load_checkpoint(tmp_path / "x.pth").sha256 == expected


def saved(content: Any):
    return lambda path: torch.save(content, path)


def truncated(share: float):
    def write(path: Path) -> None:
        torch.save(STATE, path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    return write


CYCLE: dict[str, Any] = {"epoch": 1}
CYCLE["model"] = CYCLE

BAD: dict[str, tuple[Any, str]] = {
    "missing": (lambda path: None, "no such file"),
    "folder": (lambda path: path.mkdir(), "a folder, not a file; there is no checkpoint in it"),
    "empty": (lambda path: path.touch(), "is empty"),
    "text": (lambda path: path.write_text("hello, world\n"), "not a checkpoint"),
    "zeros": (lambda path: path.write_bytes(bytes(5000)), "not a checkpoint"),
    "half a file": (truncated(0.5), "truncated or not a checkpoint"),
    "most of a file": (truncated(0.98), "truncated or not a checkpoint"),
    "a list": (saved([1, 2]), "no weights found"),
    "a tensor": (saved(torch.ones(3)), "no weights found"),
    "no tensors": (saved({"epoch": 3, "model": {"epoch": 3}}), "no weights found"),
    "nan": (saved({**STATE, "fc7.bias": torch.full((24,), torch.nan)}), "fc7.bias holds NaN or infinity"),
    "infinity": (saved({**STATE, "fc7.bias": torch.full((24,), torch.inf)}), "fc7.bias holds NaN or infinity"),
    "sparse": (saved({**STATE, "fc7.bias": torch.ones(24).to_sparse()}), r"fc7\.bias is sparse"),
    "integers": (saved({**STATE, "fc7.bias": torch.ones(24, dtype=torch.int8)}), "fc7.bias is torch.int8"),
    "complex": (saved({**STATE, "fc7.bias": torch.ones(24, dtype=torch.complex64)}), r"fc7\.bias is torch\.complex64"),
    "float8": (saved({**STATE, "fc7.bias": torch.ones(24).to(torch.float8_e5m2)}), r"fc7\.bias is torch\.float8_e5m2"),
    "no elements": (saved({**STATE, "fc7.bias": torch.ones(0)}), r"fc7\.bias has the shape \(0,\)"),
    "terabytes": (
        saved({**STATE, "fc7.bias": torch.ones(1).expand(2**40)}),
        r"declares 4194304 MiB of weights in 0\.2 MiB, the largest part is fc7\.bias of shape \(1099511627776,",
    ),
    "cycle": (saved(CYCLE), "no weights found"),
    "module pickle": (saved(nn.Linear(2, 2)), "add --trust-pickle"),
    "plain pickle of code": (lambda path: path.write_bytes(pickle.dumps(print)), "not a checkpoint"),
}


@pytest.mark.parametrize("case", BAD)
def test_refusals(case: str, tmp_path: Path) -> None:
    write, message = BAD[case]
    path = tmp_path / "net.pth"
    write(path)
    with pytest.raises(ExportError, match=message) as caught:
        load_checkpoint(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x08", b"{}", bytes(100), b"\xff" * 64])
def test_bad_safetensors(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(content)
    with pytest.raises(ExportError, match=r"is empty|not a safetensors file"):
        load_checkpoint(tmp_path / "net.safetensors")


@pytest.fixture
def fcn_module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module named `fcn` with a class FCNs, as the upstream's pickles name them."""
    module = types.ModuleType("fcn")

    class FCNs(nn.Module):
        pass

    FCNs.__module__, FCNs.__qualname__ = "fcn", "FCNs"
    module.FCNs = FCNs  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "fcn", module)
    return module


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_trusted_module_pickle_gives_its_weights_and_class(
    legacy: bool, tmp_path: Path, fcn_module: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = fcn_module.FCNs()
    net.pretrained_net = tiny("pochih fcns").pretrained_net.features
    net.register_buffer("steps", torch.ones(2))
    path = tmp_path / "FCNs-BCEWithLogits_batch6_lr0.0001"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch cannot find the source of a class made in a test
        torch.save(nn.DataParallel(net), path, _use_new_zipfile_serialization=not legacy)
    expected = net.state_dict()
    monkeypatch.delitem(sys.modules, "fcn")  # reading must not need the code
    loaded = load_checkpoint(path, trust_pickle=True)
    assert loaded.hints[0] == "FCNs"
    assert loaded.state.keys() == expected.keys()
    assert all(torch.equal(loaded.state[key], expected[key]) for key in expected)


def patch_writing_pickle(target: str) -> bytes:
    """An old-format file that would have torch compare a `class` with its source, and write the difference to a file.

    The class is a function of torch's, renamed by the pickle to `target`.
    """

    def text(value: str) -> bytes:
        return b"X" + len(value).to_bytes(4, "little") + value.encode()

    head = [MAGIC_NUMBER, PROTOCOL_VERSION, {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}]
    body = b"\x80\x02" + b"cfcn\nFCN8s\n0"  # a name that weights-only loading refuses
    body += b"ctorch._utils\n_rebuild_tensor_v2\nq\x00"
    body += b"N}(" + text("__name__") + text(target) + text("dump_patches") + b"\x88u\x86b"
    body += b"0(" + text("module") + b"h\x00" + text("file.py") + text("other source") + b"tQ0"
    body += b"cfcn\nFCN8s\n)\x81}(" + b"".join(text(name) + b"}" for name in ("_modules", "_parameters", "_buffers"))
    return b"".join(pickle.dumps(part, 2) for part in head) + body + b"ub." + pickle.dumps([], 2)


@pytest.mark.parametrize("trust", [False, True])
def test_hostile_legacy_pickle_writes_no_file(trust: bool, tmp_path: Path) -> None:
    (tmp_path / "evil.pth").write_bytes(patch_writing_pickle(str(tmp_path / "pwned")))
    with pytest.raises(ExportError):
        load_checkpoint(tmp_path / "evil.pth", trust_pickle=trust)
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]
    assert torch._utils._rebuild_tensor_v2.__name__ == "_rebuild_tensor_v2"


def test_module_that_contains_itself_is_refused(tmp_path: Path) -> None:
    net = nn.DataParallel(nn.Linear(2, 2))
    net._modules["module"] = net
    torch.save(net, tmp_path / "net.pth")
    with pytest.raises(ExportError, match="no weights found"):
        load_checkpoint(tmp_path / "net.pth", trust_pickle=True)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code of a pickle was run",)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_trusted_pickle_runs_no_code(legacy: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = nn.Sequential(nn.Linear(2, 2))
    net.surprise = Evil()
    torch.save(net, tmp_path / "evil.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ExportError, match=r"print, which is not among the classes"):
        load_checkpoint(tmp_path / "evil.pth", trust_pickle=True)
    assert "code of a pickle" not in capsys.readouterr().out


def test_torchvision_name_without_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def unreachable(*args: object, **kwargs: object) -> None:
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    with pytest.raises(ExportError, match=r"fcn_resnet50: cannot download https://\S+ .*put the file at"):
        fetch_torchvision("fcn_resnet50")


def test_torchvision_name_uses_the_cached_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))
    weights = reading.torchvision_weights("fcn_resnet50")
    cached = tmp_path / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    cached.parent.mkdir()
    torch.save(STATE, cached)
    assert fetch_torchvision("fcn_resnet50").state.keys() == STATE.keys()
