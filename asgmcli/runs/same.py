"""Rows that come out the same, in one recipe or in several: the run of one is the run of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from asgmcli.data.manifest import read_manifest
from asgmcli.errors import RecipeError
from asgmcli.prepare.source import manifest_path
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import settings_hash
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.train.run import Run, run_of


@dataclass(frozen=True)
class Finished:
    """The finished runs under a folder, of all recipes, by the hash of their settings."""

    runs: Path
    by_settings: Mapping[str, Sequence[tuple[Run, dict[str, Any]]]]

    def same(self, recipe: Recipe) -> list[tuple[Run, dict[str, Any]]]:
        """Runs of other rows or recipes with the settings of `recipe` and any seed, sorted by seed, one each."""
        own = run_of(recipe, self.runs).folder.parent
        found: dict[int, tuple[Run, dict[str, Any]]] = {}
        for run, result in self.by_settings.get(settings_hash(recipe), ()):
            if run.folder.parent != own:
                found.setdefault(result["seed"], (run, result))
        return [found[seed] for seed in sorted(found)]

    def twin(self, recipe: Recipe) -> tuple[Run, dict[str, Any]] | None:
        """The run of another row or recipe that was made with the settings and the seed of `recipe`, on its data."""
        if not recipe.data_sets():
            return None
        path = manifest_path(recipe.data_sets()[0])
        for run, result in self.same(recipe):
            if result["seed"] == recipe.seed and path.exists():
                judged_on = result.get("data", {}).get("manifest")
                return (run, result) if judged_on == read_manifest(path).sha256 else None
        return None


def finished_everywhere(runs: Path) -> Finished:
    """Every finished run under `runs` whose recipe can be read."""
    found: dict[str, list[tuple[Run, dict[str, Any]]]] = {}
    for path in sorted(runs.glob("*/*/seed*/result.json")):
        run = Run(path.parent)
        try:
            key, result = settings_hash(run.recipe()), run.result()
        except RecipeError:  # of an older version, or not a run of ours; gathering its own recipe tells of it
            continue
        if result is not None and result.get("metrics"):
            found.setdefault(key, []).append((run, result))
    return Finished(runs, found)


def with_twins(
    runs: Path, recipe: RecipeFile, overrides: tuple[str, ...], results: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """`results`, and those of runs of other rows and recipes that a row of `recipe` comes out the same as.

    Theirs bear the row's name, and under `same_as` the folder of the run.
    """
    everywhere = finished_everywhere(runs)
    there = {(result["row"], result["seed"]) for result in results}
    found = list(results)
    seeds = sorted({result["seed"] for runs_of in everywhere.by_settings.values() for _, result in runs_of})
    for row in recipe.load(None, overrides).runnable:
        for run, result in _same_row(everywhere, recipe, row, overrides, seeds):
            if (row, result["seed"]) not in there:
                found.append({**result, "row": row, "same_as": str(run.folder.relative_to(runs))})
    return found


def _same_row(
    everywhere: Finished, recipe: RecipeFile, row: str, overrides: tuple[str, ...], seeds: Sequence[int]
) -> list[tuple[Run, dict[str, Any]]]:
    """Runs that come out as those of `row`, whose settings may differ from seed to seed (`seed: run`)."""
    every = [recipe.load(row, overrides, seed) for seed in (0, 1)]
    if settings_hash(every[0]) == settings_hash(every[1]):
        return everywhere.same(every[0])
    found = []
    for seed in seeds:
        own = everywhere.same(recipe.load(row, overrides, seed))
        found += [(run, result) for run, result in own if result["seed"] == seed]
    return found
