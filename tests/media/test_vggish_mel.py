from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.media.vggish_mel import PATCH, vggish_patches
from tests import avs_golden
from tests.golden import ave_inputs as inputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ave_vggish_frontend.npz")
WAVES = {160000: 501, 15600: 502, 48321: 503}


@pytest.mark.parametrize(
    ("samples", "hop", "name"),
    [
        (160000, 15360, "hop096"),
        (160000, 16000, "hop1"),
        (15600, 15360, "hop096"),
        (48321, 15360, "hop096"),
        (48321, 16000, "hop1"),
    ],
)
def test_the_released_front_end(samples: int, hop: int, name: str) -> None:
    patches = vggish_patches(torch.from_numpy(inputs.wave(WAVES[samples], samples)), hop).numpy()
    means, kept = GOLDEN[f"mean_{name}_{samples}"], GOLDEN[f"{name}_{samples}"]
    assert patches.shape == (len(means), 96, 64)
    np.testing.assert_allclose(patches.mean((1, 2)), means, atol=1e-4)
    np.testing.assert_allclose(patches[[0, -1]] if len(means) > 1 else patches, kept, atol=1e-3)


@pytest.mark.parametrize(("place", "seed", "samples"), [(0, 55, 80000), (1, 56, 76900)])
def test_avsbenchs_log_mels_of_five_seconds_and_of_what_is_short_of_them(place: int, seed: int, samples: int) -> None:
    patches = vggish_patches(torch.from_numpy(avs_golden.wave(seed, samples) / np.float32(32768)))
    np.testing.assert_allclose(patches.numpy(), avs_golden.golden("logmel")[f"logmel{place}"], atol=1e-3)


def test_silence_is_the_logarithm_of_the_floor() -> None:
    patches = vggish_patches(torch.zeros(PATCH))
    np.testing.assert_allclose(patches[0].numpy(), np.broadcast_to(GOLDEN["silence"], (96, 64)), atol=1e-6)
    assert patches.min() == pytest.approx(math.log(0.01))


def test_patches_lie_wholly_within_the_sound() -> None:
    assert len(vggish_patches(torch.zeros(PATCH - 1))) == 0
    assert len(vggish_patches(torch.zeros(PATCH + 15999), 16000)) == 1
    assert len(vggish_patches(torch.zeros(PATCH + 16000), 16000)) == 2
    assert len(vggish_patches(torch.zeros(160000), 16000)) == 10


def test_a_patch_is_of_its_own_samples_alone() -> None:
    wave = torch.from_numpy(inputs.wave(9, 20 * 16000))
    whole = vggish_patches(wave, 16000)
    for patch in (0, 7, 18):
        alone = vggish_patches(wave[patch * 16000 : patch * 16000 + PATCH])
        torch.testing.assert_close(alone[0], whole[patch])


def test_a_pure_tone_lights_its_own_band() -> None:
    seconds = np.arange(PATCH) / 16000
    edges = np.linspace(*(1127 * np.log1p(f / 700) for f in (125, 7500)), 66)
    for hertz in (400, 1000, 3000):
        patch = vggish_patches(np.sin(2 * np.pi * hertz * seconds))[0].mean(0)
        band = int(np.abs(edges[1:-1] - 1127 * np.log1p(hertz / 700)).argmin())
        assert abs(int(patch.argmax()) - band) <= 1


def test_shapes_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="wave must be"):
        vggish_patches(torch.zeros(2, PATCH))
    with pytest.raises(ValueError, match="hop"):
        vggish_patches(torch.zeros(PATCH), 0)
