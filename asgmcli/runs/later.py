"""Work that follows a run, in units of its own: for the time left over all of a command."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asgmcli.errors import AsgmError
from asgmcli.recipe.base import Recipe
from asgmcli.runs.dry_run import dry_runs
from asgmcli.status import Phase


def operations_of(recipes: Sequence[Recipe], runs: Path, folder: Path) -> list[int | None]:
    """Return the operations that training each of `recipes` takes, None where they cannot be counted.

    Args:
        recipes: with their row and seed.
        runs: folder of the runs.
        folder: of the recipes that they need.
    """
    try:
        return [run.operations for run in dry_runs(recipes, runs, folder)]
    except AsgmError:  # told where it matters
        return [None] * len(recipes)


def later_phases(own: int | None, steps: int, later: Sequence[Recipe], operations: Sequence[int | None]) -> list[Phase]:
    """Return a phase for each recipe that is trained after a run, its expected cost in steps of that run.

    Args:
        own: operations of the run.
        steps: of the run.
        later: recipes that follow, with their `operations`.
        operations: see `later`; a phase of unknown size makes the whole unknown.
    """
    phases = []
    for recipe, count in zip(later, operations, strict=True):
        known = bool(own) and count is not None
        cost = steps * count / own if own and count is not None else 1.0
        phases.append(Phase(f"then {recipe.name}", 1 if known else None, cost))
    return phases


def later_share(now: Sequence[int | None], after: Sequence[int | None]) -> float | None:
    """Return the work `after` some runs as a multiple of theirs, both in operations; None where it is unknown."""
    if any(count is None for count in (*now, *after)) or not sum(count or 0 for count in now):
        return None
    return sum(count or 0 for count in after) / sum(count or 0 for count in now)
