"""The recipe of grounding pretraining: seconds of one scene near each other, sound and picture alike."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from asgmcli.recipe.base import Best, TrainedRecipe
from asgmcli.recipe.bounds import Batch, Share, ShareBelowOne
from asgmcli.recipe.parsing import ParsingTrain, TransformerSize
from asgmcli.recipe.sections import Data, Section, Split

Cosine = Annotated[float, Field(ge=-1, le=1)]


class GroundingData(Data):
    """Clips whose features are in the store; their labels are not read."""

    train_split: Split = "train"
    """Split of the manifest that is trained on; a share of it is validated on."""
    val_share: Share = 0.2
    """Share of its clips, by the seeded hash, that the epoch is chosen by."""

    def splits(self) -> list[str]:
        """Return the splits that a run reads in whole."""
        return [self.train_split]


class GroundingFeatures(Section):
    """Arrays of the data set's feature store."""

    audio: str = "audio_vggish"
    """Features of the sound."""
    image: str = "image_resnet152"
    """Features of the picture."""


class GroundingLoss(Section):
    """The hinge loss of pairs of seconds."""

    kind: Literal["uni", "cross", "multi"] = "multi"
    """Pairs within sound and within picture, between both, or all."""
    positive: Cosine = 0.7
    """Cosine up to which a pair of one scene costs."""
    negative: Cosine = 0.7
    """Cosine from which on a pair of two scenes costs."""
    anchors: Literal["all", "one"] = "all"
    """Pairs of every second, or of one that is drawn a batch, as released."""
    multi: Literal["sum", "alternate"] = "sum"
    """Of kind multi: both kinds of pairs in each step (printed), or by turns, an epoch each (released)."""


class GroundingTruth(Section):
    """Which seconds of a clip are of one scene."""

    rule: Literal["both", "either"] = "both"
    """Seconds are joined when picture and sound are alike (released), or one of them (printed)."""
    sound: Cosine = 0.99
    """Cosine above which sounds are alike."""
    picture: Cosine = 0.96
    """Cosine above which pictures are alike."""
    silence: str = "measured"
    """Features of no sound, which is like no other: our VGGish's (measured), none, or a .npy file."""


class GroundingLosses(Section):
    """The losses of grounding."""

    grounding: GroundingLoss = GroundingLoss()
    """The hinge loss of pairs of seconds."""


class GroundingModel(Section):
    """The transformer."""

    transformer: TransformerSize = TransformerSize()
    """Its size."""
    dropout: ShareBelowOne = 0.1
    """Dropout of tokens, attention weights and layers."""


class GroundingEvaluation(Section):
    """The validation of grounding."""

    batch: Batch = 64
    """Clips at once."""


class GroundingRecipe(TrainedRecipe):
    """Contextual tokens of sound and picture, learnt without labels."""

    headline: ClassVar[str] = "loss"
    best: ClassVar[Best | None] = Best(("loss",), lowest=True)
    task: Literal["grounding"]
    """Grounding pretraining for video parsing."""
    data: GroundingData
    """Clips."""
    features: GroundingFeatures = GroundingFeatures()
    """What the network is given of each second."""
    truth: GroundingTruth = GroundingTruth()
    """Which seconds belong together."""
    model: GroundingModel = GroundingModel()
    """The network."""
    losses: GroundingLosses = GroundingLosses()
    """What it learns by."""
    evaluate: GroundingEvaluation = GroundingEvaluation()
    """How it is validated."""
    train: ParsingTrain = ParsingTrain()
    """How long is trained, in what batches, and what is kept on the way."""

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found = super().idle()
        if self.losses.grounding.kind != "multi":
            found["losses.grounding.multi"] = f"losses.grounding.kind is {self.losses.grounding.kind}"
        return found
