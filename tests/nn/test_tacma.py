from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asgmcli.nn.tacma import TACMA, Probe
from tests.golden import ave_inputs as inputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ave_tacma.npz")


def weights(name: str, seed: int) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in inputs.weights(inputs.layout(name), seed).items()}


AUDIO, VISUAL = (torch.from_numpy(inputs.array(seed, 2, 10, 256)) for seed in (552, 553))


@pytest.mark.parametrize("theta", ["0.03", "0", "0.2"])
@pytest.mark.parametrize("fuse", ["printed", "cross"])
def test_eq_3_to_8(theta: str, fuse: str) -> None:
    net = TACMA(theta=float(theta), fuse=fuse)  # type: ignore[arg-type]
    net.load_state_dict(weights("tacma", 551))
    with torch.no_grad():
        logits, (w_av, w_va) = net(AUDIO, VISUAL), net.attention(AUDIO, VISUAL)
    expected = GOLDEN[f"logits_{fuse}_{theta}"]
    np.testing.assert_allclose(logits, expected, atol=1e-4 * max(1.0, float(np.abs(expected).max())))
    np.testing.assert_allclose(w_av, GOLDEN[f"wav_{theta}"], atol=1e-5)
    np.testing.assert_allclose(w_va, GOLDEN[f"wva_{theta}"], atol=1e-5)


def test_the_decay_by_hand() -> None:
    """Equal weights of 0.1: a step of 1, 3, 9 seconds leaves .74, .41, .07 at theta .03."""
    net = TACMA(dim=4, hidden=4, out=4, classes=2)
    w_av, w_va = net.attention(torch.zeros(1, 10, 4), torch.zeros(1, 10, 4))
    shares = (w_av[0, 0] / 0.1).tolist()
    assert [shares[step] for step in (0, 1, 3, 9)] == pytest.approx([1, 0.7408, 0.4066, 0.0672], abs=1e-3)
    torch.testing.assert_close(w_av, w_va)


def test_theta_0_leaves_rows_that_add_up_to_1() -> None:
    net = TACMA(dim=4, hidden=4, out=4, classes=2, theta=0.0)
    features = torch.randn(2, 2, 7, 4)
    for weights_ in net.attention(*features):
        torch.testing.assert_close(weights_.sum(-1), torch.ones(2, 7))


def test_no_nan_where_a_weight_vanishes() -> None:
    net = TACMA(dim=4, hidden=4, out=4, classes=3)
    audio, visual = (1e4 * torch.randn(2, 10, 4)).requires_grad_(), (1e4 * torch.randn(2, 10, 4)).requires_grad_()
    logits = net(audio, visual)
    logits.sum().backward()
    assert bool(logits.isfinite().all())
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)
    assert audio.grad is not None
    assert bool(audio.grad.isfinite().all())


def test_weights_are_float32_under_autocast() -> None:
    net = TACMA()
    with torch.autocast("cpu", torch.bfloat16):
        assert net.attention(AUDIO, VISUAL)[0].dtype == torch.float32
        assert bool(net(AUDIO, VISUAL).isfinite().all())


def test_the_streams_are_what_is_classified() -> None:
    net = TACMA()
    audio, visual = net.streams(AUDIO, VISUAL)
    torch.testing.assert_close(net.head(audio + visual), net(AUDIO, VISUAL))


@pytest.mark.parametrize("modality", ["audio", "visual", "both"])
def test_a_probe_sees_its_own_modality(modality: str) -> None:
    net = Probe(classes=5, modality=modality)  # type: ignore[arg-type]
    whole = net(AUDIO, VISUAL)
    assert whole.shape == (2, 10, 5)
    assert torch.equal(whole, net(AUDIO.flip(0), VISUAL)) == (modality == "visual")
    assert torch.equal(whole, net(AUDIO, VISUAL.flip(0))) == (modality == "audio")
    if modality == "both":
        torch.testing.assert_close(whole, net(VISUAL, AUDIO))
