"""`asgm train`: train a recipe's rows, from making what is missing to the final table."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asgmcli.commands.train_own import OwnWish, is_own, name_of, own_options, run_title, see_no_row, train_own
from asgmcli.loading import check_imports
from asgmcli.options import runs_option
from asgmcli.ranks.device import device_option
from asgmcli.signals import interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.ranks.launch import Launch
    from asgmcli.recipe.base import Recipe
    from asgmcli.runs.on_demo import RecipeFile
    from asgmcli.runs.session import Session
    from asgmcli.runs.shares import Shares
    from asgmcli.train.run import Result, Run

ALL_ROWS = "all"
MODULES = ("torch", "torchvision", "av", "torchmetrics.functional.classification", "matplotlib.figure")


@click.command("train", short_help="train a recipe, or on your own clips, and judge it")
@click.argument("recipe", metavar="RECIPE|CLIPS", type=click.Path(path_type=Path))
@click.option("--row", help="Row to train; `all` for every row.  [default: the recipe's default_row]")
@click.option("--seed", type=int, help="Seed of the draw of labels, views and weights.  [default: the recipe's]")
@click.option("--seeds", type=click.IntRange(1, 10_000), default=1, show_default=True, help="Train this many seeds.")
@click.option("--set", "overrides", multiple=True, metavar="KEY.PATH=VALUE", help="Override a recipe key; repeatable.")
@click.option("--of-all-rows", is_flag=True, hidden=True)  # `--row all` says so to the processes of its rows
@click.option(
    "--on-demo", is_flag=True, help="Train on the demo data in the demo's sizes; what comes out identical is run once."
)
@click.option("--dry-run", is_flag=True, help="Show the resolved recipe and what it would take; train nothing.")
@click.option("--resume", is_flag=True, help="Go on with a run that was stopped; finished ones are kept.")
@click.option("--overwrite", is_flag=True, help="Throw away the run that is there and start anew.")
@own_options
@runs_option
@click.option("--jobs", type=click.IntRange(min=1), help="Rows trained side by side.  [default: one a core, or GPU]")
@device_option
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on standard output.")
def command(
    recipe: Path,
    row: str | None,
    seed: int | None,
    seeds: int,
    overrides: tuple[str, ...],
    of_all_rows: bool,
    on_demo: bool,
    dry_run: bool,
    resume: bool,
    overwrite: bool,
    runs: Path,
    jobs: int | None,
    device: str,
    as_json: bool,
    **own: Any,
) -> None:
    """Train RECIPE, a YAML file or the name of one that `asgm recipes` lists, and evaluate it.

    Or train on CLIPS of your own: a folder with a folder a class and unlabelled files beside them, or a CSV. They are
    prepared, a recipe is proposed, written to RUNS/<name>/recipe.yaml, trained beside the labels alone, and judged.

    Missing generated data and runs of other recipes are made first. Everything goes to RUNS/<recipe>/<row>/seed<k>/;
    nothing there is overwritten unless you say so.

    \b
    asgm train recipes/demo.yaml
    asgm train my_clips --budget 30m
    asgm train recipes/demo.yaml --row all --seeds 3
    asgm train recipes/demo.yaml --set thresholds.value=0.7 --overwrite
    asgm train recipes/table2_ablation.yaml --on-demo --row all --seeds 3
    torchrun --nproc-per-node=4 -m asgmcli train recipes/table1_ucf51_1shot.yaml
    """
    from asgmcli.ranks.launch import find_launch, one_voice

    begun, launch = time.monotonic(), find_launch()
    stopped = "Stopped. The same command goes on where it was, with --resume."
    with one_voice(launch), interruptible(stopped), ExitStack() as together:
        from asgmcli.recipe.shipped import find_recipe
        from asgmcli.runs.on_demo import RecipeFile
        from asgmcli.train.allocator import keep_memory, save_memory

        _see_sense(resume, overwrite, dry_run, launch.several)
        if is_own(recipe):
            see_no_row(launch.several, row, overrides, on_demo)
            numbers = range(seed or 0, (seed or 0) + seeds)
            return _train_clips(
                recipe, OwnWish(**own), runs, device, numbers, jobs, overwrite, resume, dry_run, as_json
            )
        recipe = find_recipe(recipe)
        wish = OwnWish(**own)
        wish.see_none(recipe, launch.several or row == ALL_ROWS or seeds > 1)
        file = RecipeFile(recipe, on_demo, of_all_rows or row == ALL_ROWS)
        if row == ALL_ROWS:
            file.check_overrides(overrides)
        first = file.load(None if row == ALL_ROWS else row, overrides, seed)
        (save_memory if first.saves_memory else keep_memory)()  # before torch is there
        # Imports for the end of the run too: a package that does not load is reported before anything is made.
        check_imports(*(MODULES[:1] if dry_run else MODULES))
        session = _open_session(runs, recipe.parent, device, launch, together)
        names = list(first.runnable) if row == ALL_ROWS else [first.default_row]
        chosen = [file.load(name, overrides, first.seed + number) for number in range(seeds) for name in names]
        if dry_run:
            result: Mapping[str, object] = _show_dry(session, chosen, as_json)
        elif len(chosen) == 1 and row != ALL_ROWS:
            run = session.going_on(first, overrides) if resume else first
            late = None if wish.budget is None else begun + wish.budget
            result = _train_one(session, file, run, resume=resume, overwrite=overwrite, until=late)
        else:
            result = _train_all(session, file, overrides, chosen, jobs, overwrite)
    if as_json and launch.rank == 0:
        click.echo(json.dumps(result))


def _open_session(runs: Path, folder: Path, device: str, launch: Launch, together: ExitStack) -> Session:
    """Return the session of a recipe in `folder`; `together`, when it ends, parts it from the other ranks."""
    from asgmcli.console import make_console
    from asgmcli.ranks.device import choose_device
    from asgmcli.ranks.exchange import joined
    from asgmcli.runs.session import Session

    chosen = choose_device(device, launch)
    together.enter_context(joined(launch, chosen))
    return Session(runs, folder, chosen, make_console(quiet=launch.rank > 0))


def _train_clips(
    target: Path,
    wish: OwnWish,
    runs: Path,
    device: str,
    seeds: range,
    jobs: int | None,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train on own clips; every row of the proposed recipe at every seed."""
    check_imports(*MODULES)
    from asgmcli.console import make_console
    from asgmcli.ranks.device import choose_device
    from asgmcli.runs.on_demo import RecipeFile
    from asgmcli.runs.session import Session

    def train(session: Session, path: Path, shares: Shares | None) -> object:
        file = RecipeFile(path, False, True)
        whole = file.load(None, (), seeds[0])
        chosen = [file.load(name, (), number) for number in seeds for name in whole.runnable]
        return _train_all(session, file, (), chosen, jobs, overwrite, shares)

    session = Session(runs, runs / name_of(target), choose_device(device), make_console())
    how = {"overwrite": overwrite, "resume": resume, "dry_run": dry_run}
    result = train_own(target, wish, session, train, seeds=seeds, jobs=jobs, **how)
    if as_json:
        click.echo(json.dumps(result))


