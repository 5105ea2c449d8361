"""Load a trained localizer and evaluate it on any manifest's boxes, alone or beside the motion localizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from asgmcli.data.boxes import FrameBoxes, has_boxes, read_boxes
from asgmcli.data.manifest import Manifest
from asgmcli.errors import DataError, UsageError
from asgmcli.localize.clip_maps import fnac_clip_maps, motion_clip_maps
from asgmcli.localize.outputs import write_overlay
from asgmcli.metrics.localization import inside_share
from asgmcli.nn.localizer import FrozenLocalizer, load_localizer
from asgmcli.nn.state import read_metadata, read_state
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.base import Row
from asgmcli.recipe.localization import LocalizationRecipe, LocalizerInput, LocalizerModel
from asgmcli.recipe.sections import TrainingData
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.localization.data import Place, evaluation_batches, pair_reader
from asgmcli.tasks.localization.evaluate import evaluation_of, frame_ciou, locate, measure
from asgmcli.tasks.localization.model import LocalizationState
from asgmcli.train.batches import watched
from asgmcli.train.task import Evaluation, Examination, Exported, Prediction

MOTION = "motion"


@dataclass(frozen=True)
class TrainedLocalizer:
    """A frozen localizer, and the recipe that defines its evaluation."""

    recipe: LocalizationRecipe
    frozen: FrozenLocalizer
    device: torch.device

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of a prediction's lines: seconds, and the map's maximum, in shares of width and height."""
        return ("time", "x", "y", "heat")

    @property
    def data(self) -> TrainingData:
        """Return the data set with the boxes of its evaluation."""
        return self.recipe.evaluation_data

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """See `Trained.examine`; `motion` is measured beside it.

        Raises:
            DataError: the data set does not say where its sounds come from, or not in this split.
            UsageError: `beside` is another name.
        """
        if beside not in (None, MOTION):
            raise UsageError(f"{beside} is not measured beside a localizer; {MOTION} is.")
        count = count_frames(self, manifest)
        return Examination(
            count,
            f"{count} frames",
            {"frames": self.recipe.evaluate.frames},
            lambda seen, paper: evaluate_localizer(self, manifest, seen, motion=beside is not None, paper=paper),
        )

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Show where a clip's sound comes from: its maps (`ClipMaps`), a few times a second.

        Raises:
            MediaError: the file cannot be read.
        """
        found = fnac_clip_maps(path, self.frozen, audio=audio)
        rows = [_hottest(time, heat) for time, heat in zip(found.times.tolist(), found.maps, strict=True)]
        data = {"times": found.times.tolist(), "maps": found.maps.round(4).tolist(), "warning": found.warning}
        files = {"_overlay.mp4": lambda target: write_overlay(target, path, found, audio)}
        return Prediction(found, rows, data, files)

    def export(self, path: Path) -> Exported:
        """Refuse.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{path}: a localizer is not exported; recognizers are.")


def owns(path: Path) -> bool:
    """Return True for a localizer that training wrote, or a released FNAC checkpoint."""
    return read_metadata(path).get("format") == "asgm-localizer" or "imgnet.conv1.weight" in read_state(path)


def _hottest(time: float, heat: np.ndarray) -> list[Cell]:
    """Time in seconds, the centre of the hottest cell (x, y in 0..1 of the picture), and its heat (0..1)."""
    row, column = divmod(int(heat.argmax()), heat.shape[1])
    x, y = (column + 0.5) / heat.shape[1], (row + 0.5) / heat.shape[0]
    return [round(time, 3), round(x, 4), round(y, 4), round(float(heat[row, column]), 4)]


def load(path: Path, recipe: LocalizationRecipe | None, device: torch.device) -> TrainedLocalizer:
    """Load the localizer from a weight file; without a recipe its input sizes are those the file names.

    Raises:
        DataError: the file is missing, broken, or not a localizer's.
    """
    frozen = load_localizer(path)
    if recipe is None:
        size, name = frozen.input_size, path.stem
        recipe = LocalizationRecipe(
            name="localizer",
            task="localization",
            title=name,
            default_row=name,
            rows={name: Row(title=name)},
            data=TrainingData(dataset=""),
            model=LocalizerModel(dim=frozen.model.dim, width=getattr(frozen.model, "width", 64)),
            input=LocalizerInput(size=size, resize=size, seconds=frozen.seconds),
        )
    return TrainedLocalizer(recipe, frozen.to(device), device)


