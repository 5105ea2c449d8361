"""Released names: prefixes, dead parts, what is left over, what is missing."""

from __future__ import annotations

import pytest
import torch

from asgmcli.errors import DataError
from asgmcli.nn.avsegformer import AVSegFormer
from asgmcli.nn.resnet import ResNet18
from asgmcli.nn.stages import build_backbone
from asgmcli.nn.tpavi import TPAVINetwork
from asgmcli.nn.weights import load_avsegformer, load_backbone, load_flownet, load_tpavi


def tpavi() -> TPAVINetwork:
    return TPAVINetwork("resnet18", "stem", channels=32, audio_dim=8, width=8)


def test_own_names_go_round_with_and_without_module() -> None:
    state = tpavi().state_dict()
    net = tpavi()
    report = load_tpavi(net, {f"module.{name}": value for name, value in state.items()})
    assert not report.unexpected
    assert all(torch.equal(value, state[name]) for name, value in net.state_dict().items())


def test_dead_parts_are_dropped_and_others_told() -> None:
    state = dict(tpavi().state_dict())
    for name in ("path4.resConfUnit1.conv1.weight", "flownet.layer3.0.conv1.weight", "resnet.layer4_2.0.conv1.weight"):
        state[name] = torch.zeros(1)
    state["resnet.layer3_1.0.conv1.weight"] = state.pop("resnet.layer3.0.conv1.weight")
    state["stranger.weight"] = torch.zeros(1)
    state["bn.num_batches_tracked"] = torch.zeros(1)
    assert load_tpavi(tpavi(), state).unexpected == ["stranger.weight"]


def test_three_missing_tensors_are_named_and_nothing_is_changed() -> None:
    net = tpavi()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = {name: torch.zeros_like(value) for name, value in before.items() if not name.startswith("tpavi_b2")}
    with pytest.raises(DataError) as error:
        load_tpavi(net, state)
    assert "tensors are missing, among them tpavi_b2.align_channel.weight, " in error.value.message
    assert error.value.message.count("tpavi_b2.") == 3
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_shape_that_does_not_fit_is_named() -> None:
    state = TPAVINetwork("resnet18", "stem", channels=64, audio_dim=8, width=8).state_dict()
    with pytest.raises(DataError, match=r"conv1_flow.conv2d_list.0.weight is \[64, 8, 3, 3\]"):
        load_tpavi(tpavi(), state)


def test_avsegformers_file_may_hold_its_vggish() -> None:
    sizes = {"queries": 2, "layers": 1, "ffn": 8, "generator_ffn": 8, "mask_hidden": 8}
    net = AVSegFormer("resnet18", "stem", channels=32, audio_dim=8, width=8, **sizes)
    state = {**net.state_dict(), "vggish.features.0.weight": torch.zeros(1), "head.fpn.up1.1.bias": torch.zeros(1)}
    assert load_avsegformer(net, state).unexpected == []
    plain = AVSegFormer("resnet18", "none", channels=32, audio_dim=8, width=8, **sizes)
    assert {name.split(".")[1] for name in load_avsegformer(plain, state).unexpected} == {
        "flownet", "conv1_flow", "conv2_flow", "conv3_flow", "conv4_flow",
    }  # fmt: skip


def test_imagenet_weights_come_without_their_classifier() -> None:
    net = build_backbone("resnet18", 8)
    report = load_backbone(net, {**net.state_dict(), "fc.weight": torch.zeros(1)})
    assert not report.unexpected
    flow = ResNet18(2, 8, layers=1)
    own = flow.conv1.weight.clone()
    load_flownet(flow, net.state_dict())
    assert torch.equal(flow.conv1.weight, own)
    assert torch.equal(flow.bn1.weight, net.get_parameter("bn1.weight"))
