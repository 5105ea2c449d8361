"""HAN and the parser written as the released code is: the bench that times both does the same work."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from asgmcli.losses.adversarial import modality_loss
from asgmcli.losses.weakly_supervised import parsing_losses
from asgmcli.nn.han import HAN
from asgmcli.nn.mmil import ParsingNetwork
from asgmcli.nn.parser import Parser
from asgmcli.recipe.parsing import AdversarialLoss, ParsingLosses
from tests.bench import parsing_as_released as bench

DIMS = (6, 12, 8)
SIZES: dict[str, Any] = {"dim": 16, "audio_dim": 6, "image_dim": 12, "motion_dim": 8}


@pytest.mark.parametrize(
    "network",
    [
        HAN(**SIZES, dropout=0.0),
        Parser(**SIZES, dropout=0.0),
        Parser(**SIZES, dropout=0.0, attention="global", skip=True, adversarial=True),
    ],
    ids=["han", "base", "whole"],
)
def test_both_steps_have_one_loss(network: ParsingNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "DROPOUT", 0.0)
    settings = ParsingLosses(adversarial=AdversarialLoss(weight=0.4))
    inputs, target = bench.made_up(3, DIMS)
    theirs = copy.deepcopy(network)
    released = bench.released_loss(theirs, inputs, target, settings)
    released.backward()
    parsed = network(*inputs)
    terms = parsing_losses(parsed.clip, parsed.audio, parsed.visual, target)
    ours = terms["wsl"] + settings.guided.weight * (terms["guided_audio"] + terms["guided_visual"])
    if isinstance(network, Parser) and network.mod_classifier is not None:
        ours = ours + settings.adversarial.weight * modality_loss(network.modality(parsed.features, bench.ALPHA))
    ours.backward()
    assert float(ours.detach()) == pytest.approx(float(released.detach()), abs=1e-6)
    for name, parameter in network.named_parameters():
        known = theirs.get_parameter(name).grad
        assert known is not None
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, known, atol=2e-6), name
