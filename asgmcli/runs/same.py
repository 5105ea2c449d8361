"""Find rows with equal settings, of one recipe or of another that it names: one run serves them all."""

from __future__ import annotations

from pathlib import Path

from asgmcli.errors import RecipeError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import settings_hash
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.runs.session import finished_runs
from asgmcli.train.run import Result, Run


def finished_rows(runs: Path, name: str) -> dict[tuple[str, int], tuple[Run, Result]]:
    """Return a finished run of the recipe `name` and its result for each hash of settings and seed."""
    found: dict[tuple[str, int], tuple[Run, Result]] = {}
    for run, result in finished_runs(runs, name):
        try:
            key = settings_hash(run.recipe())
        except RecipeError:  # of an older version, or not a run of ours; the table tells of it
            continue
        if result.get("metrics"):
            found.setdefault((key, result["seed"]), (run, result))
    return found


def counted_rows(runs: Path, recipe: Recipe) -> dict[tuple[str, int], tuple[Run, Result]]:
    """Return the finished runs that count for rows of `recipe`: its own, and those of the recipe it names."""
    own = finished_rows(runs, recipe.name)
    return own if recipe.runs_of is None else {**finished_rows(runs, recipe.runs_of), **own}


def with_twins(runs: Path, file: RecipeFile, overrides: tuple[str, ...], results: list[Result]) -> list[Result]:
    """Return `results`, and for each row without a run of its own the result of a row with equal settings.

    Such results carry the row's name, and under `same_as` the folder of the run.
    """
    recipe = file.load(None, overrides)
    finished = counted_rows(runs, recipe)
    there = {(result["row"], result["seed"]) for result in results}
    found = list(results)
    for row in recipe.runnable:
        for seed in sorted({seed for _, seed in finished}):
            twin = finished.get((settings_hash(file.load(row, overrides, seed)), seed))
            if twin is not None and (row, seed) not in there:
                found.append({**twin[1], "row": row, "same_as": str(twin[0].folder.relative_to(runs))})
    return found
