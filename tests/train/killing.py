"""Training processes that are killed, signalled or given no room, and what they leave behind.

Run by test_nothing_lost.py as a program: it loads everything once and forks each training process, which then runs the
real command. A fork takes milliseconds where a new process would load for seconds; and it must be a program of its own,
since a process that has trained cannot be forked to train again (torch's autograd refuses).
"""

from __future__ import annotations

import io
import json
import os
import random
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torchmetrics  # noqa: F401 - loaded here, once, where the command would load it in each process
from safetensors.torch import load_file

sys.path.append(str(Path(__file__).parents[2]))
from asgmcli.cli import main
from asgmcli.commands import train as _train_command  # noqa: F401 - likewise
from asgmcli.recipe.read import load_recipe
from asgmcli.runs.session import Session
from asgmcli.tasks import TASKS, recognition
from asgmcli.train import checkpoint, loop
from asgmcli.train.checkpoint import load_state
from asgmcli.train.run import Run, run_of
from tests.steady import outcome, same
from tests.tiny_training import write_recipe

STEPS = 20
SAVE_STEPS = 5  # between two checkpoints: here the loop's clock counts steps, so that no machine is too slow or fast
PIECES = 16  # in which the slowed write hook writes a checkpoint
PAUSE_S = 0.004  # between two pieces, where writes are slowed
PATIENCE_S = 120.0  # for an event of a process, on a busy machine
CHANGES = ("train.epochs=4", "train.evaluate_every=2", f"train.save_minutes={(SAVE_STEPS - 1) / 60}")
WORKERS = ("--set", "data.workers=2", "--set", "data.keep_decoded=false")


@dataclass
class Event:
    """What a training process tells: the kind, the run's step, and when (monotonic seconds)."""

    kind: str
    step: int
    at: float
    strays: int = 0


@dataclass
class Child:
    """A training process: its id, its events so far and how it ended (negative: by that signal)."""

    process: int
    pipe: int
    events: list[Event] = field(default_factory=list)
    _rest: bytes = b""

    def wait_for(self, kind: str, count: int = 1, within: float = PATIENCE_S) -> bool:
        """Take events in until `count` of `kind` are there; False where it ends, or the time does, before."""
        until = time.monotonic() + within
        while sum(event.kind == kind for event in self.events) < count:
            ready, _, _ = select.select([self.pipe], [], [], max(until - time.monotonic(), 0.0))
            if not ready or not self._take():
                return False
        return True

    def end(self) -> int:
        """Wait for its end; the exit code."""
        while self._take():
            pass
        os.close(self.pipe)
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def _take(self) -> bool:
        content = os.read(self.pipe, 65536)
        *lines, self._rest = (self._rest + content).split(b"\n")
        self.events += [Event(**json.loads(line)) for line in lines]
        return bool(content)

    def last(self, kind: str) -> Event | None:
        """The last event of a kind."""
        return next((event for event in reversed(self.events) if event.kind == kind), None)