def count_frames(trained: TrainedLocalizer, manifest: Manifest) -> int:
    """Count the frames of the evaluation split with a box.

    Raises:
        DataError: the data set does not say where its sounds come from, or not in this split.
    """
    split = trained.recipe.data.eval_split
    if not has_boxes(manifest):
        raise DataError(f"{manifest.path}: no boxes.csv beside it, so there is nothing to compare maps with")
    boxes = read_boxes(manifest)
    count = sum(
        min(len(boxes.get(row.id, {})), trained.recipe.evaluate.frames) for row in manifest.of_split(split) if row.audio
    )
    if not count:
        raise DataError(f"{manifest.path}: no clip of split {split!r} has both sound and a box")
    return count


def evaluate_localizer(
    trained: TrainedLocalizer,
    manifest: Manifest,
    seen: Callable[[int], None],
    *,
    motion: bool = False,
    paper: Mapping[str, float] | None = None,
) -> tuple[Evaluation, Table]:
    """Evaluate as training does at its end, on the boxes of any manifest. Return also a line a frame.

    With several ranks each looks at its share of the frames, and the first tells; the others return nothing found.

    Args:
        trained: with its recipe's evaluation split and frames a clip.
        manifest: with boxes beside it.
        seen: told the number of frames done.
        motion: measure the motion localizer on the same frames too (metrics with the prefix `motion_`).
        paper: the paper's numbers on this data.

    Returns:
        The evaluation, and the table id, frame, inside (1 where the hottest cell lies in the one box), ciou (0..1).
    """
    batches = evaluation_batches(trained.recipe, pair_reader(trained.recipe, manifest), own_share())
    state = LocalizationState(trained.recipe, trained.frozen.model, trained.frozen, trained.device)
    found = locate(state, watched(batches, seen))
    table = Table("Frames", ["id", "frame", "inside", "ciou"], [])
    if found is None and own_share().rank:
        return Evaluation({}), table
    if found is None:
        raise DataError(f"{manifest.path}: no frame of split {trained.recipe.data.eval_split!r} has a box")
    filter = trained.recipe.evaluate.filter
    evaluation = evaluation_of(found, paper or {}, filter)
    if motion:
        maps = motion_heatmaps(manifest, found.places)
        other = measure(maps, found.boxes, frame_ciou(maps, found.boxes, filter))
        own = evaluation.tables["localization"]
        lines: list[list[Cell]] = [
            [*row[:2], other[name], *row[2:]] for row, name in zip(own.rows, evaluation.metrics, strict=True)
        ]
        columns = ["measure, percent", "FNAC", "motion", *own.columns[2:]]
        evaluation.tables["localization"] = Table(own.title, columns, lines)
        evaluation.metrics.update({f"motion_{name}": value for name, value in other.items()})
    values = frame_ciou(found.heatmaps, found.boxes, filter)
    rows = [_line(*line) for line in zip(found.places, found.heatmaps, found.boxes, values, strict=True)]
    return evaluation, replace(table, rows=rows)


def motion_heatmaps(manifest: Manifest, places: list[Place]) -> np.ndarray:
    """Return the motion localizer's maps [n, h, w] at each place; every clip is read once.

    Raises:
        MediaError: a clip cannot be decoded.
    """
    wanted = dict.fromkeys(name for name, _ in places)
    maps = {
        row.id: motion_clip_maps(manifest.resolve(row), audio=manifest.resolve_audio(row), fps=row.fps)
        for row in manifest.rows
        if row.id in wanted
    }
    rate = {row.id: row.fps for row in manifest.rows if row.id in wanted}
    return np.stack([maps[name].at(frame / rate[name]) for name, frame in places])


def _line(place: Place, heatmap: np.ndarray, boxes: FrameBoxes, ciou: float) -> list[Cell]:
    inside = inside_share(heatmap[None], boxes.corners)[0] if len(boxes) == 1 else None
    return [*place, inside, ciou]
