"""`asgm eval`: evaluate a trained network, or tabulate the runs of a recipe beside the paper's numbers."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asgmcli.data.manifest import Manifest
from asgmcli.errors import AsgmError, DataError, InterruptedByKeyboard, UsageError
from asgmcli.options import answers_option, json_option, refuse_to_replace, runs_option, weights_option
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.ranks.launch import Launch
    from asgmcli.recipe.sections import Data
    from asgmcli.runs.on_demo import RecipeFile
    from asgmcli.runs.target import Found
    from asgmcli.train.task import Trained

FOLDER = "name another folder with --out"


@dataclass(frozen=True)
class EvalOptions:
    """The user's options; None where the recipe decides."""

    split: str | None
    manifest: Path | None
    clips: int | None
    crops: int | None
    batch: int | None
    workers: int | None
    device: str
    beside: str | None
    out: Path | None
    overwrite: bool
    changes: tuple[str, ...]
    weights: tuple[tuple[str, Path], ...]


@click.command("eval", short_help="measure a run, a weight file, or a recipe beside the paper")
@click.argument("target", type=click.Path(path_type=Path))
@click.option("--split", help="Which clips, a split of the manifest.  [default: the recipe's data.eval_split]")
@click.option(
    "--data", "manifest", type=click.Path(path_type=Path), help="Another manifest of the same classes, or its folder."
)
@click.option("--clips", type=click.IntRange(1, 1024), help="Clips spread over each video.  [default: the recipe's]")
@click.option("--crops", type=click.Choice(["1", "3"]), help="Crops of each clip.  [default: the recipe's]")
@click.option("--batch", type=click.IntRange(1, 65_536), help="Videos, or frames, at once.  [default: the recipe's]")
@click.option("--workers", type=click.IntRange(0, 1024), help="Processes that decode.  [default: the recipe's]")
@answers_option
@weights_option
@device_option
@click.option(
    "--localizer",
    "beside",
    type=click.Choice(["motion"]),
    help="Of a localizer: measure also the motion localizer, which needs no training, on the same frames.",
)
@click.option("--on-demo", is_flag=True, help="Of a recipe: its runs on the demo data, without the paper's numbers.")
@runs_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the results.  [default: <run>/eval-<split>; of a recipe RUNS/<recipe>]",
)
@click.option("--overwrite", is_flag=True, help="Replace results that are there.")
@json_option
def command(target: Path, crops: str | None, on_demo: bool, runs: Path, as_json: bool, **given: Any) -> None:
    """Evaluate TARGET: the folder of a run, a weight file, or a recipe (a file, or a name of `asgm recipes`).

    Recognizer: top-1, top-5, every class, the confusion matrix and each clip's prediction, over several clips and crops
    of each video. Localizer: its maps against the true boxes. Recipe: its finished runs beside the paper's numbers, as
    table and picture.

    \b
    asgm eval runs/demo/asgm_former/seed0
    asgm eval runs/demo/asgm_former/seed0/model.safetensors --data other/manifest.csv --out evaluated
    asgm eval recipes/demo.yaml
    torchrun --nproc-per-node=4 -m asgmcli eval runs/demo/asgm_former/seed0
    """
    from asgmcli.console import make_console
    from asgmcli.ranks.launch import find_launch, one_voice
    from asgmcli.recipe.shipped import find_recipe
    from asgmcli.runs.on_demo import RecipeFile
    from asgmcli.runs.target import is_recipe

    launch = find_launch()
    console = make_console(quiet=launch.rank > 0)
    options = EvalOptions(**given, crops=int(crops) if crops else None)
    with one_voice(launch), interruptible("Stopped; nothing was written."):
        target = target if target.exists() else find_recipe(target)
        gathering = is_recipe(target)
        if on_demo and not gathering:
            raise UsageError(f"--on-demo gathers a recipe's runs; {target} is not a recipe.")
        if gathering and launch.several:
            raise UsageError("The table of a recipe's runs is one process's work: call it without torchrun.")
        if gathering:
            result = _gather(RecipeFile(target, on_demo), runs, options, console)
        else:
            result = _evaluate(target, options, console, launch)
    if as_json and launch.rank == 0:
        click.echo(json.dumps(result))