def _see_sense(resume: bool, overwrite: bool, dry_run: bool, several: bool) -> None:
    """Check that options do not contradict each other.

    Raises:
        UsageError: they do.
    """
    from asgmcli.errors import UsageError

    if resume and overwrite:
        raise UsageError("--resume goes on with a run, --overwrite throws it away: give one of them.")
    if dry_run and several:
        raise UsageError("--dry-run trains nothing: call it without torchrun.")


def _show_dry(session: Session, recipes: list[Recipe], as_json: bool) -> dict[str, object]:
    """Show the size and cost of each of `recipes`; a single one is printed in full on standard output."""
    from asgmcli.recipe.read import dump_yaml
    from asgmcli.runs.dry_run import dry_runs, dry_table, rates

    runs = dry_runs(recipes, session.runs, session.recipes)
    measured = rates(runs, session.device)
    if len(recipes) == 1 and not as_json:
        click.echo(dump_yaml(recipes[0]), nl=False)
    session.console.print(dry_table(runs, measured).rich())
    told = (line for run, rate in zip(runs, measured, strict=True) for line in run.lines(rate))
    for line in dict.fromkeys(told):
        session.console.print(line)
    return {"runs": [run.data(rate) for run, rate in zip(runs, measured, strict=True)]}


def _train_one(
    session: Session, file: RecipeFile, recipe: Recipe, *, resume: bool, overwrite: bool, until: float | None
) -> Result:
    """Train one row and seed of `file`, and show it; steps are left out so that it ends at `until`."""
    from asgmcli.ranks.exchange import on_main_rank
    from asgmcli.runs.lock import refuse_if_held
    from asgmcli.train.deadline import Deadline
    from asgmcli.train.run import run_of

    run = run_of(recipe, session.runs)

    def look() -> None:
        run.check(recipe, resume=resume, overwrite=overwrite)
        refuse_if_held(run.folder)  # before what it needs is made

    on_main_rank(look)
    before = not overwrite and run.result_path.exists()
    session.ensure(recipe)
    deadline = None if until is None else Deadline(until)
    result = session.run(recipe, resume=resume, overwrite=overwrite, deadline=deadline)
    _show_run(run, recipe, result, session.console)
    if others := _not_beside_the_paper(file, recipe):
        session.console.print(others)
    for text in result.get("warnings", ()) if before else ():  # a run of now has told them
        session.console.print(f"Warning: {text}")
    return result


