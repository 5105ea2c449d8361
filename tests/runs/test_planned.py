"""Pairs of rows that a recipe names beforehand."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.errors import RecipeError
from asgmcli.runs.compare import write_differences
from asgmcli.runs.planned import planned_table
from tests.runs.test_compare import COMPARED, recipe, recipe_file, runs

PAIRED = COMPARED.replace("top1_shuffled]}", "top1_shuffled], pairs: [[full, video], [half, video]]}", 1)


def test_pairs_are_judged_together(tmp_path: Path) -> None:
    results = runs("full", top1={0: 12.0, 1: 15.0, 2: 18.0}, top1_shuffled={0: 3.0})
    results += runs("video", top1={0: 10.0, 1: 11.0, 2: 12.0}, top1_shuffled={0: 1.0})
    results += runs("half", top1={0: 11.0, 1: 11.0, 2: 13.0})
    table = planned_table(recipe(tmp_path, PAIRED), results)
    assert table is not None
    # +2, +4, +6: 4 ± 2 / sqrt 3, t = 3.464, p = .0742; +1, 0, +1: .667 ± .333, t = 2, p = .1835. t(.9875, 2) is 6.205.
    assert table.rows == [
        [
            "sound and picture",
            "picture",
            3,
            "+4.0 ± 1.2",
            "[-3.2, +11.2]",
            ".148",
            "3 of 3",
            "+2.0",
            None,
            None,
            "1 of 1",
        ],
        ["half of it", "picture", 3, "+0.7 ± 0.3", "[-1.4, +2.7]", ".184", "2 of 3", None, None, None, None],
    ]
    assert "2 differences were named beforehand" in table.note


def test_it_is_written_beside_the_comparisons(tmp_path: Path) -> None:
    file = recipe_file(tmp_path, PAIRED)
    results = runs("half", top1={0: 1.0, 1: 2.0}) + runs("full", top1={0: 1.0})
    assert write_differences(tmp_path / "out", file, file.load(), results) == ([], [])
    results += runs("video", top1={0: 0.5, 1: 0.0})
    tables, paths = write_differences(tmp_path / "out", file, file.load(), results)
    assert [path.name for path in paths][-2:] == ["planned.md", "planned.csv"]
    assert [line[2] for line in tables[-1].rows] == [1, 2]
    assert "named beforehand" in (tmp_path / "out" / "planned.md").read_text()


def test_a_pair_is_of_rows(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"compare\.pairs: tubes: no row that can be run"):
        recipe(tmp_path, PAIRED.replace("[half, video]", "[tubes, video]"))
    with pytest.raises(RecipeError, match=r"compare\.pairs"):
        recipe(tmp_path, PAIRED.replace("[half, video]", "[half]"))
