from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from asgmcli.losses.barlow import barlow_loss, temporal_correlation
from tests.golden import ave_inputs as inputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ave_avbt.npz")
NAMES = ("invariance", "redundancy", "loss")


def embeddings(name: str) -> tuple[Tensor, Tensor]:
    audio, visual = inputs.embeddings(*{"small": (521, 5, 10, 12), "wide": (531, 3, 10, 40)}[name])
    if name == "wide":
        audio[1, :, 3], visual[2, :, 7] = 0.25, -1
    return torch.from_numpy(audio), torch.from_numpy(visual)


@pytest.mark.parametrize("name", ["small", "wide"])
def test_correlation_and_terms_of_eq_1_and_2(name: str) -> None:
    audio, visual = embeddings(name)
    np.testing.assert_allclose(temporal_correlation(audio, visual), GOLDEN[f"{name}_correlation"], atol=1e-5)
    terms = barlow_loss(audio, visual)
    for term, value in zip(NAMES, GOLDEN[f"{name}_terms"], strict=True):
        assert float(terms[term]) == pytest.approx(float(value), rel=1e-5)


def test_the_terms_as_algorithm_1_prints_them() -> None:
    terms = barlow_loss(*embeddings("small"), normalise="printed")
    assert [float(terms[name]) for name in NAMES] == pytest.approx(GOLDEN["small_printed"].tolist(), rel=1e-5)


def test_the_gradient() -> None:
    parts = [part.requires_grad_() for part in embeddings("small")]
    barlow_loss(*parts)["loss"].backward()
    at = tuple(GOLDEN["small_gradient_at"].T)
    for part, expected in zip(parts, GOLDEN["small_gradient"], strict=True):
        assert part.grad is not None
        np.testing.assert_allclose(part.grad.numpy()[at], expected, atol=2e-4)


def as_printed(audio: Tensor, visual: Tensor, weight: float = 5e-3, normalise: str = "correlation") -> Tensor:
    """Algorithm 1, which forms [B, D, D]; `batch`: Barlow Twins' own on all rows."""
    if normalise == "batch":
        rows = [(part.flatten(0, 1) - part.flatten(0, 1).mean(0)) for part in (audio, visual)]
        rows = [part / part.std(0, unbiased=False) for part in rows]
        correlation = rows[0].T @ rows[1] / len(rows[0])
    else:
        parts = [(part - part.mean(1, keepdim=True)) / part.std(1, keepdim=True) for part in (audio, visual)]
        correlation = torch.bmm(parts[0].mT, parts[1]).mean(0)
        if normalise == "correlation":
            correlation = correlation / (audio.shape[1] - 1)
    squares = (correlation - torch.eye(len(correlation))).square()
    off = squares.sum() - squares.diagonal().sum()
    return squares.diagonal().sum() + weight * off


@pytest.mark.parametrize("normalise", ["correlation", "printed", "batch"])
@pytest.mark.parametrize("width", [12, 200])
def test_loss_and_gradient_are_those_of_the_plain_form(normalise: str, width: int) -> None:
    """Narrow embeddings go by C, wide ones by the two Gram matrices."""
    mine = [torch.from_numpy(part).requires_grad_() for part in inputs.embeddings(5, 4, 10, width)]
    plain = [part.detach().clone().requires_grad_() for part in mine]
    loss = barlow_loss(*mine, normalise=normalise)["loss"]
    expected = as_printed(*plain, normalise=normalise)
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(torch.autograd.grad(loss, mine), torch.autograd.grad(expected, plain), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_what_does_not_move_is_left_out_without_nan() -> None:
    audio, visual = (torch.ones(3, 10, 40, requires_grad=True) for _ in range(2))
    terms = barlow_loss(audio, visual)
    assert terms["invariance"].item() == 40
    assert terms["redundancy"].item() == 0
    terms["loss"].backward()
    assert audio.grad is not None
    assert bool(audio.grad.eq(0).all())


def test_equal_streams_are_correlated_by_one_and_scale_and_offset_do_not_matter() -> None:
    audio, visual = embeddings("small")
    torch.testing.assert_close(temporal_correlation(audio, audio).diagonal(), torch.ones(12))
    torch.testing.assert_close(temporal_correlation(3 * audio + 5, visual), temporal_correlation(audio, visual))
    assert float(barlow_loss(audio, audio)["invariance"]) == pytest.approx(0, abs=1e-9)


def test_under_autocast_the_loss_is_in_float32() -> None:
    audio, visual = embeddings("wide")
    with torch.autocast("cpu", torch.bfloat16):
        terms = barlow_loss(audio, visual)
        correlation = temporal_correlation(audio, visual)
    assert correlation.dtype == terms["loss"].dtype == torch.float32
    assert float(terms["loss"]) == pytest.approx(float(GOLDEN["wide_terms"][2]), rel=1e-5)


@pytest.mark.long
def test_at_most_a_quarter_of_algorithm_1s_memory() -> None:
    script = """
import resource, sys, torch
sys.path.insert(0, {root!r})
from tests.golden import ave_inputs as inputs
from asgmcli.losses.barlow import barlow_loss
from tests.losses.test_barlow import as_printed
parts = [torch.from_numpy(part).requires_grad_() for part in inputs.embeddings(7, 32, 10, 1024)]
def run(loss): loss(*parts).backward()
warm = [torch.randn(2, 10, 1024).requires_grad_() for _ in range(2)]
barlow_loss(*warm)["loss"].backward(); as_printed(*warm).backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
run({loss})
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    root = str(Path(__file__).parents[2])

    def added(loss: str) -> int:
        command = [sys.executable, "-c", script.format(root=root, loss=loss)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True, cwd=root).stdout)

    mine, printed = added('lambda *pair: barlow_loss(*pair)["loss"]'), added("as_printed")
    assert mine <= printed / 4, (mine, printed)
