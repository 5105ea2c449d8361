"""Pages of a run, of a recipe's runs, and of a folder of runs, through what every task gives."""

from __future__ import annotations

import csv
import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console

from asgmcli.data.manifest import Manifest
from asgmcli.errors import AsgmError, DataError
from asgmcli.files import read_text
from asgmcli.prepare.source import manifest_path, open_manifest
from asgmcli.progress import spoken_time, tracked
from asgmcli.recipe.base import Recipe
from asgmcli.report.curves import training_curves
from asgmcli.report.page import Page, Picture, Section, read_picture
from asgmcli.report.table import Cell, Table
from asgmcli.runs.gather import gather
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.runs.report import numbers_table, papers_numbers, title_of
from asgmcli.runs.shown import show_clips
from asgmcli.runs.target import Found, find_trained
from asgmcli.train.log import read_metrics
from asgmcli.train.pace import CLOCK_KEYS
from asgmcli.train.run import Result, Run, run_of
from asgmcli.train.task import Trained

MOST_RUNS = 12
"""Runs of a folder whose curves are drawn."""
CURVES = "curves.png"
VERDICT = "verdict.json"


@dataclass(frozen=True)
class Maker:
    """The means that pages are made with.

    Attributes:
        clips: best clips that are shown, and as many of the worst; 0 evaluates nothing.
        out: the file that will be written; its status is kept beside it.
    """

    device: torch.device
    console: Console
    runs: Path
    clips: int
    out: Path | None = None


def run_page(folder: Path, maker: Maker) -> Page:
    """Return the page of a finished run.

    Raises:
        DataError: there is none, or it is not finished.
    """
    run = Run(folder)
    recipe, result = run.recipe(), run.result()
    if result is None:
        raise DataError(f"{folder}: the run is not finished. Go on with it: asgm train RECIPE --resume")
    paper = recipe.rows[recipe.default_row].paper
    numbers = numbers_table("", result["metrics"], paper, result.get("notes", ()))
    words = [recipe.about] if recipe.about else []
    sections = [Section("Result", words, [numbers]), *_verdict(folder), *run_sections(run, maker)]
    about = f"A run of asgm, task {recipe.task}."
    return Page(title_of(recipe), about, _facts(run, result), result.get("warnings", ()), sections)


def _verdict(folder: Path) -> list[Section]:
    """Return what `asgm train CLIPS` found of a run in words, where it did."""
    try:
        found = json.loads(read_text(folder / VERDICT))
        words = [f"{entry['question']} {entry['answer']}" for entry in found]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [Section("Verdict", words)]


def run_sections(run: Run, maker: Maker) -> list[Section]:
    """Return the sections of a run after its numbers: training, evaluation, clips, surroundings, how to repeat it."""
    drawn = sorted(path for path in run.folder.glob("*.png") if path.name != CURVES)
    training = Section("Training", _course(run), pictures=_curves(run))
    evaluation = _evaluation(run, maker) if maker.clips else []
    own = [] if evaluation else [Section("Pictures", pictures=[read_picture(path, path.stem) for path in drawn])]
    return [training, *evaluation, *own, _surroundings(run), _repeat(run)]


def recipe_page(file: RecipeFile, maker: Maker) -> Page:
    """Return the page of a recipe's finished runs beside the paper's numbers, and of one run of its default row.

    Raises:
        DataError: nothing is finished.
    """
    found = gather(file, maker.runs)
    recipe = found.recipe
    with tempfile.TemporaryDirectory() as folder:
        written = [path for path in found.write(Path(folder)) if path.suffix == ".png"]
        pictures = [read_picture(path, f"{path.stem.replace('_', ' ')}: {recipe.title}") for path in written]
    sections = [
        Section("Results", [recipe.about] if recipe.about else [], [found.table], pictures),
        Section("Runs", tables=[_runs_table(found.results)]),
    ]
    chosen = [result for result in found.results if result["row"] == recipe.default_row and "same_as" not in result]
    if chosen:
        own = recipe.model_copy(update={"seed": chosen[0]["seed"]})
        run = run_of(own, maker.runs)
        row = recipe.rows[recipe.default_row].title
        looked = run_sections(run, maker)
        words = f"From here on: one run, {row}, seed {own.seed} ({run.folder})."
        sections += [Section("One run", [words]), *looked]
    facts = {"Recipe": str(file.path), "Runs": f"{len(found.results)} finished, {len(found.unfinished)} not"}
    if recipe.cost:
        facts["Cost"] = " ".join(recipe.cost.split())
    warnings = [line for line in found.table.notes if line.startswith("Warning")]
    return Page(recipe.title, f"The runs of a recipe of asgm, task {recipe.task}.", facts, warnings, sections)


