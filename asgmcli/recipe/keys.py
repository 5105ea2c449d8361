"""Every key that recipes know, with its type, default and meaning, read from the recipe classes themselves."""

from __future__ import annotations

import difflib
import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from asgmcli.errors import UsageError
from asgmcli.recipe.models import MODELS, section_of
from asgmcli.recipe.sections import SEED_OF_RUN

WORDS_FOR = {"seed": SEED_OF_RUN, "init": "none", "reduce": "none"}
"""Words that keys of these names take beside their values."""
ANY_NAME = "NAME"
"""Stands in paths for a name of the user's own."""

INTRODUCTION = """\
# Recipes

This page is generated: `asgm recipes keys --markdown > docs/RECIPES.md`. Its sentences are the docstrings below the
fields of the classes in `asgmcli/recipe/`.

A recipe is a YAML file that says all that decides a result: data, sizes, losses, training. `asgm recipes` lists those
that come along, `asgm recipes copy demo mine.yaml` gives you one to change, `asgm train mine.yaml` trains it. A key
that its task does not know is refused, with the nearest one that it does; one that is left out has the default below.

- **Rows** are the lines of a table: `rows` names for each the dotted keys that it `set`s beside the rest of the file.
  `default_row` is trained by default, another by `--row NAME`, all by `--row all`.
- **`--set KEY=VALUE`** replaces one key, in YAML: `--set train.epochs=3 --set "localizer={kind: motion}"`. It wins over
  the row, the row wins over the file. With other settings than the recipe's none of the paper's numbers stands beside
  the result.
- **Idle keys.** What a key of the file would do in other rows, and not in this one (the localizer of a row with tube
  masks), is set back to its default, so that rows that come out the same are known to be. One that `--set` or the row's
  own `set` names is refused, with the reason; under `--row all` it is enough that one row obeys it.
- **Seeds.** `seed` seeds every draw; `--seed 3` replaces it, `--seeds 3` trains as many from there on. Where a section
  has a `seed` of its own (another recipe's run, generated clips), `seed: run` follows it.
- **`--on-demo`** trains a row on the demo's generated clips in small sizes. What becomes the demo's, and what stays the
  recipe's, is in the overlay of its task, `recipes/on_demo/<task>.yaml`: `take` of the recipe that it names, `keep`,
  `set`, `at_most`.
- **What decides nothing**: `title`, `about`, `cost`, `figure`, `compare`, `rows` and `log` are words; `data.workers`,
  `train.cores` and `train.save_minutes` are a machine's means. With others of them a run counts as the same.

An editor completes and checks recipes by the JSON schema: `asgm recipes keys --schema > recipe.schema.json`, and at the
head of the recipe `# yaml-language-server: $schema=recipe.schema.json`.

## Keys

In a terminal: `asgm recipes keys`, or `asgm recipes keys train.optimizer`.
"""


@dataclass(frozen=True)
class Key:
    """A key of recipes: its dotted path, type and default as YAML, what it means, and which tasks know it."""

    path: str
    type: str
    default: str
    about: str
    tasks: tuple[str, ...]

    @property
    def section(self) -> str:
        """Return the dotted path of its section, empty for the recipe's own keys."""
        return self.path.rpartition(".")[0]

    @property
    def of_tasks(self) -> str:
        """Name the tasks that know it, as a person reads them."""
        return "all" if len(self.tasks) == len(MODELS) else ", ".join(self.tasks)


def list_keys(prefix: str = "") -> list[Key]:
    """Return the keys at `prefix` and below, those of all tasks together, a section after the other."""
    found: dict[tuple[str, str, str, str], Key] = {}
    for task, model in MODELS.items():
        for key in _walk(model, ""):
            same = (key.path, key.type, key.default, key.about)
            before = found[same].tasks if same in found else ()
            found[same] = Key(key.path, key.type, key.default, key.about, (*before, task))
    inside = [key for key in found.values() if not prefix or f"{key.path}.".startswith(f"{prefix}.")]
    sections = list(dict.fromkeys(key.section for key in inside))
    names = list(dict.fromkeys(key.path for key in inside))
    return sorted(inside, key=lambda key: (sections.index(key.section), names.index(key.path)))


