from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from asgmcli.nn.agva import AGVA
from asgmcli.nn.avbt import AudioVisualEncoder, Projector


class Visual(nn.Module):
    """[N, 3, H, W] -> [N, 6], or [N, 6, 7, 7] of the same numbers."""

    def __init__(self, maps: bool) -> None:
        super().__init__()
        self.linear, self.maps = nn.Linear(3, 6), maps

    def forward(self, frames: Tensor) -> Tensor:
        features: Tensor = self.linear(frames.mean((2, 3)))
        return features[:, :, None, None].expand(-1, -1, 7, 7) if self.maps else features


def encoder(attention: bool = False) -> AudioVisualEncoder:
    torch.manual_seed(0)
    audio = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 5))
    guide = AGVA(5, 6, 4) if attention else None
    return AudioVisualEncoder(Visual(attention), audio, hidden=3, visual_dim=6, audio_dim=5, attention=guide)


FRAMES, PATCHES = torch.randn(2, 4, 3, 8, 8), torch.randn(2, 4, 1, 96, 64)


def test_both_streams_and_each_alone() -> None:
    net = encoder()
    f_a, f_v = net(FRAMES, PATCHES)
    assert f_a.shape == f_v.shape == (2, 4, 6)
    torch.testing.assert_close(net.audio_only(PATCHES), f_a)
    torch.testing.assert_close(net.visual_only(FRAMES), f_v)
    torch.testing.assert_close(net.temporal(net.audio_features(PATCHES), net.visual_features(FRAMES)), (f_a, f_v))
    # A segment's feature depends on the others of its video, and on no other video.
    other = PATCHES.clone()
    other[0, 3] += 1
    changed = net.audio_only(other)
    assert not torch.equal(changed[0, 0], f_a[0, 0])
    assert torch.equal(changed[1], f_a[1])


def test_with_attention_the_picture_is_heard_too() -> None:
    net, plain = encoder(attention=True), encoder()
    assert net.visual_features(FRAMES).shape == (2, 4, 7, 7, 6)
    # All cells are alike here, so their weighted sum is any of them.
    net.load_state_dict(plain.state_dict(), strict=False)
    torch.testing.assert_close(net(FRAMES, PATCHES), plain(FRAMES, PATCHES))
    with pytest.raises(ValueError, match="sees nothing without sound"):
        net.visual_only(FRAMES)


def test_the_projector_is_barlow_twins() -> None:
    net = Projector(8, (6, 5, 4))
    assert [type(layer).__name__ for layer in net] == [
        *("Linear", "BatchNorm1d", "ReLU"),
        *("Linear", "BatchNorm1d", "ReLU"),
        "Linear",
    ]
    assert not any(name.endswith("bias") for name, p in net.named_parameters() if p.ndim == 2)
    rows = torch.randn(20, 8)
    assert net(rows).shape == (20, 4)
    hidden = net[0](rows)
    expected = (hidden - hidden.mean(0)) / hidden.var(0, unbiased=False).add(1e-5).sqrt()
    torch.testing.assert_close(net[1](hidden), expected)
    assert sum(p.numel() for p in Projector().parameters() if p.ndim == 2) == 256 * 2048 + 2048 * 4096 + 4096 * 4096
