"""The training loop of every task: steps, logging, checkpoints, resume, signals, final evaluation."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NoReturn

import torch
from rich.console import Console

from asgmcli.errors import DataError, NotFiniteError
from asgmcli.files import write_text
from asgmcli.ranks.exchange import (
    agree,
    check_same,
    count_ranks,
    gathered,
    mean_terms,
    on_main_rank,
    own_rank,
    share_buffers,
)
from asgmcli.recipe.base import TrainedRecipe
from asgmcli.report.curves import training_curves
from asgmcli.signals import StopFlag
from asgmcli.status import ending
from asgmcli.train.batches import TrainBatch, move
from asgmcli.train.best import BestEpoch
from asgmcli.train.checkpoint import load_state, save_state
from asgmcli.train.deadline import Deadline
from asgmcli.train.finite import numbers, where_not_finite
from asgmcli.train.gradients import compute_gradients
from asgmcli.train.health import Health, watch_over
from asgmcli.train.log import MetricsFile, TrainingProgress, read_metrics
from asgmcli.train.loggers import open_loggers
from asgmcli.train.pace import EVALUATE, TRAIN, VALIDATE, Pace, RunStatus
from asgmcli.train.run import Result, Run
from asgmcli.train.schedule import learning_rate, make_optimizer, set_rates
from asgmcli.train.seed import random_state, restore_random_state, seed_everything, seed_rank
from asgmcli.train.task import AnyData, AnyTask, Context, Evaluation, TrainState


@dataclass
class Trainer:
    """A run from its first or last saved step to its result."""

    task: AnyTask
    recipe: TrainedRecipe
    run: Run
    data: AnyData
    state: TrainState
    device: torch.device
    console: Console
    optimizer: torch.optim.Optimizer
    step: int = 0
    stop: StopFlag = field(default_factory=StopFlag)
    deadline: Deadline | None = None
    left_out: int = 0  # steps, for the deadline
    failures: list[str] = field(default_factory=list)
    health: Health = field(init=False)
    best: BestEpoch | None = field(init=False, default=None)
    status: RunStatus = field(init=False)

    def __post_init__(self) -> None:
        self.health = watch_over(self.state, self.steps, self.data.steps)
        rule = self.recipe.best if self.recipe.keeps_best else None
        if rule is not None and self._validation() is not None:
            self.best = BestEpoch(rule, self.run.state_path.parent)
        folder = self.run.folder if own_rank() == 0 else None
        self.status = RunStatus(folder, self._title(), self.recipe, self.steps, self.data.steps)

    @property
    def steps(self) -> int:
        """Return the steps of the whole run."""
        steps = self.recipe.train.epochs * self.data.steps
        return min(steps, self.recipe.train.max_steps or steps)

    def fit(self) -> Result:
        """Train the remaining steps, evaluate, and write result.json. Return its content.

        Raises:
            NotFiniteError: the loss, a gradient or a weight was not finite; the last checkpoint is intact.
            Interrupted: SIGTERM or SIGINT; the state was saved.
        """
        metrics = MetricsFile(self.run.metrics_path, Pace(self.device), writing=own_rank() == 0)
        started = time.perf_counter()
        with self.stop, ending(self.status):
            self._restore(metrics)
            every, validated = self.recipe.train.evaluate_every, self.best.validated if self.best is not None else 0
            self.status.resume(self.step, self.data.steps, every, validated)
            self.status.begin(TRAIN)
            for note in self._notes():
                self.console.print(f"Note: {note}")
            with open_loggers(self.recipe, self.run, writing=own_rank() == 0) as metrics.loggers:
                with TrainingProgress(self.console, self._title(), self.steps, self.step, self.status) as progress:
                    self._train(metrics, progress)
                self._save(metrics)
                return self._finish(metrics, progress.rate, time.perf_counter() - started)

    def _train(self, metrics: MetricsFile, progress: TrainingProgress) -> None:
        """Train the remaining steps, saving at intervals and when a signal asks to stop."""
        saved = time.monotonic()
        if self.deadline is not None:
            self.deadline.start(*self.status.expected(self.data.steps))
        while self.step < self.steps:
            epoch, first = divmod(self.step, self.data.steps)
            if first == 0:  # before the epoch, not after the last one: a run resumed in between then does it too
                self._validate(metrics)
                self._evaluate_on_the_way(epoch, metrics)
            self._leave_out()
            if self.step >= self.steps:
                break
            epoch, first = divmod(self.step, self.data.steps)
            for batch in self.data.epoch(epoch, first):
                self._note_failures(batch)
                terms, rates, clips = self._train_step(epoch, batch)
                metrics.add(self.step, epoch, {**terms, **rates}, clips)
                self.status.expect(clips)
                for warning in self.health.see(self.step, terms):
                    self.console.print(f"Warning: {warning}")
                    metrics.write({"step": self.step + 1, "epoch": epoch, "warning": warning})
                progress.step(self.step, epoch, terms, clips)
                self.step += 1
                if self._save_or_stop(metrics, time.monotonic() - saved > 60 * self.recipe.train.save_minutes):
                    saved = time.monotonic()
                if self.step >= self.steps or self._is_late(clips):
                    break
        metrics.flush(self.step - 1, (self.step - 1) // self.data.steps)
        self._validate(metrics)

    def _is_late(self, clips: int) -> bool:
        """Note a step of so many clips; return True if the rest of the epoch would take too long."""
        if self.deadline is None:
            return False
        self.deadline.see(self.step - 1, clips, self.data.steps)
        within = self.step % self.data.steps != 0
        return within and self.deadline.next_step(self.step, self.steps, self.data.steps) != self.step

    def _leave_out(self) -> None:
        """Leave out the steps for which there is no time."""
        if self.deadline is not None:
            step = self.deadline.next_step(self.step, self.steps, self.data.steps)
            self.left_out += step - self.step
            self.step = step

    def _train_step(self, epoch: int, batch: TrainBatch) -> tuple[dict[str, float], dict[str, float], int]:
        """Train one step; return its terms, its learning rate and gradient norm, and its number of clips."""
        self.state.begin_step(epoch, self.step)
        if count_ranks() > 1:
            seed_rank(self.recipe.seed, own_rank(), self.step)
        rate = learning_rate(self.recipe.train.optimizer, self.step, self.steps, epoch)
        set_rates(self.optimizer, rate)
        batch = move(batch, self.device)
        tensors, norm = compute_gradients(self.task.train_step, self.state, batch, self.optimizer, self.recipe.train)
        terms = mean_terms(tensors)
        cause = None if math.isfinite(terms["loss"]) else "the loss"
        cause = cause or (None if math.isfinite(float(norm)) else "a gradient")
        if cause is None:
            self.optimizer.step()
            cause = where_not_finite(self.state.state_dict())
        if cause is not None:
            self._end_not_finite(cause, {"gradient_norm": float(norm), **terms}, batch)
        self.state.after_step()
        return terms, {"learning_rate": rate, "gradient_norm": float(norm)}, count_ranks() * len(batch.ids)

    def _end_not_finite(self, cause: str, terms: dict[str, float], batch: TrainBatch) -> NoReturn:
        """End the run; nonfinite.json tells what was found."""
        shown = numbers(terms)
        report = {"step": self.step, "cause": cause, "gradient_norm": shown.pop("gradient_norm"), "terms": shown}
        path = self.run.folder / "nonfinite.json"
        text = json.dumps({**report, "ids": gathered(batch.ids)}, indent=2) + "\n"
        on_main_rank(lambda: write_text(path, text))
        raise NotFiniteError(
            f"step {self.step}: {cause} is not finite ({path} has its terms and clips). The last checkpoint is intact; "
            "try a lower train.optimizer.lr or train.optimizer.clip_norm=1.0."
        )

    def _save_or_stop(self, metrics: MetricsFile, due: bool = False) -> bool:
        """Save if due or if any rank got a stop signal, and in that case stop. Return True if a checkpoint was written.

        A signal that arrives after the ranks have agreed waits for the next agreement: no rank stops alone.
        """
        number, saving = agree(self.stop.number or 0, due)
        if number or saving:
            self._save(metrics)
        if number:
            self.stop.number = number
            self.stop.raise_if_set(f"Stopped at step {self.step} of {self.steps}, state saved. Add --resume to go on.")
        return bool(saving)

    def _note_failures(self, batch: TrainBatch) -> None:
        """Name the clips that could not be decoded and were replaced in this batch, each once in the run."""
        for text in dict.fromkeys(batch.failures):
            if text not in self.failures:
                self.failures.append(text)
                self.console.print(f"Replaced by another clip: {text}")

    def _evaluate_on_the_way(self, epochs: int, metrics: MetricsFile) -> None:
        """Evaluate after every `train.evaluate_every` epochs except the last; `epochs` are done."""
        every = self.recipe.train.evaluate_every
        if every and epochs and epochs % every == 0:
            evaluation = self._evaluate(metrics, self.data.evaluation)
            self.status.begin(TRAIN)
            metrics.write({"step": self.step, "epoch": epochs - 1, "evaluation": evaluation.metrics})

    def _validate(self, metrics: MetricsFile) -> None:
        """Validate the epoch that ends here, unless that is done, and keep its weights if it is the best so far."""
        best, batches = self.best, self._validation()
        if best is None or batches is None or self.step <= best.validated:
            return
        measured = self._evaluate(metrics, batches, VALIDATE).metrics
        self.status.begin(TRAIN)
        epoch = (self.step - 1) // self.data.steps
        measured, better = on_main_rank(lambda: (measured, best.better(measured)))
        best.see(self.step, epoch, measured, self.state.state_dict(), better=better)
        metrics.write({"step": self.step, "epoch": epoch, "validation": measured})

    def _validation(self) -> Iterable[object] | None:
        """Return the batches of the validation split, if the data have one."""
        batches: Iterable[object] | None = getattr(self.data, "validation", None)
        return batches

    def _evaluate(self, metrics: MetricsFile, batches: Iterable[object], phase: str = EVALUATE) -> Evaluation:
        """Run the task's evaluation on `batches`; stop between two of them on a signal."""

        def until_stopped() -> Iterator[object]:
            for batch in self.status.over(phase, batches, self.console):
                if self.stop.number is not None:
                    break
                yield batch
            self._save_or_stop(metrics)

        share_buffers(self.state.trained())
        return self.task.evaluate(self.state, until_stopped())

    def _finish(self, metrics: MetricsFile, rate: float, seconds: float) -> Result:
        """Evaluate the epoch that is kept, write the result and the weights, and return the result on all ranks."""
        if self.best is not None and self.best.weights is not None:
            self.state.load_state_dict(self.best.weights)
        evaluation = self._evaluate(metrics, self.data.evaluation)
        self.failures = list(dict.fromkeys(gathered(self.failures)))
        return on_main_rank(lambda: self._write(evaluation, metrics, rate, seconds))

    def _write(self, evaluation: Evaluation, metrics: MetricsFile, rate: float, seconds: float) -> Result:
        metrics.write({"step": self.step, "evaluation": evaluation.metrics})
        self.status.numbers = evaluation.metrics
        self.state.export(self.run.folder)
        for name, draw in evaluation.figures.items():
            draw(self.run.folder / f"{name}.png")
        for name, table in evaluation.tables.items():
            write_text(self.run.folder / f"{name}.md", table.markdown())
        if lines := read_metrics(metrics.path):
            training_curves(lines, self.run.folder / "curves.png", title=self._title())
        result: Result = {
            "task": self.recipe.task,
            "recipe": self.recipe.name,
            "row": self.recipe.default_row,
            "seed": self.recipe.seed,
            "data": self.data.summary(),
            "metrics": evaluation.metrics,
            "warnings": self.health.warnings,
            "notes": self._notes(),
            "failures": self.failures,
            "steps": self.step - self.left_out,
            "clips_per_second": round(rate, 1),
            "seconds": round(seconds, 1),
        }
        if self.best is not None:
            result["kept"] = self.best.about()
        write_text(self.run.result_path, json.dumps(result, indent=2) + "\n")
        return result

    def _save(self, metrics: MetricsFile) -> None:
        spoilt = where_not_finite(self.state.state_dict())
        if spoilt is not None:
            raise NotFiniteError(
                f"step {self.step}: {spoilt} is not finite, so nothing was saved over the last checkpoint."
            )
        state = {
            "step": self.step,
            "state": self.state.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "metrics": metrics.state_dict(),
            "failures": list(dict.fromkeys(gathered(self.failures))),
            "left_out": self.left_out,
            "health": self.health.state_dict(),
            **random_state(self.device),
        }
        on_main_rank(lambda: self._write_state(state))

    def _write_state(self, state: dict[str, object]) -> None:
        """Write the checkpoint; the best epoch's weights before it, and those it no longer names removed after it."""
        if self.best is not None:
            state["best"] = self.best.save()
        save_state(self.run.state_path, state)
        if self.best is not None:
            self.best.tidy()

    def _restore(self, metrics: MetricsFile) -> None:
        """Restore the saved state, if there is one. Nothing is written until all ranks agree on it."""
        found = self.run.state_path.exists()
        state = load_state(self.run.state_path) if found else {}
        check_same({"step": state.get("step", 0)})
        if not found:
            metrics.restart()
            return
        try:
            self.state.load_state_dict(state["state"])
            self.optimizer.load_state_dict(state["optimizer"])
            metrics.load_state_dict(state["metrics"])
            self.failures = list(state["failures"])
            self.left_out = int(state.get("left_out", 0))  # states of earlier versions lack it
            self.health.load_state_dict(state["health"])
            if self.best is not None:
                self.best.restore(state["best"])
            self.step = int(state["step"])
            restore_random_state(state, self.device)
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise DataError(
                f"{self.run.state_path}: not a state of this recipe ({str(error).splitlines()[0]}). Add --overwrite to "
                "start anew."
            ) from None

    def _notes(self) -> list[str]:
        """Return the data's notes, if they have any, and whether the best epoch cannot be told."""
        notes = list(getattr(self.data, "notes", ()))
        if self.recipe.keeps_best and self.best is None:
            notes.append("The data have no split to validate on: the last epoch is kept (train.keep).")
        if self.left_out:
            notes.append(f"{self.left_out} of {self.steps} steps were left out to end in time (--budget).")
        return notes

    def _title(self) -> str:
        return f"{self.recipe.name}/{self.recipe.default_row}/seed{self.recipe.seed}"


def make_trainer(
    task: AnyTask,
    recipe: TrainedRecipe,
    run: Run,
    context: Context,
    console: Console,
    data: AnyData | None = None,
) -> Trainer:
    """Build a run's data (unless `data` is given), state and optimizer."""
    data = task.build_data(recipe) if data is None else data
    seed_everything(recipe.seed)
    state = task.build_state(recipe, data, context)
    optimizer = make_optimizer(state.trained(), recipe.train.optimizer)
    stop = StopFlag(patient=count_ranks() > 1)
    trainer = Trainer(task, recipe, run, data, state, context.device, console, optimizer, stop=stop)
    if own_rank() == 0:
        trainer.status.count_views(task, recipe)
    return trainer
