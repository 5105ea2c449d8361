"""The recipe of the pictures of event localization: confusions, features and timelines of finished runs."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from asgmcli.recipe.base import Recipe
from asgmcli.recipe.bounds import Count, Positive, PositiveFloat, Seed
from asgmcli.recipe.events import EventData
from asgmcli.recipe.sections import Guide, Name, OwnStart, Section, Start


class RunOf(Section):
    """A run of an event_localization recipe; it is trained first where there is none."""

    recipe: Name
    """The recipe."""
    row: Name | None = None
    """Row of that recipe, its default one where left out."""
    seed: Seed | None = None
    """Seed of that run, the recipe's own where left out; `run` takes the seed of this run."""

    @property
    def start(self) -> Start:
        """Return the run as other recipes name it."""
        return Start(recipe=self.recipe, row=self.row, seed=self.seed)


class FeatureMap(Section):
    """t-SNE of features, stream by stream."""

    classes: list[Count] = Field([0, 1, 2, 6, 10, 15, 21, 23], min_length=1)
    """Numbers of the classes that are shown."""
    points: Positive = 2000
    """Most segments, drawn at random."""
    perplexity: PositiveFloat = 30.0
    """Neighbours that t-SNE looks at, roughly."""


class EventFiguresRecipe(Recipe):
    """A picture of finished runs of event localization; nothing is trained for it but what they need."""

    headline: ClassVar[str] = "accuracy"
    one_process: ClassVar[bool] = True
    task: Literal["event_figures"]
    """A picture of finished runs of event localization."""
    kind: Literal["confusion", "features", "timeline"]
    """Confusions (Figure 5), t-SNE of features (Figure 7), or the best, median and worst clip (Figure 8)."""
    data: EventData
    """Clips that the networks are asked about."""
    shown: RunOf
    """The run that is shown."""
    against: RunOf = RunOf(recipe="event_ablation_tacma", row="probe")
    """The run that is shown beside it."""
    features: FeatureMap = FeatureMap()
    """t-SNE of features, stream by stream."""

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        why = f"kind is {self.kind}"
        return {"against": why} if self.kind == "features" else {"features": why}

    def sources(self) -> list[OwnStart | Guide]:
        """Return the runs that are shown."""
        return [run.start for run in ((self.shown,) if self.kind == "features" else (self.shown, self.against))]
