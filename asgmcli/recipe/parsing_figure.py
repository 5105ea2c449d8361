"""Recipes that draw what is known of video parsing: who is heard and seen, a clip's timeline, the F of each class."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.bounds import Count
from asgmcli.recipe.sections import Data, Guide, OwnStart, Section, Split


class ParsedClip(Section):
    """The clip of a timeline."""

    label: str | None = None
    """A class that the clip has; null takes any."""
    modality: Literal["audio", "visual", "any"] = "any"
    """`audio`: its class is heard and never seen; `visual`: the other way round."""
    number: Count = 0
    """Which of such clips, in the manifest's order."""


class ParsingPicture(Section):
    """The content of a picture."""

    kind: Literal["distribution", "timeline", "classes"]
    """Clips in which each class is heard, seen, both; a clip's events; or the F-score of each class in two runs."""
    average: Literal["pooled", "clips"] = "pooled"
    """Of the F of a class: seconds counted over all clips, or the mean of its F over clips that have it."""


class FigureRun(OwnStart):
    """A run that a figure shows."""

    title: str = ""
    """What it is called in the figure."""


SHOWN = {"distribution": (0, 0), "timeline": (1, 1), "classes": (1, 2)}
"""Fewest and most runs of each kind of picture."""


class ParsingFigureRecipe(Recipe):
    """A figure of video parsing; nothing is trained."""

    one_process: ClassVar[bool] = True
    task: Literal["parsing_figure"]
    """A figure of video parsing; nothing is trained."""
    data: Data
    """The data set."""
    split: Split = "test"
    """Split whose clips are shown."""
    picture: ParsingPicture
    """What is drawn."""
    example: ParsedClip = ParsedClip()
    """The clip of a timeline."""
    runs: list[FigureRun] = Field(default_factory=list)
    """Runs that are shown: one in a timeline, one or two by class."""

    @model_validator(mode="after")
    def _runs(self) -> ParsingFigureRecipe:
        fewest, most = SHOWN[self.picture.kind]
        if not fewest <= len(self.runs) <= most:
            raise ValueError(
                f"a picture of kind {self.picture.kind} shows {fewest} to {most} runs, not {len(self.runs)}"
            )
        return self

    def sources(self) -> list[OwnStart | Guide]:
        """Return the runs."""
        return list(self.runs)

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        kind = self.picture.kind
        found = {} if kind == "timeline" else {"example": f"picture.kind is {kind}"}
        return found if kind == "classes" else {**found, "picture.average": f"picture.kind is {kind}"}
