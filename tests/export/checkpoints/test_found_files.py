"""Files as users of public repositories have them: trainers' dicts, wrappers, averages, foreign classes, archives.

Each is written as its trainer would, and read with none of the trainer's code at hand.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import pathlib
import pickle
import re
import sys
import tarfile
import types
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

import upstream
from fcn_export.checkpoints.building import build
from fcn_export.checkpoints.reading import Checkpoint, load_checkpoint
from fcn_export.checkpoints.recognition import recognise
from fcn_export.errors import ExportError

NET = upstream.torchvision_fcn(4)
STATE = {key: value for key, value in NET.state_dict().items() if not key.endswith("num_batches_tracked")}
OTHER = {key: value + 1 for key, value in STATE.items()}


def prefixed(prefix: str, state: dict[str, Tensor] = STATE) -> dict[str, Tensor]:
    return {prefix + key: value for key, value in state.items()}


def foreign_class(module: str, name: str, base: type = object, **members: Any) -> Any:
    """A class that a pickle names by its module, which is not there any more when the pickle is read."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    made = type(name, (base,), {"__module__": module, "__qualname__": name, **members})
    return vars(sys.modules[module]).setdefault(name, made)


@pytest.fixture(autouse=True)
def forget_foreign_classes() -> Any:
    known = set(sys.modules)
    yield
    for name in set(sys.modules) - known:
        if name.split(".")[0] in FOREIGN:
            del sys.modules[name]


FOREIGN = {"mmengine_like", "addict_like", "omega_like", "detectron_like", "project", "ignite_like"}


def config_node() -> Any:
    node = foreign_class("addict_like", "ConfigDict", dict)(model="fcn")
    node.__dict__["frozen"] = True
    node["optimizer"] = foreign_class("addict_like", "ConfigDict", dict)(lr=0.1)
    return node


def history() -> Any:
    buffer = foreign_class("mmengine_like.logging", "HistoryBuffer")()
    buffer._log_history, buffer._set_default = np.arange(5.0), True
    return buffer


def trained() -> dict[str, Any]:
    """Objects of training beside the weights."""
    net = nn.Linear(2, 2)
    optimiser = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser)
    return {"optimizer": optimiser, "scheduler": scheduler, "best": foreign_class("project.best", "Best")()}


