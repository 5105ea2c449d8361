"""Load what parses videos, evaluate it on any manifest with features, and ask it about a file."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest
from asgmcli.data.segments import Span
from asgmcli.errors import DataError, UsageError
from asgmcli.nn.mmil import ParsingNetwork
from asgmcli.nn.parsing_weights import GLOBAL_FILE, GROUNDING_FILE, HAN_FILE, POOLING_FILE, kind_of_file
from asgmcli.nn.state import read_metadata, read_state
from asgmcli.nn.weights import load_parsing
from asgmcli.recipe.base import Row
from asgmcli.recipe.parsing import (
    AdversarialLoss,
    FeatureData,
    ParsingLosses,
    ParsingModel,
    ParsingRecipe,
    TransformerSize,
)
from asgmcli.report.table import Cell, Table
from asgmcli.tasks.parsing.data import Split as WindowSplit
from asgmcli.tasks.parsing.data import batches_of, open_stores, read_split
from asgmcli.tasks.parsing.evaluate import Answers, answer, chance_of, decoded, evaluation_of, exchange
from asgmcli.tasks.parsing.figures import case_figures, scores_of_windows, spans_of
from asgmcli.tasks.parsing.model import FROZEN_WEIGHTS, network_of
from asgmcli.tasks.parsing.tokens import with_tokens
from asgmcli.tasks.parsing.truth import MODALITIES
from asgmcli.train.batches import watched
from asgmcli.train.task import Evaluation, Examination, Exported, Prediction
from asgmcli.train.weights import PARSING_FORMAT, described, stored_recipe

COLUMNS = ("start", "end", "label", "modality", "probability")


@dataclass(frozen=True)
class TrainedParser:
    """A trained network that parses, and the recipe that defines its evaluation.

    Attributes:
        recipe: of its run.
        network: on `device`.
        classes: in index order.
        dims: widths of its inputs: sound, picture, motion.
        maker: what made the features that it learnt from.
        folder: of its weight file.
        weights: files of the networks that make features, by name.
    """

    recipe: ParsingRecipe
    network: ParsingNetwork
    classes: list[str]
    dims: tuple[int, int, int]
    device: torch.device
    maker: Mapping[str, object]
    folder: Path
    weights: Mapping[str, Path] = field(default_factory=dict)

    @property
    def frozen(self) -> Path | None:
        """Return the file of the transformer whose tokens the network takes in place of sound and picture."""
        return self.folder / FROZEN_WEIGHTS if self.recipe.model.pretrained == "features" else None

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of a prediction's lines: seconds, class, and whether it is heard or seen."""
        return COLUMNS

    @property
    def data(self) -> FeatureData:
        """Return the data set of its evaluation."""
        return self.recipe.data

    def examine(self, manifest: Manifest, beside: str | None = None) -> Examination:
        """See `Trained.examine`.

        Raises:
            DataError: the manifest has other classes, or no features as the network takes them.
            UsageError: `beside` is given.
        """
        if beside is not None:
            raise UsageError(f"{beside} is not measured beside a parsing network.")
        split = self._split(manifest, self.recipe.data.eval_split)

        def run(seen: Callable[[int], None], paper: Mapping[str, float]) -> tuple[Evaluation, Table]:
            batches = watched(batches_of(split, self.recipe.evaluate.batch), seen)
            answers = answer(self.network, batches, self.device)
            beside = exchange(self.network, split, self.recipe.evaluate, self.device, answers)
            if answers is None:
                return Evaluation({}), Table("", [], [])
            evaluation, lines = self._judged(answers, manifest)
            evaluation.metrics.update(beside.metrics)
            evaluation.tables.update(beside.tables)
            return evaluation, lines

        about = f"{len(split)} windows{official(manifest, self.recipe.data.eval_split)}"
        return Examination(len(split), about, {}, run)

    def answers(self, manifest: Manifest, split: str) -> Answers:
        """Return the answers for the windows of a split, in one process.

        Raises:
            DataError: see `examine`.
        """
        found = answer(self.network, batches_of(self._split(manifest, split), self.recipe.evaluate.batch), self.device)
        assert found is not None
        return found

    def _split(self, manifest: Manifest, name: str) -> WindowSplit:
        """Return a split's windows with the features that the network takes."""
        if manifest.classes != self.classes:
            raise DataError(f"{manifest.path}: other classes than the {len(self.classes)} that the network knows.")
        stores = open_stores(self.recipe, manifest)
        if stores.dims != self.dims:
            raise DataError(f"{stores.audio.path.parent}: features {stores.dims} wide; the network takes {self.dims}.")
        if self.frozen is not None:
            stores = with_tokens(self.recipe, manifest, stores, self.frozen, self.device)
        return read_split(self.recipe, manifest, stores, name)

    def _judged(self, answers: Answers, manifest: Manifest) -> tuple[Evaluation, Table]:
        """Return what is measured of answers, and their lines."""
        found = evaluation_of(self.recipe.evaluate, answers, self.classes, chance_of(answers))
        if answers.events is not None:
            found.figures.update(case_figures(self.recipe.evaluate, answers, manifest))
        return found, _lines(decoded(self.recipe.evaluate, answers), answers, self.classes)

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        """Tell what is heard and seen in a file of any length, see `tasks.parsing.ask`.

        Raises:
            MediaError: the file cannot be read.
            DataError: the networks that make its features are not there.
        """
        from asgmcli.tasks.parsing.ask import ask

        return ask(self, path, audio)

    def with_weights(self, files: Mapping[str, Path]) -> TrainedParser:
        """Return it with the weight files of the networks that make features.

        Raises:
            UsageError: it needs no network of such a name.
        """
        from asgmcli.tasks.parsing.ask import known_networks

        known = known_networks(self)
        if wrong := [name for name in files if name not in known]:
            raise UsageError(
                f"--weights {wrong[0]}: its features are made by {', '.join(known) or 'its own networks'}."
            )
        return replace(self, weights={**self.weights, **files})

    def export(self, path: Path) -> Exported:
        """Write the network as ONNX: features of sound, picture and motion in, probabilities out.

        Raises:
            UsageError: a package that this needs is not installed.
            DataError: the file cannot be written, or gives other probabilities.
        """
        from asgmcli.tasks.parsing.export import export_onnx

        return export_onnx(self, path)


