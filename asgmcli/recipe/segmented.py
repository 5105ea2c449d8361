"""The recipe of a picture of segmented videos, side by side for several trained networks."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.bounds import Positive
from asgmcli.recipe.sections import Data, Guide, Name, OwnStart, Section, Split, Start


class ShownData(Data):
    """A data set of which videos are shown, and the recipe whose rows mask them."""

    split: Split = "test"
    """Split of the videos."""
    recipe: Name
    """Recipe whose runs mask them; its rows are trained first where they have no run."""


class Shown(Section):
    """The clips and masks of a figure."""

    rows: list[Name] = Field(min_length=1)
    """Rows of each data set's recipe, a column each."""
    clips: Positive = 2
    """Videos of each data set, the first by a seeded hash of their ids: never the best."""


class SegmentedRecipe(Recipe):
    """Videos with their flow, truth and the masks of several networks (UFE's Figure 3); nothing is trained."""

    headline: ClassVar[str] = "miou"
    one_process: ClassVar[bool] = True
    task: Literal["segmented"]
    """A picture of segmented videos; nothing is trained."""
    data: ShownData
    """The videos."""
    several: ShownData | None = None
    """Videos of a second data set, below."""
    shown: Shown
    """Networks and number of videos."""

    @property
    def sets(self) -> list[ShownData]:
        """Return the data sets of which videos are shown."""
        return [self.data] if self.several is None else [self.data, self.several]

    def data_sets(self) -> list[Data]:
        """Return the data sets of which videos are shown."""
        return list(self.sets)

    def sources(self) -> list[OwnStart | Guide]:
        """Return the runs that mask them."""
        return [Start(recipe=data.recipe, row=row) for data in self.sets for row in self.shown.rows]
