"""What a path given by a user names: a run, its weights, or a recipe."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from asgmcli.errors import DataError, UsageError
from asgmcli.nn.state import read_metadata, read_state
from asgmcli.recipe.shipped import shipped
from asgmcli.tasks.masks.drawing import PICTURES
from asgmcli.train.run import Run
from asgmcli.train.weights import LOCALIZER_WEIGHTS, MODEL_FORMAT, MODEL_WEIGHTS

WEIGHTS = {"recognition": MODEL_WEIGHTS, "localization": LOCALIZER_WEIGHTS}
RECIPE_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Trained:
    """A trained network: its task, its weight file, and the run around it where there is one."""

    task: Literal["recognition", "localization"]
    weights: Path
    run: Run | None


def is_recipe(path: Path) -> bool:
    """Whether `path` is to be read as a recipe."""
    return path.suffix.lower() in RECIPE_SUFFIXES and not path.is_dir()


def find_trained(path: Path) -> Trained:
    """The network that `path` names: the folder of a finished run, or a weight file.

    Raises:
        DataError: nothing is there, it is neither, or the run is not finished.
        UsageError: the run's task leaves nothing to use or to judge.
    """
    if path.is_dir():
        return _of_run(path)
    if not path.exists():
        beside = {item.name: str(item) for item in sorted(path.parent.iterdir())} if path.parent.is_dir() else {}
        named = {name: name for name in shipped()} if path.name == str(path) else {}
        choices = named | beside
        close = difflib.get_close_matches(path.name, choices, n=1, cutoff=0.5)
        hint = f" (did you mean {choices[close[0]]}?)" if close else ""
        raise DataError(f"{path}: there is no such run, weight file or recipe{hint}")
    if path.parent.name == "checkpoints" and Run(path.parent.parent).recipe_path.exists():
        raise DataError(f"{path}: a training state, not weights to use. Name its run: {path.parent.parent}")
    run = Run(path.parent)
    around = run if run.recipe_path.exists() else None
    kind = read_metadata(path).get("format")
    if kind == MODEL_FORMAT:
        return Trained("recognition", path, around)
    if kind == "asgm-localizer" or "imgnet.conv1.weight" in read_state(path):
        return Trained("localization", path, around)
    raise DataError(
        f"{path}: neither a recognition model nor a localizer. Name the folder of a run, the "
        f"{' or '.join(WEIGHTS.values())} in one, or a released FNAC checkpoint."
    )


def _of_run(folder: Path) -> Trained:
    run = Run(folder)
    if not run.recipe_path.exists():
        inside = sorted(path.parent for path in folder.glob("**/seed*/result.json"))
        hint = f" Runs in it: {', '.join(map(str, inside[:3]))}{', ...' if len(inside) > 3 else ''}" if inside else ""
        raise DataError(f"{folder}: not a run, there is no recipe.yaml in it.{hint}")
    recipe = run.recipe()
    if run.result() is None:
        state = "stopped before its end" if run.state_path.exists() else "saved nothing yet"
        raise DataError(f"{folder}: the run is not finished ({state}). Go on with it: asgm train RECIPE --resume")
    if recipe.task == "recognition":
        task: Literal["recognition", "localization"] = "recognition"
    elif recipe.task == "localization":
        task = "localization"
    elif recipe.task == "masks":
        raise UsageError(f"{folder}: this run drew a figure ({folder / PICTURES[0]}); there is no network to judge.")
    else:
        raise UsageError(
            f"{folder}: a {recipe.task} run is a start for other runs; what it learnt is in {run.result_path}"
        )
    weights = folder / WEIGHTS[task]
    if not weights.exists():
        raise DataError(f"{weights}: the run's weights are gone. Train it again with --overwrite.")
    return Trained(task, weights, run)