def _gather(file: RecipeFile, runs: Path, options: EvalOptions, console: Console) -> dict[str, object]:
    """Return the finished runs of a recipe."""
    from asgmcli.recipe.shipped import spoken
    from asgmcli.runs.gather import gather
    from asgmcli.runs.sweep import summary_data

    if any(value is not None for value in (options.split, options.manifest, options.clips, options.crops)):
        raise UsageError("--split, --data, --clips and --crops are for one network; name a run instead of a recipe.")
    found = gather(file, runs)
    recipe = found.recipe
    if options.out is not None:
        refuse_to_replace([options.out / name for name in found.outputs], options.overwrite, FOLDER)
    folder = options.out or runs / recipe.name
    outputs = found.write(folder)
    console.print(found.table.rich())
    for line in found.table.notes:
        console.print(line)
    if found.missing:
        seeds = [result["seed"] for result in found.results] or [recipe.seed]
        words = ["asgm train", spoken(file.path), *file.flags, "--row all"]
        words += [] if min(seeds) == recipe.seed else [f"--seed {min(seeds)}"]
        words += [f"--seeds {max(seeds) - min(seeds) + 1}"]
        words += [] if runs == Path("runs") else [f"--runs {runs}"]
        console.print(f"Train them: {' '.join(words)}")
        if recipe.cost:
            console.print(f"Cost: {' '.join(recipe.cost.split())}")
    console.print(f"Written to {folder}: {', '.join(path.name for path in outputs)}")
    return {
        **summary_data(found.table, found.results, found.left_out),
        "missing": found.missing,
        "unfinished": [str(run) for run in found.unfinished],
        "outputs": [str(output) for output in outputs],
    }


def _evaluate(path: Path, options: EvalOptions, console: Console, launch: Launch) -> dict[str, object]:
    """Evaluate one trained network, by all ranks; return the result on the first."""
    from asgmcli.ranks.device import choose_device
    from asgmcli.ranks.exchange import joined
    from asgmcli.runs.report import EvaluationReport, papers_numbers
    from asgmcli.runs.target import find_trained

    device = choose_device(options.device, launch)
    with joined(launch, device):
        found = find_trained(path)
        started = time.perf_counter()
        loaded = found.load(device, options.changes, dict(options.weights))
        if found.run is None and not loaded.data.dataset and options.manifest is None:
            text = f"{found.weights}: no run is around it to say on which clips to evaluate. Add --data MANIFEST."
            raise UsageError(text)
        loaded = _with_options(loaded, options)
        split = loaded.data.eval_split
        manifest = _open_manifest(loaded.data, found, options, console)
        examination = loaded.examine(manifest, options.beside)
        folder = _folder(found, manifest, split, options)
        for warning in examination.warnings:
            console.print(f"Warning: {warning}")
        console.print(f"{found.weights}: {examination.about} of {manifest.path} ({split})")
        paper = papers_numbers(found, manifest, split)
        with _progress(console, "evaluate", examination.count, None if launch.rank else folder) as seen:
            evaluation, lines = examination.run(seen, paper)
        if launch.rank:
            return {}
        evaluated = EvaluationReport(found, evaluation, lines, manifest, split, examination.views)
        result = {**evaluated.result(), "seconds": round(time.perf_counter() - started, 1)}
        outputs = evaluated.write(folder)
        evaluated.show(console)
    console.print(f"Written to {folder}: {', '.join(output.name for output in outputs)}")
    return {**result, "outputs": [str(output) for output in outputs]}