@dataclass
class Place:
    """Where a run is made: the recipe, the folder of runs, and options of the command besides."""

    recipe: Path
    runs: Path
    options: tuple[str, ...] = ()

    @property
    def run(self) -> Run:
        """The run's folder."""
        return run_of(load_recipe(self.recipe), self.runs)

    def start(self, slow: float = 0.0, room: Callable[[Event], int | None] | None = None) -> Child:
        """A process that trains here, or goes on: `slow` seconds between two pieces of a checkpoint.

        `room` is asked at every event how many bytes a file may have from then on (None: as before).
        """
        reader, writer = os.pipe()
        process = os.fork()
        if process:
            os.close(writer)
            os.setpgid(process, process)  # here too: the child may be killed before it gets to it
            return Child(process, reader)
        code = 1
        try:
            os.setpgid(0, 0)
            os.close(reader)
            self.runs.mkdir(parents=True, exist_ok=True)
            log = os.open(self.runs.with_suffix(".log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            _watch(writer, self.run.folder, slow, room)
            sets = [part for text in CHANGES for part in ("--set", text)]
            main(["train", str(self.recipe), "--runs", str(self.runs), "--resume", *sets, *self.options])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        finally:
            os._exit(code)


def _watch(pipe: int, folder: Path, slow: float, room: Callable[[Event], int | None] | None) -> None:
    """Make the training in this process tell its events, and its writes of checkpoints slow."""

    def tell(kind: str, step: int, strays: int = 0) -> None:
        event = Event(kind, step, time.monotonic(), strays)
        os.write(pipe, json.dumps(vars(event)).encode() + b"\n")
        limit = room(event) if room is not None else None
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))

    def slow_save(state: dict[str, Any], file: Any) -> None:
        content = io.BytesIO()
        torch_save(state, content)
        whole = content.getvalue()
        tell("writing", state["step"])
        for piece in range(PIECES):
            file.write(whole[piece * len(whole) // PIECES : (piece + 1) * len(whole) // PIECES])
            file.flush()
            time.sleep(slow)

    def save_state(path: Path, state: dict[str, Any]) -> None:
        checkpoint.save_state(path, state)
        tell("saved", state["step"], len(list(folder.rglob("*.part*"))))

    def train_step(state: Any, batch: Any) -> Any:
        terms = recognition.train_step(state, batch)
        tell("step", state.step)
        done.append(state.step)
        return terms

    def evaluate(state: Any, loader: Any) -> Any:
        def told() -> Iterator[Any]:
            for batch in loader:
                tell("evaluating", state.step)
                yield batch

        evaluation = recognition.evaluate(state, told())
        evaluation.figures.clear()  # dear to draw, and nothing depends on them
        return evaluation

    done: list[int] = []
    loop.time = SimpleNamespace(monotonic=lambda: float(len(done)), perf_counter=time.perf_counter)
    torch_save = torch.save
    checkpoint.torch.save = slow_save
    loop.save_state = save_state
    functions = dict(vars(recognition))
    TASKS["recognition"] = SimpleNamespace(**{**functions, "train_step": train_step, "evaluate": evaluate})
    Session.ensure = lambda *_: None  # the data are there


def whole(run: Run) -> tuple[Any, ...]:
    """All that a finished run has measured and made, without its times."""
    return *outcome(run), load_file(run.folder / "model.safetensors")


def see(condition: bool, what: str) -> None:
    """Raise with `what` where the condition does not hold."""
    if not condition:
        raise AssertionError(what)


def kill(recipe: Path, folder: Path, wanted: tuple[Any, ...], life: float, kills: int, seed: int) -> dict[str, Any]:
    """Kill training processes `kills` times, half of them while they write a checkpoint; resume each; compare each
    run that gets to its end with the straight one (`wanted`), which took `life` seconds.

    Raises:
        AssertionError: a promise is broken.
    """
    rng = random.Random(seed)
    counts = {"kills": 0, "while_writing": 0, "before_a_step": 0, "after_the_steps": 0, "with_workers": 0}
    most_lost, runs, place, saved = 0, 0, None, None
    while counts["kills"] < kills or place is not None:
        if place is None:
            runs += 1
            place, saved = Place(recipe, folder / f"run{runs}", WORKERS if runs % 4 == 0 else ()), None
        child = place.start(slow=PAUSE_S)
        if counts["kills"] >= kills:  # the last one is let go on
            code = child.end()
        else:
            if 2 * counts["while_writing"] <= counts["kills"]:  # a third is wanted, and some will come too late
                if child.wait_for("writing", rng.randint(1, 3)):
                    time.sleep(rng.random() * PIECES * PAUSE_S)
            else:
                child.wait_for("none", within=rng.random() * life)
            os.killpg(child.process, signal.SIGKILL)
            code = child.end()
        see(code in (0, -signal.SIGKILL), f"exit code {code}")
        saved = _see_lossless(child, place, saved)
        if code == 0:
            same(wanted, whole(place.run), place.runs.name)
            place = None
            continue
        counts["kills"] += 1
        counts["with_workers"] += bool(place.options)
        last = child.last("step")
        counts["before_a_step"] += last is None
        counts["after_the_steps"] += last is not None and last.step + 1 == STEPS
        counts["while_writing"] += bool(child.events) and child.events[-1].kind == "writing"
        most_lost = max(most_lost, last.step + 1 - saved if last is not None and saved is not None else 0)
    return {**counts, "runs_finished": runs, "most_steps_lost": most_lost, "steps": STEPS}


def _see_lossless(child: Child, place: Place, before: int | None) -> int | None:
    """See that a process went on where the last checkpoint was, lost no save and left no stray file after one; the step
    of the checkpoint that is there now (None: there was no time for one)."""
    steps = [event.step for event in child.events if event.kind == "step"]
    see(not steps or steps[0] == (before or 0), f"went on at step {steps[:1]}, the checkpoint was of {before}")
    see(steps == list(range(steps[0], steps[0] + len(steps))) if steps else True, "steps were left out")
    kept = child.last("saved")
    see(all(event.strays == 0 for event in child.events if event.kind == "saved"), "stray files outlived a save")
    path = place.run.state_path
    if not path.exists():
        see(before is None and kept is None, "the checkpoint is gone")
        return None
    there = int(load_state(path)["step"])  # raises where it cannot be read
    # A process killed between the rename and its telling has a newer one than it told.
    see(there >= max(before or 0, kept.step if kept is not None else 0), "a checkpoint was lost")
    # One step more where the last one was killed on its way to the checkpoint that was due.
    see(not steps or steps[-1] + 1 - there <= SAVE_STEPS, f"step {steps[-1:]} was done, {there} was saved")
    return there


def signals(recipe: Path, folder: Path, wanted: tuple[Any, ...], chains: int) -> dict[str, Any]:
    """SIGTERM and SIGINT while training, saving and evaluating: exit codes, states, and seconds to the end at most.

    The whole process group is signalled, as schedulers and terminals do, so the loader's workers are too.

    Raises:
        AssertionError: a promise is broken.
    """
    slowest, codes = 0.0, []
    for number in range(chains):
        order = (signal.SIGTERM, signal.SIGINT)
        chain = (order[number % 2], order[1 - number % 2], order[number % 2])
        place = Place(recipe, folder / f"signalled{number}", () if number % 2 else WORKERS)
        for sent, phase in zip(chain, ("step", "writing", "evaluating"), strict=True):
            child = place.start(slow=PAUSE_S)
            see(child.wait_for(phase), f"no {phase}")
            at = time.monotonic()
            os.killpg(child.process, sent)
            code = child.end()
            slowest = max(slowest, time.monotonic() - at)
            codes.append(code)
            see(code == (75 if sent == signal.SIGTERM else 130), f"exit code {code} for {sent.name} while {phase}")
            last = child.last("step")
            there = load_state(place.run.state_path)["step"]
            see(last is None or there == last.step + 1, f"step {there} was saved, {last} was the last")
        see(place.start().end() == 0, "the resumed run failed")
        same(wanted, whole(place.run), place.runs.name)
    return {"codes": codes, "slowest_seconds": round(slowest, 2)}


def full_disk(recipe: Path, folder: Path, wanted: tuple[Any, ...]) -> dict[str, Any]:
    """A disk that is full from the second checkpoint on: the first one stays, the message tells, the run goes on later.

    Raises:
        AssertionError: a promise is broken.
    """
    place = Place(recipe, folder / "full")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def room(event: Event) -> int | None:
        return 20_000 if event.kind == "saved" else None

    child = place.start(room=room)
    code = child.end()
    text = place.runs.with_suffix(".log").read_text()
    see(code == 3, f"exit code {code}: {text}")
    first = child.last("saved")
    see(first is not None and load_state(place.run.state_path)["step"] == first.step, "the earlier checkpoint is gone")
    see("MB are free" in text and "It takes about" in text and "Traceback" not in text, text)
    see(not list(place.run.folder.rglob("*.part*")), "a stray file")
    see(place.start().end() == 0, "the resumed run failed")
    same(wanted, whole(place.run), "full")
    return {"message": [line for line in text.splitlines() if "takes about" in line][-1]}


def all_of(demo: Path, folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Everything, against one straight run."""
    folder.mkdir(parents=True)
    recipe = write_recipe(folder, demo)
    straight = Place(recipe, folder / "straight")
    begin = time.monotonic()
    see(straight.start(slow=PAUSE_S).end() == 0, "the straight run failed")
    life, wanted = time.monotonic() - begin, whole(straight.run)
    return {
        "disk": full_disk(recipe, folder, wanted),
        "signals": signals(recipe, folder, wanted, max(1, kills // 10)),
        "kills": kill(recipe, folder, wanted, life, kills, seed),
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps(all_of(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
