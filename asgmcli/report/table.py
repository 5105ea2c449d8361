"""Tables: one content, shown in the terminal, in Markdown, as CSV or as plain data."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

Cell = str | int | float | None
MISSING = "–"


def number(value: float | None, digits: int = 1) -> str:
    """Format `value` with `digits` decimals; a dash if it is missing or not finite."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """Format a difference with its sign: `+11.2`, `-0.3`."""
    if value is None or not math.isfinite(value):
        return MISSING
    return f"{value:+.{digits}f}"


def mean_std(values: Sequence[float]) -> str:
    """Format mean ± sample standard deviation (n - 1): `78.6 ± 2.3`; a single value gets no spread."""
    if not values:
        return MISSING
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.fmean(values))} ± {number(statistics.stdev(values))}"


def with_interval(mean: float, low: float, high: float) -> str:
    """Format a difference with its interval: `+6.0 [+4.1, +7.9]`."""
    return f"{signed(mean)} [{signed(low)}, {signed(high)}]"


@dataclass(frozen=True)
class Table:
    """Columns and rows with a title; numbers are shown with `digits` decimals and right-aligned.

    A cell is text, a number or None (nothing there: a dash). `note` stands below the table; below it, in every form but
    `rich`, whose lines would wrap, each of `notes`. The row whose index is in `bold` is set apart.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    note: str = ""
    digits: int = 1
    bold: frozenset[int] = field(default_factory=frozenset)
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for index, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"row {index} of {self.title!r} has {len(row)} cells for {len(self.columns)} columns")

    def rich(self) -> RenderableType:
        """Return the table for a terminal.

        Cells fold between words to the width there is, numbers never do; where the longest words are wider than that,
        so is the table. Where numbers leave the rows' names no room, each stands above them. Title and note are whole
        lines.
        """
        from asgmcli.report.terminal import TerminalTable

        return TerminalTable(self.title, self.columns, self.texts(), self.numbers(), self.bold, self.note)

    def texts(self) -> list[list[str]]:
        """Return the cells as they are shown."""
        return [[self._text(cell) for cell in row] for row in self.rows]

    def numbers(self) -> list[bool]:
        """Return for each column whether it holds numbers."""
        return [self._is_number(index) for index in range(len(self.columns))]

    def markdown(self) -> str:
        """Return the table in GitHub's Markdown, ending in a new line; the title in bold above."""
        lines = [f"**{_escape(self.title)}**", ""] if self.title else []
        lines.append(_line([_escape(name) for name in self.columns]))
        lines.append(_line(["---:" if number else "---" for number in self.numbers()]))
        for index, row in enumerate(self.texts()):
            cells = [_escape(text) for text in row]
            lines.append(_line([f"**{cell}**" if cell and index in self.bold else cell for cell in cells]))
        if self.note:
            lines += ["", _escape(self.note)]
        if self.notes:
            lines += ["", *(f"- {_escape(text)}" for text in self.notes)]
        return "\n".join(lines) + "\n"

    def csv(self) -> str:
        """Return the table as CSV with full precision; empty cells are empty fields.

        Each sentence of `notes` is a line of its own whose first field begins with `# `; the others are empty, so that
        every reader of CSV finds as many fields as in the header.
        """
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([["" if cell is None else cell for cell in row] for row in self.rows])
        writer.writerows([[f"# {text}", *[""] * (len(self.columns) - 1)] for text in self.notes])
        return out.getvalue()

    def data(self) -> dict[str, object]:
        """Return the table as what JSON can hold: title, columns, rows, note, notes."""
        rows = [[None if isinstance(c, float) and not math.isfinite(c) else c for c in row] for row in self.rows]
        about = {"note": self.note, "notes": list(self.notes)}
        return {"title": self.title, "columns": list(self.columns), "rows": rows, **about}

    def _text(self, cell: Cell) -> str:
        if cell is None:
            return MISSING
        return number(cell, self.digits) if isinstance(cell, float) else str(cell)

    def _is_number(self, column: int) -> bool:
        cells = [row[column] for row in self.rows if row[column] not in (None, "", MISSING)]
        return bool(cells) and all(not isinstance(cell, str) or cell[0] in "+-0123456789" for cell in cells)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
