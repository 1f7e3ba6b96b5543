"""One step of training, and what only training has: auxiliary heads, dropout, fixed deconvolutions, schedules."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from fcn_bench.training import learning
from fcn_bench.training.architectures import FACTS
from fcn_bench.training.learning import Learner, LearningError, TrainingNetwork
from fcn_export.families import ScoreDeconv
from tiny_networks import CLASSES, MAKERS

ONE_OF_EACH = ("caffe fcn8s", "zijundeng fcn8s", "tramac fcn8s", "tramac-resnet fcn", "pochih fcns", "torchvision fcn",
               "d2l fcn32s")  # fmt: skip


def tiny(name):
    torch.manual_seed(0)
    return MAKERS[name]()


def batch(seed=0, size=(64, 96)):
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, CLASSES, (2, size[0] // 16, size[1] // 16), dtype=np.uint8)
    labels = coarse.repeat(16, 1).repeat(16, 2)
    return rng.integers(0, 256, (CLASSES, 3), dtype=np.uint8)[labels], labels


def learner(network, rate=0.05, **options):
    optimiser = torch.optim.SGD(learning.parameter_groups(network, 1e-4), rate, 0.9)
    return Learner(network, optimiser, LambdaLR(optimiser, lambda step: 1.0), **options)


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 3.0])])
def test_one_logit_is_of_class_1_against_class_0(weights):
    logit = torch.randn(2, 1, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 2, (2, 5, 7), generator=torch.Generator().manual_seed(1))
    labels[:, 2:] = 255
    both = torch.cat((torch.zeros_like(logit), logit), dim=1)
    expected = learning.pixel_loss(both, labels, weights)
    assert learning.pixel_loss(logit, labels, weights).item() == pytest.approx(expected.item(), rel=1e-5)


def test_void_pixels_do_not_count():
    logits = torch.randn(1, 4, 5, 7, generator=torch.Generator().manual_seed(0))
    labels = torch.randint(0, 4, (1, 5, 7), generator=torch.Generator().manual_seed(1))
    labels[:, 2:] = 255
    expected = learning.pixel_loss(logits[:, :, :2], labels[:, :2])
    torch.testing.assert_close(learning.pixel_loss(logits, labels), expected, rtol=0, atol=1e-7)


def test_void_pixels_teach_nothing():
    logits = torch.zeros(1, 4, 5, 7, requires_grad=True)
    labels = torch.zeros(1, 5, 7, dtype=torch.long)
    labels[:, 2:] = 255
    learning.pixel_loss(logits, labels).backward()
    assert (logits.grad[:, :, 2:] == 0).all() and (logits.grad[:, :, :2] != 0).all()


@pytest.mark.parametrize("bf16", [False, True])
def test_loss_falls(bf16):
    taught = learner(TrainingNetwork(tiny("torchvision fcn"), 0).train(), rate=0.3, bf16=bf16)
    losses = [taught.learn(*batch()) for _ in range(12)]
    assert losses[-1] < 0.6 * losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in taught.network.parameters())


def test_bfloat16_is_really_computed_in():
    network = TrainingNetwork(tiny("d2l fcn32s")).train()
    seen = []
    network.net.get_submodule("4").register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    learner(network, bf16=True).learn(*batch())
    learner(network).learn(*batch())
    assert seen == [torch.bfloat16, torch.float32]


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_trainable_weight_is_trained(name):
    network = TrainingNetwork(tiny(name)).train()
    before = {key: value.clone() for key, value in network.named_parameters()}
    taught = learner(network, rate=0.5)
    for step in range(3):  # what stands behind score layers of zeros moves after them
        taught.learn(*batch(step))
    moved = {key for key, value in network.named_parameters() if not torch.equal(value, before[key])}
    assert moved == {key for key, value in network.named_parameters() if value.requires_grad}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_only_the_caffe_familys_deconvolutions_are_fixed(name):
    network = TrainingNetwork(tiny(name))
    fixed = [
        module for module in network.modules() if isinstance(module, ScoreDeconv) and not module.weight.requires_grad
    ]
    assert len(fixed) == (3 if name == "caffe fcn8s" else 0)
    assert sum(not parameter.requires_grad for parameter in network.parameters()) == len(fixed)


@pytest.mark.parametrize(
    ("name", "channels"), [("tramac fcn8s", 32), ("tramac-resnet fcn", 48), ("torchvision fcn", 48)]
)
def test_auxiliary_head_is_fed_where_upstream_feeds_it(name, channels):
    network = TrainingNetwork(tiny(name), auxiliary_weight=0.5).eval()
    assert network.auxiliary[0].in_channels == channels and network.auxiliary[0].out_channels == channels // 4
    frames, labels = batch()
    x, truth = learner(network).normalised(frames), torch.from_numpy(labels).long()
    logits = network.net(x)
    tapped = {}
    tap = network.net.get_submodule(FACTS[type(network.net)].auxiliary.tap)
    tap.register_forward_hook(lambda module, inputs, output: tapped.update(x=output))
    total = network.loss(x, truth)
    align = name.startswith("tramac")
    aux = nn.functional.interpolate(
        network.auxiliary(tapped["x"]), labels.shape[1:], mode="bilinear", align_corners=align
    )
    expected = learning.pixel_loss(logits, truth) + 0.5 * learning.pixel_loss(aux, truth)
    torch.testing.assert_close(total, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("name", ["d2l fcn32s", "pochih fcns", "caffe fcn32s"])
def test_families_without_auxiliary_head_get_none(name):
    assert TrainingNetwork(tiny(name), auxiliary_weight=0.5).auxiliary is None


def test_auxiliary_weight_of_zero_leaves_the_head_out():
    assert TrainingNetwork(tiny("torchvision fcn"), auxiliary_weight=0).auxiliary is None


@pytest.mark.parametrize(("name", "whole_maps"), [("caffe fcn32s", True), ("zijundeng fcn32s", False)])
def test_fc6_and_fc7_drop_half_in_training_and_nothing_after_it(name, whole_maps):
    network = TrainingNetwork(tiny(name)).train()
    seen = []
    for layer in (network.net.fc6, network.net.fc7):
        layer.register_forward_hook(lambda module, inputs, output: seen.append(output == 0))
    with torch.no_grad():
        network.net(torch.randn(1, 3, 64, 96))
        for dropped in seen:
            assert 0.2 < dropped.float().mean() < 0.8
            maps = dropped.float().mean((2, 3))  # torchfcn has Dropout2d, zijundeng Dropout
            assert set(maps.unique().tolist()) == {0, 1} if whole_maps else ((maps > 0) & (maps < 1)).any()
        network.eval().net(torch.randn(1, 3, 64, 96))
    assert len(seen) == 4 and not seen[2].any() and not seen[3].any()


def test_class_weights_shift_the_loss():
    weights = torch.tensor([10.0] + [0.1] * (CLASSES - 1))
    network = TrainingNetwork(tiny("d2l fcn32s")).eval()
    frames, labels = batch()
    x, truth = learner(network).normalised(frames), torch.from_numpy(labels).long()
    with torch.no_grad():
        expected = nn.functional.cross_entropy(network.net(x), truth, weights)
        torch.testing.assert_close(network.loss(x, truth, weights), expected)


def test_weights_of_classes_help_the_rare_ones():
    pixels = torch.tensor([900, 90, 0, 10])
    assert learning.class_weights(pixels, 0).tolist() == [1, 1, 1, 1]
    np.testing.assert_allclose(learning.class_weights(pixels, 0.5), [0.9**-0.5, 0.09**-0.5, 1000**0.5, 10], rtol=1e-6)


def test_labels_of_a_frame_are_the_networks_argmax_in_float32():
    network = TrainingNetwork(tiny("caffe fcn8s"))
    frame = batch(size=(48, 80))[0][0][:37, :53]
    taught = learner(network.train(), bf16=True)
    labels = taught.label(frame)
    assert labels.shape == (37, 53) and labels.dtype == np.uint8 and not network.training
    with torch.no_grad():
        contract = network.net.contracts[0]
        logits = network.net(contract.normalise(torch.from_numpy(frame[None].copy()), "rgb"))
    np.testing.assert_array_equal(labels, logits.argmax(1)[0].numpy())


def test_diverging_training_is_stopped_with_the_cure():
    taught = learner(TrainingNetwork(tiny("d2l fcn32s")).train())
    nn.init.constant_(taught.network.net.final_conv.bias, float("nan"))
    with pytest.raises(LearningError, match="loss: became nan; lower --lr"):
        taught.learn(*batch())


def test_weights_decay_and_biases_do_not():
    decaying, others = learning.parameter_groups(TrainingNetwork(tiny("caffe fcn8s")), 0.01)
    assert decaying["weight_decay"] == 0.01 and all(parameter.ndim == 4 for parameter in decaying["params"])
    assert others["weight_decay"] == 0 and all(parameter.ndim == 1 for parameter in others["params"])
    assert all(parameter.requires_grad for group in (decaying, others) for parameter in group["params"])


def test_schedules_begin_rise_and_end_as_they_say():
    assert learning.poly(0) == 1 and learning.poly(1) == 0
    assert learning.poly(0.5) == pytest.approx(0.5**0.9)
    rates = [learning.one_cycle(progress) for progress in np.linspace(0, 1, 41)]
    assert rates[0] == pytest.approx(0.04) and rates[10] == 1 and rates[40] == pytest.approx(0)
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
