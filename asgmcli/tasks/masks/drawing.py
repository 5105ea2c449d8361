"""A run that draws instead of training: the masks of one clip of a data set (the paper's Figure 3)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from asgmcli.data.boxes import has_boxes, read_boxes
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.errors import DataError
from asgmcli.files import write_text
from asgmcli.nn.localizer import load_localizer
from asgmcli.prepare.source import open_manifest
from asgmcli.recipe.masks import MasksRecipe
from asgmcli.train.run import Result, Run
from asgmcli.train.task import Context
from asgmcli.train.weights import LOCALIZER_WEIGHTS

PICTURES: tuple[str, ...] = ("masks.png", "masks.svg")


def draw(recipe: MasksRecipe, run: Run, context: Context) -> Drawing:
    """Make the drawing ready; see `Drawing`."""
    return Drawing(recipe, run, context)


class Drawing:
    """Made ready in its constructor, where everything that a user can have got wrong is found, drawn by `fit`.

    Args:
        recipe: what to draw.
        run: whose folder the pictures go to.
        context: where the localizer's run lies.

    Raises:
        DataError: the manifest, the clip or the localizer is missing.
    """

    def __init__(self, recipe: MasksRecipe, run: Run, context: Context) -> None:
        self.recipe = recipe
        self.run = run
        self.example = find_example(recipe)
        weights = context.weights_of(recipe.localizer, LOCALIZER_WEIGHTS)
        trained = None
        if weights is not None:
            trained = load_localizer(weights, map=recipe.localizer.map)
        self.trained = trained

    def fit(self) -> Result:
        """Draw, and write result.json; its content is returned.

        Raises:
            MediaError: the clip cannot be read.
        """
        from asgmcli.tasks.masks.pictures import Draw, clip_masks  # matplotlib

        recipe, example = self.recipe, self.example
        draw = Draw((recipe.grid, recipe.grid), recipe.keep, recipe.seed, recipe.average_frames, recipe.sharpness)
        clip = example.manifest.resolve(example.row)
        audio = example.manifest.resolve_audio(example.row)
        boxes = read_boxes(example.manifest).get(example.row.id) if has_boxes(example.manifest) else None
        masks = clip_masks(clip, draw, self.trained, audio=audio, frame=recipe.example.frame, boxes=boxes)
        for name in PICTURES:
            masks.picture(self.run.folder / name)
        tube, guided = masks.heat_kept()
        result: Result = {
            "task": recipe.task,
            "recipe": recipe.name,
            "row": recipe.default_row,
            "seed": recipe.seed,
            "data": {
                "dataset": recipe.data.dataset,
                "manifest": example.manifest.sha256,
                "clip": example.row.id,
                "seconds": [round(time, 3) for time in masks.times],
            },
            # Percent of the map's weight under the tokens that are kept.
            "metrics": {"heat_tube": 100 * tube, "heat_guided": 100 * guided},
            "warning": masks.warning,
        }
        write_text(self.run.result_path, json.dumps(result, indent=2) + "\n")
        return result


@dataclass(frozen=True)
class ExampleClip:
    """The clip that a recipe shows."""

    manifest: Manifest
    row: ManifestRow


def find_example(recipe: MasksRecipe) -> ExampleClip:
    """Find the clip that `recipe.example` names.

    Raises:
        DataError: no manifest, or fewer such clips than the example's number.
    """
    manifest, wanted = open_manifest(recipe.data), recipe.example
    rows = [row for row in manifest.of_split(wanted.split) if row.audio and wanted.label in (None, row.label)]
    if wanted.number >= len(rows):
        of_class = f" of class {wanted.label!r}" if wanted.label is not None else ""
        raise DataError(
            f"{manifest.path}: example.number {wanted.number}: {len(rows)} clips with sound{of_class} in split "
            f"{wanted.split!r}, counted from 0. Set another example.number, label or split."
        )
    return ExampleClip(manifest, rows[wanted.number])
