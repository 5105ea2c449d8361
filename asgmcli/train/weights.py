"""The weight files of a run: their names, and by what they say that they are this project's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from asgmcli.errors import DataError, RecipeError
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import check_recipe

R = TypeVar("R", bound=Recipe)

# The network that a recognition run is judged by, and the other one of its two.
MODEL_WEIGHTS = "model.safetensors"
OTHER_WEIGHTS = {"student": "teacher.safetensors", "teacher": "student.safetensors"}
# A localizer, trained or as its pretext leaves it.
LOCALIZER_WEIGHTS = "localizer.safetensors"
# The two encoders of a pretext run, where later ones start.
VIDEO_WEIGHTS = "video.safetensors"
AUDIO_WEIGHTS = "audio.safetensors"
# The small networks of a pretext run that see a frame and hear a second.
BACKBONE_WEIGHTS = "backbones.safetensors"
# The encoder of an event_representation run, and its `format`.
ENCODER_WEIGHTS = "encoder.safetensors"
ENCODER_FORMAT = "asgm-event-encoder"
# The folder of that run's features.
ENCODED = "features"
# What names events in an event_localization run, and its `format`.
EVENT_WEIGHTS = "events.safetensors"
EVENT_FORMAT = "asgm-events"
# `format` in the metadata of MODEL_WEIGHTS.
MODEL_FORMAT = "asgm-recognition"
# What parses videos in a parsing run, and its `format`.
PARSING_WEIGHTS = "parser.safetensors"
PARSING_FORMAT = "asgm-parser"
# The transformer of a grounding run, and its `format`.
GROUNDING_WEIGHTS = "grounding.safetensors"
GROUNDING_FORMAT = "asgm-grounding"


@contextmanager
def described(path: Path) -> Iterator[None]:
    """Read what a weight file says of its network in the block.

    Raises:
        DataError: it does not say what is needed, or what no network can be.
    """
    try:
        yield
    except (KeyError, ValueError, TypeError, RecipeError) as error:
        reason = getattr(error, "message", f"{type(error).__name__}: {error}")
        raise DataError(f"{path}: its description of the network is unusable ({' '.join(reason.split())})") from error


def stored_recipe(about: Mapping[str, str], path: Path, kind: type[R]) -> R:
    """Return the recipe in the metadata of a weight file; its only row is the one that was trained.

    Raises:
        KeyError, ValueError, TypeError, RecipeError: there is none (see `described`).
    """
    values = json.loads(about["recipe"])
    values["rows"] = {values["default_row"]: {"title": values["default_row"]}}
    values.pop("compare", None)
    return check_recipe(values, path, kind)
