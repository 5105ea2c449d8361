"""Reading recipes: YAML -> row and overrides applied -> a checked, frozen `Recipe`.

Every fault is reported in one message, each with file, key, value and what would be right. `--set` wins over the row,
the row wins over the file.
"""

from __future__ import annotations

import copy
import difflib
import functools
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from asgmcli.errors import DataError, RecipeError
from asgmcli.files import read_bytes
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.idle import Named, name_keys, settle
from asgmcli.recipe.losses import OLD_SPACE
from asgmcli.recipe.models import MODELS, section_of
from asgmcli.recipe.shipped import nearest_recipe

R = TypeVar("R", bound=Recipe)
M = TypeVar("M", bound=BaseModel)
MAX_RECIPE_BYTES = 1 << 20
FAULTS_SHOWN = 50
NEAREST_SHOWN = 3
VALUE_CHARACTERS = 120  # of a faulty value in a message
DESCRIPTIVE_KEYS = ("title", "about", "cost", "figure", "bars", "compare", "rows", "log", "show", "runs_of")
"""Keys of a recipe that decide nothing about its result."""
MACHINE_KEYS = {"data": {"workers"}, "train": {"cores", "save_minutes"}}
"""Keys, by section, of what a machine gives a run: with others it counts as the same, and may go on. Other cores change
the last digits, as another machine does."""


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-3 as a number and `on`, `off`, `yes`, `no` as text, as YAML 1.2 does.

    Aliases and keys given twice are refused: recipes never need the first, and of the second one would be lost.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError(f"aliases (*{self.current_event.anchor}) are not allowed in a recipe")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = sorted(key for key, count in Counter(keys).items() if count > 1)
        if twice:
            raise yaml.YAMLError(f"{', '.join(twice)}: given twice, the second time near line {node.end_mark.line}")
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes what `_Loader` would not read as text, and writes what stands twice twice."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - yaml's own signature
        return True


for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _class.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), "tTfF")
    _class.add_implicit_resolver(
        "tag:yaml.org,2002:float",
        re.compile(r"^[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+]?[0-9]+)$"),
        list("-+0123456789"),
    )


def load_recipe(
    path: Path,
    row: str | None = None,
    overrides: tuple[str, ...] = (),
    seed: int | None = None,
    *,
    stored: bool = False,
    with_idle: bool = False,
    lenient: bool = False,
) -> Recipe:
    """Return the recipe in `path` with its row's overrides, `key.path=value` overrides and seed applied.

    A key of the file that does nothing beside the other settings gets its default: it is of other rows. One that the
    row or an override names is refused. (Rows are held to that as they are written: an override may make a key of
    theirs idle.)

    Where the overrides make other settings of it than the row's, its rows have no number of the paper's: none may stand
    beside what such a run measures.

    Args:
        path: a YAML file.
        row: one of the recipe's rows; `default_row` when None.
        overrides: `key.path=value` strings, values in YAML.
        seed: replaces the recipe's seed.
        stored: of a run: overrides may name keys that do nothing.
        with_idle: leave keys that do nothing as the file has them.
        lenient: the overrides are of several rows: where one does nothing it is passed over, as in a stored recipe.

    Raises:
        RecipeError: the file cannot be read, or one or more keys are unknown, mistyped, impossible or idle.
    """
    values = read_yaml(path)
    named: list[Named] = []
    values.setdefault("name", path.stem)
    rows = values.get("rows")
    name = row if row is not None else values.get("default_row")
    if isinstance(rows, dict) and isinstance(name, str):
        if name not in rows:
            raise RecipeError(f"{path}: no row {name!r}{_nearest(name, rows)}. Rows: {', '.join(map(str, rows))}")
        settings = rows[name].get("set") if isinstance(rows[name], dict) else None
        for key, value in settings.items() if isinstance(settings, dict) else ():
            assign(values, key, value, f"{path}: rows.{name}.set")
            named += [] if overrides else name_keys(key, value, f"rows.{name}.set")
        values["default_row"] = name
    named += override(values, overrides, seed)
    recipe: Recipe = check_recipe(values, path, named=None if with_idle else () if lenient or stored else named)
    return recipe if not overrides or _is_as_written(recipe, path, row) else recipe.without_paper()


