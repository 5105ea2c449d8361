"""The recipes that come with the package: where they lie, and what a name or a path given by a user means.

They lie in `recipes/` at the top of the repository; a wheel carries them inside the package.
"""

from __future__ import annotations

import difflib
from functools import cache
from pathlib import Path

SUFFIX = ".yaml"
_PACKAGE = Path(__file__).resolve().parents[1]


@cache
def shipped_folder() -> Path | None:
    """Return the folder of the shipped recipes, None where none came along."""
    return next((path for path in (_PACKAGE / "recipes", _PACKAGE.parent / "recipes") if path.is_dir()), None)


@cache
def shipped() -> dict[str, Path]:
    """Return the shipped recipes' files by name, sorted by name; empty where none came along."""
    folder = shipped_folder()
    return {} if folder is None else {path.stem: path for path in sorted(folder.glob(f"*{SUFFIX}"))}


def find_recipe(given: Path) -> Path:
    """Return the file that `given` means: the path itself where a file is there, else the shipped recipe so named.

    What is neither is returned as it is: reading it says what is wrong.
    """
    return given if given.is_file() else shipped().get(str(given), given)


def find_beside(folder: Path, name: str) -> Path:
    """Return the file of recipe `name` that a recipe in `folder` needs: in that folder, else among the shipped.

    Where it is in neither, the path in `folder`.
    """
    path, own = folder / f"{name}{SUFFIX}", shipped_folder()
    other = path if own is None else own / f"{name}{SUFFIX}"
    return path if path.is_file() or not other.is_file() else other


def spoken(path: Path) -> str:
    """Return what a user types for a recipe's file: the name of a shipped one, else the path."""
    return path.stem if shipped().get(path.stem) == path else str(path)


def nearest_recipe(path: Path) -> str:
    """Return the end of a message that says no recipe is at `path`: the nearest one by path or name, and the list."""
    there = [*path.parent.glob("*.yaml"), *path.parent.glob("*.yml")] if path.parent.is_dir() else []
    beside = {item.name: str(item) for item in sorted(there)}
    named = {word: name for name in shipped() for word in (name, f"{name}{SUFFIX}")}
    choices = named | beside
    close = difflib.get_close_matches(path.name, choices, n=1, cutoff=0.5)
    hint = f" (did you mean {choices[close[0]]!r}?)" if close else ""
    return f"{hint}; `asgm recipes` lists those that come with asgm"
