"""The grounding transformer against the released one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asgmcli.errors import DataError
from asgmcli.nn.grounding import GroundingTransformer, sines
from asgmcli.nn.parsing_weights import load_grounding
from asgmcli.nn.weights import load_parsing
from tests.golden import llp_inputs
from tests.nn.test_parser import agree, golden, weights


def small(**changes: int) -> GroundingTransformer:
    return GroundingTransformer(**{"dim": 48, "depth": 2, "heads": 4, "hidden": 96, **changes})


def test_tokens_and_parsing_are_the_released_ones() -> None:
    known = golden("grounding")
    network = small()
    report = load_parsing(network, weights("grounding", 51))
    assert {name.split(".")[-2] for name in report.unexpected} == {"fc_v", "pos_layer_norm", "dense"}
    audio, image, motion = (torch.from_numpy(part) for part in llp_inputs.features(52, 2))
    network.eval()
    heard, seen = network.ground(audio, image)
    agree(heard, known["ground/audio"])
    agree(seen, known["ground/visual"])
    parsed = network(audio, image, motion)
    for name in ("clip", "audio", "visual", "frame"):
        agree(getattr(parsed, name), known[f"parse/{name}"])


def test_positions_are_frozen_sines_and_the_start_is_small() -> None:
    network = small()
    table = network.uniter.rgb_embeddings.position_embeddings.weight
    assert not table.requires_grad
    assert torch.equal(table, sines(10, 48))
    assert np.allclose(sines(10, 6)[3], [np.sin(3), np.cos(3), *(f(3 / 10_000 ** (2 / 6)) for f in (np.sin, np.cos)),
                                         *(f(3 / 10_000 ** (4 / 6)) for f in (np.sin, np.cos))], atol=1e-6)  # fmt: skip
    weight = network.fc_prob.weight
    assert 0.015 < weight.std().item() < 0.025
    assert network.fc_prob.bias.abs().max().item() == 0


def test_a_transformer_of_another_depth_is_refused() -> None:
    deep, shallow = small(depth=3).state_dict(), small(depth=1).state_dict()
    with pytest.raises(DataError, match=r"transformer of 3 layers, this one has 2.*model.depth"):
        load_parsing(small(), deep)
    with pytest.raises(DataError, match="tensors are missing"):
        load_parsing(small(), shallow)


def test_the_body_alone_is_loaded_for_fine_tuning() -> None:
    torch.manual_seed(1)
    network, other = small(classes=7), small(classes=3)
    before = network.fc_prob.weight.clone()
    load_grounding(network, other.state_dict())
    assert torch.equal(network.fc_prob.weight, before)
    assert torch.equal(
        network.uniter.encoder.layer[1].output.dense.weight, other.uniter.encoder.layer[1].output.dense.weight
    )  # type: ignore[union-attr]
    with pytest.raises(DataError, match="wanted is a grounding transformer"):
        load_grounding(network, {"fc_frame_att.weight": torch.zeros(1)})
