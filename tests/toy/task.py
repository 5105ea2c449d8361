"""The toy system's task module: a linear layer that tells the class of a clip by its mean colours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.plan import generator
from asgmcli.errors import UsageError
from asgmcli.files import write_text
from asgmcli.media.video import read_clip
from asgmcli.nn.state import read_metadata, read_state, write_safetensors
from asgmcli.prepare.single import manifest_of
from asgmcli.prepare.source import open_manifest
from asgmcli.recipe.read import check_recipe
from asgmcli.recipe.sections import TrainingData
from asgmcli.report.table import Cell, Table
from asgmcli.train.cost import Counts, Needs, Open, needs_of
from asgmcli.train.cost import nothing_decoded as decoded
from asgmcli.train.cost import nothing_expected as expected
from asgmcli.train.task import Context, Evaluation, Examination, Exported, Prediction
from asgmcli.train.task import nothing_before as before
from asgmcli.train.trace import trace
from tests.toy.recipe import BrightnessRecipe

__all__ = ["before", "decoded", "expected"]

WEIGHTS = "brightness.safetensors"
COPIES = 1


def colours(manifest: Manifest, row: ManifestRow) -> Tensor:
    """Return the mean of each colour of the first frame, [3] in 0..1."""
    frame = torch.from_numpy(read_clip(manifest.resolve(row), [0])[0])
    return frame.float().mean(dim=(0, 1)) / 255


@dataclass(frozen=True)
class Batch:
    """Clips by the mean of each colour."""

    ids: list[str]
    colours: Tensor
    label: Tensor

    @property
    def failures(self) -> list[str]:
        """None: a clip that cannot be decoded stops the run."""
        return []


@dataclass
class BrightnessData:
    """The clips of a run."""

    recipe: BrightnessRecipe
    manifest: Manifest

    def rows(self, split: str) -> list[ManifestRow]:
        """Return the clips of a split."""
        return self.manifest.of_split(split)

    @property
    def steps(self) -> int:
        """Steps an epoch."""
        return -(-len(self.rows(self.recipe.data.train_split)) // self.recipe.train.batch)

    def batch(self, rows: Iterable[ManifestRow]) -> Batch:
        """Return the clips as a batch."""
        rows = list(rows)
        return Batch(
            [row.id for row in rows],
            torch.stack([colours(self.manifest, row) for row in rows]),
            torch.tensor([self.manifest.label_index(row) for row in rows]),
        )

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of an epoch from step `start` on."""
        rows, size = self.rows(self.recipe.data.train_split), self.recipe.train.batch
        order = generator(self.recipe.seed, "order", number).permutation(len(rows))
        for step in range(start, self.steps):
            yield self.batch(rows[index] for index in order[step * size : (step + 1) * size])

    @property
    def evaluation(self) -> Iterable[Batch]:
        """Return the clips of the evaluation split as one batch."""
        return [self.batch(self.rows(self.recipe.data.eval_split))]

    def summary(self) -> dict[str, Any]:
        """Return what the result says of the data."""
        return {"manifest": self.manifest.sha256, "eval_split": self.recipe.data.eval_split}


