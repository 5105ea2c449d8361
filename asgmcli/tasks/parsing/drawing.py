"""Figures of video parsing: how often each class is heard and seen, a clip's timeline, the F-score of each class."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from asgmcli.data.manifest import Manifest
from asgmcli.data.segments import read_segments
from asgmcli.errors import DataError
from asgmcli.files import write_text
from asgmcli.media.seconds import SECONDS, count_windows
from asgmcli.metrics.parsing_segments import class_scores, f_score, three_kinds
from asgmcli.prepare.source import open_manifest
from asgmcli.recipe.parsing_figure import ParsingFigureRecipe
from asgmcli.report.style import ACCENT, BLUE, LINES, new_figure, save_figure
from asgmcli.report.table import Cell, Table
from asgmcli.report.timeline import TimelineClip, draw_timelines
from asgmcli.tasks.parsing.evaluate import Answers, decoded
from asgmcli.tasks.parsing.figures import pictures_of, tracks_of
from asgmcli.tasks.parsing.load import load
from asgmcli.tasks.parsing.truth import Truth, Window, truth_of, windows_of
from asgmcli.train.run import Result, Run
from asgmcli.train.task import Context
from asgmcli.train.weights import PARSING_WEIGHTS

PICTURES: tuple[str, ...] = ("figure.png", "figure.svg")
KINDS = ("heard", "seen", "both")
COLOURS = (BLUE, LINES[2], ACCENT)


@dataclass(frozen=True)
class Known:
    """Truth of the windows of a split."""

    manifest: Manifest
    windows: list[Window]
    truth: Truth


def check(recipe: ParsingFigureRecipe) -> Known:
    """Open the data set.

    Raises:
        DataError: it is missing, or does not say when its events happen in this split.
    """
    manifest = open_manifest(recipe.data)
    rows = manifest.of_split(recipe.split)
    windows = [window for row in rows for window in windows_of(row, count_windows(row.duration))]
    truth = truth_of(manifest, windows, read_segments(manifest))
    if truth.events is None:
        raise DataError(f"{manifest.path}: nothing says when the events of split {recipe.split!r} happen.")
    return Known(manifest, windows, truth)


def draw(recipe: ParsingFigureRecipe, run: Run, context: Context) -> Drawing:
    """Make the drawing ready; see `Drawing`."""
    return Drawing(recipe, run, context)


class Drawing:
    """Made ready in its constructor, where what a user can have got wrong is found, drawn by `fit`.

    Raises:
        DataError: the data set, the clip or a run is missing.
    """

    def __init__(self, recipe: ParsingFigureRecipe, run: Run, context: Context) -> None:
        self.recipe, self.run = recipe, run
        self.known = check(recipe)
        paths = [context.weights_of(source, PARSING_WEIGHTS) for source in recipe.runs]
        self.answers = [
            (source.title or source.row or str(source.recipe or source.file), self._answers(path, context))
            for source, path in zip(recipe.runs, paths, strict=True)
            if path is not None
        ]
        self.place = _place(recipe, self.known) if recipe.picture.kind == "timeline" else 0

    def _answers(self, path: Path, context: Context) -> tuple[Answers, NDArray[np.bool_]]:
        trained = load(path, None, context.device)
        answers = trained.answers(self.known.manifest, self.recipe.split)
        return answers, decoded(trained.recipe.evaluate, answers)

    def fit(self) -> Result:
        """Draw, and write result.json; its content is returned."""
        kinds: dict[str, Callable[[], tuple[Callable[[Path], object], Table, dict[str, float]]]] = {
            "distribution": self._distribution,
            "timeline": self._timeline,
            "classes": self._classes,
        }
        picture, table, metrics = kinds[self.recipe.picture.kind]()
        for name in PICTURES:
            picture(self.run.folder / name)
        write_text(self.run.folder / "figure.md", table.markdown())
        result: Result = {
            "task": self.recipe.task,
            "recipe": self.recipe.name,
            "row": self.recipe.default_row,
            "seed": self.recipe.seed,
            "data": {"dataset": self.recipe.data.dataset, "manifest": self.known.manifest.sha256},
            "metrics": metrics,
        }
        write_text(self.run.result_path, json.dumps(result, indent=2) + "\n")
        return result

    def _distribution(self) -> tuple[Callable[[Path], object], Table, dict[str, float]]:
        """Count the clips in which each class is heard, seen, and both in one second."""
        events = self.known.truth.events
        assert events is not None
        counts = three_kinds(events).any(axis=-1).sum(axis=0)  # [3, C]
        lines: list[list[Cell]] = [
            [name, *map(int, counts[:, place])] for place, name in enumerate(self.known.manifest.classes)
        ]
        lines.append(["all", *map(int, counts.sum(axis=1))])
        metrics = dict(zip(KINDS, map(float, counts.sum(axis=1)), strict=True))
        names = self.known.manifest.classes

        def make() -> Figure:
            return _bars(self.recipe.title, names, counts)

        return lambda path: save_figure(path, make), Table(self.recipe.title, ["class", *KINDS], lines), metrics

    def _timeline(self) -> tuple[Callable[[Path], object], Table, dict[str, float]]:
        """Draw a clip's events beside the truth."""
        known, place = self.known, self.place
        title, (answers, grid) = self.answers[0]
        window = known.windows[place]
        assert known.truth.events is not None
        classes = known.manifest.classes
        tracks = tracks_of(grid[place], answers.frame[place], known.truth.events[place], classes)
        frames, wave = pictures_of(known.manifest, window.row, window.place)
        clip = TimelineClip(f"{window.row.id}, by {title}", float(SECONDS), tracks, frames, wave)
        lines: list[list[Cell]] = [
            [track.title, span.label, span.start, span.end] for track in tracks for span in track.spans
        ]
        table = Table(window.row.id, ["track", "label", "start", "end"], lines)
        return lambda path: draw_timelines([clip], path, title=self.recipe.title, labels=classes), table, {"clips": 1.0}

    def _classes(self) -> tuple[Callable[[Path], object], Table, dict[str, float]]:
        """Draw the F-score of each class in each run, of the sound at the left and of the picture at the right."""
        events = self.known.truth.events
        assert events is not None
        score = class_scores if self.recipe.picture.average == "pooled" else mean_class_scores
        values = [100 * score(grid, events) for _, (_, grid) in self.answers]
        titles = [title for title, _ in self.answers]
        names = self.known.manifest.classes
        lines: list[list[Cell]] = [
            [name, *(None if np.isnan(v[k, place]) else float(v[k, place]) for k in range(2) for v in values)]
            for place, name in enumerate(names)
        ]
        columns = ["class", *(f"{title}, {kind}" for kind in KINDS[:2] for title in titles)]
        metrics = {f"{title}_{kind}": float(np.nanmean(v[k])) for k, kind in enumerate(KINDS[:2]) for title, v in
                   zip(titles, values, strict=True)}  # fmt: skip

        def make() -> Figure:
            return _two_sides(self.recipe.title, names, values, titles)

        return lambda path: save_figure(path, make), Table(self.recipe.title, columns, lines), metrics


