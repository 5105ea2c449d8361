"""The log-mel as a network: equal to the filter bank that training reads, for tones, noise, silence and short sound."""

from __future__ import annotations

import math

import pytest
import torch

from asgmcli.media.audio import log_mel
from asgmcli.nn.log_mel import LogMel


@pytest.mark.parametrize(("seconds", "mels"), [(0.64, 16), (4.0, 128), (0.05, 32)])
def test_it_is_the_filter_bank(seconds: float, mels: int) -> None:
    samples = round(16_000 * seconds)
    time = torch.arange(samples) / 16_000
    waves = torch.stack(
        [
            0.3 * torch.randn(samples),
            0.9 * torch.sin(2 * math.pi * 440 * time),
            torch.zeros(samples),
            0.5 + 0.01 * torch.randn(samples),  # a constant beside which the sound is small
            (time > 0.02) * 0.5 * torch.sin(2 * math.pi * 3000 * time),
        ]
    )
    expected = log_mel(waves, mels=mels)
    found = LogMel(expected.shape[1], mels, 16_000)(waves)
    assert found.shape == expected.shape
    # Bands far below a loud tone hold the rounding of either way; what counts is energy above it.
    loudest = expected.amax(dim=(1, 2), keepdim=True)
    heard = expected > loudest - math.log(1e7)
    assert (found - expected)[heard].abs().max() < 2e-3
    assert (found.exp() - expected.exp()).abs().max() < 1e-5 * expected.exp().max()
    assert torch.equal(found[2], expected[2])
