"""The recipe of the masks' picture."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.bounds import Count, Share
from asgmcli.recipe.sections import Data, Guide, Section, Split, Start


class Example(Section):
    """A clip to show: the `number`th with sound (of class `label`) of a split, in the manifest's order.

    `frame` is the one of its eight frames that is shown, large; null shows all.
    """

    split: Split = "test"
    label: str | None = None
    number: Count = 0
    frame: Annotated[int, Field(ge=1, le=8)] | None = None


class MasksRecipe(Recipe):
    """The tube mask beside the localization-guided one on a clip (the paper's Figure 3); nothing is trained.

    `grid` is the number of tokens along a side, `keep` their share that is kept.
    """

    headline: ClassVar[str] = "heat_guided"
    one_process: ClassVar[bool] = True
    task: Literal["masks"]
    data: Data
    example: Example = Example()
    localizer: Guide
    grid: Annotated[int, Field(ge=2, le=56)] = 14
    keep: Share = 1 / 3  # the mean of λ ~ Beta(5, 10)
    average_frames: Literal[1, 2, 4, 8] = 1

    def data_sets(self) -> list[Data]:
        """Return the data set of the clip that is shown."""
        return [self.data]

    def sources(self) -> list[Start | Guide]:
        """Return the localizer."""
        return [self.localizer]
