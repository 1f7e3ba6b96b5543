"""Family and variant from keys and names; precise refusals where they do not tell."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from fcn_export.checkpoints.building import build
from fcn_export.checkpoints.reading import Checkpoint
from fcn_export.checkpoints.recognition import recognise
from fcn_export.errors import ExportError
from fcn_export.families import FAMILIES, Fcn
from fcn_export.families.pochih import PochihFcn
from fcn_export.families.resnet import ResNetPlan, Stage
from fcn_export.families.torchvision_fcn import TorchvisionFcn
from fcn_export.families.tramac import TramacVggFcn
from fcn_export.families.vgg import VGG_PLANS
from tiny_networks import NAMES, narrow, tiny, upstream_state

BY_NAME = {family.family: family for family in FAMILIES}


def checkpoint(state: dict[str, Tensor], *hints: str) -> Checkpoint:
    return Checkpoint(Path("net.pth"), state, hints, "0" * 64)


def weights(net: Fcn) -> dict[str, Tensor]:
    """What is left of a network's state dict once it was loaded as a checkpoint."""
    return {key: value for key, value in upstream_state(net).items() if "num_batches" not in key}


def state_of(name: str) -> dict[str, Tensor]:
    return weights(tiny(name))


@pytest.mark.parametrize("name", NAMES)
def test_keys_tell_the_family_and_rebuild_the_network(name: str) -> None:
    family_name, variant = name.split()[:2]
    loaded = checkpoint(state_of(name))
    family, found = recognise(loaded, variant=variant)
    assert (family.family, found) == (family_name, variant)
    net, expected = build(loaded, family, variant), tiny(name)
    x = torch.randn(1, 3, 64, 96)
    assert torch.equal(net(x), expected(x))


@pytest.mark.parametrize(
    "name", [name for name in NAMES if not name.startswith(("pochih", "caffe fcn8s"))], ids=lambda name: name
)
def test_keys_alone_tell_the_variant(name: str) -> None:
    assert recognise(checkpoint(state_of(name), "weights.pth"))[1] == name.split()[1]


@pytest.mark.parametrize(
    ("name", "hint", "variant"),
    [
        ("caffe fcn8s", "FCN8s", "fcn8s"),
        ("caffe fcn8s", "FCN8sAtOnce", "fcn8s-atonce"),
        ("caffe fcn8s", "fcn8s.pth", "fcn8s"),
        ("caffe fcn8s", "fcn8s_from_caffe.pth", "fcn8s"),
        ("caffe fcn8s", "fcn8s-atonce_from_caffe.pth", "fcn8s-atonce"),
        ("caffe fcn8s", "fcn8s-atonce-heavy-pascal.pth", "fcn8s-atonce"),
        ("caffe fcn8s", "fcn8s-at-once.pth", "fcn8s-atonce"),
        ("caffe fcn8s", "FCN8s_AtOnce.pth", "fcn8s-atonce"),
        ("pochih fcns", "FCNs", "fcns"),
        ("pochih fcns", "FCNs-BCEWithLogits_batch6_epoch500_RMSprop_lr0.0001", "fcns"),
        ("pochih fcns", "FCN16s-BCEWithLogits_batch6", "fcn16s"),
    ],
)
def test_names_tell_the_variant_where_keys_cannot(name: str, hint: str, variant: str) -> None:
    assert recognise(checkpoint(state_of(name), hint))[1] == variant


def test_earlier_hint_wins() -> None:
    loaded = checkpoint(state_of("caffe fcn8s"), "FCN8sAtOnce", "fcn8s_retrained.pth")
    assert recognise(loaded)[1] == "fcn8s-atonce"


@pytest.mark.parametrize(
    ("name", "hint", "flags"),
    [
        ("caffe fcn8s", "model_best.pth.tar", "--variant fcn8s or --variant fcn8s-atonce"),
        ("caffe fcn8s", "fcn8s-from-atonce.pth", "--variant fcn8s or --variant fcn8s-atonce"),
        ("caffe fcn8s", "fcn8st.pth", "--variant fcn8s or --variant fcn8s-atonce"),
        ("caffe fcn8s", "fcn16s.pth", "--variant fcn8s or --variant fcn8s-atonce"),
        (
            "pochih fcn8s",
            "fcnsomething.pth",
            "--variant fcn32s or --variant fcn16s or --variant fcn8s or --variant fcns",
        ),
    ],
)
def test_open_variant_is_refused_with_the_flag_to_add(name: str, hint: str, flags: str) -> None:
    with pytest.raises(ExportError, match=f"have the same keys; add {flags}$"):
        recognise(checkpoint(state_of(name), hint))


