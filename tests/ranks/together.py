"""Trainings on several ranks, alone beside them, and what becomes of them when one is signalled, killed or goes wrong.

Run by test_distributed.py as a program: it loads everything once and forks each rank, which then runs the real command
with the variables that torchrun would set (killing.py says why not otherwise). What each scenario gave is left in files
and told on standard output as JSON.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torchmetrics  # noqa: F401 - loaded here, once, where the command would load it in each process

sys.path.append(str(Path(__file__).parents[2]))
from asgmcli.cli import main
from asgmcli.commands import eval as _eval_command  # noqa: F401 - likewise
from asgmcli.commands import train as _train_command  # noqa: F401
from asgmcli.errors import DataError
from asgmcli.ranks import exchange as distributed
from asgmcli.ranks.launch import ATTEMPT, WATCHED
from asgmcli.tasks import TASKS, localization, recognition
from asgmcli.train import loop
from asgmcli.train.batches import batch_ids
from tests.tiny_training import write_recipe

PATIENCE_S = 120.0
STUCK_S = 0.5  # in place of the command's, which is about torchrun's own patience
# Not drawn by any rank: then the numbers do not depend on how many there are.
NO_DROPS = ("model.video.drop_path=0.0", "model.audio.drop_path=0.0")
GUIDED = ("masks.kind=localization", "localizer={kind: oracle}", "losses.mixup.target=mass")
LOCALIZER = """
name: ears
task: localization
title: Ears
default_row: only
rows: {only: {title: only}}
data: {dataset: demo, manifest: MANIFEST, keep_decoded: true}
model: {dim: 8, width: 4, stride: 8, norm: true, image_dropout: 0.0}
input: {size: 32, resize: 36, seconds: 0.5, mask_width: 6}
losses: {contrastive_epochs: 1, weight: 10.0, temperature: 0.3}
evaluate: {frames: 1, batch: 4}
train: {epochs: 2, batch: 6, max_steps: 7, optimizer: {lr: 1e-4}}
"""


@dataclass(frozen=True)
class Event:
    """What happens on a rank in a step (-1: before the first, where networks are built), or in an evaluation."""

    rank: int
    step: int
    act: Callable[[dict[str, Any]], Any]
    evaluating: bool = False


@dataclass
class Outcome:
    """How the ranks ended: exit codes (negative: by that signal), what each said, each one's steps, and how long it
    took from an event to the end of all."""

    codes: list[int]
    said: list[str]
    steps: list[list[dict[str, Any]]]
    seconds: float


@dataclass(frozen=True)
class Agent:
    """What torchrun is to its processes: it keeps their store, and ends the others where one has ended."""

    port: int
    attempt: int = 0


@dataclass
class Place:
    """A recipe and a folder of runs."""

    recipe: Path
    runs: Path
    sets: Sequence[str] = field(default_factory=tuple)

    def train(
        self,
        ranks: int,
        *events: Event,
        resume: bool = False,
        last: Sequence[str] = (),
        agent: Agent | None = None,
    ) -> Outcome:
        """The recipe's training on `ranks` processes, or on one alone; the last one is given `last` besides."""
        sets = [part for text in self.sets for part in ("--set", text)]
        options = ["--runs", str(self.runs), *sets, *(["--resume"] if resume else [])]
        return self.call(ranks, ["train", str(self.recipe), *options], events, last, agent)

    def judge(self, ranks: int) -> Outcome:
        """The evaluation of the recipe's run, written to a folder named for `ranks`."""
        (run,) = self.runs.glob(f"{self.recipe.stem}/*/seed0")
        return self.call(
            ranks, ["eval", str(run), "--batch", "3", "--out", str(self.runs / f"{self.recipe.stem}-judged{ranks}")]
        )

    def call(
        self,
        ranks: int,
        arguments: list[str],
        events: Sequence[Event] = (),
        last: Sequence[str] = (),
        agent: Agent | None = None,
    ) -> Outcome:
        """A command on `ranks` processes, the last one with `last` besides; until all have ended."""
        self.runs.mkdir(parents=True, exist_ok=True)
        port = agent.port if agent else free_port()
        mark = f"{port}-{agent.attempt}" if agent else str(port)
        logs = [self.runs / f"rank{rank}-of-{ranks}-{mark}" for rank in range(ranks)]
        children: dict[int, int] = {}
        for rank in range(ranks):
            os.environ["FIRST_PROCESS"] = str(next(iter(children), 0))
            own = [*arguments, *last] if rank == ranks - 1 else arguments
            children[_fork(rank, ranks, agent or Agent(port, -1), logs[rank], events, own)] = rank
        codes, begun = [0] * ranks, time.monotonic()
        while children:
            process, status = os.waitpid(-1, os.WNOHANG)
            if process in children:
                code = codes[children.pop(process)] = os.waitstatus_to_exitcode(status)
                for other in children if agent and code else ():
                    os.kill(other, signal.SIGTERM)
            elif time.monotonic() - begun > PATIENCE_S:
                for process in children:
                    os.kill(process, signal.SIGKILL)
                raise AssertionError(f"no end after {PATIENCE_S} s: {[log.with_suffix('.err') for log in logs]}")
            time.sleep(0.01)
        marks = [log.with_suffix(".event") for log in logs if log.with_suffix(".event").exists()]
        seconds = time.time() - marks[0].stat().st_mtime if marks else 0.0
        said = [log.with_suffix(".err").read_text() for log in logs]
        steps = [[json.loads(line) for line in log.with_suffix(".steps").read_text().splitlines()] for log in logs]
        return Outcome(codes, said, steps, seconds)


