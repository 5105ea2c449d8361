from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asgmcli.nn.avel import AVEL
from tests.golden import ave_inputs as inputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ave_baselines.npz")


def weights(name: str, seed: int) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in inputs.weights(inputs.layout(name), seed).items()}


def features() -> tuple[Tensor, Tensor]:
    shapes = ((561, 3, 10, 128), (562, 3, 10, 7, 7, 512))
    return tuple(torch.from_numpy(np.maximum(inputs.array(*shape), 0)) for shape in shapes)  # type: ignore


def test_the_released_network() -> None:
    net = AVEL().eval()
    net.load_state_dict(weights("avel", 564))
    with torch.no_grad():
        found = net(*features()).softmax(-1)
    np.testing.assert_allclose(found, GOLDEN["avel_probabilities"], atol=1e-5)


@pytest.mark.parametrize(("modality", "attention"), [("audio", True), ("visual", True), ("both", False)])
def test_what_a_row_leaves_out_it_does_not_hear_or_see(modality: str, attention: bool) -> None:
    torch.manual_seed(0)
    net = AVEL(classes=5, modality=modality, attention=attention).eval()  # type: ignore[arg-type]
    assert not any(name.startswith("affine") for name, _ in net.named_parameters())
    audio, visual = features()
    other_audio, other_visual = audio.flip(0), visual.flip(0)
    with torch.no_grad():
        whole = net(audio, visual)
        assert whole.shape == (3, 10, 5)
        assert torch.equal(whole, net(other_audio, visual)) == (modality == "visual")
        assert torch.equal(whole, net(audio, other_visual)) == (modality == "audio")
        # Without attention it does not matter where in the picture something is.
        torch.testing.assert_close(whole, net(audio, visual.flip(2)), rtol=1e-4, atol=1e-5)