CONTENTS: dict[str, Callable[[], Any]] = {
    "numpy scalars of every type": lambda: {
        "state_dict": STATE, "a": np.float16(1), "b": np.int64(3), "c": np.bool_(True), "d": np.uint8(1),
        "e": np.str_("x"), "f": np.float64(2), "g": np.complex64(1), "h": np.datetime64("2020-01-01"),
    },
    "numpy arrays": lambda: {"model": STATE, "hist": np.eye(3, dtype=int), "names": np.array(["a", None], object)},
    "paths": lambda: {"model": STATE, "path": pathlib.PurePosixPath("/x"), "win": pathlib.PureWindowsPath("C:/x")},
    "collections": lambda: {
        "model": collections.OrderedDict(STATE), "counts": collections.Counter("aab"),
        "lists": collections.defaultdict(list, a=[1]), "queue": collections.deque([1, 2], maxlen=3),
        "pair": foreign_class("project.pairs", "Pair", collections.namedtuple("Pair", "a b"))(1, 2),
        "kinds": {1, 2}, "frozen": frozenset([1]), "span": range(3), "size": torch.Size([1]), "type": torch.float32,
        "device": torch.device("cpu"), "bytes": b"\x00\xff", "complex": 1j, "class": nn.Conv2d, "function": len,
    },
    "namespace": lambda: {"model": STATE, "args": argparse.Namespace(lr=0.1, nested=argparse.Namespace(x=[1]))},
    "simple namespace": lambda: {"model": STATE, "cfg": types.SimpleNamespace(a=1)},
    "config nodes": lambda: {"state_dict": STATE, "meta": {"cfg": config_node()}, "hyper_parameters": config_node()},
    "history buffers": lambda: {"state_dict": STATE, "message_hub": {"log_scalars": {"loss": history()}}},
    "optimiser and scheduler": lambda: {"model": STATE, **trained()},
    "subclass of OrderedDict": lambda: {"model": foreign_class("project.od", "State", collections.OrderedDict)(STATE)},
    "subclass of dict": lambda: foreign_class("project.d", "Checkpoint", dict)(model=STATE, epoch=3),
    "an object of a class": lambda: types.SimpleNamespace(step=3, model=STATE),
    "a tuple": lambda: (STATE, {"epoch": 3}),
    "a list": lambda: [3, STATE],
    "parameters": lambda: {key: nn.Parameter(value) for key, value in STATE.items()},
    "parameters with attributes": lambda: {key: with_attribute(value) for key, value in STATE.items()},
    "a dict of parts": lambda: {"backbone": part("backbone."), "classifier": part("classifier.")},
    "lightning": lambda: {
        "epoch": 1, "global_step": 9, "pytorch-lightning_version": "2.1", "state_dict": prefixed("model."),
        "loops": {}, "callbacks": {"ModelCheckpoint{'monitor': 'x'}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(64, 3, 7, 7)}}, "param_groups": []}],
        "lr_schedulers": [], "hyper_parameters": {"lr": 0.1}, "hparams_name": "kwargs",
    },
    "lightning with loss and metrics": lambda: {
        "state_dict": {
            **prefixed("net."), "loss.weight": torch.ones(4), "criterion.vgg.0.weight": torch.ones(64, 64, 3, 3),
            "val_iou.confmat": torch.ones(4, 4, dtype=torch.long),
        }
    },
    "accelerate and hugging face": lambda: prefixed("module.model."),
    "compiled": lambda: {"model": prefixed("_orig_mod.")},
    "compiled in parallel": lambda: prefixed("_orig_mod.module."),
    "a compiled part": lambda: {key.replace("backbone.", "backbone._orig_mod."): value for key, value in STATE.items()},
    "fsdp": lambda: {
        "_fsdp_wrapped_module."
        + key.replace("layer1.", "layer1._fsdp_wrapped_module._checkpoint_wrapped_module."): value
        for key, value in STATE.items()
    },
    "a parallel part": lambda: {key.replace("backbone.", "backbone.module."): value for key, value in STATE.items()},
    "deepspeed": lambda: {"module": STATE, "buffer_names": [], "ds_config": {}, "dp_world_size": 1},
    "ignite": lambda: {"model": STATE, "trainer": {"epoch": 3}, "optimizer": {"state": {}}},
    "detectron": lambda: {"model": STATE, "__author__": "someone", "matching_heuristics": True, "iteration": 3},
    "detectron of arrays": lambda: {"model": {key: value.numpy() for key, value in STATE.items()}},
    "apex": lambda: {"model": STATE, "amp": {"loss_scaler0": {"loss_scale": 65536.0, "unskipped": 3}}},
    "scaler": lambda: {"model": STATE, "scaler": {"scale": 1.0, "_growth_tracker": 3}, "rng": torch.get_rng_state()},
    "ema alone": lambda: {"ema": STATE, "step": 3},
    "ema state dict alone": lambda: {"ema_state_dict": prefixed("module."), "decay": 0.999},
    "state dict ema alone": lambda: {"state_dict_ema": STATE},
    "averaged model": lambda: AveragedModel(NET).state_dict(),
    "averaged model in a dict": lambda: {"model_ema": AveragedModel(NET).state_dict(), "epoch": 2},
    "ema object": lambda: {"ema": ema_object()},
    "normalisation inside": lambda: {
        **STATE, "data_preprocessor.mean": torch.ones(3, 1, 1), "data_preprocessor.std": torch.ones(1, 3, 1, 1),
        "criterion.weight": torch.ones(4), "pos_weight": torch.ones(1), "metric.confmat": torch.ones(4, 4),
    },
    "half of everything": lambda: {"model": {key: value.half() for key, value in STATE.items()}, "fp16": True},
    "brain floats": lambda: {key: value.bfloat16() for key, value in STATE.items()},
    "weights under another name": lambda: {"params": {"network": {"weights": STATE}}},
    "views of one storage": lambda: one_storage(),
    "optimiser by names": lambda: {
        "model": STATE, "optim": {"state": {key: {"exp_avg": value} for key, value in STATE.items()}}
    },
}  # fmt: skip


def with_attribute(value: Tensor) -> nn.Parameter:
    parameter = nn.Parameter(value.clone())
    parameter.sharded = foreign_class("project.shards", "Spec")()  # type: ignore[attr-defined]
    return parameter


def part(prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in STATE.items() if key.startswith(prefix)}


def ema_object() -> Any:
    ema = foreign_class("project.ema", "ModelEMA")()
    ema.shadow, ema.decay, ema.backup = dict(STATE), 0.99, {}
    return ema


def one_storage() -> dict[str, Tensor]:
    flat = torch.cat([value.flatten() for value in STATE.values()])
    found, start = {}, 0
    for key, value in STATE.items():
        found[key] = flat[start : start + value.numel()].view(value.shape)
        start += value.numel()
    return found


def check(checkpoint: Checkpoint, tolerance: float = 0.0) -> None:
    net = build(checkpoint, *recognise(checkpoint))
    for key, value in net.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(value, STATE[key].float(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", CONTENTS)
def test_weights_are_found_without_a_flag(name: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(CONTENTS[name](), tmp_path / "net.pth")
    for module in [module for module in sys.modules if module.split(".")[0] in FOREIGN]:
        del sys.modules[module]
    check(load_checkpoint(tmp_path / "net.pth"), 0.01 if name in ("half of everything", "brain floats") else 0)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", ["state dict", "arrays", "namespace"])
def test_plain_pickles(name: str, protocol: int, tmp_path: Path) -> None:
    content = {
        "state dict": STATE,
        "arrays": {key: value.numpy() for key, value in STATE.items()},
        "namespace": {"model": STATE, "args": argparse.Namespace(x=np.float32(1))},
    }[name]
    (tmp_path / "net.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    check(load_checkpoint(tmp_path / "net.pkl"))


def python2_arrays(state: dict[str, Tensor]) -> bytes:
    """A dict of arrays as Python 2 pickles it: text and contents of arrays alike are strings of bytes."""

    def text(value: bytes) -> bytes:
        return b"T" + len(value).to_bytes(4, "little") + value

    body = b"\x80\x02}("
    for key, value in state.items():
        array = value.numpy()
        shape = b"(" + b"".join(b"J" + n.to_bytes(4, "little") for n in array.shape) + b"t"
        dtype = (
            b"cnumpy\ndtype\n"
            + text(b"f4")
            + b"K\x00K\x01\x87R(K\x03"
            + text(b"<")
            + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        )
        made = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85" + text(b"b") + b"\x87R"
        body += text(key.encode()) + made + b"(K\x01" + shape + dtype + b"\x89" + text(array.tobytes()) + b"tb"
    return body + b"u."


def test_python_2(tmp_path: Path) -> None:
    (tmp_path / "net.pkl").write_bytes(python2_arrays(STATE))
    check(load_checkpoint(tmp_path / "net.pkl"))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("path", ["models.fcn", "project.a.b.nets", "__main__"])
def test_whole_modules_of_any_class(path: str, legacy: bool, tmp_path: Path) -> None:
    """By the shape of the tree: class and module may be called anything."""
    made = foreign_class(path, "Segmenter", nn.Module)
    net = made()
    net.net, net._backend, net.hook = NET, foreign_class("torch.nn.backends.thnn_like", "THNNFunctionBackend")(), len
    content = {"model": nn.DataParallel(net), "epoch": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ExportError, match=r"holds a whole pickled module \(Segmenter\), .* or add --trust-pickle"):
        load_checkpoint(tmp_path / "net.pth")
    check(load_checkpoint(tmp_path / "net.pth", trust_pickle=True))


def test_state_dict_beside_a_module_needs_no_trust(tmp_path: Path) -> None:
    torch.save({"model": NET, "state_dict": STATE}, tmp_path / "net.pth")
    check(load_checkpoint(tmp_path / "net.pth"))


def test_non_persistent_buffers_are_no_weights(tmp_path: Path) -> None:
    net = upstream.torchvision_fcn(4)
    net.register_buffer("cache", torch.ones(2000, 2), persistent=False)
    torch.save(net, tmp_path / "net.pth")
    check(load_checkpoint(tmp_path / "net.pth", trust_pickle=True))


@pytest.mark.parametrize("how", ["script", "trace"])
def test_torchscript(how: str, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = torch.jit.script(NET) if how == "script" else torch.jit.trace(NET, torch.rand(1, 3, 33, 33), strict=False)
        torch.jit.save(net, tmp_path / "net.pt")
    check(load_checkpoint(tmp_path / "net.pt"))


def test_frozen_torchscript_says_what_it_is(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.freeze(torch.jit.script(nn.Conv2d(3, 4, 3).eval())), tmp_path / "net.pt")
    with pytest.raises(ExportError, match=r"a TorchScript file without parameters, .* export the state_dict"):
        load_checkpoint(tmp_path / "net.pt")


def test_torch_export(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(NET, (torch.rand(1, 3, 64, 64),)), tmp_path / "net.pt2")
    check(load_checkpoint(tmp_path / "net.pt2"))


def archive(path: Path, names: tuple[str, ...], kind: str) -> Path:
    for name in names:
        torch.save(STATE, path / name) if name.endswith("pth") else (path / name).write_text("x")
    made = path / f"net.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(made, "w") as file:
            for name in names:
                file.write(path / name, f"folder/{name}")
    else:
        with tarfile.open(made, "w:gz" if kind.endswith("gz") else "w") as tar:
            for name in names:
                tar.add(path / name, f"folder/{name}")
    return made


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "pth"])
def test_archive_of_one_checkpoint(kind: str, tmp_path: Path) -> None:
    check(load_checkpoint(archive(tmp_path, ("a.pth", "log.txt"), kind)))


def test_archive_of_several_checkpoints_names_them(tmp_path: Path) -> None:
    with pytest.raises(
        ExportError, match=r"an archive with 2 checkpoints in it \(folder/a\.pth, folder/b\.pth\); unpack"
    ):
        load_checkpoint(archive(tmp_path, ("a.pth", "b.pth"), "zip"))


def test_renamed_safetensors(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "pytorch_model.bin")
    check(load_checkpoint(tmp_path / "pytorch_model.bin"))


@pytest.mark.filterwarnings("ignore")
def test_folder_of_distributed_checkpoint_and_the_command_that_converts_it(tmp_path: Path) -> None:
    import subprocess

    import torch.distributed.checkpoint as dcp

    dcp.save({"model": STATE}, checkpoint_id=tmp_path / "step 5")
    with pytest.raises(ExportError, match=r"a folder of torch\.distributed\.checkpoint; .*: python -m ") as caught:
        load_checkpoint(tmp_path / "step 5")
    command = str(caught.value).rpartition(": ")[2].replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, capture_output=True)
    check(load_checkpoint(tmp_path / "step 5.pth"))


def test_folder_names_the_checkpoint_in_it(tmp_path: Path) -> None:
    for name in ("model.safetensors", "optimizer.bin", "scheduler.bin", "random_states_0.pkl", "config.json"):
        (tmp_path / name).touch()
    with pytest.raises(ExportError, match=r"a folder, not a file; name the file in it: model\.safetensors$"):
        load_checkpoint(tmp_path)


def test_files_of_old_torch_say_what_they_are(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "net.pth", "w") as tar:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            (tmp_path / name).write_bytes(b"x")
            tar.add(tmp_path / name, name)
    with pytest.raises(ExportError, match=r"a file of torch older than 0\.1\.10"):
        load_checkpoint(tmp_path / "net.pth")
    with zipfile.ZipFile(tmp_path / "net.pt2", "w") as file:
        file.writestr("serialized_exported_program.json", "{}")
    with pytest.raises(ExportError, match=r"a file of torch\.export by torch 2\.7 or older; export the state_dict"):
        load_checkpoint(tmp_path / "net.pt2")


def test_the_page_names_tests_that_exist() -> None:
    page = (Path(__file__).parents[3] / "docs/checkpoints.md").read_text(encoding="utf-8")
    folder = Path(__file__).parents[1]
    named = set(re.findall(r"`(?:\.\./)?((?:\w+/)?test_\w+\.py)`", page))
    assert len(named) > 6
    for name in named:
        assert (folder / name).is_file() or (folder / "checkpoints" / name).is_file(), name


OTHERS = {
    "page.pth": (b"\n<!DOCTYPE html><html><body>Google Drive</body></html>", "a web page saved under this name"),
    "lfs.pth": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n",
        "a Git-LFS pointer, .* git lfs pull",
    ),
    "net.onnx": (b"\x08\x08\x12\x07pytorch", "an ONNX file already; fcnrt runs those that to_onnx.py made"),
    "net.engine": (b"ftrt", "an engine, not a checkpoint"),
    "net.pth.h5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "net.caffemodel": (b"\n\x05fcn8s", "a file of Caffe"),
    "net.7z": (b"7z\xbc\xaf\x27\x1c", "an archive; unpack it"),
    "net.png": (b"\x89PNG\r\n", "a picture or a document"),
    "net.json": (b'{"model": 1}', "not a checkpoint"),
    "empty.pth": (b"", "the file is empty"),
    "net.npz": (b"PK\x05\x06" + bytes(18), "not a checkpoint|no checkpoint in it"),
    "gz.pth": (gzip.compress(b"x" * 100), "not a checkpoint"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_no_checkpoint_is_named(name: str, tmp_path: Path) -> None:
    content, text = OTHERS[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ExportError, match=text) as caught:
        load_checkpoint(tmp_path / name)
    assert "\n" not in str(caught.value)


SEVERAL: dict[str, tuple[Any, str]] = {
    "teacher and student": ({"teacher": STATE, "student": STATE}, "--weights student"),
    "in one state dict": (
        {"state_dict": {**prefixed("student."), **prefixed("teacher.", OTHER)}}, "--weights state_dict.student"),
    "generator and critic": (
        {**prefixed("generator."), "critic.0.weight": torch.ones(64, 64, 3, 3)}, "--weights generator"),
    "generator and critic in dicts": (
        {"netG": STATE, "netD": {"0.weight": torch.ones(64, 64, 3, 3)}}, "--weights netG"),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
def test_several_networks_are_refused_and_the_advice_works(name: str, tmp_path: Path) -> None:
    content, advice = SEVERAL[name]
    torch.save(content, tmp_path / "net.pth")
    with pytest.raises(ExportError, match="networks are in it") as caught:
        load_checkpoint(tmp_path / "net.pth")
    assert advice in str(caught.value) and "\n" not in str(caught.value)
    check(load_checkpoint(tmp_path / "net.pth", weights=advice.split()[1]))


@pytest.mark.parametrize("wanted", ["model_ema", "model_ema.module"])
def test_an_average_beside_the_model_is_offered(wanted: str, tmp_path: Path) -> None:
    torch.save(
        {"model": STATE, "model_ema": {**prefixed("module.", OTHER), "n_averaged": torch.tensor(3)}}, tmp_path / "n"
    )
    loaded = load_checkpoint(tmp_path / "n")
    check(loaded)
    assert (loaded.weights, loaded.others) == ("model", ("model_ema.module",))
    average = load_checkpoint(tmp_path / "n", weights=wanted)
    torch.testing.assert_close(average.state["classifier.4.bias"], OTHER["classifier.4.bias"])


@pytest.mark.parametrize("wanted", ["nowhere", "model.backbone.layer1"])
def test_weights_that_are_not_there(wanted: str, tmp_path: Path) -> None:
    torch.save({"model": STATE}, tmp_path / "net.pth")
    with pytest.raises(ExportError, match=r"no weights lie there; the file has --weights model|not a known FCN"):
        recognise(load_checkpoint(tmp_path / "net.pth", weights=wanted))


def test_strangers_are_named_and_layers_are_not_passed_over(tmp_path: Path) -> None:
    torch.save({**prefixed("net."), "loss.weight": torch.ones(4)}, tmp_path / "net.pth")
    assert load_checkpoint(tmp_path / "net.pth").left_out == ("loss.weight",)
    torch.save({**STATE, "attention.weight": torch.ones(64, 64, 3, 3)}, tmp_path / "net.pth")
    checkpoint = load_checkpoint(tmp_path / "net.pth")
    with pytest.raises(ExportError, match=r"has attention\.weight, which that network does not use"):
        build(checkpoint, *recognise(checkpoint))


def test_strange_file_says_what_it_looks_like(tmp_path: Path) -> None:
    kinds = {
        "a ResNet without the head of an FCN": {"layer4.0.conv2.weight": torch.ones(2), "fc.weight": torch.ones(2)},
        "a U-Net": {"inc.double_conv.0.weight": torch.ones(2), "outc.conv.weight": torch.ones(2)},
        "no known network": {"a": torch.ones(2)},
    }
    for kind, state in kinds.items():
        torch.save(state, tmp_path / "net.pth")
        with pytest.raises(
            ExportError, match=rf"not a known FCN; it looks like {kind} \(\d+ tensors?: .*docs/checkpoints"
        ):
            recognise(load_checkpoint(tmp_path / "net.pth"))
