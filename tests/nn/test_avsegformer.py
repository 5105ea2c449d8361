"""AVSegFormer's head against both released versions."""

from __future__ import annotations

import math

import pytest
import torch

from asgmcli.nn.avsegformer import AVSegFormer, AVSegHead, sine_positions
from asgmcli.nn.weights import load_avsegformer
from tests.avs_golden import TOLERANCE, array, golden, spread, weights

CHANNELS = (8, 16, 24, 32)


@pytest.mark.parametrize(("name", "seed", "ufe"), [("avsegformer_head_ufe", 31, True), ("avsegformer_head", 32, False)])
def test_the_head_equals_the_released_one(name: str, seed: int, ufe: bool) -> None:
    wanted = golden(name)
    net = AVSegHead(CHANNELS, queries=12, layers=2, ffn=64, flow=ufe, query_bias=ufe).eval()
    report = load_avsegformer(net, weights(name, seed))
    assert report.unexpected == []
    maps = [array(30 + number, 2, c, 16 >> number, 16 >> number) for number, c in enumerate(CHANNELS)]
    flow = array(36, 2, 2, 64, 64) * 0.2 + 0.5 if ufe else None
    with torch.no_grad():
        logits, feature = net(maps, array(35, 2, 1, 256), flow)
    assert spread(logits, wanted["logits"]) < TOLERANCE
    assert spread(feature[:, ::32], wanted["mask_feature"]) < TOLERANCE
    assert spread(feature.mean(1), wanted["mask_mean"]) < TOLERANCE


def test_positions_count_from_one_rows_first() -> None:
    found = sine_positions(2, 3, 8, torch.device("cpu")).view(2, 3, 8)
    wanted = [math.sin(2), math.cos(2), math.sin(2 / 100), math.cos(2 / 100)]
    assert found[1, 0, :4].tolist() == pytest.approx(wanted)
    assert found[0, 1, 4:].tolist() == pytest.approx(wanted)


@pytest.mark.parametrize("dim", [32, 64, 256, 512])
def test_the_last_relu_is_as_wide_as_released_at_every_size(dim: int) -> None:
    net = AVSegHead(CHANNELS, queries=3, layers=1, ffn=16, flow=False, dim=dim, generator_ffn=16, mask_hidden=16)
    assert net.fc[4].weight.shape == (1, 32, 1, 1)


def test_a_frame_is_a_sample() -> None:
    net = AVSegFormer("resnet18", "stem", channels=32, audio_dim=8, width=8, queries=3, layers=1, ffn=16).eval()
    image, audio, flow = array(1, 2, 3, 3, 64, 32), array(2, 2, 3, 8), array(3, 2, 3, 2, 64, 32)
    with torch.no_grad():
        both = net(image, audio, flow)
        single = net(image[1:, 2:], audio[1:, 2:], flow[1:, 2:])
    assert both.logits.shape == (2, 3, 64, 32)
    assert both.maps[0].shape == (2, 3, 32, 16, 8)
    assert both.audio == []
    torch.testing.assert_close(both.logits[1:, 2:], single.logits, rtol=1e-4, atol=1e-5)
