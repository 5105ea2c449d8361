"""Take a recipe to finished runs: make what it depends on, then train."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from rich.console import Console

from asgmcli import __version__
from asgmcli.errors import DataError, RecipeError, UsageError
from asgmcli.files import remove_all_strays
from asgmcli.ranks.device import every_device
from asgmcli.ranks.exchange import check_same, count_ranks, on_main_rank, own_rank
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.read import load_recipe, recipe_hash
from asgmcli.recipe.sections import Guide, OwnStart
from asgmcli.recipe.shipped import find_beside
from asgmcli.runs.generated import ensure_prepared
from asgmcli.runs.later import later_phases, later_share, operations_of
from asgmcli.runs.lock import held, refuse_if_held
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.runs.room import check_room
from asgmcli.runs.sweep import Job, StaleRun, run_jobs
from asgmcli.tasks import DRAWERS, TASKS
from asgmcli.train.cores import on_cores
from asgmcli.train.deadline import Deadline
from asgmcli.train.loggers import check_loggers
from asgmcli.train.loop import make_trainer
from asgmcli.train.run import Result, Run, differences, run_of
from asgmcli.train.task import AnyData, Context, ReadyRun


@dataclass(frozen=True)
class Session:
    """The surroundings of a command: folders of runs and recipes, the device, and the console for progress."""

    runs: Path
    recipes: Path
    device: torch.device
    console: Console
    later: tuple[Recipe, ...] = ()  # trained after the run by the same command
    _built: dict[str, AnyData] = field(default_factory=dict)  # data that `ensure` built to check them, for `run`

    def ensure(self, recipe: Recipe) -> None:
        """Make what `recipe` needs and lacks: a data set that can be generated, the guide's maps, other recipes' runs.

        The first rank works, the others wait.

        Raises:
            DataError: something is missing that cannot be made here, the data do not suit the recipe, or the disk has
                too little room.
            RecipeError: a needed recipe cannot be read, or recipes need each other in a circle.
            UsageError: a package that `log` asks for is not installed, or several ranks cannot train `recipe`.
        """
        self._check_ranks(recipe)
        on_main_rank(lambda: self._ensure(recipe))

    def _ensure(self, recipe: Recipe) -> None:
        if (trained := recipe.as_trained()) is not None:
            check_loggers(trained.log)
        self._follow(recipe)
        self._ensure_data(recipe)
        for source in recipe.sources():
            if source.file is not None and not Path(source.file).exists():
                raise DataError(f"{source.file}: no such weight file")  # before others are trained or fetched
        if recipe.task in TASKS:
            TASKS[recipe.task].before(recipe, self.console)
        missing: dict[tuple[str, str, int], Recipe] = {}
        for source in other_recipes(recipe):
            needed = self._needed(source)
            run = run_of(needed, self.runs)
            if run.result() is None:
                missing[needed.name, needed.default_row, needed.seed] = needed
            elif changed := differences(run.recipe(), needed):
                self.console.print(
                    f"Note: {run.folder} is used as it is, though its recipe has changed since: {'; '.join(changed)}",
                )
        check_room([recipe, *missing.values()], self.runs)
        if missing:
            # Faults of the recipe's data are reported now, not after training other recipes.
            self._check_data(recipe)
            self._make(recipe, list(missing.values()))

    def _check_data(self, recipe: Recipe) -> None:
        """Check that the data suit the recipe, and keep what was built for the run."""
        if recipe.task in DRAWERS:
            DRAWERS[recipe.task].check(recipe)
        else:
            self._built[_data_key(recipe)] = TASKS[recipe.task].build_data(recipe)

    def forget(self) -> None:
        """Release data built to check them, when other processes run the runs."""
        self._built.clear()

    def _make(self, recipe: Recipe, missing: Sequence[Recipe]) -> None:
        """Train the recipes that `recipe` needs, on a CPU side by side where none needs the other, else in turn."""
        for needed in missing:
            text = f"{recipe.name} needs the result of recipe {needed.name}, seed {needed.seed}; running it first."
            self.console.print(text)
        chain = self._missing_below(missing)
        parallel = min(os.cpu_count() or 1, _widest(chain)) if self.device.type == "cpu" else 1
        if parallel > 1 or count_ranks() > 1:
            for work in chain.values():
                self._ensure_data(work.recipe)
            after = (recipe, *self.later)
            found = [work.recipe for work in chain.values()]
            counts = operations_of([*found, *after], self.runs, self.recipes)
            share = later_share(counts[: len(found)], counts[len(found) :])
            jobs = [work.session._job(work.recipe, work.needs) for work in chain.values()]
            run_jobs(jobs, every_device(self.device), parallel, self.console, later=share)
            return
        for place, needed in enumerate(missing):
            begun = run_of(needed, self.runs).recipe_path.exists()
            needed = self.going_on(needed, ())
            inner = replace(self._below(needed.name), later=(*missing[place + 1 :], recipe, *self.later))
            inner.ensure(needed)
            inner.run(needed, resume=begun)

    def _missing_below(self, missing: Sequence[Recipe]) -> dict[str, _Needed]:
        """Return `missing` and all that they lack in turn, by title, each after what it needs."""
        chain: dict[str, _Needed] = {}
        for recipe in missing:
            below = self._below(recipe.name)
            others = [below._needed(source) for source in other_recipes(recipe)]
            lacking = [other for other in others if run_of(other, self.runs).result() is None]
            chain = {**chain, **below._missing_below(lacking)}
            title = _title(recipe)
            chain.setdefault(title, _Needed(recipe, self, frozenset(map(_title, lacking))))
        return chain

    def _below(self, name: str) -> Session:
        """Return the session of a needed recipe, which looks beside its own file for what it needs in turn."""
        return replace(self, recipes=find_beside(self.recipes, name).parent)

    def _job(self, recipe: Recipe, needs: frozenset[str]) -> Job:
        """Return the command that trains `recipe`, its row at its seed, in a process of its own, after its needs."""
        path = find_beside(self.recipes, recipe.name)
        arguments = [
            str(path),
            "--row",
            recipe.default_row,
            "--runs",
            str(self.runs),
            "--seed",
            str(recipe.seed),
            "--resume",
        ]
        return Job(_title(recipe), arguments, run_of(recipe, self.runs).log, needs)

    def _check_ranks(self, recipe: Recipe) -> None:
        """Check that each batch of `recipe` has work for all ranks.

        Raises:
            UsageError: it has not.
        """
        ranks = count_ranks()
        if ranks == 1:
            return
        if recipe.one_process:
            raise UsageError(
                f"{recipe.name}: a {recipe.task} recipe is one process's work, here are {ranks}. Make it "
                "without torchrun; a recipe that needs it sees to that."
            )
        trained = recipe.as_trained()
        if trained is not None and trained.train.batch % ranks:
            raise UsageError(
                f"train.batch: {trained.train.batch} labelled clips a step do not divide among {ranks} processes. "
                f"Start a number of them that divides it, or set train.batch to a multiple of {ranks}."
            )

    def run(
        self, recipe: Recipe, *, resume: bool = False, overwrite: bool = False, deadline: Deadline | None = None
    ) -> Result:
        """Train and evaluate one row and seed. Return the content of its result.json, on all ranks.

        With `resume` a finished run is not repeated. The folder is touched only after data, weights and settings have
        been checked. Steps are left out for a `deadline`.

        Raises:
            UsageError: there is a run already, and neither `resume` nor `overwrite` was given; or another process is
                training it; or several ranks cannot train `recipe`.
        """
        self._check_ranks(recipe)
        run = run_of(recipe, self.runs)
        finished = on_main_rank(lambda: self._finished(run, recipe, resume=resume, overwrite=overwrite))
        if finished is not None:
            return finished
        context = Context(self.device, self.runs, self.recipes)
        work: ReadyRun
        trained = recipe.as_trained()
        if trained is None:
            work = DRAWERS[recipe.task].draw(recipe, run, context)
            cores = None
        else:
            data = self._built.pop(_data_key(recipe), None)
            work = trainer = make_trainer(TASKS[recipe.task], trained, run, context, self.console, data)
            trainer.deadline = deadline
            # The folder is touched only after all ranks have checked everything and agree.
            facts = {"recipe": recipe_hash(recipe), "asgm": __version__, "torch": torch.__version__}
            begun = {"a run to go on with": run.recipe_path.exists()}
            check_same({**facts, **begun, **trainer.data.summary()})
            if self.later and own_rank() == 0:
                own, *counts = operations_of([recipe, *self.later], self.runs, self.recipes)
                trainer.status.phases += later_phases(own, trainer.steps, self.later, counts)
            cores = trained.train.cores
        with ExitStack() as lock, on_cores(cores):

            def begin() -> None:
                left = lock.enter_context(held(run.folder))
                if left is not None:
                    text = f"{run.folder}: process {left.process} on host {left.host} ended before the run did."
                    self.console.print(text)
                remove_all_strays(run.folder)
                run.prepare(recipe, resume=resume, overwrite=overwrite)

            on_main_rank(begin)
            return work.fit()

    def _finished(self, run: Run, recipe: Recipe, *, resume: bool, overwrite: bool) -> Result | None:
        """Return the result of a finished run; None if it has to be trained."""
        run.check(recipe, resume=resume, overwrite=overwrite)
        finished = run.result()
        if finished is not None and not overwrite:
            self.console.print(f"{run.folder}: finished before.")
            return finished
        refuse_if_held(run.folder)
        return None

    def going_on(self, recipe: Recipe, overrides: tuple[str, ...]) -> Recipe:
        """Return the recipe that --resume trains: the stored one of an existing run, with `recipe`'s table; else
        `recipe`.

        Machine settings (`data.workers`, `train.cores`, `train.save_minutes`) are the stored ones too, unless
        `overrides` give others.

        Args:
            recipe: as its file says today, with the overrides.
            overrides: `--set` texts; they may repeat what the run was started with.

        Raises:
            UsageError: an override contradicts the stored recipe; both values are named.
        """
        run = run_of(recipe, self.runs)
        if not run.recipe_path.exists():
            return recipe
        stored = run.recipe()
        started = load_recipe(run.recipe_path, None, overrides, stored=True)
        asked = differences(stored, started)
        if asked:
            raise UsageError(
                f"{run.folder}: the run here was made with other settings: {'; '.join(asked)}. Resume without that "
                "--set, or add --overwrite in place of --resume to redo it."
            )
        changed = differences(stored, recipe)
        if changed:
            text = f"{run.folder}: goes on as it was started, not as its recipe says by now: {'; '.join(changed)}"
            self.console.print(text)
            recipe = recipe.without_paper()
        known = type(recipe).model_fields
        words: dict[str, object] = {
            key: getattr(recipe, key) for key in ("title", "about", "rows", "compare", "log") if key in known
        }
        return started.model_copy(update=words)

    def _follow(self, recipe: Recipe, asked_by: tuple[str, ...] = ()) -> None:
        """Check that all recipes `recipe` depends on, directly or not, can be read, without a circle."""
        if recipe.name in asked_by:
            raise RecipeError(f"Recipes need each other in a circle: {' -> '.join((*asked_by, recipe.name))}")
        for source in other_recipes(recipe):
            self._below(str(source.recipe))._follow(self._needed(source), (*asked_by, recipe.name))

    def _needed(self, source: OwnStart | Guide) -> Recipe:
        """Return the recipe that `source` names, at the row and seed that it names."""
        return load_recipe(find_beside(self.recipes, str(source.recipe)), source.row, seed=source.seed)

    def _ensure_data(self, recipe: Recipe) -> None:
        for data in recipe.data_sets():
            ensure_prepared(data, self.console)


@dataclass(frozen=True)
class _Needed:
    """A run that is needed and missing, the session that finds its recipe, and the titles of those it needs first."""

    recipe: Recipe
    session: Session
    needs: frozenset[str]


def _title(recipe: Recipe) -> str:
    """Return a run's name among the needed ones."""
    return f"{recipe.name}/{recipe.default_row} seed {recipe.seed}"


