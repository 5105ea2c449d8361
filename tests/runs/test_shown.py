"""Which clips are best and worst, whatever the task's lines are, and the words of its answers over time."""

from __future__ import annotations

import pytest

from asgmcli.report.table import Cell, Table
from asgmcli.runs.shown import choose, scores_of, told_line, words_of
from asgmcli.train.task import Prediction


def lines(columns: str, *rows: list[Cell]) -> Table:
    return Table("", columns.split(), rows)


def test_right_answers_are_good_and_wrong_ones_bad_the_surer_the_more() -> None:
    found = scores_of(lines("id label predicted confidence", ["a", "x", "x", 0.9], ["b", "x", "y", 0.8]))
    assert found == {"a": 0.9, "b": -0.8}
    seconds = lines(
        "id second event predicted probability",
        ["a", 0, "x", "x", 1.0],
        ["a", 1, "x", "y", 0.5],
        ["b", 0, "x", "x", 0.2],
    )
    assert scores_of(seconds) == {"a": pytest.approx(0.25), "b": 0.2}
    assert scores_of(lines("id label predicted", ["a", "x", "x"], ["b", "x", "y"])) == {"a": 1.0, "b": -1.0}


def test_a_measure_at_the_end_of_a_line_counts_and_a_probability_is_none() -> None:
    assert scores_of(lines("id frame inside ciou", ["a", 3, None, 0.2], ["a", 9, 1.0, 0.6])) == {
        "a": pytest.approx(0.4)
    }
    assert scores_of(lines("id iou", ["a", 71.5], ["b", None])) == {"a": 71.5}
    assert scores_of(lines("id start end label probability", ["a", 0.0, 1.0, "x", 0.9])) == {}
    assert scores_of(lines("id predicted", ["a", "x"])) == {}
    assert scores_of(Table("", [], [])) == {}


def test_no_clip_is_both_best_and_worst() -> None:
    scores = {"a": 3.0, "b": 1.0, "c": 2.0}
    assert choose(["a", "b", "c", "d"], scores, 2) == [("a", True), ("c", True), ("b", False)]
    assert choose(["a", "b", "c"], scores, 1) == [("a", True), ("b", False)]
    assert choose(list("abcdefgh"), {}, 2) == [(name, None) for name in "aceg"]
    assert choose([], {}, 3) == []


def test_words_are_those_of_the_time() -> None:
    spans = Prediction(None, [[0.0, 2.0, "dog", 0.9], [1.0, 3.0, "cat", 0.75]], {})
    words = words_of(spans, ("start", "end", "label", "probability"), "")
    assert [words(time) for time in (0.5, 1.0, 2.5, 3.0)] == [
        ["dog, probability 0.9"],
        ["dog, probability 0.9, cat, probability 0.75"],
        ["cat, probability 0.75"],
        ["–"],
    ]
    moments = Prediction(None, [[0.0, 0.5], [1.0, 0.25]], {})
    words = words_of(moments, ("time", "x"), "truck")
    assert [words(time) for time in (0.0, 1.9)] == [["x 0.5", "truth: truck"], ["x 0.25", "truth: truck"]]
    assert words_of(Prediction(None, [["bark", 0.9]], {}), ("label", "probability"), "")(7.0) == [
        "bark, probability 0.9"
    ]
    assert words_of(Prediction(None, [], {}), ("label",), "")(0.0) == ["–"]
    assert told_line(("a", "b", "c"), ["x", None, 1 / 3]) == "x, c 0.333"
