"""The recipe class of each task."""

from __future__ import annotations

import types
import typing

from pydantic import BaseModel

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.event_figures import EventFiguresRecipe
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.recipe.event_representation import EventRepresentationRecipe
from asgmcli.recipe.grounding import GroundingRecipe
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.masks import MasksRecipe
from asgmcli.recipe.parsing import ParsingRecipe
from asgmcli.recipe.parsing_figure import ParsingFigureRecipe
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.recipe.segmented import SegmentedRecipe

MODELS: dict[str, type[Recipe]] = {
    "recognition": RecognitionRecipe,
    "localization": LocalizationRecipe,
    "pretext": PretextRecipe,
    "masks": MasksRecipe,
    "segmentation": SegmentationRecipe,
    "segmented": SegmentedRecipe,
    "parsing": ParsingRecipe,
    "event_representation": EventRepresentationRecipe,
    "event_localization": EventLocalizationRecipe,
    "grounding": GroundingRecipe,
    "event_figures": EventFiguresRecipe,
    "parsing_figure": ParsingFigureRecipe,
}


def section_of(annotation: object) -> type[BaseModel] | None:
    """Return the section class inside an annotation such as `Guide | None` or `dict[str, Row]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (typing.Union, types.UnionType, dict):
        return next((found for part in typing.get_args(annotation) if (found := section_of(part))), None)
    return None
