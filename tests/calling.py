"""What tests of several systems call: the real command, a recipe with the place of its data, a stop on the
way, a pickle that would do harm."""

from __future__ import annotations

import io
import json
import os
import signal
from pathlib import Path
from typing import Any, TypeVar

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from asgmcli.cli import main
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import load_recipe

R = TypeVar("R", bound=Recipe)


def asgm(*arguments: object, code: int = 0) -> Result:
    """The command's result; it must end with `code`."""
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (arguments, result.output, result.exception)
    return result


def recipe_in(path: Path, text: str, data: Path, overrides: tuple[str, ...], kind: type[R]) -> R:
    """Write `text` to `path`, its MANIFEST being that of `data`, and load it."""
    path.write_text(text.replace("MANIFEST", json.dumps(str(data / "manifest.csv"))))
    recipe = load_recipe(path, None, overrides)
    assert isinstance(recipe, kind)
    return recipe


def quiet() -> Console:
    """A console whose text lies in `.file`."""
    return Console(file=io.StringIO(), width=300)


class Harmful:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def stop_at(patch: pytest.MonkeyPatch, task: Any, step: int) -> list[int]:
    """Have the task's step number `step` (from 1) send SIGTERM, once. Steps that were begun gather in the list."""
    begun: list[int] = []
    train_step = task.train_step

    def signalled(state: Any, batch: Any) -> Any:
        begun.append(len(begun) + 1)
        if begun[-1] == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(state, batch)

    patch.setattr(task, "train_step", signalled)
    return begun
