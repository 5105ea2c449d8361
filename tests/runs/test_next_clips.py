"""Which unlabelled clips are chosen, and the list that is filled in."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from asgmcli.errors import UsageError
from asgmcli.runs.next_clips import Chosen, choose_clips, next_csv, probabilities_of, unsureness


def test_unsureness_is_none_for_a_sure_answer_and_one_for_an_even_one() -> None:
    shares = np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    assert unsureness(shares) == pytest.approx([0.0, 1.0, 0.5], abs=1e-9)
    assert unsureness(np.ones((2, 1))).tolist() == [0.0, 0.0]


def test_the_most_unsure_comes_first_and_its_double_last() -> None:
    shares = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.6, 0.4], [1.0, 0.0, 0.0]])
    assert choose_clips(shares, 4)[:2] == [0, 2]  # row 1 doubts as row 0 does
    assert sorted(choose_clips(shares, 9)) == [0, 1, 2, 3]
    assert choose_clips(shares, 0) == []


def test_choosing_is_the_slow_reference() -> None:
    draw = np.random.default_rng(3)
    shares = draw.dirichlet([0.5] * 4, 30)

    def far(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.sqrt(np.square(np.sqrt(one) - np.sqrt(other)).sum() / 2))

    left, chosen = list(range(30)), []
    for _ in range(8):
        worth = [
            unsureness(shares[[place]])[0] * min([far(shares[place], shares[other]) for other in chosen], default=1.0)
            for place in left
        ]
        chosen.append(left.pop(int(np.argmax(worth))))
    assert choose_clips(shares, 8) == chosen


def test_the_list_has_an_empty_label_and_any_name() -> None:
    text = next_csv([Chosen("a,b", "x/a,b.mp4", 'say "dog"', 0.25, 0.9)])
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"path": "x/a,b.mp4", "label": "", "guess": 'say "dog"', "probability": "0.25", "id": "a,b"}
    ]


def test_answers_without_probabilities_are_refused() -> None:
    assert probabilities_of({"probabilities": {"a": 1}}) == {"a": 1.0}
    with pytest.raises(UsageError, match="do not tell a probability"):
        probabilities_of({"maps": []})
