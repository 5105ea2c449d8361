"""A table in a terminal, folded between words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from asgmcli.report.table import MISSING

AROUND = 3  # characters of a column's padding and rule; one more at the table's end
TALLEST = 3  # lines that a row's name may fold to; a longer one stands above its numbers


@dataclass(frozen=True)
class TerminalTable:
    """Texts in columns; `numbers` says which columns are right-aligned and never fold, `bold` which rows stand out.

    Where numbers leave the names of the first column so little room that one would be a tower of words, each name
    stands above its numbers.
    """

    title: str
    columns: Sequence[str]
    cells: Sequence[Sequence[str]]
    numbers: Sequence[bool]
    bold: Collection[int]
    note: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="table.title", no_wrap=True, overflow="ignore")
        widths = self._widths(options.max_width)
        if self._towers(console, widths[0], options.max_width):
            yield from self._render_below(console, options)
        else:
            yield from console.render(*self._table(self.cells, widths, options))
        if self.note:
            yield Text(self.note, style="table.caption", no_wrap=True, overflow="ignore")

    def _table(
        self, cells: Sequence[Sequence[str]], widths: Sequence[int], options: ConsoleOptions
    ) -> tuple[Table, ConsoleOptions]:
        """Return rich's table of `cells`, and the options that give it the width it needs."""
        table = Table(box=box.SIMPLE_HEAD)
        for name, number, width in zip(self.columns, self.numbers, widths, strict=True):
            table.add_column(Text(name), justify="right" if number else "left", width=width)
        for index, row in enumerate(cells):
            # Text, not str: a class named `[clap]` is not markup.
            table.add_row(*(Text(cell) for cell in row), style=self._style(index))
        total = sum(widths) + AROUND * len(widths) + 1
        return table, options.update(width=max(total, options.max_width))

    def _style(self, row: int) -> str:
        return "bold" if row in self.bold else ""

    def _towers(self, console: Console, width: int, room: int) -> bool:
        """Return True if numbers leave names `width` of `room`, where one would fold to more than `TALLEST` lines."""
        if self.numbers[0] or len(self.numbers) == 1 or self._tells_words() or width > room // 3:
            return False
        return any(len(Text(row[0]).wrap(console, width)) > TALLEST for row in self.cells)

    def _tells_words(self) -> bool:
        """Return True if a column beside the names holds words; one that tells nothing yet does not."""
        beside = (told for row in self.cells for told in zip(row[1:], self.numbers[1:], strict=True))
        return any(not number and text not in ("", MISSING) for text, number in beside)

    def _render_below(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Yield the table with each row's name above its numbers, which are a line a row."""
        blank = TerminalTable("", self.columns, [["", *row[1:]] for row in self.cells], self.numbers, self.bold, "")
        table, wide = self._table(blank.cells, blank._widths(options.max_width), options)
        lines = console.render_lines(table, wide, pad=False)
        first = len(lines) - len(self.cells) - 1  # below the head; the last line is the table's edge
        for number, line in enumerate(lines):
            row = number - first
            if 0 <= row < len(self.cells):
                name = Text(self.cells[row][0], style=self._style(row), no_wrap=False, overflow="fold")
                yield from console.render(Padding(name, (0, 0, 0, 2), expand=False), options)
            yield from line
            yield Segment.line()

    def _widths(self, room: int) -> list[int]:
        """Return the characters of each column: all that it needs, or its longest word and a share of what is left."""
        columns = list(zip(self.columns, *self.cells, strict=True))
        whole = [max(1, *(cell_len(text) for text in column)) for column in columns]
        least = [
            max(1, *map(cell_len, (column[0].split() + list(column[1:])) if number else " ".join(column).split()))
            for number, column in zip(self.numbers, columns, strict=True)
        ]
        left = room - AROUND * len(columns) - 1 - sum(least)
        more = sum(whole) - sum(least)
        if left >= more or more == 0:  # nothing can fold: the table is as wide as its longest words
            return whole
        return [low + max(0, left) * (high - low) // more for low, high in zip(least, whole, strict=True)]
