"""Find everything that a recipe, and every recipe it depends on, lacks: reported at once, with what to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from asgmcli.errors import DataError, RecipeError
from asgmcli.nn.weights import WEIGHTS_FOLDER, timm_file
from asgmcli.prepare.source import how_to_prepare, is_generated, manifest_path
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.sections import Guide, OwnStart
from asgmcli.recipe.shipped import find_beside
from asgmcli.runs.counts import Counting, expected
from asgmcli.runs.generated import check_options
from asgmcli.train.cost import Counts
from asgmcli.train.run import run_of


@dataclass
class Missing:
    """The files that runs need, and those that are missing.

    Attributes:
        lines: what a user has to bring, a line each with what to do.
        before: what is made, read or fetched first, a line each.
    """

    runs: Path
    recipes: Path
    counting: Counting
    lines: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    _seen: set[tuple[str, str, int]] = field(default_factory=set)

    def look(self, recipe: Recipe) -> Counts | None:
        """Look for what `recipe` reads and return its counts, the expected ones if its data are missing.

        Raises:
            RecipeError: it has options that a generated data set does not have.
        """
        self._seen.add((recipe.name, recipe.default_row, recipe.seed))
        there = self._look_for_data(recipe)
        counts = None
        if there:
            try:
                counts = self.counting.count(recipe)
            except DataError as error:
                self._note(self.lines, error.message)
        for source in recipe.sources():
            self._look_for_source(source, recipe)
        return counts if there else expected(recipe)

    def _look_for_data(self, recipe: Recipe) -> bool:
        """Return whether every manifest of `recipe` is there."""
        for data in recipe.data_sets():
            if is_generated(data):
                check_options(data)
        gone = [data for data in recipe.data_sets() if not manifest_path(data).exists()]
        for data in gone:
            path = manifest_path(data)
            if is_generated(data):
                self._note(self.before, f"{path.parent}: the data set {data.dataset} is generated")
            else:
                self._note(self.lines, f"data {path}: no manifest here. {how_to_prepare(data)}")
        return not gone

    def _look_for_source(self, source: OwnStart | Guide, asked_by: Recipe) -> None:
        if source.file is not None:
            there = Path(source.file).exists()
            self._note(self.before, f"file {source.file}: " + ("there" if there else "MISSING"))
            if not there:
                self._note(self.lines, f"weights {source.file}: no such file, which {asked_by.name} starts from")
        elif source.recipe is not None:
            self._look_for_recipe(source)
        elif (name := getattr(source, "timm", None)) is not None:
            place = timm_file(name) or f"not in {WEIGHTS_FOLDER}/, is fetched"
            self._note(self.before, f"timm's {name}: {place}")

    def _look_for_recipe(self, source: OwnStart | Guide) -> None:
        seed = "" if source.row is None else f" row {source.row}"
        seed += "" if source.seed is None else f" seed {source.seed}"
        try:
            needed = load_recipe(find_beside(self.recipes, str(source.recipe)), source.row, seed=source.seed)
        except RecipeError as error:
            self._note(self.lines, f"recipe {source.recipe}{seed}: {error.message}")
            return
        finished = run_of(needed, self.runs).result() is not None
        self._note(self.before, f"recipe {source.recipe}{seed}: " + ("finished" if finished else "is run first"))
        if not finished and (needed.name, needed.default_row, needed.seed) not in self._seen:
            self.look(needed)

    @staticmethod
    def _note(lines: list[str], line: str) -> None:
        if line not in lines:
            lines.append(line)