def folder_page(folder: Path) -> Page:
    """Return the page of all finished runs below a folder: their numbers and curves.

    Raises:
        DataError: there is none.
    """
    runs = [Run(path.parent) for path in sorted(folder.rglob("seed*/result.json")) if Run(path.parent).result()]
    if not runs:
        raise DataError(f"{folder}: no finished run below it. Name a run, a recipe, or a folder of runs.")
    results = [result for run in runs if (result := run.result()) is not None]
    pictures = [picture for run in runs[:MOST_RUNS] for picture in _curves(run)]
    rest = [f"Curves of {MOST_RUNS} of {len(runs)} runs."] if len(runs) > MOST_RUNS else []
    warnings = [
        f"{result['recipe']}/{result['row']} seed {result['seed']}: {text}"
        for result in results
        for text in result.get("warnings", ())
    ]
    sections = [Section("Runs", tables=[_runs_table(results)]), Section("Training", rest, pictures=pictures)]
    sections.append(_surroundings(runs[0]))
    facts = {"Folder": str(folder), "Runs": f"{len(runs)} finished"}
    return Page(f"Runs in {folder.name or folder}", "Finished runs of asgm.", facts, warnings, sections)


def _runs_table(results: Sequence[Result]) -> Table:
    """Return a line a run: recipe, row, seed and every metric."""
    metrics = list(dict.fromkeys(name for result in results for name in result["metrics"]))
    lines: list[list[Cell]] = [
        [result["recipe"], result["row"], result["seed"], *(result["metrics"].get(name) for name in metrics)]
        for result in results
    ]
    return Table("Finished runs, percent", ["recipe", "row", "seed", *metrics], lines)


def _facts(run: Run, result: Result) -> dict[str, str]:
    facts = {"Folder": str(run.folder)}
    data = run.recipe().data_sets()
    if data:
        facts["Data"] = ", ".join(dict.fromkeys(str(manifest_path(item)) for item in data))
    facts |= {name.capitalize(): str(value) for name, value in result.get("data", {}).items() if _is_count(value)}
    environment = _environment(run)
    if commit := environment.get("commit"):
        facts["Commit"] = f"{commit}{' with changes' if environment.get('changed') else ''}"
    return facts


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _course(run: Run) -> list[str]:
    result = run.result()
    if result is None or "steps" not in result:
        return []
    text = f"{result['steps']} steps in {spoken_time(result.get('seconds'))}"
    words = [f"{text}, {result.get('clips_per_second', 0)} clips a second."]
    if kept := result.get("kept"):
        words.append(f"Kept: epoch {kept.get('epoch')}, {kept.get('metric')} {kept.get('value')}.")
    if failures := result.get("failures"):
        words.append(f"{len(failures)} clips could not be decoded and were replaced: {failures[0]}")
    return words


def _curves(run: Run) -> list[Picture]:
    """Return a run's training curves, drawn anew where the run has none."""
    lines = read_metrics(run.metrics_path)
    if not lines:
        return []
    last = {name: value for line in lines for name, value in line.items() if isinstance(value, (int, float))}
    told = ", ".join(f"{name} {value:.4g}" for name, value in last.items() if name not in CLOCK_KEYS)
    alt = f"Training curves. At the end: {told}"
    name = "/".join(run.folder.parts[-3:])
    if (run.folder / CURVES).exists():
        return [read_picture(run.folder / CURVES, alt, name)]
    with tempfile.TemporaryDirectory() as folder:
        return [read_picture(training_curves(lines, Path(folder) / CURVES, title=name), alt, name)]


