"""`asgm train CLIPS`: own clips prepared, a recipe proposed, trained, judged, reported, with a verdict in words."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from asgmcli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.data.manifest import Manifest
    from asgmcli.recipe.base import Recipe
    from asgmcli.runs.own import Plan
    from asgmcli.runs.session import Session
    from asgmcli.runs.shares import Shares
    from asgmcli.train.propose import OwnClips, Proposal

Train = Callable[["Session", Path, "Shares | None"], object]
"""Trains all rows of a recipe's file, in a time that is shared among them."""
Command = TypeVar("Command", bound=Callable[..., object])
UNITS = {"": 60.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def is_own(target: Path) -> bool:
    """Return True if `asgm train` is given clips: a folder, or a CSV."""
    return target.is_dir() or (target.suffix.lower() == ".csv" and target.is_file())


def name_of(target: Path) -> str:
    """Return a name for the data set and the recipe of a folder or CSV: its own, of the characters a recipe allows."""
    whole = Path(os.path.abspath(target))  # so that `..` has a name
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", whole.name if whole.is_dir() else whole.stem).lstrip(".+-")
    return name or "clips"


class Budget(click.ParamType):  # type: ignore[type-arg]  # click 8.1's takes no argument
    """A time such as 30m, 2h or 90s; a number alone counts minutes."""

    name = "time"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the seconds; anything else is a usage error."""
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*(s|m|min|h|d|)", str(value).strip().lower())
        if found is None or float(found[1]) <= 0:
            self.fail(f"'{value}': write a time such as 30m, 2h or 90s.", param, ctx)
        return float(found[1]) * UNITS[found[2]]


OPTIONS = (
    click.option("--size", help="Own clips: size of the networks.  [default: by the machine]"),
    click.option(
        "--budget",
        type=Budget(),
        help="Time in which it ends (30m, 2h): size and epochs of own clips follow it, and steps are left out.",
    ),
    click.option("--start", help="Own clips: first weights: a timm model, a weight file, a recipe, none."),
    click.option(
        "--localizer", help="Own clips: what guides masks: motion, a weight file, a recipe.  [default: motion]"
    ),
    click.option(
        "--more-labels",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        multiple=True,
        callback=lambda _context, _option, value: value or None,
        help="Own clips: a CSV (path or id, label) with labels of clips that have none, as `asgm next` writes it; "
        "repeatable.",
    ),
)
"""Of `asgm train`, for own clips; --budget for a recipe's row too."""


def own_options(command: Command) -> Command:
    """Give a command the options for own clips."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class OwnWish:
    """The options of `asgm train` that are for own clips alone."""

    size: str | None = None
    start: str | None = None
    localizer: str | None = None
    budget: float | None = None
    more_labels: tuple[Path, ...] | None = None

    def see_none(self, recipe: Path, several: bool) -> None:
        """Check that none is given beside a recipe but a budget, and that not for `several` runs or processes.

        Raises:
            UsageError: one is.
        """
        if self.budget is not None and several:
            raise UsageError("--budget is for one row at one seed in one process, or for clips of your own.")
        given = [name for name, value in vars(self).items() if value is not None and name != "budget"]
        if given:
            option = given[0].replace("_", "-")
            raise UsageError(f"--{option} is for clips of your own, a folder or a CSV; {recipe} is a recipe.")


def see_no_row(several: bool, row: str | None, overrides: tuple[str, ...], on_demo: bool) -> None:
    """Check that nothing is asked for that only a recipe has.

    Raises:
        UsageError: something is.
    """
    if several or row or on_demo or overrides:
        raise UsageError(
            "Clips of your own take neither --row, --set, --on-demo nor torchrun: --dry-run writes their recipe, which "
            "does."
        )


def train_own(
    target: Path,
    wish: OwnWish,
    session: Session,
    train: Train,
    *,
    seeds: Sequence[int],
    jobs: int | None = None,
    overwrite: bool,
    resume: bool,
    dry_run: bool,
) -> dict[str, object]:
    """Prepare the clips, propose a recipe, train its rows, judge, report.

    Args:
        target: a folder with class folders and unlabelled files beside them, or a CSV.
        wish: options for own clips.
        session: of the command.
        train: trains all rows of a recipe's file.
        seeds: of each row.
        jobs: runs trained side by side; None for one a core.
        overwrite: replace the runs that are there.
        resume: go on with those that are there, by the recipe that is there.
        dry_run: stop before training.

    Raises:
        AsgmError: the clips cannot be used, or the wish cannot be followed.
    """
    from asgmcli.data.manifest import read_manifest
    from asgmcli.data.maps import MOTION_FOLDER
    from asgmcli.recipe.read import load_recipe
    from asgmcli.runs.own import RECIPE, words

    begun, console = time.monotonic(), session.console
    name = name_of(target)
    path = session.runs / name / RECIPE
    going_on = resume and path.exists()
    if path.exists() and not (overwrite or resume):  # it may have been edited
        raise UsageError(
            f"{path} is there already. Say --resume to go on with it, --overwrite to begin anew; or train the recipe."
        )
    out = Path("data") / name
    root = _root_of(out)
    same = root is not None and os.path.abspath(root) == os.path.abspath(target)
    if root is not None and not (same or overwrite):
        raise UsageError(
            f"{out} holds the clips of {root}. Rename {target}, or say --overwrite to put its clips in their place."
        )
    if root is not None and not same:  # maps are known by a clip's id
        shutil.rmtree(out / MOTION_FOLDER, ignore_errors=True)
    # Made anew with other labels; but runs to go on with have seen the clips and splits that are there.
    replaced = overwrite or (same and not going_on)
    manifest = _prepared(target, out, wish.more_labels, seeds[0], replaced, console)
    if going_on:
        proposal, clips, plan = None, None, None
    else:
        clips, proposal, plan = Proposing(manifest, path, wish, session, jobs, len(seeds), begun).propose()
    recipe = load_recipe(path)
    if clips is not None and proposal is not None:
        for line in words(clips, proposal, plan, [row.title for row in recipe.rows.values()], session.device):
            console.print(line)
    console.print(f"Recipe: {path} (edit it and run it again: asgm train {path} --row all)")
    if dry_run:
        return {"recipe": str(path), "seconds": None if plan is None else plan.seconds}
    train(session, path, _shares(wish, plan, seeds, begun))
    found = _judged(session, recipe, read_manifest(manifest.path), seeds)
    for finding in found:
        console.print(f"{finding['question']} {finding['answer']}")
    report = _reported(session, recipe, seeds[0])
    console.print(f"Report: {report}")
    return {"recipe": str(path), "report": str(report), "verdict": found}


def _prepared(
    target: Path, out: Path, more: tuple[Path, ...] | None, seed: int, overwrite: bool, console: Console
) -> Manifest:
    from asgmcli.data.manifest import read_manifest
    from asgmcli.prepare.datasets import DATASETS
    from asgmcli.prepare.datasets.listing import LayoutOptions
    from asgmcli.prepare.run import Preparation, prepare
    from asgmcli.progress import tracked
    from asgmcli.runs.own import SHARES
    from asgmcli.workers import cores

    options = LayoutOptions(seed=seed, shares=SHARES, own={"more_labels": more})
    job = Preparation("folder", DATASETS["folder"], target, out, options, workers=cores(), overwrite=overwrite)
    summary = prepare(job, lambda title: tracked(console, title, "prepare", out, transient=True), lambda _: None)
    left = summary.get("left_out")
    if isinstance(left, dict) and left:
        told = ", ".join(f"{count} {reason}" for reason, count in left.items())
        console.print(f"Left out: {told}; {out / 'quarantine.csv'} says why.")
    notes = summary.get("notes")
    for note in notes if isinstance(notes, list) else []:
        console.print(f"Note: {note}.")
    return read_manifest(out)


def _root_of(out: Path) -> str | None:
    """Return which folder or CSV the clips in `out` are of; None if it holds none that were prepared like these."""
    try:
        known = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        return str(known["settings"]["root"]) if known["dataset"] == "folder" else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


@dataclass(frozen=True)
class Proposing:
    """What a recipe is proposed for.

    Attributes:
        manifest: of the prepared clips.
        path: of the recipe.
        wish: options for own clips.
        session: of the command.
        jobs: runs trained side by side; None for one a core.
        seeds: runs of each row.
        begun: when the command began, by `time.monotonic`.
    """

    manifest: Manifest
    path: Path
    wish: OwnWish
    session: Session
    jobs: int | None
    seeds: int
    begun: float

    def propose(self) -> tuple[OwnClips, Proposal, Plan]:
        """Return the clips, the recipe, which is written, and how long it takes; a smaller size where time is short.

        Where that fails, the recipe's file is as it was before.
        """
        before = self.path.read_bytes() if self.path.exists() else None
        try:
            return self._written()
        except BaseException:
            if before is not None:
                self.path.write_bytes(before)
            else:
                self.path.unlink(missing_ok=True)
            raise

    def _written(self) -> tuple[OwnClips, Proposal, Plan]:
        from asgmcli.recipe.read import load_recipe
        from asgmcli.runs.own import FEWEST, found_clips, proposal_for, reused, sizes, this_machine, write_recipe
        from asgmcli.train.propose import Wish

        clips = found_clips(self.manifest, self.path.parent.name)
        machine = this_machine(self.session.device)
        size, started = self.wish.size, 0.0
        while True:
            wanted = Wish(size, self.wish.start, self.wish.localizer)
            proposal = proposal_for(clips, self.manifest, machine, wanted)
            write_recipe(proposal, self.path)
            recipe = load_recipe(self.path)
            for folder in reused(recipe, self.session):
                self.session.console.print(f"Start: {folder} is taken, a finished run with these settings.")
            since = time.monotonic()
            self.session.ensure(recipe)
            started += time.monotonic() - since

            def again(epochs: int, wanted: Wish = wanted) -> Proposal:
                return proposal_for(clips, self.manifest, machine, replace(wanted, epochs=epochs))

            names = sizes()
            place = names.index(proposal.size)
            last = self.wish.size is not None or place == 0
            try:
                plan = replace(self._planned(again, list(recipe.rows), machine.cores), start=started)
            except UsageError:  # not even two epochs fit
                if last:
                    raise
            else:
                if last or plan.epochs >= FEWEST * plan.proposed:
                    return clips, proposal, plan
            size = names[place - 1]

    def _planned(self, again: Callable[[int], Proposal], rows: list[str], cores: int) -> Plan:
        from asgmcli.ranks.device import every_device
        from asgmcli.runs.own import planned
        from asgmcli.train.task import Context

        session = self.session
        places = cores if session.device.type == "cpu" else len(every_device(session.device))
        side_by_side = min(self.jobs or places, places)
        # What it has taken to prepare the clips, and to train a start that was not there, is gone from the budget.
        left = None if self.wish.budget is None else self.wish.budget - (time.monotonic() - self.begun)
        context = Context(session.device, session.runs, self.path.parent)
        return planned(self.path, again, rows, context, left, side_by_side, self.seeds)


def _shares(wish: OwnWish, plan: Plan | None, seeds: Sequence[int], begun: float) -> Shares | None:
    """Return the time of the runs under a budget; None without one."""
    from asgmcli.runs.own import SPARED
    from asgmcli.runs.shares import Shares

    if wish.budget is None:
        return None
    after = SPARED * wish.budget + (0.0 if plan is None else plan.after)
    rows = {} if plan is None else plan.rows
    expected = {run_title(row, seed): seconds for row, seconds in rows.items() for seed in seeds}
    return Shares(begun + wish.budget - after, expected)


def run_title(row: str, seed: int) -> str:
    """Return a run's name among those of one recipe."""
    return f"{row} seed {seed}"


def _judged(session: Session, recipe: Recipe, manifest: Manifest, seeds: Sequence[int]) -> list[dict[str, object]]:
    """Return the verdict, written beside the runs too."""
    from asgmcli.files import write_text
    from asgmcli.progress import tracked
    from asgmcli.runs.verdict import verdict_of
    from asgmcli.train.run import run_of

    folder = session.runs / recipe.name
    runs = {
        row: [run_of(recipe.model_copy(update={"default_row": row, "seed": seed}), session.runs) for seed in seeds]
        for row in recipe.rows
    }
    with tracked(session.console, "verdict", "train", folder, transient=True) as tell:
        found = verdict_of(recipe, runs, manifest, session.device, tell)
    data = [finding.data() for finding in found]
    text = json.dumps(data, indent=2) + "\n"
    write_text(folder / "verdict.json", text)
    for run in runs[recipe.default_row][:1]:
        write_text(run.folder / "verdict.json", text)
    return data


def _reported(session: Session, recipe: Recipe, seed: int) -> Path:
    from asgmcli.files import write_text
    from asgmcli.report.page import render
    from asgmcli.runs.pages import Maker, run_page
    from asgmcli.train.run import run_of

    out = session.runs / recipe.name / "report.html"
    run = run_of(recipe.model_copy(update={"seed": seed}), session.runs)
    page = run_page(run.folder, Maker(session.device, session.console, session.runs, 4, out))
    write_text(out, render(page))
    return out