def _not_beside_the_paper(file: RecipeFile, recipe: Recipe) -> str | None:
    """Return why `recipe`, its settings being others than its row's in `file`, has none of the paper's numbers."""
    from asgmcli.errors import RecipeError
    from asgmcli.train.run import differences

    try:
        written = file.load(recipe.default_row, (), recipe.seed)
    except RecipeError:  # without the overrides it is no recipe
        return None
    differs = differences(recipe, written)
    if not differs or not any(row.paper for row in written.rows.values()):
        return None
    return f"Not beside the paper's numbers: made with other settings than the recipe's: {'; '.join(differs)}"


def _train_all(
    session: Session,
    file: RecipeFile,
    overrides: tuple[str, ...],
    recipes: list[Recipe],
    jobs: int | None,
    overwrite: bool,
    shares: Shares | None = None,
) -> dict[str, object]:
    """Train every recipe of `file` in a process of its own, or with several ranks in turn; show and write the table.

    Finished runs are kept unless `overwrite`; one with other settings is an error before anything is trained. Of rows
    with equal settings one is trained.
    """
    import os

    from asgmcli.ranks.device import every_device
    from asgmcli.ranks.exchange import count_ranks, on_main_rank, own_rank
    from asgmcli.runs.room import check_room
    from asgmcli.runs.session import needs
    from asgmcli.runs.sweep import Job, run_jobs
    from asgmcli.train.run import run_of

    devices = every_device(session.device)
    available = (os.cpu_count() or 1) if session.device.type == "cpu" else len(devices)
    parallel = min(jobs or available, len(recipes))
    arguments = [str(file.path), *file.flags, "--runs", str(session.runs)]
    arguments += ["--of-all-rows"] if file.all_rows else []
    arguments += ["--overwrite" if overwrite else "--resume", *(part for text in overrides for part in ("--set", text))]
    whole = file.load(None, overrides, recipes[0].seed)
    names = on_main_rank(lambda: [_name(item) for item in _to_train(session, recipes, overwrite)])
    chosen = [item for item in recipes if _name(item) in names]
    todo = []
    for item in chosen:
        own = [*arguments, "--row", item.default_row, "--seed", str(item.seed)]
        todo.append(Job(_name(item), own, run_of(item, session.runs).log))
    on_main_rank(lambda: check_room(chosen, session.runs))
    for item in {needs(recipe): recipe for recipe in chosen}.values():
        session.ensure(item)
    alone = count_ranks() == 1
    parallel = parallel if alone else 1
    if alone:
        session.forget()
    session.console.print(f"{len(todo)} runs to train, {len(recipes) - len(todo)} finished; {parallel} side by side.")
    table: dict[str, object] = {}
    done = False
    try:
        if todo and alone:
            run_jobs(todo, devices, parallel, session.console, shares=shares)
        for item in [] if alone else chosen:
            session.console.print(f"{_name(item)}:")
            item = item if overwrite else session.going_on(item, overrides)
            session.run(item, resume=not overwrite, overwrite=overwrite)
        done = True
    finally:
        # The first rank reports an error at once: torchrun does not wait for it.
        if own_rank() == 0 and (done or alone):
            table = _show_table(session, file, overrides, whole)
    return table