def _lines(grid: NDArray[np.bool_], answers: Answers, classes: Sequence[str]) -> Table:
    """Return a line an event that the network tells, and a line a true one where these are known.

    The last column is then how well its window is parsed, see `scores_of_windows`.
    """
    truth = answers.events
    scores = None if truth is None else scores_of_windows(grid, truth)
    lines: list[list[Cell]] = []
    for number, (name, place) in enumerate(zip(answers.ids, answers.places, strict=True)):
        for kind, modality in enumerate(MODALITIES):
            told = spans_of(grid[number, kind], answers.frame[number, :, kind], classes, modality)
            events: list[list[Cell]] = [[*_event(span), round(span.probability, 4)] for span in told]
            if truth is not None and scores is not None:
                known = spans_of(truth[number, kind], None, classes, modality)
                score = round(float(scores[number]), 4)
                events = [[*event, "predicted", score] for event in events]
                events += [[*_event(span), None, "true", score] for span in known]
            lines += [[name, place, *event] for event in events]
    return Table("Predictions", ["id", "window", *COLUMNS, *(["kind", "f"] if truth is not None else [])], lines)


def _event(span: Span) -> list[Cell]:
    return [span.start, span.end, span.label, span.modality]


def official(manifest: Manifest, split: str) -> str:
    """Return how many clips the lists of a data set name beside those that are there, and how many of these have
    features of our own; "" where no list says so."""
    try:
        summary = json.loads((manifest.folder / "summary.json").read_text(encoding="utf-8"))
        listed = int(summary["listed"][split])
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    rows = manifest.of_split(split)
    own = sum("extracted" in row.note.split("; ") for row in rows)
    return f": {len(rows)} of {listed} {split} clips, {own} of them with our own features"