def _evaluation(run: Run, maker: Maker) -> list[Section]:
    """Return tables, figures and clips of the run's network on its evaluation split; why not, where it cannot be."""
    try:
        found = find_trained(run.folder)
        trained = found.load(maker.device)
        manifest = open_manifest(trained.data)
        tables, pictures, lines = _examined(found, trained, manifest, maker)
        with tracked(maker.console, "clips", "report", beside=maker.out) as seen:
            clips = show_clips(trained, manifest, lines, maker.clips, seen)
    except AsgmError as error:  # data that are gone, a start without answers
        return [Section("Evaluation", [f"Not evaluated anew: {error.message}"])]
    split = trained.data.eval_split
    about = f"Split {split} of {manifest.path}, {len(lines.rows)} lines."
    words = "Best and worst clips, by what the evaluation says of each. Their first seconds, with sound."
    plain = "Some clips with the answer; the evaluation does not say which are best. Their first seconds, with sound."
    ranked = any(clip.good is not None for clip in clips)
    return [
        Section("Evaluation", [about], tables, pictures),
        Section("Clips", [words if ranked else plain], clips=clips),
    ]


def _examined(
    found: Found, trained: Trained, manifest: Manifest, maker: Maker
) -> tuple[list[Table], list[Picture], Table]:
    """Return tables, figures and lines of the evaluation: those that `asgm eval` left, or measured now."""
    split = trained.data.eval_split
    stored = _stored(found.weights.parent / f"eval-{split}", manifest)
    if stored is not None:
        return stored
    examination = trained.examine(manifest)
    with tracked(maker.console, "evaluate", "report", beside=maker.out, later=("clips",)) as tell:
        done = 0

        def seen(count: int) -> None:
            nonlocal done
            done = min(examination.count, done + count)
            tell(done, examination.count)

        evaluation, lines = examination.run(seen, papers_numbers(found, manifest, split))
    with tempfile.TemporaryDirectory() as folder:
        pictures = []
        for name, draw in evaluation.figures.items():
            draw(Path(folder) / f"{name}.png")
            pictures.append(read_picture(Path(folder) / f"{name}.png", f"{name.replace('_', ' ')}", name))
    return list(evaluation.tables.values()), pictures, lines


def _stored(folder: Path, manifest: Manifest) -> tuple[list[Table], list[Picture], Table] | None:
    """Return what `asgm eval` wrote to `folder`; None if it was of other clips, or is not all there."""
    try:
        result = json.loads(read_text(folder / "result.json"))
        if result["data"]["manifest"] != manifest.sha256:
            return None
        tables = [
            Table(table["title"], table["columns"], table["rows"], note=table["note"], notes=table["notes"])
            for table in result["tables"].values()
        ]
        header, *rows = csv.reader(read_text(folder / "predictions.csv").splitlines())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    drawn = [path for path in sorted(folder.glob("*.png")) if path.name != CURVES]
    lines = Table("", header, [[_cell(text, number) for number, text in enumerate(row)] for row in rows])
    return tables, [read_picture(path, path.stem, path.stem) for path in drawn], lines


def _cell(text: str, column: int) -> Cell:
    """Return a field of a CSV as the number that it is; ids stay text."""
    if column == 0:
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _environment(run: Run) -> Mapping[str, object]:
    try:
        found: Mapping[str, object] = json.loads(read_text(run.folder / "environment.json"))
    except (OSError, ValueError):
        return {}
    return found


def _surroundings(run: Run) -> Section:
    found = _environment(run)
    rows: list[list[Cell]] = [
        [name, str(value)] for name, value in found.items() if isinstance(value, (str, int, bool)) or value is None
    ]
    packages = found.get("packages")
    folded = {}
    if isinstance(packages, Mapping):
        folded["Versions of all packages"] = "\n".join(f"{name}=={version}" for name, version in packages.items())
    return Section("Environment", tables=[Table("", ["what", "value"], rows)] if rows else [], folded=folded)


def _repeat(run: Run) -> Section:
    """Return the commands that repeat a run, and its recipe."""
    recipe: Recipe = run.recipe()
    command = _environment(run).get("command")
    commands = [shlex.join(map(str, command))] if isinstance(command, list) else []
    commands.append(f"asgm train recipe.yaml --seed {recipe.seed}   # with the recipe below as recipe.yaml")
    commands.append(f"asgm eval {shlex.quote(str(run.folder))}")
    words = ["The command that made it; the same settings from the recipe alone; the evaluation again."]
    return Section("How to repeat it", words, commands=commands, folded={"recipe.yaml": read_text(run.recipe_path)})
