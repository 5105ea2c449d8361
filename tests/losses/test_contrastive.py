import math

import pytest
import torch

from asgmcli.losses.contrastive import visual_audio_contrastive


def slow_loss(video, audio, temperature):
    """Eq. 16-20 with loops."""

    def unit(vector):
        length = math.sqrt(sum(x * x for x in vector))
        return [x / length for x in vector]

    faces, sounds = [unit(v) for v in video.tolist()], [unit(a) for a in audio.tolist()]
    count = len(faces)
    s = [[sum(x * y for x, y in zip(a, v, strict=True)) / temperature for v in faces] for a in sounds]
    first = -sum(math.log(math.exp(s[i][i]) / sum(math.exp(s[i][j]) for j in range(count))) for i in range(count))
    second = -sum(math.log(math.exp(s[i][i]) / sum(math.exp(s[j][i]) for j in range(count))) for i in range(count))
    return (first + second) / count / 2


def test_by_hand():
    # Orthogonal pairs: S = 20 on the diagonal and 0 elsewhere, whatever the vectors' lengths.
    video, audio = torch.tensor([[2.0, 0.0], [0.0, 3.0]]), torch.tensor([[5.0, 0.0], [0.0, 0.1]])
    assert visual_audio_contrastive(video, audio).item() == pytest.approx(math.log(1 + math.exp(-20)), abs=1e-7)
    assert visual_audio_contrastive(video, audio.flip(0)).item() == pytest.approx(20, rel=1e-6)
    # All alike: no pair can be told from another.
    assert visual_audio_contrastive(torch.ones(5, 3), torch.ones(5, 3)).item() == pytest.approx(math.log(5), rel=1e-6)


@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_against_the_equations(temperature):
    generator = torch.Generator().manual_seed(8)
    video, audio = (torch.randn(7, 6, generator=generator) for _ in range(2))
    expected = slow_loss(video, audio, temperature)
    assert visual_audio_contrastive(video, audio, temperature).item() == pytest.approx(expected, rel=1e-5)


def test_does_not_depend_on_the_order_the_lengths_or_the_roles():
    generator = torch.Generator().manual_seed(9)
    video, audio = (torch.randn(6, 5, generator=generator) for _ in range(2))
    loss = visual_audio_contrastive(video, audio)
    order = torch.randperm(6, generator=generator)
    lengths = torch.rand(6, 1, generator=generator) + 0.1
    torch.testing.assert_close(visual_audio_contrastive(video[order], audio[order]), loss)
    torch.testing.assert_close(visual_audio_contrastive(video * lengths, audio), loss)
    torch.testing.assert_close(visual_audio_contrastive(audio, video), loss)


def test_half_precision_is_computed_in_full():
    generator = torch.Generator().manual_seed(10)
    video, audio = (torch.randn(6, 5, generator=generator).bfloat16() for _ in range(2))
    full = visual_audio_contrastive(video.float(), audio.float())
    assert visual_audio_contrastive(video, audio).item() == full.item()
