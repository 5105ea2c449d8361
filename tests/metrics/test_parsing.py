"""The F-scores of parsing against the LLP evaluator, slow references, and by hand."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest
import torch

from asgmcli.metrics.parsing import decode, summarize
from asgmcli.metrics.parsing_events import event_scores
from asgmcli.metrics.parsing_segments import class_scores, segment_scores
from tests.golden import llp_inputs


@pytest.fixture(scope="module")
def case() -> tuple[np.ndarray, np.ndarray]:
    truth = llp_inputs.events(71, 60)
    return llp_inputs.predicted(72, truth), truth


@pytest.fixture(scope="module")
def known() -> dict[str, np.ndarray]:
    with np.load(llp_inputs.HERE / "llp_metrics.npz") as file:
        return dict(file)


def test_scores_are_the_evaluators(case: tuple[np.ndarray, np.ndarray], known: dict[str, np.ndarray]) -> None:
    for name, scores in (("segment", segment_scores(*case)), ("event", event_scores(*case))):
        assert scores.dtype == np.float64
        assert np.abs(scores - known[name]).max() < 1e-9
        means = summarize(scores)
        assert list(means) == ["audio", "visual", "audio_visual", "type", "event"]
        assert np.abs(np.array(list(means.values())) - known[f"{name}_mean"]).max() < 1e-9
    classes = class_scores(*case)
    for row, name in enumerate(("audio", "visual", "audio_visual")):
        assert np.allclose(classes[row], known[f"class_{name}"], equal_nan=True, atol=1e-9)
    assert np.isnan(classes[:, 3]).all() or not np.isnan(known["class_audio"][3])


def test_decoding_is_the_evaluators(known: dict[str, np.ndarray]) -> None:
    frame = torch.from_numpy(llp_inputs.probabilities(73, 5, 10, 2, 25))
    clip = torch.from_numpy(llp_inputs.probabilities(74, 5, 25))
    assert np.array_equal(decode(clip, frame).numpy(), known["decoded"].astype(bool))
    assert not decode(clip, frame, threshold=1.1).any()


def runs(seconds: np.ndarray) -> list[set[int]]:
    """The runs of ones as sets of seconds."""
    return [{s for s, _ in run} for on, run in groupby(enumerate(seconds), key=lambda item: item[1]) if on]


def slow_event_f(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean over classes of the event F of one modality, [C, T] each."""
    found = []
    for guess, true in zip(predicted, truth, strict=True):
        guessed, present = runs(guess), runs(true)
        tp = sum(any(len(g & t) >= 0.5 * len(g | t) for t in present) for g in guessed)
        fn = sum(not any(len(g & t) >= 0.5 * len(g | t) for g in guessed) for t in present)
        if guessed or present:
            found.append(2 * tp / (2 * tp + len(guessed) - tp + fn))
    return float(np.mean(found)) if found else 1.0


def test_a_slow_walk_over_runs_gives_the_same(case: tuple[np.ndarray, np.ndarray]) -> None:
    predicted, truth = case
    scores = event_scores(predicted, truth)
    for clip in range(0, 60, 7):
        for modality in range(2):
            slow = slow_event_f(predicted[clip, modality], truth[clip, modality])
            assert abs(scores[clip, modality] - slow) < 1e-12


def grid(**rows: str) -> np.ndarray:
    """[1, 2, 2, 6] of strings such as a0="110000"."""
    made = np.zeros((1, 2, 2, 6), np.uint8)
    for name, text in rows.items():
        made[0, "av".index(name[0]), int(name[1])] = [int(letter) for letter in text]
    return made


def test_by_hand() -> None:
    truth = grid(a0="111100", v0="001100")
    guess = grid(a0="110000", v0="001100", a1="000001")
    segment, event = segment_scores(guess, truth)[0], event_scores(guess, truth)[0]
    # Heard: class 0 has tp 2, fn 2: 2/3; class 1 is predicted wrongly: 0. Seen: right. Both: truth only in 2 and 3.
    assert np.allclose(segment, [1 / 3, 1, 0, (8 / 10 + 0) / 2])
    # The run of two seconds is half of the union of four: right.
    assert np.allclose(event, [0.5, 1, 0, 0.5])
    assert np.allclose(event_scores(grid(a0="100000"), grid(a0="111000"))[0], [0, 1, 1, 0])


def test_two_predictions_may_match_one_event() -> None:
    truth, guess = grid(a0="111111"), grid(a0="111000")
    assert event_scores(guess, truth)[0, 0] == 1
    assert event_scores(grid(a0="111011"), grid(a0="111011"))[0, 0] == 1
    # Two true runs, one prediction over both: 2 of 5 seconds with each, too little.
    assert event_scores(grid(a0="111110"), grid(a0="110110"))[0, 0] == 0


def test_nothing_and_everything() -> None:
    nothing = grid()
    assert segment_scores(nothing, nothing).tolist() == event_scores(nothing, nothing).tolist() == [[1.0] * 4]
    full = np.ones((2, 2, 3, 6), bool)
    assert segment_scores(full, full).min() == event_scores(full, full).min() == 1
    assert segment_scores(torch.from_numpy(full), full).shape == (2, 4)
    assert np.isnan(class_scores(nothing, nothing)).all()
