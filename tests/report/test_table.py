from __future__ import annotations

import csv
import io
import math

import pytest

from asgmcli.console import make_console
from asgmcli.report.table import Table, mean_std, number, signed, with_interval

TABLE = Table("Demo", ["row", "top-1", "±"], [["a|b", 1.26, None], ["[red]x", 50.0, "2.0 ± 1.0"]], note="three seeds")


def test_numbers_as_text() -> None:
    assert mean_std([77, 79, 81]) == "79.0 ± 2.0"
    assert mean_std([78.64]) == "78.6"
    assert mean_std([]) == "–"
    assert number(math.nan) == number(None) == "–"
    assert signed(0.7) == "+0.7"
    assert with_interval(6.0, 4.1, 7.9) == "+6.0 [+4.1, +7.9]"


def test_markdown_escapes_and_aligns() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines == [
        "**Demo**",
        "",
        "| row | top-1 | ± |",
        "| --- | ---: | ---: |",
        "| a\\|b | 1.3 | – |",
        "| [red]x | 50.0 | 2.0 ± 1.0 |",
        "",
        "three seeds",
    ]


def test_numbers_of_which_some_are_missing_stay_to_the_right() -> None:
    table = Table("", ["row", "told", "none"], [["a", "–", "–"], ["b", "2.0 ± 1.0", None]])
    assert table.numbers() == [False, True, False]


def test_bold_row() -> None:
    bold = Table("", ["row", "top-1"], [["a", 1.0], ["b", 2.0]], bold=frozenset({1}))
    assert bold.markdown().splitlines()[2:] == ["| a | 1.0 |", "| **b** | **2.0** |"]


def test_csv_keeps_full_precision() -> None:
    assert list(csv.reader(io.StringIO(TABLE.csv()))) == [
        ["row", "top-1", "±"],
        ["a|b", "1.26", ""],
        ["[red]x", "50.0", "2.0 ± 1.0"],
    ]


def test_data_is_json_without_nan() -> None:
    assert Table("t", ["a"], [[math.nan], [2]]).data() == {
        "title": "t",
        "columns": ["a"],
        "rows": [[None], [2]],
        "note": "",
        "notes": [],
    }


def test_terminal_shows_markup_as_text() -> None:
    console = make_console(file=io.StringIO())
    console.print(TABLE.rich())
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]x" in shown
    assert "1.3" in shown
    assert "three seeds" in shown


def test_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="row 0"):
        Table("t", ["a", "b"], [["x"]])
