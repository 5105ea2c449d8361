"""The recipe of the masks' picture."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.bounds import Count, PositiveFloat, Share
from asgmcli.recipe.sections import Data, Guide, OwnStart, Section, Split


class Example(Section):
    """A clip to show: one with sound of a split, in the manifest's order."""

    split: Split = "test"
    """Split of the manifest."""
    label: str | None = None
    """Class that the clip is of; null takes any."""
    number: Count = 0
    """Which of these clips, counted from 0."""
    frame: Annotated[int, Field(ge=1, le=8)] | None = None
    """Which of its eight frames is shown, large; null shows all."""


class MasksRecipe(Recipe):
    """The tube mask beside the localization-guided one on a clip (the paper's Figure 3); nothing is trained."""

    headline: ClassVar[str] = "heat_guided"
    one_process: ClassVar[bool] = True
    task: Literal["masks"]
    """The masks' picture; nothing is trained."""
    data: Data
    """The data set of the clip."""
    example: Example = Example()
    """The clip."""
    localizer: Guide
    """The localizer whose map guides the mask."""
    grid: Annotated[int, Field(ge=2, le=56)] = 14
    """Tokens along a side of the picture."""
    keep: Share = 1 / 3  # the mean of λ ~ Beta(5, 10)
    """Share of the tokens that is kept."""
    average_frames: Literal[1, 2, 4, 8] = 1
    """Frames of tokens that share the mean of their maps."""
    sharpness: PositiveFloat = 1.0
    """Power that the localizer's map (min-max normalised) is raised to before the mask is drawn."""

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        return {} if self.localizer.trained else {"localizer.map": f"localizer.kind is {self.localizer.kind}"}

    def sources(self) -> list[OwnStart | Guide]:
        """Return the localizer."""
        return [self.localizer]