def _show_table(session: Session, file: RecipeFile, overrides: tuple[str, ...], whole: Recipe) -> dict[str, object]:
    """Show and write the table of the finished runs, and return it; empty if there is none."""
    from dataclasses import replace

    from asgmcli.recipe.shipped import spoken
    from asgmcli.runs.compare import write_differences
    from asgmcli.runs.gather import note_lines, warning_lines
    from asgmcli.runs.same import with_twins
    from asgmcli.runs.session import matching_runs
    from asgmcli.runs.sweep import summarize, summary_data, write_summary

    results, left_out = matching_runs(session.runs, file, overrides)
    results = with_twins(session.runs, file, overrides, results)
    below = [*filter(None, [_not_beside_the_paper(file, whole)]), *warning_lines(results), *map(str, left_out)]
    told = [*note_lines(results), *below]
    table = replace(summarize(whole, results), notes=told)
    if results:
        write_summary(session.runs / whole.name, table, results, left_out)
        session.console.print(table.rich())
    for text in told:
        session.console.print(text)
    if not results:
        return {}
    tables, files = write_differences(session.runs / whole.name, file, whole, results)
    for difference in tables:
        session.console.print(difference.rich())
    more = "".join(f", {path.name}" for path in files)
    text = f"Written to {session.runs / whole.name}/table.md, .csv and .json{more}"
    session.console.print(text)
    look = " ".join(["asgm eval", spoken(file.path), *file.flags])
    session.console.print(f"Pictures, and what is missing: {look}")
    return summary_data(table, results, left_out)


def _name(recipe: Recipe) -> str:
    """Return a run's name among those of one recipe."""
    return run_title(recipe.default_row, recipe.seed)


def _to_train(session: Session, recipes: list[Recipe], overwrite: bool) -> list[Recipe]:
    """Return those of `recipes` that are neither finished nor the same as another row.

    Raises:
        UsageError: a run was begun with other settings.
    """
    from asgmcli.recipe.read import settings_hash
    from asgmcli.runs.same import counted_rows
    from asgmcli.train.run import run_of

    finished = counted_rows(session.runs, recipes[0])
    chosen: dict[tuple[str, int], Recipe] = {}
    for item in recipes:
        run, key = run_of(item, session.runs), (settings_hash(item), item.seed)
        begun = run.recipe_path.exists()
        if not overwrite and begun:
            run.check(item, resume=True, overwrite=False)
        if not overwrite and run.result() is not None:
            continue
        twin = None if overwrite or begun else finished.get(key)
        if twin is not None or key in chosen:
            same = twin[0].folder if twin is not None else run_of(chosen[key], session.runs).folder
            session.console.print(f"{item.default_row} seed {item.seed}: the same settings as {same}, which counts.")
        else:
            chosen[key] = item
    return list(chosen.values())


def _show_run(run: Run, recipe: Recipe, result: Result, console: Console) -> None:
    """Print the run's numbers, and where to look next."""
    from asgmcli.runs.report import numbers_table, title_of

    folder = run.folder
    console.print(title_of(recipe))
    console.print(numbers_table("", result["metrics"], recipe.rows[recipe.default_row].paper).rich())
    pictures = sorted(path.name for path in folder.glob("*.png"))
    console.print(f"Run: {folder}" + (f"  (pictures: {', '.join(pictures)})" if pictures else ""))
    if recipe.task == "recognition":
        console.print(f"Look closer:  asgm eval {folder}")
        if len(recipe.rows) > 1:
            console.print("Compare rows: asgm train RECIPE --row all --seeds 3")
