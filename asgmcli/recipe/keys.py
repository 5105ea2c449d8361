"""Every key that recipes know, with its type, default and meaning, read from the recipe classes themselves."""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from asgmcli.recipe.models import MODELS, section_of

RUNS_TABLE = ("rows", "figure", "compare")
"""Sections of a recipe's table, whose keys have names of the user's own."""


@dataclass(frozen=True)
class Key:
    """A key of recipes: its dotted path, type and default as YAML, what it means, and which tasks know it."""

    path: str
    type: str
    default: str
    about: str
    tasks: tuple[str, ...]


def list_keys(prefix: str = "") -> list[Key]:
    """Return the keys at `prefix` and below, those of all tasks together, in the recipes' order."""
    found: dict[tuple[str, str, str], Key] = {}
    for task, model in MODELS.items():
        for key in _walk(model, ""):
            same = (key.path, key.type, key.default)
            before = found[same].tasks if same in found else ()
            found[same] = Key(key.path, key.type, key.default, key.about, (*before, task))
    inside = [key for key in found.values() if not prefix or f"{key.path}.".startswith(f"{prefix}.")]
    return sorted(inside, key=lambda key: key.path.split(".")[0] not in _leading())


def _leading() -> set[str]:
    return {"name", "task", "title", "about", "cost", "default_row", "rows", "figure", "compare", "seed"}


def _walk(model: type[BaseModel], prefix: str) -> Iterator[Key]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        inner = section_of(info.annotation)
        if inner is not None and path not in RUNS_TABLE and _is_section(info.annotation):
            yield from _walk(inner, f"{path}.")
        else:
            yield Key(path, _type(info), _default(info), _plain(info.description or ""), ())


def _is_section(annotation: Any) -> bool:
    """Whether a value is one section (or none), not a list or mapping of sections."""
    return typing.get_origin(annotation) not in (dict, list)


def _type(info: FieldInfo) -> str:
    """The values that a key takes, in words."""
    text = _words(info.annotation)
    bounds = [bound for part in info.metadata if (bound := _bound(part))]
    return f"{text} {', '.join(bounds)}".strip()


def _words(annotation: Any) -> str:
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        bounds = [
            bound for part in parts[1:] for piece in getattr(part, "metadata", [part]) if (bound := _bound(piece))
        ]
        return f"{_words(parts[0])} {', '.join(bounds)}".strip()
    if origin is typing.Literal:
        return " \\| ".join(json.dumps(part).strip('"') for part in parts)
    if origin is dict:
        return f"mapping to {_words(parts[1])}"
    if origin in (list, tuple):
        several = len(parts) > 1 and parts[1] is not Ellipsis
        return f"[{', '.join(map(_words, parts))}]" if several else f"list of {_words(parts[0])}"
    if parts:
        return " \\| ".join(_words(part) for part in parts)
    names = {int: "whole number", float: "number", str: "text", bool: "true \\| false", type(None): "null", Any: "any"}
    return names.get(annotation, getattr(annotation, "__name__", str(annotation)))


def _bound(part: Any) -> str:
    signs = {"gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    return " ".join(f"{sign} {getattr(part, name):g}" for name, sign in signs.items() if hasattr(part, name))


def _default(info: FieldInfo) -> str:
    if info.default_factory is not None:
        return "{}"
    if info.default is PydanticUndefined:
        return "(needed)"
    value = info.default.model_dump(mode="json") if isinstance(info.default, BaseModel) else info.default
    return json.dumps(value, ensure_ascii=False)


def _plain(text: str) -> str:
    return " ".join(text.split())


def keys_markdown() -> str:
    """Return docs/RECIPES.md's table of keys: a section a heading, a key a line."""
    lines: list[str] = []
    keys = list_keys()
    for section in dict.fromkeys(key.path.rpartition(".")[0] for key in keys):
        lines += ["", f"## `{section}`" if section else "## The recipe itself", ""]
        lines += ["| key | values | default | meaning | tasks |", "|---|---|---|---|---|"]
        for key in keys:
            if key.path.rpartition(".")[0] == section:
                tasks = "all" if len(key.tasks) == len(MODELS) else ", ".join(key.tasks)
                name = key.path.rpartition(".")[2]
                lines.append(f"| `{name}` | {key.type} | `{key.default}` | {key.about} | {tasks} |")
    return "\n".join(lines).strip() + "\n"


def json_schema() -> dict[str, Any]:
    """Return a JSON schema of all recipes, for editors that complete and check YAML."""
    schemas = [model.model_json_schema() for model in MODELS.values()]
    definitions: dict[str, Any] = {}
    for schema in schemas:
        definitions |= schema.pop("$defs", {})
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "oneOf": schemas, "$defs": definitions}
