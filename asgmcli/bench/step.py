"""Measure a training step of the recognition task: its rate as a share of the machine's own, and its memory.

Each setting is measured in a process of its own, for its own peak memory. The rate is that of the networks' operations,
counted by torch as --dry-run counts them, over the time of the whole step: student, teacher, masks, losses, backward
pass, optimizer, moving average. The machine's rate is that of a product of the network's width, timed right before and
after each step, so that disturbances affect both.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import torch

from asgmcli.bench import SIZES
from asgmcli.bench.made_up import made_up_batch, made_up_state
from asgmcli.errors import AsgmError, RecipeError
from asgmcli.ranks.device import synchronize
from asgmcli.recipe.read import check_recipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.report.table import Cell, Table
from asgmcli.runs.counts import needs
from asgmcli.runs.estimate import product_rate
from asgmcli.tasks import recognition
from asgmcli.train.gradients import compute_gradients
from asgmcli.train.schedule import make_optimizer

CLASSES = 51
# The first steps choose kernels and allocate memory, the second the optimizer's too; they are not timed.
WARM_UP = 2
NOTE = "Operations of the whole step, as torch counts them. On a CPU memory of the whole process, libraries among it."


@dataclass(frozen=True)
class Setup:
    """One setting of the step: the network's size, the batch, and how it is computed."""

    size: str
    labeled: int = 1
    unlabeled: int = 2
    frames: int = 8
    pixels: int = 224
    modality: str = "video"
    precision: str = "fp32"
    checkpointing: bool = False
    compile: bool = False
    device: str = "cpu"
    threads: int = 1

    @property
    def title(self) -> str:
        """Return what a table and messages call it."""
        ways = [name for name in ("checkpointing", "compile") if getattr(self, name)]
        return ", ".join([f"ViT-{self.size.removeprefix('vit_').capitalize()}", self.precision, *ways])


class Measured(TypedDict):
    """The measurements of a step.

    `seconds` of each step are processor time on one CPU thread, where others' work takes none of it, else wall-clock;
    `products_per_second` are operations, beside the steps; `operations` those of a step; `peak_bytes` of the whole
    process on a CPU, of all tensors on a GPU; `start_bytes` of the process before anything was made.
    """

    setup: dict[str, Any]
    seconds: list[float]
    wall_seconds: list[float]
    products_per_second: list[float]
    operations: int
    start_bytes: int
    peak_bytes: int


def setups_of(first: Setup, sizes: Iterable[str]) -> Iterator[Setup]:
    """Yield the setups to measure for each of `sizes`, all else as in `first`.

    On a CPU or an Apple GPU with and without activation checkpointing; on a CUDA GPU fp32, bf16, and bf16 compiled.
    """
    for size in sizes:
        setup = replace(first, size=size)
        yield setup
        if not first.device.startswith("cuda"):
            yield replace(setup, checkpointing=True)
        else:
            yield replace(setup, precision="bf16")
            yield replace(setup, precision="bf16", compile=True)


def recipe_of(setup: Setup) -> RecognitionRecipe:
    """Return SVFormer's step (tube mask, no sound), or with sound ASGM-Former's without its guide.

    Raises:
        RecipeError: the numbers do not go together.
    """
    if setup.unlabeled % setup.labeled:
        raise RecipeError(f"{setup.unlabeled} unlabelled clips are no multiple of {setup.labeled} labelled ones")
    dim, heads = SIZES[setup.size]
    network = {"dim": dim, "heads": heads}
    contrast = 0.1 if setup.modality == "video+audio" else 0.0
    values: dict[str, object] = {
        "name": "bench",
        "task": "recognition",
        "title": "A step on made-up clips",
        "default_row": "step",
        "rows": {"step": {"title": "step"}},
        "data": {"dataset": "none"},
        "clip": {
            "frames": setup.frames,
            "size": setup.pixels,
            "short_side": [setup.pixels, setup.pixels],
        },
        "model": {
            "modality": setup.modality,
            "video": network,
            "audio": network,
            "fusion": {"heads": heads},
        },
        "masks": {"kind": "tube", "alpha": 10.0},
        "losses": {"contrastive": {"weight": contrast}},
        "train": {
            "batch": setup.labeled,
            "unlabeled_ratio": setup.unlabeled // setup.labeled,
            "precision": setup.precision,
            "activation_checkpointing": setup.checkpointing,
            "compile": setup.compile,
        },
    }
    return check_recipe(values, Path("asgm bench step"), RecognitionRecipe)


class Step:
    """A training step that can be repeated: all that `asgm train` does with a batch once it is loaded."""

    def __init__(self, recipe: RecognitionRecipe, labeled: int, unlabeled: int, device: torch.device) -> None:
        self.recipe = recipe
        torch.manual_seed(0)
        self.state = made_up_state(recipe, CLASSES, device)
        self.optimizer = make_optimizer(self.state.trained(), recipe.train.optimizer)
        self.batch = made_up_batch(recipe, CLASSES, labeled, unlabeled, device)
        self.number = 0

    def __call__(self) -> None:
        """Train one step."""
        self.state.begin_step(0, self.number)
        compute_gradients(recognition.train_step, self.state, self.batch, self.optimizer, self.recipe.train)
        self.optimizer.step()
        self.state.after_step()
        self.number += 1


def operations_of(recipe: RecognitionRecipe) -> int:
    """Return the operations of a whole step, as `--dry-run` counts them."""
    found = needs(recipe, CLASSES)
    return 0 if found is None else found.step.operations