@dataclass
class BrightnessState:
    """The layer that is trained."""

    recipe: BrightnessRecipe
    classes: list[str]
    layer: nn.Module

    def trained(self) -> list[nn.Module]:
        """Return what the optimizer steps."""
        return [self.layer]

    def begin_step(self, epoch: int, step: int) -> None:
        """Do nothing."""

    def after_step(self) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Return the weights."""
        return {"layer": self.layer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.layer.load_state_dict(state["layer"])

    def export(self, folder: Path) -> None:
        """Write the final weights."""
        recipe = self.recipe.model_dump_json(exclude={"rows", "compare"})
        about = {"format": "brightness", "classes": json.dumps(self.classes), "recipe": recipe}
        write_safetensors(folder / WEIGHTS, self.layer.state_dict(), about)


def count(recipe: BrightnessRecipe, open_: Open) -> Counts:
    """Count the clips of both splits."""
    data = BrightnessData(recipe, open_(recipe.data))
    tested = len(data.rows(recipe.data.eval_split))
    return Counts(
        {"clips": len(data.rows("train")), "evaluated": tested}, len(data.manifest.classes), data.steps, tested
    )


def network(recipe: BrightnessRecipe, classes: int) -> nn.Module:
    """Return the layer."""
    return nn.Sequential(nn.Linear(3, classes))


def needs(recipe: BrightnessRecipe, classes: int) -> Needs:
    """Count a step."""
    layer = network(recipe, classes)
    step = trace(lambda: layer(torch.empty(recipe.train.batch, 3)), recipe.train.precision)
    view = trace(lambda: layer(torch.empty(1, 3)), recipe.train.precision, backward=False)
    return needs_of(layer, recipe.train, step, view, 64)


def build_data(recipe: BrightnessRecipe) -> BrightnessData:
    """Open the manifest."""
    return BrightnessData(recipe, open_manifest(recipe.data))


def build_state(recipe: BrightnessRecipe, data: BrightnessData, context: Context) -> BrightnessState:
    """Build the layer."""
    return BrightnessState(recipe, data.manifest.classes, network(recipe, len(data.manifest.classes)))


def train_step(state: BrightnessState, batch: Batch) -> dict[str, Tensor]:
    """Return the cross-entropy."""
    logits = state.layer(state.recipe.model.scale * batch.colours)
    return {"loss": nn.functional.cross_entropy(logits, batch.label)}


@torch.no_grad()
def evaluate(state: BrightnessState, loader: Iterable[Batch]) -> Evaluation:
    """Measure the share of clips that are right, in percent."""
    hits = [(state.layer(state.recipe.model.scale * batch.colours).argmax(dim=1) == batch.label) for batch in loader]
    return Evaluation({"right": 100 * float(torch.cat(hits).float().mean())})


@dataclass(frozen=True)
class TrainedBrightness:
    """A trained layer."""

    recipe: BrightnessRecipe
    classes: list[str]
    layer: nn.Module

    @property
    def columns(self) -> tuple[str, ...]:
        """What a prediction's line holds."""
        return ("colour",)

    @property
    def data(self) -> TrainingData:
        """The data set it was trained on."""
        return self.recipe.data

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """Judge it on `manifest`."""
        data = BrightnessData(self.recipe, manifest)
        rows = data.rows(self.recipe.data.eval_split)

        def run(seen: Callable[[int], None], paper: Mapping[str, float]) -> tuple[Evaluation, Table]:
            state = BrightnessState(self.recipe, self.classes, self.layer)
            found = evaluate(state, [data.batch(rows)])
            seen(len(rows))
            lines: list[list[Cell]] = [[row.id, self._name(colours(manifest, row))] for row in rows]
            return found, Table("Predictions", ["id", "predicted"], lines)

        return Examination(len(rows), f"{len(rows)} clips", {}, run)

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Name the colour of a clip."""
        manifest = manifest_of(path, audio)
        name = self._name(colours(manifest, manifest.rows[0]))
        name = name.upper() if self.recipe.predict.loud else name
        files = {"_colour.txt": lambda target: write_text(target, name)}
        return Prediction(name, [[name]], {"colour": name}, files)

    @torch.no_grad()
    def _name(self, values: Tensor) -> str:
        return self.classes[int(self.layer(self.recipe.model.scale * values).argmax())]

    def export(self, path: Path) -> Exported:
        """Refuse: a layer of three numbers needs no other program."""
        raise UsageError(f"{path}: a brightness network is not exported.")


def owns(path: Path) -> bool:
    """Return True for weights of this task."""
    return read_metadata(path).get("format") == "brightness"


def load(path: Path, recipe: BrightnessRecipe | None, device: torch.device) -> TrainedBrightness:
    """Load the layer and the recipe that its file holds."""
    about = read_metadata(path)
    values = json.loads(about["recipe"])
    values["rows"] = {values["default_row"]: {"title": values["default_row"]}}
    known = check_recipe(values, path, BrightnessRecipe)
    classes = json.loads(about["classes"])
    layer = network(known, len(classes))
    layer.load_state_dict(read_state(path))
    return TrainedBrightness(known, classes, layer.eval())