def _fork(rank: int, ranks: int, agent: Agent, log: Path, events: Sequence[Event], arguments: list[str]) -> int:
    """A process that runs the command with `arguments` as one of `ranks`; an attempt of -1 is without an agent."""
    process = os.fork()
    if process:
        return process
    code = 1
    try:
        handle = os.open(log.with_suffix(".err"), os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        if ranks > 1:
            given = {"RANK": rank, "WORLD_SIZE": ranks, "LOCAL_RANK": rank, "MASTER_PORT": agent.port}
            os.environ.update({name: str(value) for name, value in given.items()}, MASTER_ADDR="127.0.0.1")
            os.environ[WATCHED] = "here"
            if agent.attempt >= 0:
                os.environ.update({"TORCHELASTIC_USE_AGENT_STORE": "True", ATTEMPT: str(agent.attempt)})
            stuck = any(event.act in (hang, die_when_saving) for event in events)
            distributed.STUCK_S = STUCK_S if stuck else PATIENCE_S
        _watch(log, [event for event in events if event.rank == rank])
        main(arguments)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _watch(log: Path, events: Sequence[Event]) -> None:
    """Note every step of this process in a file, let the events happen, and let the loop's clock count steps."""
    file = log.with_suffix(".steps").open("w")
    done: list[int] = []
    whole_step = loop.Trainer._train_step

    def noted(self: loop.Trainer, epoch: int, batch: Any) -> Any:
        terms, clips = whole_step(self, epoch, batch)
        file.write(json.dumps({"step": self.step, "terms": terms, "clips": clips, "ids": batch_ids(batch)}) + "\n")
        file.flush()
        done.append(self.step)
        return terms, clips

    def happen(step: int, terms: dict[str, Any], evaluating: bool) -> None:
        for event in events:
            if (event.step, event.evaluating) == (step, evaluating):
                log.with_suffix(".event").touch()
                event.act(terms)

    def eventful(task: Any) -> Any:
        def train_step(state: Any, batch: Any) -> Any:
            terms = dict(task.train_step(state, batch))
            happen(state.step, terms, False)
            return terms

        def build_state(*given: Any) -> Any:
            happen(-1, {}, False)
            return task.build_state(*given)

        def evaluate(state: Any, loader: Any) -> Any:
            def told() -> Iterator[Any]:
                for batch in loader:
                    happen(state.step, {}, True)
                    yield batch

            evaluation = task.evaluate(state, told())
            evaluation.figures.clear()  # dear to draw, and nothing depends on them
            return evaluation

        functions = {name: getattr(task, name) for name in task.__all__}
        own = {"build_state": build_state, "train_step": train_step, "evaluate": evaluate}
        return SimpleNamespace(**{**functions, **own})

    loop.Trainer._train_step = noted
    loop.time = SimpleNamespace(monotonic=lambda: float(len(done)), perf_counter=time.perf_counter)
    TASKS["recognition"] = eventful(recognition)
    TASKS["localization"] = eventful(localization)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def send(number: int) -> Callable[[dict[str, Any]], None]:
    """An act: the rank gets a signal."""
    return lambda terms: os.kill(os.getpid(), number)


def spoil(terms: dict[str, Any]) -> None:
    """An act: the rank's loss is no number."""
    terms["loss"] = terms["loss"] * float("nan")


def hang(terms: dict[str, Any]) -> None:
    """An act: the first rank is told to stop while this one comes to no end of its step."""
    os.kill(int(os.environ["FIRST_PROCESS"]), signal.SIGTERM)
    time.sleep(4 * STUCK_S)


def fail(terms: dict[str, Any]) -> None:
    """An act: the rank alone meets an error that a user is told of."""
    raise DataError("this rank's disk is gone")


def term_within_exchange(terms: dict[str, Any]) -> None:
    """An act: the rank is told to stop while it waits in the exchange in which all agree on whether to."""
    whole = distributed.Ranks.agree

    def agree(self: distributed.Ranks, *numbers: int) -> list[int]:
        agreed = whole(self, *numbers)
        if len(numbers) == 2:
            distributed.Ranks.agree = whole
            os.kill(os.getpid(), signal.SIGTERM)
        return agreed

    distributed.Ranks.agree = agree


def die_when_saving(terms: dict[str, Any]) -> None:
    """An act: the first rank will die while it alone works and the others wait for it."""
    loop.save_state = lambda *_: os.kill(os.getpid(), signal.SIGKILL)


def mute(terms: dict[str, Any]) -> None:
    """An act: what Python calls standard error goes nowhere, as behind the live bar of a quiet console."""
    sys.stderr = io.StringIO()


@contextmanager
def kept_store() -> Iterator[int]:
    """The port of a store that outlives the ranks, in a process of its own."""
    port = free_port()
    process = os.fork()
    if not process:
        try:
            store = torch.distributed.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
            while store:
                time.sleep(PATIENCE_S)
        finally:
            os._exit(0)
    try:
        yield port
    finally:
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def scenarios(demo: Path, folder: Path) -> dict[str, Callable[[], Any]]:
    """What is tried, by name."""
    recipe = write_recipe(folder, demo)
    ears = folder / "ears.yaml"
    ears.write_text(LOCALIZER.replace("MANIFEST", json.dumps(str(demo / "manifest.csv"))))

    def place(name: str, *sets: str, steps: int = 10) -> Place:
        return Place(recipe, folder / name, (*sets, f"train.max_steps={steps}"))

    def resumed() -> list[Outcome]:
        parts = place("resumed", "train.evaluate_every=1")
        return [
            parts.train(2, Event(1, 6, send(signal.SIGTERM))),
            parts.train(2, Event(0, 9, send(signal.SIGINT), evaluating=True), resume=True),
            parts.train(2, resume=True),
        ]

    def killed(rank: int) -> list[Outcome]:
        workers = ("data.workers=2", "data.keep_decoded=false") if rank else ()  # which outlive their rank for a while
        parts = place(f"killed{rank}", *workers, "train.save_minutes=0.05")  # a save after every four steps
        return [parts.train(2, Event(rank, 6, send(signal.SIGKILL))), parts.train(2 - rank, resume=True)]

    def apart() -> list[Outcome]:
        """One rank sees other runs than the rest: none at all, then one that is not as far."""
        parts, other = place("apart"), folder / "elsewhere"
        elsewhere = ["--runs", str(other)]
        stopped = parts.train(2, Event(1, 2, send(signal.SIGTERM)))
        none = parts.train(2, resume=True, last=elsewhere)
        shutil.copytree(parts.runs, other, ignore=shutil.ignore_patterns("checkpoints"))
        return [stopped, none, parts.train(2, resume=True, last=elsewhere)]

    def restarted() -> list[Outcome]:
        parts = place("restarted", "train.save_minutes=0.05", steps=6)
        with kept_store() as port:
            return [
                parts.train(2, Event(0, 2, die_when_saving), agent=Agent(port)),
                parts.train(2, resume=True, agent=Agent(port, 1)),
            ]

    def unmade() -> Outcome:
        with kept_store() as port:
            return place("unmade").train(2, Event(0, -1, fail), agent=Agent(port))

    equal = (*NO_DROPS, *GUIDED, "train.accumulate=2")
    return {
        "alone": lambda: place("alone", *equal).train(1),
        "together": lambda: place("together", *equal).train(2),
        "ears_alone": lambda: Place(ears, folder / "alone").train(1),
        "ears_together": lambda: Place(ears, folder / "together").train(3),
        "judged": lambda: [place("together").judge(ranks) for ranks in (1, 2)],
        "ears_judged": lambda: [Place(ears, folder / "together").judge(ranks) for ranks in (1, 2)],
        "straight": lambda: place("straight", "train.evaluate_every=1").train(2),
        "resumed": resumed,
        "killed0": lambda: killed(0),
        "killed1": lambda: killed(1),
        "not_finite": lambda: place("not_finite").train(2, Event(1, 6, spoil)),
        "failed": lambda: place("failed").train(2, Event(1, 6, fail)),
        "hung": lambda: place("hung").train(2, Event(0, 5, mute), Event(1, 6, hang)),
        "late": lambda: place("late").train(2, Event(1, 5, term_within_exchange)),
        "apart": apart,
        "restarted": restarted,
        "unmade": unmade,
        "foreign": lambda: place("foreign").train(2, last=["--set", "losses.mixup.weight=0.5"]),
        "indivisible": lambda: place("indivisible", "train.batch=3").train(2),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    found = scenarios(Path(sys.argv[1]), Path(sys.argv[2]))
    wanted = sys.argv[3:] or list(found)
    results = {name: found[name]() for name in wanted}
    print(json.dumps(results, default=vars))
