"""From a recognition recipe to its loaders: the labelled subset, the unlabelled rest, the evaluation split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from asgmcli.data.guides import RecordedMaps, TrueMaps, ViewMaps
from asgmcli.data.loader import Batch, Loudness, TrainLoader, TrainViews, measure_loudness
from asgmcli.data.manifest import Manifest, Row, check_files
from asgmcli.data.plan import Plan
from asgmcli.data.reader import ClipReader
from asgmcli.data.split import labeled_subset
from asgmcli.errors import DataError
from asgmcli.prepare.source import open_manifest
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.views import evaluation_batches, labeled_rows


@dataclass
class RecognitionData:
    """What a recognition run reads.

    Attributes:
        judged: the labelled clips of the evaluation split, then those of the splits that are judged also.
        labels: class index by clip id, -1 where unlabelled.
        loudness: log-mel statistics, None where the sound is not used.
        length: L, the log-mel's time steps, 0 where the sound is not used.
    """

    recipe: RecognitionRecipe
    manifest: Manifest
    train: TrainLoader
    judged: list[Row]
    reader: ClipReader
    labels: dict[str, int]
    loudness: Loudness | None
    length: int

    @property
    def classes(self) -> list[str]:
        """Class names in index order."""
        return self.manifest.classes

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return self.train.steps

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Batches of epoch `number` from step `start` on: {"labeled": ..., "unlabeled": ... or None}."""
        return self.train.epoch(number, start)

    @property
    def evaluation(self) -> Iterator[Batch]:
        """Batches of `judged`, several views a clip; this rank's of them.

        Raises:
            DataError: a file is gone.
        """
        return evaluation_batches(self.recipe, self.reader, self.judged, self.labels, self.loudness, own_share())

    def summary(self) -> dict[str, Any]:
        """The manifest's hash and how many clips were used how."""
        views = self.train.views
        return {
            "dataset": self.recipe.data.dataset,
            "manifest": self.manifest.sha256,
            "labeled": len(views.labeled),
            "unlabeled": len(views.unlabeled),
            "eval_split": self.recipe.data.eval_split,
            **({"eval_also": self.recipe.data.eval_also} if self.recipe.data.eval_also else {}),
        }


def build_data(recipe: RecognitionRecipe) -> RecognitionData:
    """Open the manifest and draw the labelled subset.

    Raises:
        DataError: no manifest, files gone, too few clips of a class, no unlabelled clip where a loss needs them, no
            clip to evaluate on, or no sound where the model listens.
    """
    manifest = open_manifest(recipe.data)
    labeled, unlabeled = divide(recipe, manifest)
    if recipe.semi_supervised and not unlabeled:
        raise DataError(
            f"{manifest.path}: every training clip is labelled, there is nothing to learn from without labels. Set "
            "data.labeled_per_class, or train.unlabeled_ratio to 0."
        )
    # Read at the end of the run, missed at its start.
    splits = dict.fromkeys((recipe.data.eval_split, *recipe.data.eval_also))
    judged = [row for split in splits for row in labeled_rows(manifest, split)]
    check_files(manifest, [*labeled, *unlabeled, *judged])
    kept = {"keep": recipe.data.keep_decoded, "share": recipe.data.share_decoded}
    reader = ClipReader(manifest, recipe.clip, recipe.audio, **kept)
    labels = {row.id: manifest.label_index(row) for row in manifest.rows}
    loudness, length = None, 0
    if recipe.model.modality == "video+audio":
        loudness = _loudness(recipe, reader, [*labeled, *unlabeled])
        length = recipe.audio.length
    views = TrainViews(
        reader,
        labeled,
        unlabeled,
        labels,
        recipe.clip,
        recipe.augment,
        loudness,
        guide_seconds=_guide_seconds(recipe),
        seed=recipe.seed,
        maps=_carried_maps(recipe, manifest, unlabeled),
        tubelet=recipe.model.video.tubelet,
    )
    plan = Plan(
        len(labeled),
        len(unlabeled),
        recipe.train.batch,
        recipe.train.unlabeled_ratio,
        recipe.seed,
        recipe.train.supervised_epochs if recipe.semi_supervised else recipe.train.epochs,
        own_share(),
    )
    train = TrainLoader(views, plan, recipe.data.workers, recipe.data.max_failures)
    return RecognitionData(recipe, manifest, train, judged, reader, labels, loudness, length)


def divide(recipe: RecognitionRecipe, manifest: Manifest) -> tuple[list[Row], list[Row]]:
    """Training rows that keep their label, and those that are trained on without one.

    The draw of the labelled subset follows `data.split_seed`, or the run's seed where that is left out.

    Raises:
        DataError: no labelled training clip, or fewer of a class than asked for.
    """
    rows = manifest.of_split(recipe.data.train_split)
    if recipe.data.labeled_per_class is None:
        labeled = [row for row in rows if row.label]
    else:
        seed = recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed
        labeled = labeled_subset(rows, recipe.data.labeled_per_class, seed)
    if not labeled:
        raise DataError(f"{manifest.path}: no labelled clip in split {recipe.data.train_split!r} to train on")
    chosen = {row.id for row in labeled}
    return labeled, [row for row in rows if row.id not in chosen]


def _loudness(recipe: RecognitionRecipe, reader: ClipReader, rows: list[Row]) -> Loudness:
    if recipe.audio.mean is not None and recipe.audio.std is not None:
        return Loudness(recipe.audio.mean, recipe.audio.std)
    return measure_loudness(reader, rows)


def _guide_seconds(recipe: RecognitionRecipe) -> float | None:
    """How much sound the mask's guide listens to, where it does so during training."""
    return recipe.localizer.seconds if recipe.localizer is not None and recipe.guide == "fnac" else None


def _carried_maps(recipe: RecognitionRecipe, manifest: Manifest, rows: list[Row]) -> ViewMaps | None:
    """The maps that samples carry, where the guide is known before training."""
    if recipe.guide == "motion":
        return RecordedMaps(manifest, keep=recipe.data.keep_decoded)
    if recipe.guide != "oracle":
        return None
    side = recipe.clip.size // recipe.model.video.patch_size
    maps = TrueMaps(manifest, (side, side))
    maps.check(rows)
    return maps
