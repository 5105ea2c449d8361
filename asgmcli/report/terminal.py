"""A table in a terminal, folded between words."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

AROUND = 3  # characters of a column's padding and rule; one more at the table's end


@dataclass(frozen=True)
class TerminalTable:
    """Texts in columns; `numbers` says which columns are right-aligned and never fold, `bold` which rows stand out."""

    title: str
    columns: Sequence[str]
    cells: Sequence[Sequence[str]]
    numbers: Sequence[bool]
    bold: Collection[int]
    note: str

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if self.title:
            yield Text(self.title, style="table.title", no_wrap=True, overflow="ignore")
        table = Table(box=box.SIMPLE_HEAD)
        widths = self._widths(options.max_width)
        for name, number, width in zip(self.columns, self.numbers, widths, strict=True):
            table.add_column(Text(name), justify="right" if number else "left", width=width)
        for index, row in enumerate(self.cells):
            # Text, not str: a class named `[clap]` is not markup.
            table.add_row(*(Text(cell) for cell in row), style="bold" if index in self.bold else None)
        total = sum(widths) + AROUND * len(widths) + 1
        yield from console.render(table, options.update(width=max(total, options.max_width)))
        if self.note:
            yield Text(self.note, style="table.caption", no_wrap=True, overflow="ignore")

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
