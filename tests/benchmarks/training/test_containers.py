"""Checkpoints in each family's own container: upstream's keys, upstream's dictionary, and the exporter knows them."""

import argparse
from dataclasses import replace

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR

from fcn_bench.training import containers, learning
from fcn_bench.training.architectures import ARCHITECTURES
from fcn_bench.training.learning import Learner, TrainingNetwork
from fcn_export.checkpoints.building import build
from fcn_export.checkpoints.reading import load_checkpoint
from fcn_export.checkpoints.recognition import recognise
from fcn_export.checkpoints.remembered import Remembered, remembered
from fcn_export.families import FAMILIES
from fcn_export.families.base import IMAGENET
from tiny_networks import MAKERS, upstream_state

PROGRESS = containers.Progress(3, 42, 0.5, argparse.Namespace(arch="fcn", lr=0.1))
FACTS = Remembered("caffe", "fcn8s", ("a", "b"), "voc", IMAGENET, (64, 65))
VARIANTS = [name for name in MAKERS if "basic" not in name and "wider" not in name]


def learner(name):
    torch.manual_seed(0)
    network = TrainingNetwork(MAKERS[name]())
    optimiser = torch.optim.SGD(learning.parameter_groups(network, 0), 0.1, 0.9)
    return Learner(network, optimiser, LambdaLR(optimiser, lambda step: 1.0))


@pytest.mark.parametrize("name", VARIANTS)
def test_exporter_finds_family_variant_and_weights_without_a_flag(name, tmp_path):
    family, variant = name.split()[:2]
    taught = learner(name)
    path = tmp_path / f"{variant}-{family}-best.pth"
    facts = replace(FACTS, family=family, variant=variant)
    containers.save(path, taught, PROGRESS, facts)
    assert remembered(torch.load(path, weights_only=False), path) == facts
    checkpoint = load_checkpoint(path)
    found = recognise(checkpoint)
    assert (found[0].family, found[1]) == (family, variant)
    state = build(checkpoint, *found).state_dict()
    for key, value in taught.network.net.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(state[key], value)


@pytest.mark.parametrize("name", [name for name in VARIANTS if name.startswith("zijundeng")])
def test_zijundengs_keys(name):
    net = learner(name).network.net
    expected = upstream_state(net)
    found = containers.upstream_state(TrainingNetwork(net))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], value) for key, value in expected.items())


# Counts of model-families.md, counters of BatchNorm included: without and with the auxiliary head.
@pytest.mark.parametrize(
    ("arch", "count", "with_auxiliary"),
    [
        ("fcn32s-tramac", 34, 42),
        ("fcn16s-tramac", 62, 70),
        ("fcn8s-tramac", 64, 72),
        ("fcn_resnet50", 326, 334),
        ("fcn_resnet101", 632, 640),
        ("fcn32s-caffe", 33, 33),
        ("fcn16s-caffe", 36, 36),
        ("fcn8s-atonce-caffe", 39, 39),
        ("fcns-pochih", 63, 63),
        ("fcn8s-pochih-vgg19", 69, 69),
        ("fcn32s-resnet18", 124, 124),
        ("fcn_resnet50-tramac", 346 - 8, 346),  # upstream's has 348: its classifier, which it never runs
    ],
)
def test_keys_are_as_many_as_upstreams(arch, count, with_auxiliary):
    for weight, expected in ((0, count), (0.5, with_auxiliary)):
        with torch.device("meta"):
            network = TrainingNetwork(ARCHITECTURES[arch].make(21), weight)
        assert len(containers.upstream_state(network.to_empty(device="cpu"))) == expected


def test_tramacs_aliases_are_the_same_weights_and_cost_nothing(tmp_path):
    taught = learner("tramac fcn8s")
    containers.save(tmp_path / "net.pth", taught, PROGRESS, FACTS)
    state = torch.load(tmp_path / "net.pth", weights_only=True)
    assert state["pool4.0.weight"].data_ptr() == state["pretrained.17.weight"].data_ptr()
    assert {key.split(".")[1] for key in state if key.startswith("pool3.")} == {"0", "2", "5", "7", "10", "12", "14"}
    assert "auxlayer.block.4.weight" in state


def test_wkentaros_dictionary(tmp_path):
    containers.save(tmp_path / "net.pth", learner("caffe fcn8s-atonce"), PROGRESS, FACTS)
    content = torch.load(tmp_path / "net.pth", weights_only=True)
    model = content.pop("model_state_dict")
    assert "upscore8.weight" in model and "param_groups" in content.pop("optim_state_dict")
    assert content.pop("fcnrt")["variant"] == FACTS.variant
    assert content == {"epoch": 3, "iteration": 42, "arch": "FCN8sAtOnce", "best_mean_iu": 0.5}


def test_torchvisions_dictionary(tmp_path):
    containers.save(tmp_path / "net.pth", learner("torchvision fcn"), PROGRESS, FACTS)
    with torch.serialization.safe_globals([argparse.Namespace]):
        content = torch.load(tmp_path / "net.pth", weights_only=True)
    assert set(content) == {"model", "optimizer", "lr_scheduler", "epoch", "args", "fcnrt"}
    assert content["args"].lr == 0.1 and content["epoch"] == 3 and content["lr_scheduler"]["last_epoch"] == 0
    assert "aux_classifier.4.weight" in content["model"]


@pytest.mark.parametrize("name", ["d2l fcn32s", "tramac fcn32s", "pochih fcns", "tramac-resnet fcn", "zijundeng fcn8s"])
def test_the_others_save_the_bare_state_dict(name, tmp_path):
    containers.save(tmp_path / "net.pth", learner(name), PROGRESS, FACTS)
    content = torch.load(tmp_path / "net.pth", weights_only=True)
    assert all(isinstance(value, torch.Tensor) and value.is_contiguous() for value in content.values())


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    taught = learner("d2l fcn32s")
    containers.save(tmp_path / "net.pth", taught, PROGRESS, FACTS)
    before = (tmp_path / "net.pth").read_bytes()

    def interrupted(content, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        containers.save(tmp_path / "net.pth", taught, PROGRESS, FACTS)
    assert (tmp_path / "net.pth").read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_every_architecture_has_a_name_that_tells_its_variant():
    for name, architecture in ARCHITECTURES.items():
        with torch.device("meta"):
            net = architecture.make(5)
        assert type(net) is architecture.family and net.classes == 5
        assert name.startswith(net.variant) or name == "slim"
    untrained = {"mmseg", "yassouali"}  # their own trainers are many; their checkpoints are read
    trained = {family for family in FAMILIES if family.family not in untrained}
    assert {architecture.family for architecture in ARCHITECTURES.values()} == trained
