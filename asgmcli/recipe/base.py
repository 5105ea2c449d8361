"""Recipes: a name, a task, its variants as rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.bounds import Seed
from asgmcli.recipe.sections import ALL_ROWS, Compare, Data, Guide, Name, OwnStart, Section, with_seed
from asgmcli.recipe.training import Log, Train, ValidatedTrain


class Row(Section):
    """One line of the paper's table: dotted keys it overrides, and the number the paper prints.

    `curve` names the line of the figure that the row is a point of. A row that is `cited` says from where: it stands in
    the table with the paper's number alone and cannot be run.
    """

    title: str
    """What the row is called in tables."""
    set: dict[str, object] = Field(default_factory=dict)
    """Dotted keys of the recipe that are other in this row."""
    paper: dict[str, float] = Field(default_factory=dict)
    """The paper's numbers, by metric, percent."""
    curve: str = ""
    """Line of the figure that the row is a point of."""
    cited: str = ""
    """Where the number of a row that cannot be run is from."""

    @model_validator(mode="after")
    def _cited(self) -> Row:
        if self.cited and (self.set or not self.paper):
            raise ValueError("a row that is cited has a number of the paper's, and nothing to set")
        return self


class Curves(Section):
    """A figure whose points are the rows: what was measured over the value of `key` in each row's settings."""

    key: str
    """Dotted key whose value is the point's place."""
    label: str
    """What stands below the axis."""
    scale: Literal["linear", "log"] = "linear"
    """Scale of the axis."""


@dataclass(frozen=True)
class Best:
    """The rule that tells the best epoch (`train.keep: best`).

    Attributes:
        metrics: of the validation; the first that is measured decides.
        lowest: the lowest value is the best, not the highest.
        latest: of equal epochs the later is kept, not the first.
    """

    metrics: tuple[str, ...]
    lowest: bool = False
    latest: bool = False


class Recipe(Section):
    """The common part of all recipes: a name, a task, its variants as rows."""

    headline: ClassVar[str] = ""
    """The metric of its tables and pictures; "" takes the first that is measured."""
    beside: ClassVar[tuple[str, ...]] = ()
    """Metrics that its tables show after the headline, where runs have them."""
    one_process: ClassVar[bool] = False
    """Several processes cannot share its work."""
    name: Name
    """Names the folder of its runs; the file's name where left out."""
    task: str
    """What is done."""
    title: str
    """What it is called in tables."""
    about: str = ""
    """What it is for, in a sentence."""
    cost: str = ""
    """What it takes, in words."""
    default_row: str
    """Row that is trained without --row."""
    rows: dict[Name, Row]
    """Variants by name: `title`, `set`, `paper`, `curve`, `cited`."""
    figure: Curves | None = None
    """A figure of which the rows are points: `key`, `label`, `scale`."""
    bars: bool = False
    """Draw the rows of its picture as bars from zero."""
    show: list[str] = Field(default_factory=list)
    """Metrics of its table, in this order; all where left out."""
    runs_of: Name | None = None
    """Another recipe whose runs count here too, where a row has the same settings."""
    compare: Compare | None = None
    """Rows that all others are compared to, seed by seed: `to`, `metrics`, and `pairs` that are judged together."""
    seed: Seed = 0
    """Seed of all draws; --seed and --seeds replace it."""

    @model_validator(mode="before")
    @classmethod
    def _seed_of_the_run(cls, values: object) -> object:
        """Replace every `seed: run` in the sections by the recipe's own seed."""
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
        known = [row.curve for row in self.rows.values()] if self.figure is not None else list(self.runnable)
        if unknown := [name for name in (self.compare.to if self.compare is not None else ()) if name not in known]:
            what = "row that can be run" if self.figure is None else "row's curve"
            raise ValueError(f"compare.to: {', '.join(unknown)}: no {what}")
        paired = [row for pair in (self.compare.pairs if self.compare is not None else ()) for row in pair]
        if unknown := [row for row in dict.fromkeys(paired) if row not in self.runnable]:
            raise ValueError(f"compare.pairs: {', '.join(unknown)}: no row that can be run")
        return self

    def data_sets(self) -> list[Data]:
        """Return the data sets whose manifests it reads, its training's first: its `data`, where it has one."""
        data = getattr(self, "data", None)
        return [data] if isinstance(data, Data) else []

    def sources(self) -> list[OwnStart | Guide]:
        """Return where the weights come from that it uses: networks' starts, localizers."""
        return []

    def of_whom(self) -> str:
        """Return a sentence on what its headline was measured on, for below a table; "" for nothing."""
        return ""

    def prepares(self) -> str:
        """Name what its task makes of the data before training, "" for nothing; recipes that name the same share it."""
        return ""

    def idle(self) -> dict[str, str]:
        """Return the keys and sections, dotted, that do nothing beside this recipe's other settings, and why."""
        return {}

    def as_trained(self) -> TrainedRecipe | None:
        """Return the recipe itself where it trains a network, None where it only draws."""
        return None

    @property
    def saves_memory(self) -> bool:
        """Return True if memory is to be saved at the cost of time."""
        return False

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
        """Return the rows that can be run: all but those that are cited."""
        return {name: row for name, row in self.rows.items() if not row.cited}


class TrainedRecipe(Recipe):
    """The common part of the recipes that train a network."""

    best: ClassVar[Best | None] = None
    """How its best epoch is told; goes with a `train` section that is a `ValidatedTrain`."""
    train: Train = Train()
    """How long is trained, in what batches, and what is kept on the way."""
    log: Log = Log()
    """What shows the numbers of metrics.jsonl as well."""

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found = self.train.optimizer.idle()
        return found if self.log.wandb else {**found, "log.project": "log.wandb is false"}

    @property
    def keeps_best(self) -> bool:
        """Return True if the best epoch is to be kept and not the last."""
        return self.best is not None and isinstance(self.train, ValidatedTrain) and self.train.keep == "best"

    def as_trained(self) -> TrainedRecipe | None:
        """Return the recipe itself."""
        return self
