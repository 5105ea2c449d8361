"""How many clips a recipe's run sees, and in how many steps: read from the manifest, or known before there is one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from asgmcli.data.boxes import has_boxes
from asgmcli.data.manifest import Manifest
from asgmcli.data.plan import Plan
from asgmcli.errors import AsgmError
from asgmcli.prepare.datasets import DATASETS
from asgmcli.prepare.datasets.listing import Size
from asgmcli.prepare.source import is_generated, manifest_path, open_manifest
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.masks import MasksRecipe
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import Data
from asgmcli.synthetic.clips import CLASSES, Settings
from asgmcli.tasks.masks.drawing import find_example
from asgmcli.tasks.recognition.data import divide
from asgmcli.tasks.recognition.views import labeled_rows


@dataclass(frozen=True)
class Counts:
    """Clips of each kind, the classes, the steps of an epoch, and the views that an evaluation judges.

    Attributes:
        known_from: what tells the counts, in words; empty where it is the manifest.
    """

    clips: dict[str, int]
    classes: int
    steps: int
    views: int
    known_from: str = ""


@dataclass
class Counting:
    """Counts the clips of recipes; a manifest that several of them read is read once."""

    _manifests: dict[Path, Manifest] = field(default_factory=dict)

    def count(self, recipe: Recipe) -> Counts:
        """Return the counts of the manifest that is there; clips are not looked at.

        Raises:
            DataError: no manifest, or too few clips of a kind.
        """
        if isinstance(recipe, RecognitionRecipe):
            manifest = self._open(recipe.data)
            labeled, unlabeled = divide(recipe, manifest)
            judged = labeled_rows(manifest, recipe.data.eval_split)
            return _recognition(recipe, len(manifest.classes), len(labeled), len(unlabeled), len(judged))
        if isinstance(recipe, LocalizationRecipe):
            pairs = [row for row in self._open(recipe.data).of_split(recipe.data.train_split) if row.audio]
            boxed = self._open(recipe.evaluation_data)
            frames = [row for row in boxed.of_split(recipe.data.eval_split) if row.audio] if has_boxes(boxed) else []
            return _localization(recipe, len(pairs), len(frames))
        if isinstance(recipe, PretextRecipe):
            made = recipe.generated
            plan = Plan(made.train, 0, recipe.train.batch, 0, recipe.seed)
            return Counts({"generated": made.train, "judged": made.test}, 0, plan.steps, made.test)
        assert isinstance(recipe, MasksRecipe)
        find_example(recipe)
        return Counts({"shown": 1}, 0, 0, 0)

    def _open(self, data: Data) -> Manifest:
        path = manifest_path(data)
        if path not in self._manifests:
            self._manifests[path] = open_manifest(data)
        return self._manifests[path]


def expected(recipe: Recipe) -> Counts | None:
    """Return the counts that `recipe` will have once its data are there; None where nothing tells them.

    They are known of what is generated, and of data sets with official lists that are used whole, as the papers do.
    """
    if not isinstance(recipe, RecognitionRecipe | LocalizationRecipe):
        return None
    size = _size(recipe.data)
    if size is None or recipe.data.train_split not in size.clips:
        return None
    clips, split = size.clips[recipe.data.train_split], recipe.data.eval_split
    if isinstance(recipe, LocalizationRecipe):
        judged = _size(recipe.evaluation_data)
        boxed = judged.clips.get(split) if judged is not None and judged.boxes else None
        return None if boxed is None else _localization(recipe, clips, boxed, size.known_from)
    if split not in size.clips:
        return None
    per_class = recipe.data.labeled_per_class
    labeled = clips if per_class is None else min(clips, per_class * size.classes)
    return _recognition(recipe, size.classes, labeled, clips - labeled, size.clips[split], size.known_from)


def _size(data: Data) -> Size | None:
    if data.manifest is not None:
        return None  # of a list of the user's own
    if not is_generated(data):
        return getattr(DATASETS.get(data.dataset), "SIZE", None)
    try:
        settings = Settings(**data.options)  # type: ignore[arg-type]  # checked just below
        settings.check()
    except (TypeError, AsgmError):
        return None
    counts: Mapping[str, int] = settings.counts
    return Size(len(CLASSES), counts, "the settings of what is generated", boxes=True)


def _recognition(
    recipe: RecognitionRecipe, classes: int, labeled: int, unlabeled: int, judged: int, known_from: str = ""
) -> Counts:
    plan = Plan(labeled, unlabeled, recipe.train.batch, recipe.train.unlabeled_ratio, recipe.seed)
    clips = {"labeled": labeled, "unlabeled": unlabeled, "judged": judged}
    views = judged * recipe.evaluate.clips * recipe.evaluate.crops
    return Counts(clips, classes, plan.steps, views, known_from)


def _localization(recipe: LocalizationRecipe, pairs: int, judged: int, known_from: str = "") -> Counts:
    plan = Plan(pairs, 0, recipe.train.batch, 0, recipe.seed)
    return Counts({"pairs": pairs, "judged": judged}, 0, plan.steps, judged * recipe.evaluate.frames, known_from)
