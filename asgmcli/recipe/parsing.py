"""The recipe of audio-visual video parsing: who is heard and who is seen, second by second."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, model_validator

from asgmcli.recipe.base import Best, TrainedRecipe
from asgmcli.recipe.bounds import Batch, Depth, Heads, NonNegative, Share, ShareBelowOne, Width
from asgmcli.recipe.sections import Guide, OwnInit, OwnStart, Section, Split, SplitData
from asgmcli.recipe.training import PartialTrain, ValidatedTrain


class FeatureData(SplitData):
    """A data set whose features lie in its store, and whose `segments.csv` says what is heard and seen."""

    val_split: Split = "val"
    """Split by which the epoch is chosen; none is chosen where the manifest lacks it."""

    def splits(self) -> list[str]:
        """Return the splits that a run reads in whole."""
        return [self.train_split, self.val_split, self.eval_split]


class FeatureNames(Section):
    """Arrays of the data set's feature store."""

    audio: str = "audio_vggish"
    """Features of the sound."""
    image: str = "image_resnet152"
    """Features of the picture."""
    motion: str = "motion_r2plus1d18"
    """Features of the motion."""
    noise: NonNegative = 0.0
    """Deviation of normal noise added to all of them in every split: one draw a clip, the same in every epoch."""


class TransformerSize(Section):
    """Size of the grounding transformer."""

    dim: Width = 1024
    """Width of its tokens."""
    depth: Depth = 12
    """Layers."""
    heads: Heads = 8
    """Heads of each attention; divides `dim`."""
    hidden: Width = 3072
    """Width of each layer's hidden layer."""

    @model_validator(mode="after")
    def _heads(self) -> TransformerSize:
        if self.dim % self.heads:
            raise ValueError(f"dim {self.dim} is not a multiple of heads {self.heads}")
        return self


class ParsingModel(Section):
    """The network that parses."""

    kind: Literal["han", "parser", "grounding", "pooling"] = "parser"
    """HAN, the paper's parser, the grounding transformer, or, as a control, pooling without attention."""
    dim: Width = 512
    """D, width of the features that are pooled."""
    dropout: ShareBelowOne = 0.1
    """Dropout of attention weights and layers."""
    attention: Literal["multihead", "global"] = "multihead"
    """Of the parser: torch's attention with one head, or global context aware attention (GCAA) in every place."""
    skip: bool = False
    """Of the parser: add the self-attended modality to the shared features."""
    context: Literal["each", "first"] = "each"
    """Of global attention: each second gets its own, or all the first one's, as the released code does."""
    cross: bool = True
    """Of the parser: let each modality attend to the other; false is a control."""
    transformer: TransformerSize = TransformerSize()
    """Of the grounding transformer."""
    init: OwnInit = None
    """Where weights come from: a grounding recipe's run, or the checkpoint of a network of this kind."""
    pretrained: Literal["finetune", "features"] = "finetune"
    """Train what `init` gives, or freeze its grounding transformer, whose tokens then replace sound and picture."""

    @model_validator(mode="after")
    def _start(self) -> ParsingModel:
        if self.pretrained == "features" and self.init is None:
            raise ValueError("pretrained: features needs init, the grounding transformer that makes them")
        if self.pretrained == "features" and self.kind == "grounding":
            raise ValueError("pretrained: features goes with another kind: the transformer's tokens are its inputs")
        return self


class GuidedLoss(Section):
    """The loss of each modality against the smoothed bag."""

    weight: NonNegative = 0.6
    """λ_g; 0 leaves it out."""
    audio: Share = 1.0
    """Share of its labels that the sound keeps, the rest being spread evenly."""
    visual: Share = 0.9
    """Share of its labels that the picture keeps: it often lacks what the bag names."""


class AdversarialLoss(Section):
    """The loss of the modality discriminator, behind a gradient reversal."""

    weight: NonNegative = 0.0
    """λ_ad; 0 has no discriminator."""


class ParsingLosses(Section):
    """Terms beside the loss of the clip's bag."""

    guided: GuidedLoss = GuidedLoss()
    """Each modality against the smoothed bag."""
    adversarial: AdversarialLoss = AdversarialLoss()
    """Features of both modalities that a discriminator cannot tell apart."""


def _word(value: Any) -> Any:
    """Return "true" for YAML's true."""
    return "true" if value is True else value


Bag = Annotated[Literal["predicted", "true"], BeforeValidator(_word)]


class ParsingEvaluation(Section):
    """The rule by which probabilities become events."""

    threshold: Share = 0.5
    """Probability from which on a class counts, in a second and in the clip."""
    bag: Bag = "predicted"
    """Classes that a clip may have: those that are predicted of it, or, to judge placing alone, the true ones."""
    batch: Batch = 256
    """Clips at once."""


class ParsingTrain(ValidatedTrain, PartialTrain):
    """A training on features in memory."""

    partial: Literal["fill", "drop", "keep"] = "keep"
    """An epoch's last clips that make no whole batch: filled from another shuffle, left out, or a smaller batch."""


class ParsingRecipe(TrainedRecipe):
    """Which events are heard, and which are seen, in each second of a clip, learnt from bags of labels."""

    headline: ClassVar[str] = "segment_type"
    best: ClassVar[Best | None] = Best(("segment_type", "bag_f"), latest=True)
    task: Literal["parsing"]
    """Audio-visual video parsing."""
    data: FeatureData
    """Clips, their bags of labels, and when each is heard and seen."""
    features: FeatureNames = FeatureNames()
    """What the network is given of each second."""
    model: ParsingModel = ParsingModel()
    """The network."""
    losses: ParsingLosses = ParsingLosses()
    """What it learns by."""
    evaluate: ParsingEvaluation = ParsingEvaluation()
    """How it is judged."""
    train: ParsingTrain = ParsingTrain()
    """How long is trained, in what batches, and what is kept on the way."""

    def sources(self) -> list[OwnStart | Guide]:
        """Return the network's start."""
        return [] if self.model.init is None else [self.model.init]

    def idle(self) -> dict[str, str]:
        """Return the keys that do nothing, see `Recipe.idle`."""
        found, model = super().idle(), self.model
        kind = f"model.kind is {model.kind}"
        if model.kind != "parser":
            names = ("model.attention", "model.skip", "model.context", "model.cross", "losses.adversarial")
            found |= dict.fromkeys(names, kind)
        elif model.attention != "global":
            found["model.context"] = f"model.attention is {model.attention}"
        if model.kind == "pooling":
            found["model.dropout"] = kind
        if model.kind != "grounding" and model.pretrained != "features":
            found["model.transformer"] = kind
        if model.init is None:
            found["model.pretrained"] = "model.init is none"
        if not self.losses.guided.weight:
            why = "losses.guided.weight is 0"
            found |= {"losses.guided.audio": why, "losses.guided.visual": why}
        return found
