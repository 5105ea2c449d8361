"""Audio-visual matching against the released loss, and by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from asgmcli.losses.audio_match import audio_match
from tests.avs_golden import array, golden, logits, masks, spread


def given() -> tuple[list[torch.Tensor], list[torch.Tensor], torch.Tensor]:
    maps = [F.relu(array(93 + i, 4, 16, 16 >> i, 16 >> i)).requires_grad_() for i in (0, 1)]
    return maps, [array(97 + i, 4, 1, 16)[:, 0] for i in (0, 1)], logits(92, masks(91, 4, 32, 32, 3)).requires_grad_()


def test_both_kinds_equal_the_released_loss() -> None:
    wanted = golden("losses")
    maps, audio, mask = given()
    loss = audio_match(maps, audio, mask, "cosine")
    loss.backward()
    assert maps[0].grad is not None
    assert float(loss.detach()) == pytest.approx(float(wanted["match_cosine"]), abs=1e-4)
    assert spread(maps[0].grad, wanted["match_cosine_grad"]) < 1e-4
    maps, audio, mask = given()
    loss = audio_match(maps, audio, mask, "kl", "sum")
    loss.backward()
    assert maps[0].grad is not None
    assert mask.grad is not None
    assert float(loss.detach()) == pytest.approx(float(wanted["match_kl"]), abs=1e-4)
    assert spread(maps[0].grad, wanted["match_kl_grad"]) < 1e-4
    assert spread(mask.grad, wanted["match_kl_grad_logits"]) < 1e-4


def test_cosine_by_hand_and_padding_is_outside_of_the_mask() -> None:
    x = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).view(1, 2, 1, 2)  # two cells: (3, 0) and (0, 4)
    sound, mask = torch.tensor([[1.0, 0.0]]), torch.full((1, 2, 4), 9.0)
    both = (3 / 2) / math.hypot(3 / 2, 4 / 2)
    assert float(audio_match([x], [sound], mask)) == pytest.approx(-math.log(both + 1e-6), abs=1e-4)
    counted = torch.tensor([[[True, True, False, False]] * 2])
    assert float(audio_match([x], [sound], mask, counted=counted)) == pytest.approx(0.0, abs=1e-4)


def test_kl_mean_and_sum_and_padding() -> None:
    maps, audio, mask = given()
    total, mean = (audio_match(maps, audio, mask, "kl", kind) for kind in ("sum", "mean"))  # type: ignore[arg-type]
    torch.testing.assert_close(total, 4 * mean)
    everything = torch.ones(4, 32, 32, dtype=torch.bool)
    torch.testing.assert_close(audio_match(maps, audio, mask, "kl", counted=everything), mean)
    nothing = audio_match(maps, audio, mask, "kl", counted=~everything)
    flat = torch.stack(
        [F.kl_div(torch.full((4, 16), 1 / 16).log(), a.softmax(1), reduction="none").sum(1) for a in audio]
    )
    torch.testing.assert_close(nothing, flat.mean())