def owns(path: Path) -> bool:
    """Return True for a network that training wrote, or a released checkpoint of HAN or a parser."""
    if read_metadata(path).get("format") is not None:
        return read_metadata(path).get("format") == PARSING_FORMAT
    tensors = read_state(path)
    return bool(kind_of_file(tensors)) and "fc_prob.weight" in tensors


def load(path: Path, recipe: ParsingRecipe | None, device: torch.device) -> TrainedParser:
    """Load a network that parses; of a released checkpoint, kind and sizes are read off its tensors.

    Raises:
        DataError: the file is missing, broken, or not of a network that parses.
    """
    about = read_metadata(path)
    tensors = read_state(path)
    if about.get("format") == PARSING_FORMAT:
        with described(path):
            known = recipe or stored_recipe(about, path, ParsingRecipe)
            classes, dims = json.loads(about["classes"]), tuple(json.loads(about["dims"]))
            maker = json.loads(about["maker"])
    else:
        known, classes, dims, maker = _released(path, tensors)
    network = network_of(known, len(classes), dims)
    load_parsing(network, tensors)
    return TrainedParser(known, network.to(device).eval(), classes, dims, device, maker, path.parent)


def _released(
    path: Path, tensors: Mapping[str, torch.Tensor]
) -> tuple[ParsingRecipe, list[str], tuple[int, int, int], dict[str, object]]:
    """Return what a released checkpoint says of itself; whether it skips cannot be read off, `adv_skip_gcaa` does."""
    from asgmcli.prepare.datasets.llp import CLASSES

    kind = kind_of_file(tensors)
    if not kind or "fc_prob.weight" not in tensors:
        raise DataError(f"{path} holds no network that parses videos.")
    classes, dim = tensors["fc_prob.weight"].shape
    names = list(CLASSES) if classes == len(CLASSES) else [f"class {number}" for number in range(classes)]
    model = ParsingModel(kind="parser", dim=dim, attention="global" if kind == GLOBAL_FILE else "multihead", skip=True)
    dims = tuple(tensors[f"{name}.weight"].shape[1] for name in ("fc_a", "fc_v", "fc_st"))
    if kind == HAN_FILE:
        model = ParsingModel(kind="han", dim=dim)
    elif kind == POOLING_FILE:
        model = ParsingModel(kind="pooling", dim=dim)
    elif kind == GROUNDING_FILE:
        model, dims = _grounding(tensors, dim)
    adversarial = AdversarialLoss(weight=0.4 if any(name.startswith("mod_classifier.") for name in tensors) else 0.0)
    recipe = ParsingRecipe(
        name="parsing",
        task="parsing",
        title=path.stem,
        default_row="released",
        rows={"released": Row(title=path.stem)},
        data=FeatureData(dataset=""),
        model=model,
        losses=ParsingLosses(adversarial=adversarial),
    )
    return recipe, names, dims, {"maker": "released"}  # type: ignore[return-value]


def _grounding(tensors: Mapping[str, torch.Tensor], dim: int) -> tuple[ParsingModel, tuple[int, int, int]]:
    """Return the sizes of a grounding transformer; its heads are not in the file: 8, or as many as divide its width."""
    names = ("audio_embeddings.audio_linear", "rgb_embeddings.img_linear", "r2p1d_embeddings.img_linear")
    shapes = [tensors[f"uniter.{name}.weight"].shape for name in names]
    width = shapes[0][0]
    layers = {name.split(".")[3] for name in tensors if name.startswith("uniter.encoder.layer.")}
    hidden = tensors["uniter.encoder.layer.0.intermediate.dense.weight"].shape[0]
    heads = next(count for count in (8, 4, 2, 1) if width % count == 0)
    size = TransformerSize(dim=width, depth=len(layers), heads=heads, hidden=hidden)
    dims = (shapes[0][1], shapes[1][1], shapes[2][1])
    return ParsingModel(kind="grounding", dim=dim, transformer=size), dims
