"""Sections that recipes of several tasks have: where data, weights and maps come from.

A recipe is checked against these models before anything is read or built: unknown keys, wrong types and impossible
values are refused. A docstring below a field is what `asgm recipes keys` and docs/RECIPES.md say of the key.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from asgmcli.recipe.bounds import MOST_GENERATED, Count, Positive, Seconds, Seed, Workers

ON_DEMO = "@demo"
"""Ends the name of a recipe whose rows run on the demo data in small sizes."""
# Recipes and rows name folders of runs.
Name = Annotated[str, Field(pattern=rf"^[A-Za-z0-9_][A-Za-z0-9_.+-]*({ON_DEMO})?$")]
# Any split that the manifest has.
Split = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
ALL_ROWS = "all"


class Section(BaseModel):
    """A group of recipe keys; unknown keys are refused and values are never changed after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


SEED_OF_RUN = "run"


def with_seed(values: dict[str, object], seed: object) -> dict[str, object]:
    """Return a copy of nested `values` in which every `seed: run` names `seed`."""
    return {
        key: with_seed(value, seed)
        if isinstance(value, dict)
        else (seed if key == "seed" and value == SEED_OF_RUN else value)
        for key, value in values.items()
    }


class Compare(Section):
    """Rows, or curves of a figure, `to` which all others are compared seed by seed, by `metrics`; `pairs` of rows."""

    to: list[str] = Field(min_length=1)
    """Rows, or curves of the figure, that the others are compared to."""
    metrics: list[str] = Field(["top1"], min_length=1)
    """What is compared, the names in a run's result.json."""
    pairs: list[Annotated[tuple[str, str], Field(strict=False)]] = []
    """Pairs of rows whose difference is named before they are run: judged together, by Holm's method."""


class OwnStart(Section):
    """The source of weights that timm has not: exactly one of another recipe's run and a file."""

    recipe: Name | None = None
    """Recipe whose run gives the weights; it is trained first where it has no run."""
    row: Name | None = None
    """Row of that recipe, its default row where left out."""
    seed: Seed | None = None
    """Seed of that run, the recipe's own where left out; `run` takes the seed of this run."""
    file: str | None = None
    """Weight file."""

    @model_validator(mode="after")
    def _one(self) -> OwnStart:
        kinds = [kind for kind in ("recipe", "file", "timm") if kind in type(self).model_fields]
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(f"name exactly one of {', '.join(kinds)} (or write `init: none`)")
        if (self.seed is not None or self.row is not None) and self.recipe is None:
            raise ValueError("seed and row go with recipe: nothing else has them")
        return self


class Start(OwnStart):
    """The source of a network's weights: exactly one of another recipe's run, a file, or a timm model's name."""

    timm: str | None = None
    """Name of a timm model, fetched where weights/ does not hold it."""


def or_none(value: object) -> object:
    """Return None for `none`: `init: none` says out loud that a network starts from random weights."""
    return None if value == "none" else value


Init = Annotated[Start | None, BeforeValidator(or_none)]
OwnInit = Annotated[OwnStart | None, BeforeValidator(or_none)]


class Data(Section):
    """A data set."""

    dataset: str
    """Name of the data set, one of `asgm prepare --help`, or any name beside a `manifest`."""
    manifest: str | None = None
    """Manifest, data/<dataset>/manifest.csv where left out."""
    options: dict[str, int | float] = {}
    """Options of a data set that is generated; `seed: run` gives each seed of a recipe clips of its own."""

    @model_validator(mode="after")
    def _generated(self) -> Data:
        for key, value in self.options.items():
            if key != "seed" and value > MOST_GENERATED:
                raise ValueError(f"options.{key} {value} is more than {MOST_GENERATED}")
        return self

    def splits(self) -> list[str]:
        """Return the splits that a run reads in whole."""
        return []


