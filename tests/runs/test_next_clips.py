"""Which unlabelled clips are chosen, and the list that is filled in."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from asgmcli.errors import UsageError
from asgmcli.runs.next_clips import Chosen, choose_clips, clusters_of, next_csv, probabilities_of, unsureness


def test_unsureness_is_none_for_a_sure_answer_and_one_for_an_even_one() -> None:
    shares = np.array([[1.0, 0.0, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0.0, 0.0]])
    assert unsureness(shares) == pytest.approx([0.0, 1.0, 0.5], abs=1e-9)
    assert unsureness(np.ones((2, 1))).tolist() == [0.0, 0.0]


SURE = np.array([[0.99, 0.01], [0.98, 0.02], [0.01, 0.99], [0.97, 0.03]])


def test_what_the_network_says_of_no_labelled_clip_comes_first() -> None:
    shares = np.concatenate([SURE, [[0.5, 0.5]], SURE])
    for labeled in (SURE[:3], np.repeat(SURE[1:3], 20, axis=0)):
        assert choose_clips(shares, 1, labeled) == [4]
        assert choose_clips(shares[::-1], 1, labeled) == [4]
    assert sorted(choose_clips(shares, 20, SURE)) == list(range(9))
    assert choose_clips(shares, 0, SURE) == []


def test_alike_clips_are_of_one_cluster_and_the_second_of_them_waits() -> None:
    shares = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.5, 0.5], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5]])
    assert sorted(choose_clips(shares, 3)) in ([0, 2, 4], [1, 2, 4], [2, 3, 4])
    assert len(set(choose_clips(shares, 5))) == 5


def test_a_class_of_few_labels_is_wanted_more() -> None:
    shares = np.array([[0.7, 0.3], [0.3, 0.7], [0.999, 0.001], [0.001, 0.999]])
    labeled = np.array([[1.0, 0.0], [0.0, 1.0]])
    assert choose_clips(shares, 1, labeled, np.array([5.0, 1.0])) == [1]
    assert choose_clips(shares, 1, labeled, np.array([1.0, 5.0])) == [0]


def test_a_group_of_points_is_a_cluster() -> None:
    draw = np.random.default_rng(5)
    points = np.repeat(np.eye(4), 25, axis=0) + draw.normal(0, 0.05, (100, 4))
    found = clusters_of(points, 4).reshape(4, 25)
    assert (found == found[:, :1]).all()
    assert len(set(found[:, 0].tolist())) == 4
    assert clusters_of(np.ones((5, 2)), 3).tolist() == [0] * 5
    assert clusters_of(np.zeros((0, 2)), 3).tolist() == []


def test_the_list_has_an_empty_label_and_any_name() -> None:
    text = next_csv([Chosen("a,b", "x/a,b.mp4", 'say "dog"', 0.25, 0.9)])
    assert list(csv.DictReader(io.StringIO(text))) == [
        {"path": "x/a,b.mp4", "label": "", "guess": 'say "dog"', "probability": "0.25", "id": "a,b"}
    ]


def test_answers_without_probabilities_are_refused() -> None:
    assert probabilities_of({"probabilities": {"a": 1}}) == {"a": 1.0}
    with pytest.raises(UsageError, match="do not tell a probability"):
        probabilities_of({"maps": []})