def mean_class_scores(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return [3, C]: the mean of a class's F over the clips that have it or are said to."""
    guess, true = three_kinds(predicted), three_kinds(truth)
    values = f_score(2 * (guess & true).sum(-1), (guess ^ true).sum(-1))
    count = (~np.isnan(values)).sum(axis=0)
    means: NDArray[np.float64] = np.where(count > 0, np.nansum(values, axis=0) / np.maximum(count, 1), np.nan)
    return means


def _place(recipe: ParsingFigureRecipe, known: Known) -> int:
    """Return the number of the window that the recipe asks for.

    Raises:
        DataError: there are not so many.
    """
    wanted, events = recipe.example, known.truth.events
    assert events is not None
    if wanted.label is not None and wanted.label not in known.manifest.classes:
        raise DataError(f"{known.manifest.path}: no class {wanted.label!r}.")
    whole = np.any(events, axis=-1)  # [N, 2, C]
    if wanted.label is not None:
        number = known.manifest.classes.index(wanted.label)
        whole = whole[:, :, number : number + 1]
    there = np.any(whole, axis=-1)
    good = there.any(axis=1)
    if wanted.modality != "any":
        own = ("audio", "visual").index(wanted.modality)
        good = there[:, own] & ~there[:, 1 - own]
    found = np.flatnonzero(good)
    if wanted.number >= len(found):
        raise DataError(
            f"{known.manifest.path}: {len(found)} such clips, example.number {wanted.number} is none of them."
        )
    return int(found[wanted.number])


def _bars(title: str, names: list[str], counts: NDArray[np.int64]) -> Figure:
    figure = new_figure(height=0.8 + 0.27 * len(names))
    axes = figure.add_subplot()
    order = np.argsort(-counts[0], kind="stable")
    for kind, (row, colour) in enumerate(zip(counts, COLOURS, strict=True)):
        place = np.arange(len(names)) + (kind - 1) * 0.27
        axes.barh(place, row[order], 0.25, color=colour, label=f"{KINDS[kind]}, {int(row.sum())}")
    _names(axes, [names[number] for number in order])
    axes.set(title=title, xlabel="clips")
    axes.legend(loc="lower right")
    return figure


def _two_sides(title: str, names: list[str], values: list[NDArray[np.float64]], titles: list[str]) -> Figure:
    figure = new_figure(height=0.9 + 0.24 * len(names))
    for side, kind in enumerate(KINDS[:2]):
        axes = figure.add_subplot(1, 2, side + 1)
        for number, (one, name) in enumerate(zip(values, titles, strict=True)):
            place = np.arange(len(names)) + (number - (len(values) - 1) / 2) * 0.4
            axes.barh(place, np.nan_to_num(one[side]), 0.36, color=COLOURS[2 * number], label=name)
        _names(axes, names if side == 0 else [""] * len(names))
        axes.set(title=f"{kind}", xlabel="F-score, percent", xlim=(0, 100))
        if side == 1:
            figure.legend(*axes.get_legend_handles_labels(), loc="outside lower right", ncols=len(titles))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
