"""From a recognition recipe to its loaders: the labelled subset, the unlabelled rest, the evaluation split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from asgmcli.data.guides import RecordedMaps, TrueMaps, ViewMaps
from asgmcli.data.manifest import Manifest, ManifestRow, check_files
from asgmcli.data.mel_statistics import LogMelStatistics, measure_log_mel
from asgmcli.data.plan import Plan, RankShare, Stream
from asgmcli.data.reader import ClipReader
from asgmcli.data.split import labeled_subset
from asgmcli.errors import DataError
from asgmcli.prepare.source import open_manifest
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.tasks.recognition.batch import Batch, EvaluationBatch
from asgmcli.tasks.recognition.views import (
    LABELED,
    UNLABELED,
    TrainLoader,
    TrainViews,
    evaluation_batches,
    labeled_rows,
)


@dataclass
class RecognitionData:
    """The data of a recognition run.

    Attributes:
        evaluated: the labelled clips of the evaluation split, then those of the splits that are evaluated also.
        labels: class index by clip id, -1 where unlabelled.
        mel_statistics: log-mel statistics, None where the sound is not used.
        length: L, the log-mel's time steps, 0 where the sound is not used.
        notes: what a user should know of how the labels are used, a sentence each.
    """

    recipe: RecognitionRecipe
    manifest: Manifest
    train: TrainLoader
    evaluated: list[ManifestRow]
    reader: ClipReader
    labels: dict[str, int]
    mel_statistics: LogMelStatistics | None
    length: int
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """Return the class names in index order."""
        return self.manifest.classes

    @property
    def chance(self) -> float:
        """Return the share of the most frequent class among the labelled clips, 0..1: what guessing gets."""
        labeled = self.train.views.labeled
        return max(Counter(row.label for row in labeled).values()) / len(labeled)

    @property
    def class_shares(self) -> list[float]:
        """Return each class's share of the labelled clips, 0..1."""
        labeled = self.train.views.labeled
        counts = Counter(row.label for row in labeled)
        return [counts[name] / len(labeled) for name in self.classes]

    @property
    def steps(self) -> int:
        """Return the steps an epoch."""
        return self.train.steps

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` from step `start` on: {"labeled": ..., "unlabeled": ... or None}."""
        return self.train.epoch(number, start)

    @property
    def evaluation(self) -> Iterator[EvaluationBatch]:
        """Yield this rank's batches of `evaluated`, several views a clip.

        Raises:
            DataError: a file is gone.
        """
        return evaluation_batches(
            self.recipe, self.reader, self.evaluated, self.labels, self.mel_statistics, own_share()
        )

    def summary(self) -> dict[str, object]:
        """Return the manifest's hash and the number of clips by use."""
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
        DataError: no manifest, files gone, too few labels of a class, no clip to evaluate on, or no sound where the
            model listens.
    """
    manifest = open_manifest(recipe.data)
    labeled, unlabeled = divide(recipe, manifest)
    check_epoch(recipe, manifest, len(labeled))
    # Read at the end of the run, missed at its start.
    splits = dict.fromkeys((recipe.data.eval_split, *recipe.data.eval_also))
    evaluated = [row for split in splits for row in labeled_rows(manifest, split)]
    clips = list({row.id: row for row in (*labeled, *unlabeled)}.values())
    check_files(manifest, [*clips, *evaluated])
    kept = {"keep": recipe.data.keep_decoded, "share": recipe.data.share_decoded}
    reader = ClipReader(manifest, recipe.clip, recipe.audio, **kept)
    labels = {row.id: manifest.label_index(row) for row in manifest.rows}
    mel_statistics, length = None, 0
    if recipe.listens:
        mel_statistics = _mel_statistics(recipe, reader, clips)
        length = recipe.audio.length
    views = TrainViews(
        reader,
        labeled,
        unlabeled,
        labels,
        recipe.clip,
        recipe.augment,
        mel_statistics,
        guide_seconds=_guide_seconds(recipe),
        seed=recipe.seed,
        guide_masked=recipe.localizer is not None and recipe.localizer.sound == "augmented",
        maps=_carried_maps(recipe, manifest, unlabeled),
        tubelet=recipe.model.video.tubelet,
        sees=recipe.sees,
    )
    plan = plan_of(recipe, len(labeled), len(unlabeled), own_share())
    train = TrainLoader(views, plan, recipe.data.workers, recipe.data.max_failures)
    notes = label_notes(recipe, manifest, labeled, unlabeled)
    return RecognitionData(recipe, manifest, train, evaluated, reader, labels, mel_statistics, length, notes)


def plan_of(recipe: RecognitionRecipe, labeled: int, unlabeled: int, share: RankShare | None = None) -> Plan:
    """Return which clips of two lists so long every step has, with `share` this process's part of it."""
    batch, settings = recipe.train.batch, recipe.train
    begin = settings.supervised_epochs if recipe.semi_supervised else settings.epochs
    streams = {
        LABELED: Stream(labeled, batch),
        UNLABELED: Stream(unlabeled, batch * settings.unlabeled_ratio, begin, stretches=settings.epoch == "unlabeled"),
    }
    return Plan(streams, recipe.seed, share or RankShare(), "drop" if settings.epoch == "labeled" else "fill")


def check_epoch(recipe: RecognitionRecipe, manifest: Manifest, labeled: int) -> None:
    """Check that an epoch has a step.

    Raises:
        DataError: it passes over the labelled clips, and these fill no batch.
    """
    if recipe.train.epoch == "labeled" and labeled < recipe.train.batch:
        raise DataError(
            f"{manifest.path}: {labeled} labelled clips fill no batch of {recipe.train.batch}, and train.epoch labeled "
            "passes over full batches alone. Set train.batch lower, or train.epoch to unlabeled."
        )


def divide(recipe: RecognitionRecipe, manifest: Manifest) -> tuple[list[ManifestRow], list[ManifestRow]]:
    """Return the training rows that keep their label, and those that are trained on without one.

    Without `data.labeled_per_class` every label there is counts. Where no clip is left for the second list, or
    `data.unlabeled` is labeled, it is the first. The draw of a labelled subset follows `data.split_seed`, or the run's
    seed where that is left out.

    Raises:
        DataError: no labelled training clip, or fewer of a class than asked for.
    """
    rows = manifest.of_split(recipe.data.train_split)
    if recipe.data.labeled_per_class is None:
        labeled = [row for row in rows if row.label]
    else:
        seed = recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed
        labeled = labeled_subset(rows, recipe.data.labeled_per_class, seed, manifest.classes)
    if not labeled:
        raise DataError(f"{manifest.path}: no labelled clip in split {recipe.data.train_split!r} to train on")
    chosen = {row.id for row in labeled}
    unlabeled = [] if recipe.data.unlabeled == "labeled" else [row for row in rows if row.id not in chosen]
    return labeled, unlabeled or (list(labeled) if recipe.train.unlabeled_ratio else [])


def label_notes(
    recipe: RecognitionRecipe, manifest: Manifest, labeled: list[ManifestRow], unlabeled: list[ManifestRow]
) -> list[str]:
    """Return a sentence for each of: labels that are not used, a class without one, no clip without one.

    Args:
        recipe: of the run.
        manifest: of its clips.
        labeled: the first list of `divide`.
        unlabeled: the second.
    """
    split, wanted = recipe.data.train_split, recipe.data.labeled_per_class
    given = [row.label for row in manifest.of_split(split) if row.label]
    notes = []
    if hidden := len(given) - len(labeled):
        used = recipe.semi_supervised and recipe.data.unlabeled == "others"
        use = "their clips count as unlabelled" if used else "their clips are left out"
        notes.append(
            f"{hidden:,} of the {len(given):,} labels in split {split!r} are not used, {use}: "
            f"data.labeled_per_class is {wanted}. To use every label: --set data.labeled_per_class=null"
        )
    if without := sorted(set(manifest.classes) - set(given)):
        more = f" and {len(without) - 5} more" if len(without) > 5 else ""
        notes.append(
            f"No clip in split {split!r} has the label {', '.join(without[:5])}{more}: it cannot be learnt. Label some "
            "of its clips, or take it out of classes.txt."
        )
    if recipe.semi_supervised and recipe.data.unlabeled == "others" and unlabeled == labeled:
        notes.append(
            f"No clip in split {split!r} is unlabelled: the {len(labeled):,} labelled ones serve as the unlabelled "
            "clips as well, without their labels."
        )
    return notes


def _mel_statistics(recipe: RecognitionRecipe, reader: ClipReader, rows: list[ManifestRow]) -> LogMelStatistics:
    if recipe.audio.mean is not None and recipe.audio.std is not None:
        return LogMelStatistics(recipe.audio.mean, recipe.audio.std)
    return measure_log_mel(reader, rows)


def _guide_seconds(recipe: RecognitionRecipe) -> float | None:
    """Return the seconds of sound that the mask's guide uses during training; None if it does not."""
    return None if recipe.guide_network is None else recipe.guide_network.seconds


def _carried_maps(recipe: RecognitionRecipe, manifest: Manifest, rows: list[ManifestRow]) -> ViewMaps | None:
    """Return the maps that samples carry, where the guide is known before training."""
    if recipe.guide == "motion":
        return RecordedMaps(manifest, keep=recipe.data.keep_decoded)
    if recipe.guide != "oracle":
        return None
    side = recipe.clip.size // recipe.model.video.patch_size
    maps = TrueMaps(manifest, (side, side))
    maps.check(rows)
    return maps