def test_variant_against_the_keys_is_refused() -> None:
    with pytest.raises(ExportError, match=r"--variant fcn32s: the keys of net\.pth say caffe fcn8s and fcn8s-atonce"):
        recognise(checkpoint(state_of("caffe fcn8s")), variant="fcn32s")


def test_unknown_family_option() -> None:
    with pytest.raises(ExportError, match="--family unet: expected one of caffe, tramac"):
        recognise(checkpoint(state_of("caffe fcn8s")), family="unet")


def test_wrong_family_option_names_the_differing_keys() -> None:
    state = state_of("tramac fcn16s")
    del state["head.block.0.weight"]
    with pytest.raises(ExportError, match=r"nearest is tramac fcn16s, which also needs head\.block\.0\.weight and"):
        recognise(checkpoint(state), family="tramac")


def test_unknown_checkpoint_names_the_nearest_family() -> None:
    state = state_of("torchvision fcn")
    del state["backbone.conv1.weight"]
    state["backbone.stem.weight"] = torch.ones(1)
    with pytest.raises(ExportError) as caught:
        recognise(checkpoint(state))
    assert "not a known FCN; nearest is torchvision fcn" in str(caught.value)
    assert "also needs backbone.conv1.weight" in str(caught.value) and "backbone.stem.weight" in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (["conv_block1.0.weight", "classifier.6.weight"], "meetps/pytorch-semseg"),
        (["backbone.conv1.weight", "classifier.0.convs.0.0.weight", "classifier.4.weight"], "DeepLabV3"),
        (["pretrained.conv1.0.weight", "head.block.0.weight", "jpu.conv5.0.weight"], "joint pyramid"),
        (["pretrained.conv1.0.weight", "head.conv5.0.weight", "jpu.conv5.0.weight"], "joint pyramid"),
        (["feats.0.weight", "fconn.0.weight", "score_fconn.weight"], "bodokaiser/piwise"),
    ],
)
def test_lookalikes_are_refused_by_name(keys: list[str], reason: str) -> None:
    with pytest.raises(ExportError, match=reason):
        recognise(checkpoint({key: torch.ones(1) for key in keys}))


def test_leftover_key_is_refused_not_ignored() -> None:
    state = {**state_of("torchvision fcn"), "backbone.layer4.0.attention.weight": torch.ones(1)}
    with pytest.raises(ExportError, match=r"has backbone\.layer4\.0\.attention\.weight, which that network does not"):
        build(checkpoint(state), *recognise(checkpoint(state)))


@pytest.mark.parametrize(
    ("name", "key", "text"),
    [
        ("caffe fcn32s", "fc7.bias", "lacks fc7.bias"),
        ("tramac fcn8s", "head.block.4.bias", "lacks head.block.4.bias"),
        ("pochih fcns", "bn3.running_var", "lacks bn3.running_var"),
        ("d2l fcn32s", "final_conv.bias", "lacks final_conv.bias"),
    ],
)
def test_missing_key_is_named(name: str, key: str, text: str) -> None:
    state = state_of(name)
    del state[key]
    with pytest.raises(ExportError, match=text):
        build(checkpoint(state), *recognise(checkpoint(state), variant=name.split()[1]))


def test_missing_last_deconvolution_is_named() -> None:
    state = state_of("caffe fcn16s")
    del state["upscore16.weight"]
    with pytest.raises(ExportError, match=r"nearest is caffe fcn16s, which also needs upscore16\.weight"):
        recognise(checkpoint(state))