def _is_as_written(recipe: Recipe, path: Path, row: str | None) -> bool:
    """Return True where overrides have left the settings of `row` as they are in `path`; the seed may be any."""
    try:
        return settings_hash(recipe) == settings_hash(load_recipe(path, row, (), recipe.seed))
    except RecipeError:  # without the overrides it is no recipe
        return False


def override(values: dict[str, object], overrides: tuple[str, ...], seed: int | None = None) -> list[Named]:
    """Write `key.path=value` strings and the seed into a recipe's `values`; return the keys that they name.

    Raises:
        RecipeError: not of that form, or of a key that cannot be overridden.
    """
    named: list[Named] = []
    for text in overrides:
        key, separator, value = text.partition("=")
        if not separator or not key:
            raise RecipeError(f"--set {text!r}: expected key.path=value, for example train.epochs=3")
        if key.strip().partition(".")[0] in ("default_row", "rows"):
            # They are applied by now: a run would bear the name of a row whose settings it does not have.
            raise RecipeError(
                f"--set {text}: choose a row with --row; the table itself is the recipe's file's business"
            )
        found = _yaml_value(value, text)
        assign(values, key.strip(), found, f"--set {text}")
        named += name_keys(key.strip(), found, f"--set {text}")
    if seed is not None:
        values["seed"] = seed
    return named


