from __future__ import annotations

import numpy as np
import torch

from asgmcli.recipe.event_representation import ProbeSettings
from asgmcli.train.probe import Encoded, Parts, fit_probe

SETTINGS = ProbeSettings(epochs=30, batch=16, lr=1e-2, head=(16,))


def data(windows: int = 60) -> tuple[Encoded, Parts]:
    """Windows of 4 segments whose sound tells class 0 or 1 and whose picture tells nothing."""
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, (windows, 4))
    audio = random.standard_normal((windows, 4, 8)).astype(np.float32)
    audio[..., 0] += 4 * labels - 2
    visual = random.standard_normal((windows, 4, 8)).astype(np.float32)
    labels[0, 2:] = -1
    found = Encoded(*(torch.from_numpy(part) for part in (audio, visual, labels)), 2)
    numbers = np.arange(windows)
    return found, Parts(numbers[:30], numbers[30:40], numbers[40:])


def accuracy(table: torch.Tensor) -> float:
    return float(table.diagonal().sum() / table.sum())


def test_a_probe_finds_what_is_there_and_nothing_else() -> None:
    found, parts = data()
    sound = fit_probe(found, parts, "audio", SETTINGS, 0)
    assert sound.sum() == 20 * 4
    assert accuracy(sound) > 0.9
    assert accuracy(fit_probe(found, parts, "visual", SETTINGS, 0)) < 0.7
    assert torch.equal(fit_probe(found, parts, "audio", SETTINGS, 0), sound)


def test_test_labels_do_not_choose_the_epoch() -> None:
    found, parts = data()
    shuffled = found.labels.clone()
    shuffled[40:] = shuffled[40:].flip(0).roll(1, 1)
    other = Encoded(found.audio, found.visual, shuffled, 2)
    before, after = (fit_probe(one, parts, "audio", SETTINGS, 0) for one in (found, other))
    # The same answers, other truths.
    assert before.sum(0).tolist() == after.sum(0).tolist()
    assert before.tolist() != after.tolist()


def test_without_validation_the_last_epoch_is_tested() -> None:
    found, parts = data()
    assert accuracy(fit_probe(found, Parts(parts.train, parts.val[:0], parts.test), "both", SETTINGS, 0)) > 0.8
