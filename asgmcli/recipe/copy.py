"""A copy of a shipped recipe, under a name of its own."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from asgmcli.errors import RecipeError, UsageError
from asgmcli.files import write_text
from asgmcli.recipe.sections import Name
from asgmcli.recipe.shipped import SUFFIX, shipped


def copy_recipe(name: str, target: Path, *, overwrite: bool = False) -> None:
    """Write the shipped recipe `name` to `target`, named after that file; comments and layout stay.

    Raises:
        RecipeError: no shipped recipe is called `name`.
        UsageError: `target` is there already, or its name is none for a recipe or that of a shipped one.
        DataError: the file cannot be written.
    """
    if name not in shipped():
        close = difflib.get_close_matches(name.removesuffix(SUFFIX), shipped(), n=1, cutoff=0.5)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise RecipeError(f"{name}: no recipe of this name comes with asgm{hint}; `asgm recipes` lists them")
    if target.suffix != SUFFIX or target.is_dir():
        example = target / "mine.yaml" if target.is_dir() else target.with_suffix(SUFFIX)
        raise UsageError(f"{target}: a recipe's file ends in {SUFFIX}, for example {example}")
    if target.stem in shipped():
        raise UsageError(f"{target}: a recipe that comes with asgm has this name. Give the copy one of its own.")
    try:
        TypeAdapter(Name).validate_python(target.stem)
    except ValidationError:
        raise UsageError(f"{target}: a recipe's name has letters, digits and ._+- only. Choose another.") from None
    if target.exists() and not overwrite:
        raise UsageError(f"{target} is there already. Say --overwrite, or name another file.")
    text = shipped()[name].read_text(encoding="utf-8")
    text = re.sub(r"^name:.*$", f"name: {target.stem}", text, count=1, flags=re.MULTILINE)
    write_text(target, text.replace(f"recipes/{name}{SUFFIX}", str(target)))
