"""One time for several runs."""

from __future__ import annotations

import pytest

from asgmcli.runs.shares import LEAST_S, Shares, makespan


def test_runs_begin_in_their_order_where_a_place_is_free() -> None:
    assert makespan([3.0, 2.0, 2.0], 2) == 4.0
    assert makespan([2.0, 2.0, 2.0], 2) == 4.0  # not the 3 s of the mean
    assert makespan([1.0, 2.0], 5) == 2.0
    assert makespan([1.0, 2.0], 1) == 3.0


def test_a_run_leaves_what_follows_it_its_part() -> None:
    now = 0.0
    shares = Shares(90.0, {"a": 10.0, "b": 10.0, "c": 20.0}, lambda: now)
    assert shares.begin("a", ["b", "c"], [], 1) == pytest.approx(90 * 10 / 40)
    now = 30.0  # later than it should have been
    assert shares.begin("b", ["c"], [], 1) == pytest.approx(60 * 10 / 30)
    now = 50.0
    assert shares.begin("c", [], [], 1) == pytest.approx(40.0)


def test_of_two_places_one_takes_the_third_run() -> None:
    now = 0.0
    shares = Shares(60.0, {}, lambda: now)  # all alike
    assert shares.begin("a", ["b", "c"], [], 2) == pytest.approx(30.0)
    assert shares.begin("b", ["c"], ["a"], 2) == pytest.approx(30.0)
    now = 30.0
    assert shares.begin("c", [], ["b"], 2) == pytest.approx(30.0)


def test_a_late_run_gets_a_little() -> None:
    assert Shares(10.0, {}, lambda: 20.0).begin("a", [], [], 1) == LEAST_S
