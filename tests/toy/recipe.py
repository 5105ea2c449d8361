"""The toy system's recipe: how bright a clip is tells its class."""

from __future__ import annotations

from typing import ClassVar, Literal

from asgmcli.recipe.base import TrainedRecipe
from asgmcli.recipe.sections import Data, Section, TrainingData


class BrightnessModel(Section):
    """A linear layer over the mean of each colour, `scale` times."""

    scale: float = 1.0


class BrightnessAnswer(Section):
    """How a clip is answered."""

    loud: bool = False
    """Write the colour in capitals."""


class BrightnessRecipe(TrainedRecipe):
    """Classes from the mean colours of a clip's first frame."""

    headline: ClassVar[str] = "right"
    task: Literal["brightness"]
    data: TrainingData
    model: BrightnessModel = BrightnessModel()
    predict: BrightnessAnswer = BrightnessAnswer()

    def data_sets(self) -> list[Data]:
        """Return the one data set."""
        return [self.data]
