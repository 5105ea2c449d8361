"""Which seconds belong together: the released truth, a slow reference, and rules by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asgmcli.data.snippets import Rule, grounding_truth
from tests.golden import llp_inputs


def clips() -> list[tuple[torch.Tensor, torch.Tensor]]:
    sounds, frames, _ = llp_inputs.snippets(61, 8)
    means = frames.reshape(8, 10, 8, -1).mean(2)
    return [(torch.from_numpy(sound), torch.from_numpy(mean)) for sound, mean in zip(sounds, means, strict=True)]


@pytest.mark.parametrize("rule", ["both", "either"])
def test_it_is_the_released_truth(rule: Rule) -> None:
    silence = torch.from_numpy(llp_inputs.snippets(61, 8)[2])
    with np.load(llp_inputs.HERE / "llp_grounding.npz") as known:
        expected = known[f"truth_{rule}"]
    found = np.stack([grounding_truth(*clip, silence, rule).numpy() for clip in clips()])
    assert found.dtype == np.bool_
    assert np.array_equal(found, expected.astype(bool))
    assert 0.1 < found.mean() < 1


def test_a_slow_walk_over_the_graph_gives_the_same() -> None:
    drawn = torch.Generator().manual_seed(5)
    for _ in range(20):
        scenes = torch.randn(3, 6, generator=drawn)
        picture = scenes[torch.randint(0, 3, (10,), generator=drawn)] + 0.25 * torch.randn(10, 6, generator=drawn)
        sound = torch.ones(10, 2)
        found = grounding_truth(sound, picture)
        cosine = torch.cosine_similarity(picture[:, None].double(), picture[None].double(), dim=-1)
        group = list(range(10))
        for _ in range(10):
            for i in range(10):
                for j in range(10):
                    if cosine[i, j] > 0.96:
                        group[i] = group[j] = min(group[i], group[j])
        assert torch.equal(found, torch.tensor(group)[:, None] == torch.tensor(group)[None])


def test_a_chain_joins_its_ends_and_a_zero_vector_nothing_but_itself() -> None:
    turn = torch.linspace(0, 1.8, 10)  # .2 rad apart: neighbours are alike (cosine .98), their neighbours are not
    picture = torch.stack([turn.cos(), turn.sin()], dim=1)
    sound = torch.ones(10, 3)
    assert bool(grounding_truth(sound, picture).all())
    sound[4] = 0
    cut = grounding_truth(sound, picture)
    assert not bool(cut[0, 9])
    assert cut[4].tolist() == [second == 4 for second in range(10)]


def test_a_silent_second_is_joined_by_its_picture_alone() -> None:
    sound, picture = torch.eye(4)[[0, 0, 1, 1]], torch.ones(4, 3)
    silence = torch.eye(4)[1]
    assert grounding_truth(sound, picture, silence).int().tolist() == [
        [1, 1, 0, 0],
        [1, 1, 0, 0],
        [0, 0, 1, 0],
        [0, 0, 0, 1],
    ]
    assert bool(grounding_truth(sound, picture, silence, "either").all())
    assert bool(grounding_truth(sound, picture, None)[2, 3])