def read_yaml(path: Path) -> dict[str, object]:
    """Read the mapping in a YAML file.

    Raises:
        RecipeError: missing, too large, not YAML, or not a mapping.
    """
    try:
        text = read_bytes(path, MAX_RECIPE_BYTES).decode("utf-8")
    except FileNotFoundError:
        raise RecipeError(f"{path}: no such recipe{nearest_recipe(path)}") from None
    except DataError as error:
        raise RecipeError(error.message) from None
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: cannot be read as text: {error}") from None
    try:
        values = copy.deepcopy(_parse(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a recipe is a mapping of keys to values, this is {type(values).__name__}")
    return values


@functools.lru_cache(maxsize=4)
def _parse(text: str) -> object:
    """Return what YAML `text` holds; every row and seed of a recipe asks anew."""
    return yaml.load(text, Loader=_Loader)


def check_recipe(
    values: dict[str, object],
    source: Path,
    kind: type[R] = Recipe,  # type: ignore[assignment]
    *,
    named: Sequence[Named] | None = (),
) -> R:
    """Return `values` as a checked recipe of class `kind`; `source` names the file in messages.

    Args:
        values: of the recipe.
        source: its file.
        kind: of recipe.
        named: keys that were asked for, which must not be idle; None leaves idle keys as they are.

    Raises:
        RecipeError: one line a fault, all faults together.
    """
    task = values.get("task")
    model = MODELS.get(task) if isinstance(task, str) else None
    if model is None:
        known = f"task: {task!r} is not a task{_nearest(str(task), MODELS)}. Tasks: {', '.join(MODELS)}"
        raise RecipeError(f"{source}: 1 fault(s)\n  {known}")
    if not issubclass(model, kind):
        raise RecipeError(f"{source}: a {task} recipe, where one of {kind.__name__} is wanted")
    recipe = check_section(values, source, model)
    return recipe if named is None else settle(recipe, named, source)


def check_section(values: dict[str, object], source: Path, kind: type[M]) -> M:
    """Return `values` as a checked section of class `kind`.

    Raises:
        RecipeError: one line a fault, all faults together.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        faults = error.errors()
        lines = [f"  {_fault(item, kind)}" for item in faults[:FAULTS_SHOWN]]
        lines += [f"  and {len(faults) - FAULTS_SHOWN} more"] if len(faults) > FAULTS_SHOWN else []
        raise RecipeError("\n".join([f"{source}: {len(faults)} fault(s)", *lines])) from None
    except RecursionError:
        raise RecipeError(f"{source}: nested too deeply for a recipe") from None


def recipe_hash(recipe: Recipe) -> str:
    """Return the SHA-256 of what decides the result: not titles, rows and a machine's means. It tells runs apart."""
    return _hash(recipe, DESCRIPTIVE_KEYS)


def settings_hash(recipe: Recipe) -> str:
    """Return the SHA-256 of what decides the result but the seed: equal for rows of recipes that come out the same."""
    return _hash(recipe, (*DESCRIPTIVE_KEYS, "name", "default_row", "seed"))


def _hash(recipe: Recipe, without: tuple[str, ...]) -> str:
    values = recipe.model_dump(mode="json", exclude={**dict.fromkeys(without, True), **MACHINE_KEYS})
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def dump_yaml(recipe: Recipe) -> str:
    """Write the resolved recipe as YAML that `load_recipe` reads back to the same settings, of its row alone."""
    values = recipe.model_dump(mode="json")
    del values["compare"]  # it is of rows that are not here
    # The row is already applied: keeping its overrides would let a second load undo `--set`.
    values["rows"] = {recipe.default_row: {**values["rows"][recipe.default_row], "set": {}}}
    text: str = yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def dump_values(values: Mapping[str, object]) -> str:
    """Write a recipe's keys, checked or not, as YAML that `load_recipe` reads."""
    text: str = yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def assign(values: dict[str, object], dotted: str, value: object, where: str) -> None:
    """Set `values[a][b]... = value` for `dotted` = "a.b...", making sections on the way.

    Raises:
        RecipeError: `dotted` is not text; the message begins with `where`.
    """
    if not isinstance(dotted, str):
        raise RecipeError(f"{where}: key {dotted!r} is not text")
    *sections, last = dotted.split(".")
    target: dict[Any, object] = values
    for name in sections:
        inner = target.get(name)
        if not isinstance(inner, dict):
            inner = {}
            target[name] = inner
        target = inner
    if sections == ["losses", "mixup"] and last in ("space", *OLD_SPACE):
        for key in OLD_SPACE:  # the file's may be the old name and this the new one, or the other way round
            target.pop(key, None)
        last = "space"
    target[last] = copy.deepcopy(value)


def _yaml_value(text: str, where: str) -> object:
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RecipeError(f"--set {where!r}: the value is not YAML: {' '.join(str(error).split())}") from None


def _fault(item: ErrorDetails, kind: type[BaseModel]) -> str:
    """Word one of pydantic's errors: key, value, what is wrong, and the nearest key for an unknown one."""
    location = list(item["loc"])
    key = ".".join(str(part) for part in location if part != "[key]")
    if item["type"] == "extra_forbidden":
        return f"{key}: unknown key{_nearest_key(kind, location)}"
    if item["type"] == "missing":
        return f"{key}: missing"
    message = item["msg"].removeprefix("Value error, ")
    shown = f" = {_shown(item['input'])}" if key and not isinstance(item["input"], dict) else ""
    return f"{key + shown + ': ' if key else ''}{message[0].lower() + message[1:]}"


def _shown(value: object) -> str:
    """Return a value as it was written, shortened; Python refuses to print numbers of thousands of digits."""
    try:
        text = repr(value)
    except ValueError:
        text = "a number of thousands of digits"
    return text if len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}..."


def _nearest_key(kind: type[BaseModel], location: list[str | int]) -> str:
    """Find the key that was meant: one of this name anywhere in the recipe, else the one most like it."""
    word, paths = str(location[-1]), list(_paths(kind))
    same = [path for path in paths if path.rpartition(".")[2] == word]
    if same:
        return f" (did you mean {' or '.join(map(repr, same[:NEAREST_SHOWN]))}?)"
    here = _known_keys(kind, location[:-1])
    # Those of this section first, so that they win where others are as near.
    names = list(dict.fromkeys([*here, *(path.rpartition(".")[2] for path in paths)]))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if not near or near[0] in here:
        return _nearest(word, here)
    like = [path for path in paths if path.rpartition(".")[2] in near]
    return f" (did you mean {' or '.join(map(repr, like[:NEAREST_SHOWN]))}?)"


def _paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Return the dotted names of all keys and sections of a recipe class, but for its table."""
    for name, field in model.model_fields.items():
        if not prefix and name in ("rows", "default_row"):
            continue
        yield f"{prefix}{name}"
        section = section_of(field.annotation)
        if section is not None:
            yield from _paths(section, f"{prefix}{name}.")


def _known_keys(kind: type[BaseModel], location: list[str | int]) -> list[str]:
    """Return the keys that the section at `location` of a `kind` knows."""
    model: type[BaseModel] | None = kind
    for part in location:
        if model is None or part not in model.model_fields:
            break
        model = section_of(model.model_fields[part].annotation)
    return list(model.model_fields) if model is not None else []


def _nearest(word: str, choices: Iterable[object]) -> str:
    close = difflib.get_close_matches(word, [str(choice) for choice in choices], n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
