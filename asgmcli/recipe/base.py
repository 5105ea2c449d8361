"""What every recipe has: a name, a task, its variants as rows."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.bounds import Seed
from asgmcli.recipe.sections import ALL_ROWS, Compare, Data, Guide, Log, Name, Section, Start, Train, with_seed


class Row(Section):
    """One line of the paper's table: dotted keys it overrides, and the number the paper prints.

    `curve` names the line of the figure that the row is a point of. A row that is `cited` says from where: it stands in
    the table with the paper's number alone and cannot be run.
    """

    title: str
    set: dict[str, Any] = Field(default_factory=dict)
    paper: dict[str, float] = Field(default_factory=dict)
    curve: str = ""
    cited: str = ""

    @model_validator(mode="after")
    def _cited(self) -> Row:
        if self.cited and (self.set or not self.paper):
            raise ValueError("a row that is cited has a number of the paper's, and nothing to set")
        return self


class Curves(Section):
    """A figure whose points are the rows: what was measured over the value of `key` in each row's settings."""

    key: str
    label: str
    scale: Literal["linear", "log"] = "linear"


# Keys of `train` that only some tasks know how to follow; `honoured` names those.
OPTIONS = ("activation_checkpointing", "accumulate", "compile", "channels_last")


class Recipe(Section):
    """What every recipe has: a name, a task, its variants as rows."""

    honoured: ClassVar[tuple[str, ...]] = ()
    headline: ClassVar[str] = ""
    """The metric of its tables and pictures; "" takes the first that is measured."""
    one_process: ClassVar[bool] = False
    """Several processes cannot share its work."""
    name: Name
    task: str
    title: str
    about: str = ""
    cost: str = ""
    default_row: str
    rows: dict[Name, Row]
    figure: Curves | None = None
    compare: Compare | None = None
    train: Train = Train()
    log: Log = Log()
    seed: Seed = 0

    @model_validator(mode="before")
    @classmethod
    def _seed_of_the_run(cls, values: Any) -> Any:
        """Every `seed: run` in the sections is the recipe's own seed."""
        return with_seed(values, values.get("seed", 0)) if isinstance(values, dict) else values

    @model_validator(mode="after")
    def _default(self) -> Recipe:
        if self.default_row not in self.rows:
            raise ValueError(f"default_row {self.default_row!r} is none of the rows: {', '.join(self.rows)}")
        if cited := self.rows[self.default_row].cited:
            others = ", ".join(self.runnable)
            raise ValueError(f"row {self.default_row!r} cannot be run, it is cited: {cited}. Rows to run: {others}")
        if ALL_ROWS in self.rows:
            raise ValueError(f"a row cannot be named {ALL_ROWS!r}: `--row {ALL_ROWS}` trains every row")
        if loose := [name for name in self.runnable if bool(self.rows[name].curve) != (self.figure is not None)]:
            raise ValueError(f"`figure` and the rows' `curve` go together: rows {', '.join(loose)}")
        default = Train()
        for key in OPTIONS:
            if key not in self.honoured and getattr(self.train, key) != getattr(default, key):
                raise ValueError(f"train.{key} does nothing in a {self.task} recipe: leave it out")
        known = [row.curve for row in self.rows.values()] if self.figure is not None else list(self.runnable)
        if unknown := [name for name in (self.compare.to if self.compare is not None else ()) if name not in known]:
            what = "row that can be run" if self.figure is None else "row's curve"
            raise ValueError(f"compare.to: {', '.join(unknown)}: no {what}")
        return self

    def data_sets(self) -> list[Data]:
        """Return the data sets whose manifests it reads, its training's first; none where clips are generated."""
        return []

    def sources(self) -> list[Start | Guide]:
        """Return where the weights come from that it uses: networks' starts, localizers."""
        return []

    def prepares(self) -> str:
        """Name what its task makes of the data before training, "" for nothing; recipes that name the same share it."""
        return ""

    def size_key(self) -> str:
        """Return what decides the sizes of its networks and steps, as a key: rows of one key take the same."""
        return self.model_dump_json(
            exclude={"name", "rows", "default_row", "title", "about", "cost", "compare", "seed"}
        )

    def without_paper(self) -> Recipe:
        """Return the recipe with its own rows alone and no number of the paper's, as one with other settings has."""
        rows = {name: row.model_copy(update={"paper": {}}) for name, row in self.runnable.items()}
        return self.model_copy(update={"rows": rows})

    @property
    def runnable(self) -> dict[str, Row]:
        """The rows that can be run: all but those that are cited."""
        return {name: row for name, row in self.rows.items() if not row.cited}
