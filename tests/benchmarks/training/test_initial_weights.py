"""Weights to begin with: classification networks give the same features in here, upsampling begins bilinear."""

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.models.vgg import VGG, make_layers

from fcn_bench.training import initial_weights
from fcn_bench.training.architectures import ARCHITECTURES, FACTS
from fcn_bench.training.initial_weights import InitError, draw, load_classification, take_over
from fcn_export.errors import ExportError
from fcn_export.families import ScoreConv, ScoreDeconv
from fcn_export.families.base import IMAGENET
from fcn_export.families.caffe import CaffeFcn
from fcn_export.families.d2l import D2lFcn
from fcn_export.families.pochih import PochihFcn
from fcn_export.families.resnet import ResNetPlan, Stage
from fcn_export.families.torchvision_fcn import TorchvisionFcn
from fcn_export.families.tramac import TramacVggFcn
from fcn_export.families.vgg import VGG16, VGG_PLANS, pooled
from fcn_export.families.zijundeng import ZijundengFcn
from tiny_networks import MAKERS, narrow

FC = 24
CAFFE_WIDTHS = (8, 8, 16, 32, 32)  # those of narrow(VGG16)


class NarrowResNet(ResNet):
    """torchvision's own ResNet with an eighth of the channels."""

    def _make_layer(self, block, planes, blocks, stride=1, dilate=False):
        return super()._make_layer(block, planes // 8, blocks, stride, dilate)


def resnet(block):
    net = drawn(NarrowResNet(block, [1, 2, 1, 1], num_classes=9))
    return net.eval(), ResNetPlan((64,), stages(block), block is Bottleneck)


def stages(block):
    return tuple(Stage(n, w, w * block.expansion) for n, w in zip((1, 2, 1, 1), (8, 16, 32, 64), strict=True))


def vgg(plan, fc=FC):
    """torchvision's VGG with narrow layers."""
    net = VGG(make_layers(plan), init_weights=False)
    wide = next(entry for entry in reversed(plan) if isinstance(entry, int))
    net.classifier = nn.Sequential(
        nn.Linear(wide * 49, fc), nn.ReLU(), nn.Dropout(), nn.Linear(fc, fc), nn.ReLU(), nn.Dropout(), nn.Linear(fc, 9)
    )
    return drawn(net).eval()


def drawn(net):
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
        elif isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.normal_(module.bias)
    return net


def saved(net, tmp_path):
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    return tmp_path / "weights.pth"


def picture(size=(64, 96)):
    return torch.randint(0, 256, (1, *size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def features_of_vgg_fcn(net, x):
    """pool5 without the padding of 100, which torchvision's VGG does not have."""
    if isinstance(net, CaffeFcn):
        net.conv1_1.padding = (1, 1)
        return net._pools(x)[-1]
    body = net.pretrained if isinstance(net, TramacVggFcn) else net.pretrained_net.features
    return pooled(body, x)[-1]


def features_of_resnet(net, x):
    for child in (net.conv1, net.bn1, net.relu, net.maxpool, net.layer1, net.layer2, net.layer3, net.layer4):
        x = child(x)
    return x


@pytest.mark.parametrize("family", ["d2l", "torchvision"])
@torch.no_grad()
def test_resnets_features_are_torchvisions(family, tmp_path):
    theirs, plan = resnet(BasicBlock)
    ours = {"d2l": lambda: D2lFcn(plan=plan), "torchvision": lambda: TorchvisionFcn(plan=plan, hidden=8)}[family]()
    draw(ours)
    load_classification(ours, saved(theirs, tmp_path))
    x = IMAGENET.normalise(picture(), "rgb")
    body = nn.Sequential(*(ours.get_submodule(str(i)) for i in range(8))) if family == "d2l" else ours.backbone
    assert torch.equal(body.eval()(x), features_of_resnet(theirs, x))


@torch.no_grad()
def test_dilated_bottlenecks_have_torchvisions_weights(tmp_path):
    theirs, plan = resnet(Bottleneck)
    ours = TorchvisionFcn(plan=plan, hidden=8).eval()
    load_classification(ours, saved(theirs, tmp_path))
    dilated = torchvision.models._utils.IntermediateLayerGetter(theirs, {"layer2": "out"})
    x = IMAGENET.normalise(picture(), "rgb")
    body = ours.backbone
    found = body.layer2(body.layer1(body.maxpool(body.relu(body.bn1(body.conv1(x))))))
    assert torch.equal(found, dilated(x)["out"])
    for key, value in theirs.state_dict().items():
        assert key.startswith("fc.") or torch.equal(body.state_dict()[key], value)


@pytest.mark.parametrize("family", [CaffeFcn, ZijundengFcn, TramacVggFcn, PochihFcn])
@torch.no_grad()
def test_vggs_features_are_torchvisions_for_the_same_picture(family, tmp_path):
    """Whatever form the family takes its pictures in. Beside the border: zeros there mean another colour."""
    plan = narrow(VGG16)
    theirs = vgg(plan)
    options = {"widths": CAFFE_WIDTHS, "fc": FC} if issubclass(family, CaffeFcn) else {"plan": plan}
    ours = family("fcn32s", **options).eval()
    load_classification(ours, saved(theirs, tmp_path))
    frames = picture()
    first = next(module for module in ours.modules() if isinstance(module, nn.Conv2d))
    first.padding = (1, 1)
    found, expected = (
        first(ours.contracts[0].normalise(frames, "rgb")),
        theirs.features[0](IMAGENET.normalise(frames, "rgb")),
    )
    torch.testing.assert_close(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1], rtol=1e-4, atol=2e-5)
    border = (found - expected).abs().max()
    assert border < 0.05 * expected.abs().max()
    # Behind the first convolution the weights are the file's own.
    x = torch.rand(1, 3, 64, 96)
    first.weight.copy_(theirs.features[0].weight)
    first.bias.copy_(theirs.features[0].bias)
    assert torch.equal(features_of_vgg_fcn(ours, x), theirs.features(x))


@pytest.mark.parametrize("body", ["vgg11", "vgg13", "vgg19"])
@torch.no_grad()
def test_pochihs_other_bodies_fit_as_well(body, tmp_path):
    plan = narrow(VGG_PLANS[body])
    theirs, ours = vgg(plan), PochihFcn("fcns", plan, (32, 16, 8, 8, 8))
    load_classification(ours, saved(theirs, tmp_path))
    last = max(int(key.split(".")[1]) for key in theirs.state_dict() if key.startswith("features."))
    assert torch.equal(ours.pretrained_net.features[last].weight, theirs.features[last].weight)


@torch.no_grad()
def test_fully_connected_layers_are_fc6_and_fc7(tmp_path):
    """On a picture of 224x224 the convolutions give what torchvision's classifier gives."""
    theirs, ours = vgg(narrow(VGG16)), CaffeFcn("fcn8s", CAFFE_WIDTHS, FC).eval()
    load_classification(ours, saved(theirs, tmp_path), trained_on="caffe")
    x = torch.rand(1, 3, 224, 224) - 0.5
    pool5 = features_of_vgg_fcn(ours, x)
    assert torch.equal(pool5, theirs.features(x)) and pool5.shape[2:] == (7, 7)
    fc7 = ours.fc7(ours.fc6(pool5).relu()).relu()
    expected = theirs.classifier[:5](pool5.flatten(1))
    torch.testing.assert_close(fc7.flatten(1), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_real_vgg16_at_full_width():
    theirs = torchvision.models.vgg16(init_weights=False)
    ours = ARCHITECTURES["fcn32s-caffe"].make(21)
    take_over(ours, theirs.state_dict(), trained_on="caffe")
    assert torch.equal(ours.fc6.weight, theirs.classifier[0].weight.view(4096, 512, 7, 7))
    assert torch.equal(ours.fc7.weight.flatten(1), theirs.classifier[3].weight)
    assert torch.equal(ours.conv5_3.bias, theirs.features[28].bias)


def test_caffes_vgg_is_taken_as_it_is_where_the_input_is_caffes(tmp_path):
    theirs, ours = vgg(narrow(VGG16)), CaffeFcn("fcn32s", CAFFE_WIDTHS, FC)
    load_classification(ours, saved(theirs, tmp_path), trained_on="caffe")
    assert torch.equal(ours.conv1_1.weight, theirs.features[0].weight)
    assert torch.equal(ours.conv1_1.bias, theirs.features[0].bias)


def test_heads_are_left_as_they_were(tmp_path):
    theirs, plan = resnet(BasicBlock)
    ours = D2lFcn(plan=plan)
    before = {key: value.clone() for key, value in ours.state_dict().items()}
    load_classification(ours, saved(theirs, tmp_path))
    same = {key for key, value in ours.state_dict().items() if torch.equal(value, before[key])}
    heads = {"final_conv.weight", "final_conv.bias", "transpose_conv.weight", "transpose_conv.bias"}
    assert heads <= same and "7.0.conv1.weight" not in same


def test_wrong_network_is_named_with_the_first_misfit(tmp_path):
    theirs, plan = resnet(BasicBlock)
    path = saved(theirs, tmp_path)
    with pytest.raises(
        InitError,
        match=r"weights.pth: not the body of this caffe fcn32s: expected \(8,\) for conv1_1.bias, got nothing",
    ):
        load_classification(CaffeFcn("fcn32s", CAFFE_WIDTHS, FC), path)
    deeper = ResNetPlan(plan.stem, (*plan.stages[:3], Stage(2, 64, 64)), bottleneck=False)
    with pytest.raises(InitError, match=r"d2l fcn32s: expected \(.*\) for 7.1.bn1.bias, got nothing"):
        load_classification(D2lFcn(plan=deeper), path)
    with pytest.raises(InitError, match=r"weights.pth: 0 has no bias"):
        load_classification(D2lFcn(plan=plan), path, trained_on="caffe")


def test_damaged_file_is_the_exporters_complaint(tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"none")
    with pytest.raises(ExportError, match="not a checkpoint"):
        load_classification(MAKERS["d2l fcn32s"](), tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["caffe fcn8s", "zijundeng fcn32s", "d2l fcn32s", "d2l fcn32s wider middle"])
@torch.no_grad()
def test_upsampling_begins_bilinear(name):
    net = MAKERS[name]()
    draw(net)
    for deconv in (module for module in net.modules() if isinstance(module, ScoreDeconv)):
        stride, classes = deconv.stride[0], deconv.out_channels
        impulse = torch.zeros(1, deconv.in_channels, 5, 5)
        impulse[:, 1] = torch.rand(5, 5)
        crop = stride // 2 - deconv.padding[0]
        found = deconv(impulse)[0, :, crop + stride : crop + 4 * stride, crop + stride : crop + 4 * stride]
        smooth = nn.functional.interpolate(impulse, scale_factor=stride, mode="bilinear")[
            0, :classes, stride : 4 * stride
        ]
        torch.testing.assert_close(found, smooth[..., stride : 4 * stride], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["caffe fcn8s", "zijundeng fcn8s", "torchvision fcn", "tramac fcn8s"])
def test_drawn_weights(name):
    net = MAKERS[name]()
    torch.manual_seed(3)
    draw(net)
    for module in net.modules():
        if isinstance(module, ScoreConv):
            assert bool((module.weight == 0).all()) == FACTS[type(net)].zero_scores
        elif isinstance(module, nn.Conv2d) and module.weight.numel() > 500:
            expected = (2 / (module.out_channels * module.kernel_size[0] ** 2)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.15)
    again = MAKERS[name]()
    torch.manual_seed(3)
    draw(again)
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in net.state_dict().items())


def test_names_of_classification_inputs():
    assert set(initial_weights.CLASSIFICATION_INPUTS) == {"torchvision", "caffe"}