def _with_options(trained: Trained, options: EvalOptions) -> Trained:
    """Return the network with the recipe keys that the user changed: another split, other views, other workers.

    Raises:
        UsageError: the network's recipe has no such key.
    """
    from dataclasses import replace

    recipe: Any = trained.recipe
    # A recipe may keep its own data in memory; another manifest may be too large for that, and workers' copies are
    # lost with them.
    keep = False if options.manifest is not None or options.workers else None
    asked: dict[str, dict[str, Any]] = {
        "data": {"eval_split": options.split, "workers": options.workers, "keep_decoded": keep},
        "evaluate": {"clips": options.clips, "crops": options.crops, "batch": options.batch},
    }
    changes = {}
    for name, values in asked.items():
        section, given = getattr(recipe, name, None), _given(values)
        known = set(type(section).model_fields) if section is not None else set()
        for key in given:
            if key not in known and key != "keep_decoded":
                raise UsageError(f"--{key}: does not apply to a {recipe.task} network.")
        if section is not None:
            changes[name] = section.model_copy(update={key: value for key, value in given.items() if key in known})
    return replace(trained, recipe=recipe.model_copy(update=changes))  # type: ignore[type-var]


def _given(values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _open_manifest(data: Data, trained: Found, options: EvalOptions, console: Console) -> Manifest:
    """Open the manifest that the user named, or that of the recipe's `data`; warn if it has changed."""
    from asgmcli.data.manifest import read_manifest
    from asgmcli.prepare.source import manifest_path, open_manifest

    if options.manifest is not None:
        return read_manifest(options.manifest)
    if not manifest_path(data).exists():
        raise DataError(
            f"{manifest_path(data)}: the manifest is not here. Run in the folder where the run was trained, "
            "prepare the data again, or name a manifest with --data."
        )
    manifest = open_manifest(data)
    if trained.evaluated_on[0] not in (None, manifest.sha256):
        console.print(f"Warning: {manifest.path} is not the one that the run was evaluated on, it has changed since.")
    return manifest


def _folder(trained: Found, manifest: Manifest, split: str, options: EvalOptions) -> Path:
    """Return where the results go, checked before the work."""
    from asgmcli.runs.report import OUTPUTS
    from asgmcli.tasks import TASKS

    name = f"eval-{manifest.path.resolve().parent.name}-{split}" if options.manifest is not None else f"eval-{split}"
    if trained.run is not None and trained.weights.name != TASKS[trained.task].WEIGHTS:
        name = f"{name}-{trained.weights.stem}"  # beside what the run's own weights are judged
    folder = options.out or trained.weights.parent / name
    if (folder / "recipe.yaml").exists():
        raise UsageError(f"{folder} is a run; its own result is kept. Name another folder with --out.")
    refuse_to_replace([folder / file for file in OUTPUTS], options.overwrite, FOLDER)
    return folder


@contextmanager
def _progress(console: Console, title: str, total: int, folder: Path | None) -> Iterator[Callable[[int], None]]:
    """Yield a callback for progress: a bar on a terminal, lines elsewhere, status.json in `folder`.

    Raises:
        InterruptedByKeyboard: Ctrl-C.
        AsgmError: a loading process's error, without its traceback.
    """
    from asgmcli.progress import tracked
    from asgmcli.ranks.exchange import count_ranks

    done = 0
    try:
        with tracked(console, title, "eval", folder, transient=True) as tell:

            def seen(count: int) -> None:
                nonlocal done
                if folder is not None and not done:  # not where no clip can be read
                    folder.mkdir(parents=True, exist_ok=True)
                done = min(total, done + count * count_ranks())  # the others' shares are about as far
                tell(done, total)

            yield seen
    except KeyboardInterrupt:
        raise InterruptedByKeyboard(f"Stopped after {done} of {total}; nothing was written.") from None
    except AsgmError as error:
        # torch wraps what a process raises into its traceback, the message being at the end.
        name = f"{type(error).__name__}: "
        if "Traceback" in error.message and name in error.message:
            raise type(error)(error.message.rsplit(name, 1)[1].strip()) from None
        raise