def measure(setup: Setup, repeats: int, limit: float, say: Callable[[str], object]) -> Measured:
    """Measure `setup` in a new process; see `measure_here` for its arguments and for what comes back.

    Raises:
        RecipeError: the numbers of `setup` do not go together.
        AsgmError: the process failed; the message has its last line.
    """
    recipe = recipe_of(setup)
    first = "save_memory" if recipe.saves_memory else "keep_memory"  # as `asgm train` begins
    code = f"from asgmcli.train.allocator import {first}; {first}(); from asgmcli.bench.step import answer; answer()"
    question = json.dumps({"setup": asdict(setup), "repeats": repeats, "limit": limit})
    answered = ""
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-c", code, question], stdout=subprocess.PIPE, stderr=errors, text=True
        ) as child,
    ):
        assert child.stdout is not None
        for answered in child.stdout:
            if not answered.startswith("{"):
                say(answered.rstrip())
        if child.wait():
            errors.seek(0)
            reason = (errors.read().strip().splitlines() or [f"ended with {child.returncode}"])[-1]
            raise AsgmError(f"{setup.title}: the step cannot be measured here: {reason}")
    found: Measured = json.loads(answered)
    return found


def answer() -> None:
    """Run the child process of `measure`."""
    question = json.loads(sys.argv[1])

    def say(text: str) -> None:
        print(text, flush=True)

    say(json.dumps(measure_here(Setup(**question["setup"]), question["repeats"], question["limit"], say)))


def measure_here(setup: Setup, repeats: int, limit: float, say: Callable[[str], object]) -> Measured:
    """Measure time and memory of the step, in this process.

    Args:
        setup: the step.
        repeats: how often, at most.
        limit: seconds after which no further repeat is begun.
        say: is told what is done.
    """
    device = torch.device(setup.device)
    torch.set_num_threads(setup.threads)
    start = peak_bytes(device)
    step = Step(recipe_of(setup), setup.labeled, setup.unlabeled, device)
    begun = time.perf_counter()
    for number in range(1, WARM_UP + 1):
        step()
        say(f"{setup.title}: step {number} of {WARM_UP} that are not timed, {time.perf_counter() - begun:.0f} s so far")
    peak = peak_bytes(device)
    clock = _clock(device, setup.threads)
    plain = recipe_of(replace(setup, checkpointing=False))  # what checkpointing computes again is not counted
    seconds: list[float] = []
    walls, rates = [], []

    def rate() -> float:
        return product_rate(device, step.recipe.train, step.recipe.model.video.dim)

    begun = time.perf_counter()
    while len(seconds) < repeats and (not seconds or time.perf_counter() - begun < limit):
        before = rate()
        wall = time.perf_counter()
        seconds.append(clock(step))
        walls.append(time.perf_counter() - wall)
        rates.append((before + rate()) / 2)
        say(f"{setup.title}: {len(seconds)} of {repeats}: {seconds[-1]:.2f} s")
    return {
        "setup": asdict(setup),
        "seconds": seconds,
        "wall_seconds": walls,
        "products_per_second": rates,
        "operations": operations_of(plain),
        "start_bytes": start,
        "peak_bytes": peak,
    }


def summary(found: Measured) -> dict[str, float]:
    """Return medians of what `measure` found: seconds a step, share of the products' rate, gigabytes.

    The share is the median of each step's share of the rate around it.
    """
    pairs = list(zip(found["seconds"], found["products_per_second"], strict=True))
    seconds = statistics.median(found["seconds"])
    return {
        "seconds": seconds,
        "clips_per_second": (found["setup"]["labeled"] + found["setup"]["unlabeled"]) / seconds,
        "gflop": found["operations"] / 1e9,
        "products_gflop_per_second": statistics.median(found["products_per_second"]) / 1e9,
        "share": statistics.median(found["operations"] / taken / rate for taken, rate in pairs),
        "gigabytes": found["peak_bytes"] / 1e9,
    }


def table(measured: Sequence[Measured]) -> Table:
    """Return a line for each setting."""
    lines: list[list[Cell]] = []
    for found in measured:
        numbers = summary(found)
        shown = (numbers["seconds"], numbers["clips_per_second"], round(numbers["gflop"]))
        rates = (round(numbers["products_gflop_per_second"], 1), round(100 * numbers["share"], 1))
        lines.append([Setup(**found["setup"]).title, *shown, *rates, numbers["gigabytes"]])
    columns = ["step", "seconds", "clips/s", "GFLOP", "GFLOP/s of products", "share, %", "peak memory, GB"]
    setup = Setup(**measured[0]["setup"])
    where = "" if setup.device != "cpu" else f", {setup.threads} thread{'s' if setup.threads > 1 else ''}"
    clips = f"{setup.labeled} labelled + {setup.unlabeled} unlabelled clips"
    title = f"Training step, {setup.modality}, {clips} of {setup.frames} frames of {setup.pixels} pixels{where}"
    return Table(title, columns, lines, NOTE, digits=2)


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory so far: of this process, or of the tensors on a GPU.

    Linux reports this program's own peak; `getrusage` may report that of the process that started it.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return 1024 * int(line.split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _clock(device: torch.device, threads: int) -> Callable[[Callable[[], object]], float]:
    """Return a function that measures the seconds that a piece of work takes."""
    now = time.process_time if device.type == "cpu" and threads == 1 else time.perf_counter

    def taken(work: Callable[[], object]) -> float:
        synchronize(device)
        begin = now()
        work()
        synchronize(device)
        return now() - begin

    return taken
