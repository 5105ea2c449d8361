"""Backbones: four maps, equal to the released PVT's, and torchvision's where it is."""

from __future__ import annotations

import pytest
import torch

from asgmcli.nn.stages import build_backbone, stage_channels, stage_maps
from asgmcli.nn.weights import load_backbone
from tests.avs_golden import TOLERANCE, array, golden, spread, weights


@pytest.mark.long
def test_pvt_equals_the_released_one() -> None:
    net = build_backbone("pvt_v2_b5").eval()
    prefix = "encoder_backbone."
    state = {name.removeprefix(prefix): value for name, value in weights("tpavi_pvt", 11, prefix).items()}
    load_backbone(net, state)
    with torch.no_grad():
        for number, x in enumerate(stage_maps(net, array(12, 5, 3, 64, 64)[:2])):
            assert spread(x[:, ::16], golden("pvt_features")[f"stage{number + 1}"]) < TOLERANCE


def test_the_last_stage_is_the_house_resnets_own_output() -> None:
    net, image = build_backbone("resnet18", 8).eval(), array(1, 1, 3, 64, 64)
    maps = stage_maps(net, image)
    assert [tuple(x.shape[1:]) for x in maps] == [(8, 16, 16), (16, 8, 8), (32, 4, 4), (64, 2, 2)]
    assert stage_channels("resnet18", 8) == (8, 16, 32, 64)
    torch.testing.assert_close(maps[-1], net(image))


def test_an_unknown_backbone_is_told_of() -> None:
    with pytest.raises(ValueError, match="resnet50"):
        build_backbone("vgg16")
