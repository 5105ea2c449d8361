"""Counted operations against torch's own counter, which sees attention where it is not fused."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from asgmcli.bench.flops import Forward, StepClips, audio_flops, fusion_flops, step_flops, video_flops
from asgmcli.nn.fusion import FusionTransformer
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer


@torch.no_grad()
def seen_by_torch(module: torch.nn.Module, *inputs: torch.Tensor) -> int:
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        module(*inputs)
    return int(counter.get_total_flops())


@pytest.mark.parametrize(("hidden", "tubelet", "classes"), [(None, 1, 5), (20, 2, 0)])
def test_what_a_video_clip_takes(hidden: int | None, tubelet: int, classes: int) -> None:
    dim, depth = 24, 3
    model = TimeSformer(
        dim, depth, 3, frames=4, classes=classes, image_size=32, patch_size=8, embed_hidden=hidden, tubelet=tubelet
    ).eval()
    counted = video_flops(model, executed=True)
    # temporal_fc times proj and its bias, once a block for the whole batch, are left out of the count.
    merged = depth * 2 * (dim**3 + dim**2)
    assert seen_by_torch(model, torch.randn(2, 3, 4, 32, 32)) - merged == 2 * (counted.embed + counted.encode)


def test_what_a_clips_sound_takes() -> None:
    model = AudioTransformer(24, 3, 3, mels=16, length=40, patch_size=8).eval()
    counted = audio_flops(model, executed=True)
    assert seen_by_torch(model, torch.randn(2, 40, 16)) == 2 * (counted.embed + counted.encode)
    fusion = FusionTransformer(24, 5, layers=2, heads=3).eval()
    assert seen_by_torch(fusion, torch.randn(2, 24), torch.randn(2, 24)) == 2 * fusion_flops(fusion)


def test_the_published_network_by_hand() -> None:
    """One block of 2 frames x 4 patches, D = 8: what the paper computes, whether or not the result is used."""
    model = TimeSformer(8, 1, 2, frames=2, classes=3, image_size=16, patch_size=8)
    product = 2 * 8 * 8  # of one token with a D x D matrix
    time = 8 * (3 + 1 + 1) * product + 4 * (4 * 2 * 2 * 8)  # 8 patches; 4 rows of 2 tokens
    space = 10 * 4 * product + 2 * (4 * 5 * 5 * 8)  # 2 rows of class token and 4 patches
    feed_forward = 9 * 8 * product  # 8 patches and the class token, 4D wide there and back
    found = video_flops(model, executed=False)
    assert found == Forward(embed=8 * 2 * 192 * 8, encode=time + space + feed_forward + 2 * 8 * 3)
    assert video_flops(model, executed=True).encode < found.encode


def test_a_step_by_hand() -> None:
    # Student: 3 clips embedded, 5 encoded, forward and backward; nobody asks for the gradient of pixels.
    assert step_flops(Forward(embed=10, encode=1000), StepClips(3, 5, taught=2)) == 60 + 15000 + 2020


@pytest.mark.parametrize(("dim", "heads", "gflop"), [(192, 3, 454), (384, 6, 1710)])
def test_svformers_step_is_what_was_measured_of_it(dim: int, heads: int, gflop: int) -> None:
    """1 labelled and 2 unlabelled clips of 8 x 224 x 224, of whom 2 are mixed and 2 seen by the teacher."""
    model = TimeSformer(dim, 12, heads, frames=8, classes=51)
    counted = step_flops(video_flops(model, executed=False), StepClips(3, 5, taught=2))
    assert counted / 1e9 == pytest.approx(gflop, rel=0.01)
