"""A run that draws instead of training: videos with flow, truth and the masks of several networks (UFE, Figure 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.frames import read_frames
from asgmcli.data.manifest import Manifest
from asgmcli.data.split import hashed
from asgmcli.errors import DataError
from asgmcli.files import write_text
from asgmcli.metrics.segmentation import mask_iou
from asgmcli.prepare.source import open_manifest
from asgmcli.recipe.sections import Start
from asgmcli.recipe.segmented import SegmentedRecipe, ShownData
from asgmcli.tasks.segmentation.data import open_reader, windows_of
from asgmcli.tasks.segmentation.load import TrainedSegmenter, load
from asgmcli.tasks.segmentation.model import WEIGHTS
from asgmcli.tasks.segmentation.sounds import embed
from asgmcli.train.run import Result, Run
from asgmcli.train.task import Context

PICTURES: tuple[str, ...] = ("segmented.png", "segmented.svg")
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Column:
    """One network's masks of a frame: its title, mask bool [S, S], and the IoU (0..1) of the video's frames."""

    title: str
    mask: Array
    iou: float


@dataclass(frozen=True)
class Line:
    """A video's frame: image uint8 [S, S, 3], flow float [2, S, S] in 0..1 (None: none stored), truth bool [S, S]."""

    clip: str
    image: Array
    flow: Array | None
    truth: Array
    columns: list[Column]


def check(recipe: SegmentedRecipe) -> dict[str, list[str]]:
    """Return the ids of the videos that are shown, by data set: the first by a seeded hash, never the best.

    Raises:
        DataError: no manifest, no frames, or too few videos with a mask.
    """
    found = {}
    for data in recipe.sets:
        manifest = open_manifest(data)
        frames = read_frames(manifest)
        masked = [row.id for row in manifest.of_split(data.split) if any(frame.mask for frame in frames[row.id])]
        if len(masked) < recipe.shown.clips:
            raise DataError(
                f"{manifest.path}: {len(masked)} videos of split {data.split!r} have masks, shown.clips is "
                f"{recipe.shown.clips}."
            )
        found[data.dataset] = sorted(masked, key=lambda clip: hashed(recipe.seed, clip))[: recipe.shown.clips]
    return found


def draw(recipe: SegmentedRecipe, run: Run, context: Context) -> Drawing:
    """Make the drawing ready; see `Drawing`."""
    return Drawing(recipe, run, context)


class Drawing:
    """Made ready in its constructor, where everything that a user can have got wrong is found, drawn by `fit`.

    Args:
        recipe: what to draw.
        run: whose folder the pictures go to.
        context: where the networks' runs lie.

    Raises:
        DataError: a manifest, a video or a network's run is missing.
    """

    def __init__(self, recipe: SegmentedRecipe, run: Run, context: Context) -> None:
        self.recipe = recipe
        self.run = run
        self.clips = check(recipe)
        self.networks: dict[str, list[TrainedSegmenter]] = {}
        for data in recipe.sets:
            paths = [context.weights_of(Start(recipe=data.recipe, row=row), WEIGHTS) for row in recipe.shown.rows]
            self.networks[data.dataset] = [load(path, None, context.device) for path in paths if path is not None]

    def fit(self) -> Result:
        """Draw, and write result.json; its content is returned.

        Raises:
            MediaError: a file cannot be read.
        """
        from asgmcli.tasks.segmentation.figures import draw_lines  # matplotlib

        recipe = self.recipe
        lines = [line for data in recipe.sets for line in self._lines(data)]
        for name in PICTURES:
            draw_lines(lines, self.run.folder / name)
        metrics = {
            f"iou_{row}": 100 * float(np.mean([line.columns[place].iou for line in lines]))
            for place, row in enumerate(recipe.shown.rows)
        }
        result: Result = {
            "task": recipe.task,
            "recipe": recipe.name,
            "row": recipe.default_row,
            "seed": recipe.seed,
            "data": {"clips": self.clips},
            "metrics": metrics,
        }
        write_text(self.run.result_path, json.dumps(result, indent=2) + "\n")
        return result

    def _lines(self, data: ShownData) -> list[Line]:
        manifest = open_manifest(data)
        networks = self.networks[data.dataset]
        return [self._line(manifest, clip, networks) for clip in self.clips[data.dataset]]

    def _line(self, manifest: Manifest, clip: str, networks: list[TrainedSegmenter]) -> Line:
        columns: list[Column] = []
        shown: tuple[Tensor, Tensor | None, Tensor] | None = None
        for trained, row in zip(networks, self.recipe.shown.rows, strict=True):
            reader = open_reader(trained.recipe, manifest, embed(trained.recipe, manifest))
            rows = reader.frames[clip]
            logits = []
            for part in windows_of(rows, trained.recipe.evaluate.frames):
                flow = reader.flow(clip, part)[None].to(trained.device) if trained.recipe.reads_flow else None
                image, heard = (x[None].to(trained.device) for x in (reader.images(part), reader.audio(clip, part)))
                with torch.no_grad():
                    logits.append(trained.network(image, heard, flow).logits[0].float().cpu())
            masks, known = reader.masks(rows)
            joined = torch.cat(logits)
            place = int(known.nonzero()[len(known.nonzero()) // 2])  # the middle one of those with a mask
            iou = float(mask_iou(joined[known], masks[known]).mean())
            columns.append(Column(row, (joined[place] > 0).numpy(), iou))
            moved = reader.flow(clip, rows)[place] if rows[0].flow else None
            shown = (reader.images(rows)[place], moved, masks[place])
        assert shown is not None  # a recipe shows a row at least
        image, moved, truth = shown
        picture = image.permute(1, 2, 0).numpy()
        return Line(clip, picture, None if moved is None else moved.numpy(), truth.numpy(), columns)