def _widest(chain: Mapping[str, _Needed]) -> int:
    """Return how many runs of `chain` may be under way at once: the most that are as many runs deep."""
    depths: dict[str, int] = {}
    for title, work in chain.items():
        depths[title] = 1 + max((depths[other] for other in work.needs), default=0)
    return max(Counter(depths.values()).values(), default=0)


def _data_key(recipe: Recipe) -> str:
    """Return a key for the data of a run: equal keys, equal data."""
    return f"{recipe_hash(recipe)} {recipe.model_dump_json(include={'data'})}"


def needs(recipe: Recipe) -> str:
    """Return a key for what `Session.ensure` makes for `recipe`: equal keys, equal needs."""
    data = [data.model_dump_json() for data in recipe.data_sets()]
    own = "" if data else recipe.default_row
    return repr((own, data, recipe.prepares(), [source.model_dump_json() for source in other_recipes(recipe)]))


def other_recipes(recipe: Recipe) -> Iterator[OwnStart | Guide]:
    """Return the sources of `recipe` that name another recipe."""
    return (source for source in recipe.sources() if source.recipe is not None)


def matching_runs(runs: Path, recipe: RecipeFile, overrides: tuple[str, ...]) -> tuple[list[Result], list[StaleRun]]:
    """Return the results of finished runs of `recipe` with its current settings and `overrides`, and the other runs."""
    results, left_out = [], []
    for run, result in finished_runs(runs, recipe.load(None, overrides).name):
        try:
            changed = differences(run.recipe(), recipe.load(result["row"], overrides, result["seed"]))
        except RecipeError as error:
            changed = [error.message.splitlines()[0]]
        if changed:
            left_out.append(StaleRun(run, result["row"], result["seed"], changed))
        else:
            results.append(result)
    return results, left_out


def finished_runs(runs: Path, recipe: str) -> list[tuple[Run, Result]]:
    """Return every finished run of `recipe` under `runs`, sorted by row and seed."""
    found = []
    for path in sorted((runs / recipe).glob("*/seed*/result.json")):
        run = Run(path.parent)
        result = run.result()
        if result is not None:
            found.append((run, result))
    return sorted(found, key=lambda item: (item[1]["row"], item[1]["seed"]))