def find_keys(section: str) -> list[Key]:
    """Return the keys at `section` and below.

    Raises:
        UsageError: there is none; the nearest section or key is named.
    """
    found = list_keys(section)
    if not found:
        paths = dict.fromkeys(name for key in list_keys() for name in (key.section, key.path) if name)
        same = [path for path in paths if path.rpartition(".")[2] == section]
        near = same or difflib.get_close_matches(section, paths, n=1, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"{section}: no key or section of recipes.{hint} `asgm recipes keys` lists all.")
    return found


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        path, inner = f"{prefix}{name}", section_of(info.annotation)
        if inner is None:
            default = "(the file's)" if path == "name" else _default(info)
            yield Key(path, _type(info), default, _plain(info.description or ""), ())
        else:
            own = f".{ANY_NAME}" if typing.get_origin(info.annotation) is dict else ""
            yield from _walk(inner, f"{path}{own}.")


def _type(info: FieldInfo) -> str:
    """Name the values that a key takes, in words."""
    text = _words(info.annotation)
    bounds = [bound for part in info.metadata if (bound := _bound(part))]
    return f"{text} {', '.join(bounds)}".strip()


def _words(annotation: object) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [
            bound for part in parts[1:] for piece in getattr(part, "metadata", [part]) if (bound := _bound(piece))
        ]
        return f"{_words(parts[0])} {', '.join(bounds)}".strip()
    if origin is typing.Literal:
        return " | ".join(json.dumps(part).strip('"') for part in parts)
    if origin is dict:
        return f"mapping to {_words(parts[1])}"
    if origin in (list, tuple):
        several = len(parts) > 1 and parts[1] is not Ellipsis
        return f"[{', '.join(map(_words, parts))}]" if several else f"list of {_words(parts[0])}"
    if parts:
        return " | ".join(_words(part) for part in parts)
    names = {int: "whole number", float: "number", str: "text", bool: "true | false", type(None): "null", object: "any"}
    return (
        names[annotation]
        if isinstance(annotation, type) and annotation in names
        else str(getattr(annotation, "__name__", annotation))
    )


def _bound(part: object) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    found = {sign: getattr(part, name) for name, sign in signs.items() if hasattr(part, name)}
    return " ".join(
        f"{sign} {value:,}" if isinstance(value, int) else f"{sign} {value:g}" for sign, value in found.items()
    )


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return "{}"
    if info.default is PydanticUndefined:
        return "(needed)"
    if isinstance(info.default, float):
        return f"{info.default:.6g}"
    if isinstance(info.default, list):
        return json.dumps([round(item, 6) if isinstance(item, float) else item for item in info.default])
    return json.dumps(info.default, ensure_ascii=False)


def _plain(text: str) -> str:
    return " ".join(text.split())


def keys_markdown() -> str:
    """Return the tables of docs/RECIPES.md: a section a heading, a key a line."""
    lines: list[str] = []
    keys = list_keys()
    for section in dict.fromkeys(key.section for key in keys):
        lines += ["", f"### `{section}`" if section else "### The recipe itself", ""]
        lines += ["| key | values | default | meaning | tasks |", "|---|---|---|---|---|"]
        for key in keys:
            if key.section == section:
                name, values = key.path.rpartition(".")[2], key.type.replace("|", "\\|")
                lines.append(f"| `{name}` | {values} | `{key.default}` | {key.about} | {key.of_tasks} |")
    return "\n".join(lines).strip() + "\n"


def recipes_page() -> str:
    """Return docs/RECIPES.md: what a recipe is, and the tables of its keys."""
    return f"{INTRODUCTION}\n{keys_markdown()}"


def json_schema() -> dict[str, Any]:
    """Return a JSON schema of all recipes, for editors that complete and check YAML."""
    schemas = [model.model_json_schema() for model in MODELS.values()]
    definitions: dict[str, Any] = {}
    for schema in schemas:
        definitions |= schema.pop("$defs", {})
        schema["required"].remove("name")  # the file's name stands for it
    for section in (*schemas, *definitions.values()):
        if "options" in section.get("properties", {}):  # of generated clips, with a seed of their own
            options = section["properties"]["options"]
            options["properties"] = {"seed": {"anyOf": [options["additionalProperties"], {"const": SEED_OF_RUN}]}}
        for name, word in WORDS_FOR.items():
            if name in section.get("properties", {}):
                known = section["properties"][name]
                section["properties"][name] = {"anyOf": [known, {"const": word}], "description": known["description"]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "oneOf": schemas, "$defs": definitions}