def test_tramac_on_another_vgg_is_refused() -> None:
    net = TramacVggFcn("fcn32s", narrow(VGG_PLANS["vgg13"]), 4, 7)
    with pytest.raises(ExportError, match="looks like tramac fcn32s, but its body is no VGG16"):
        build(checkpoint(weights(net)), TramacVggFcn, "fcn32s")


@pytest.mark.parametrize(
    "net",
    [
        PochihFcn("fcns", narrow(VGG_PLANS["vgg16"]), (32, 16, 9, 8, 8), 5),
        PochihFcn("fcns", [*narrow(VGG_PLANS["vgg16"]), 8, "M", 8, "M"], (8, 8, 8, 8, 8), 5),
    ],
    ids=["widths", "poolings"],
)
def test_layers_that_do_not_fit_are_refused(net: PochihFcn) -> None:
    with pytest.raises(ExportError, match=f"looks like pochih {net.variant}, but its layers do not fit each other"):
        build(checkpoint(weights(net)), PochihFcn, net.variant)


def test_keys_that_only_resemble_aliases_are_named() -> None:
    state = {**state_of("tramac fcn8s"), "pool3.x.weight": torch.ones(1)}
    with pytest.raises(ExportError, match="looks like tramac fcn8s"):
        build(checkpoint(state), *recognise(checkpoint(state)))


@pytest.mark.parametrize(("width", "out"), [(128, 412), (19, 76), (13, 44)])
def test_resnet_of_any_width(width: int, out: int) -> None:
    net = TorchvisionFcn("fcn", ResNetPlan((8,), (Stage(1, width, out),) * 4, bottleneck=True), 8, 5)
    rebuilt = build(checkpoint(weights(net)), TorchvisionFcn, "fcn")
    assert rebuilt.backbone.layer4[0].conv2.weight.shape[:2] == (width, width)


def test_wrong_shape_is_named() -> None:
    state = {**state_of("caffe fcn32s"), "fc7.weight": torch.ones(24, 23, 1, 1)}
    with pytest.raises(ExportError, match=r"has fc7.weight of shape \(24, 23, 1, 1\) instead of \(24, 24, 1, 1\)"):
        build(checkpoint(state), *recognise(checkpoint(state)))


def test_aux_heads_and_dead_keys_are_dropped() -> None:
    dead = {
        "torchvision fcn": ["aux_classifier.0.weight", "backbone.fc.weight"],
        "tramac fcn32s": ["auxlayer.block.0.weight"],
        "tramac-resnet fcn": ["auxlayer.block.4.bias", "pretrained.fc.bias"],
        "pochih fcns": ["pretrained_net.classifier.0.weight"],
    }
    for name, keys in dead.items():
        state = {**state_of(name), **{key: torch.ones(1) for key in keys}}
        build(checkpoint(state), *recognise(checkpoint(state), variant=name.split()[1]))


@pytest.mark.parametrize(("variant", "block", "start"), [("fcn16s", "pool4", 0), ("fcn8s", "pool5", 24)])
def test_tramac_aliases_win_where_they_disagree(variant: str, block: str, start: int) -> None:
    state = state_of(f"tramac {variant}")
    layer = 2  # second convolution of the slice
    other = torch.randn_like(state[f"pretrained.{start + layer}.weight"])
    state[f"{block}.{layer}.weight"] = other
    net = build(checkpoint(state), *recognise(checkpoint(state)))
    assert torch.equal(net.pretrained[start + layer].weight, other)


def test_tramac_first_revision_keys() -> None:
    state = {key.replace("pretrained.", "features."): value for key, value in state_of("tramac fcn16s").items()}
    net = build(checkpoint(state), *recognise(checkpoint(state)))
    assert torch.equal(net.pretrained[0].weight, state["features.0.weight"])


def test_d2l_positional_keys() -> None:
    renames = {"final_conv.": "8.", "transpose_conv.": "9."}
    state = {}
    for key, value in state_of("d2l fcn32s").items():
        prefix = next((name for name in renames if key.startswith(name)), "")
        state[renames.get(prefix, "") + key[len(prefix) :]] = value
    net = build(checkpoint(state), *recognise(checkpoint(state)))
    x = torch.randn(1, 3, 45, 33)
    assert torch.equal(net(x), tiny("d2l fcn32s")(x))