class SplitData(Data):
    """A data set that is trained and evaluated on."""

    train_split: Split = "train"
    """Split of the manifest that is trained on."""
    eval_split: Split = "test"
    """Split that the result is measured on."""

    def splits(self) -> list[str]:
        """Return the splits that a run reads in whole."""
        return [self.train_split, self.eval_split]


class JudgedData(SplitData):
    """A data set whose clips are decoded for training and evaluation."""

    workers: Workers = 0
    """Processes that decode clips; 0 decodes in a thread of the training process."""
    keep_decoded: bool = False
    """Hold every decoded clip in memory; needs `workers: 0`."""
    max_failures: Count = 100
    """Clips that may fail to decode, and are replaced by others, before the run stops."""

    @model_validator(mode="after")
    def _kept_once(self) -> JudgedData:
        if self.keep_decoded and self.workers:
            # They would hold as many copies, and lose them with themselves at the end of every epoch.
            raise ValueError(
                "keep_decoded holds every clip in the process that decodes: set workers to 0, or it to false"
            )
        return self


class TrainingData(JudgedData):
    """A data set of clips that are decoded, trained and evaluated on."""

    share_decoded: bool = False
    """Keep decoded clips as arrays on disk, beside the manifest, for all runs."""


class LabeledSubset(TrainingData):
    """A data set of which some clips count as labelled."""

    labeled_per_class: Positive | None = None
    """Labels a class that are used; null uses every label there is."""
    split_seed: int | None = None
    """Seed of the draw of the labelled clips, the run's where left out."""
    unlabeled: Literal["others", "labeled"] = "others"
    """Clips that are trained on without a label: all others, or the labelled ones once more."""
    eval_also: list[Split] = []
    """More splits to evaluate on: on `test_shuffled`, beside `test`, `top1_shuffled` is measured."""

    def splits(self) -> list[str]:
        """Return the splits that a run reads in whole."""
        return [*super().splits(), *self.eval_also]


class Guide(Section):
    """A localizer: where in the picture the sound comes from."""

    kind: Literal["fnac", "start", "motion"] = "fnac"
    """`fnac` is a trained network, `start` one of two linear maps on what the encoders' start sees and hears; `motion`
    needs no weights: what moves in time with the sound makes its map."""
    recipe: Name | None = None
    """Recipe whose run gives the network; it is trained first where it has no run."""
    row: Name | None = None
    """Row of that recipe, its default row where left out."""
    file: str | None = None
    """Weight file of the network."""
    seed: Seed | None = None
    """Seed of the recipe's run, the recipe's own where left out; `run` takes the seed of this run."""
    map: Literal["cosine", "affinity"] = "cosine"
    """Similarity of sound and image cell as it is, or spread over similar cells."""

    @property
    def trained(self) -> bool:
        """Return True for a network with weights."""
        return self.kind in ("fnac", "start")

    @model_validator(mode="after")
    def _one(self) -> Guide:
        if not self.trained and (self.recipe is not None or self.file is not None):
            raise ValueError(f"kind {self.kind} has no weights: leave recipe and file out")
        if self.trained and (self.recipe is None) == (self.file is None):
            raise ValueError("name exactly one of recipe, file (or kind: motion, which needs neither)")
        if (self.seed is not None or self.row is not None) and self.recipe is None:
            raise ValueError("seed and row go with recipe: nothing else has one")
        return self


class MaskGuide(Guide):
    """The localizer that draws the localization-guided mask."""

    kind: Literal["fnac", "start", "motion", "oracle"] = "fnac"  # type: ignore[assignment]
    """`fnac` is a trained network, `start` one on the encoders' start; `motion` needs no weights; `oracle` is the truth
    of a data set with boxes."""
    seconds: Seconds = 3.0
    """Sound that the network listens to, s."""
    picture: Literal["whole", "augmented"] = "whole"
    """The strong view as it sees it: before channels are lost, or as the student sees it (the thesis' A_vid)."""
    sound: Literal["clean", "augmented"] = "clean"
    """The sound as it hears it: whole, or with the bands and spans masked that the student's has (A_aud)."""
