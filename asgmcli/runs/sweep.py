"""Train rows x seeds of a recipe, several at a time, each in a process of its own; then write the table."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from asgmcli.errors import AsgmError, DataError, NotFiniteError
from asgmcli.files import write_text
from asgmcli.metrics.paired import paired_difference
from asgmcli.progress import spoken_time
from asgmcli.ranks.launch import find_launch, own_environment
from asgmcli.recipe.base import Recipe
from asgmcli.report.table import Cell, Table, mean_std, with_interval
from asgmcli.runs.shares import Shares
from asgmcli.signals import interruptible
from asgmcli.status import FAILED, FINISHED, STATUS_NAME, STOPPED, Phase, Status, read_status
from asgmcli.train.run import Result, Run

COMMAND = [sys.executable, "-m", "asgmcli", "train"]
POLL_SECONDS = 0.5
NEWS_SECONDS = 20.0  # how often the running jobs' last lines are shown
EARLY = 0.05  # of each running job: before so much is done, what jobs take to begin would be most of an estimate
MAIN_METRIC = "top1"
FAILURES: dict[int, type[AsgmError]] = {error.exit_code: error for error in (DataError, NotFiniteError)}


@dataclass
class Job:
    """A training process: its title, its arguments but for --device, its log file, the titles of the jobs that it comes
    after, and the device that it got."""

    title: str
    arguments: list[str]
    log: Path
    after: frozenset[str] = frozenset()
    device: str = ""
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def code(self) -> int:
        """Return the exit code of the finished process."""
        assert self.process is not None
        return int(self.process.returncode)


@dataclass(frozen=True)
class StaleRun:
    """A finished run whose settings differ from its row's in the current recipe, and the differences, a text a key."""

    run: Run
    row: str
    seed: int
    differs: list[str]

    def __str__(self) -> str:
        return f"Not in the table, made with other settings: {self.run.folder}: {'; '.join(self.differs)}"

    def data(self) -> dict[str, object]:
        """Return the run as JSON data."""
        return {"run": str(self.run.folder), "row": self.row, "seed": self.seed, "differs": self.differs}


def run_jobs(
    jobs: Sequence[Job],
    devices: Sequence[str],
    parallel: int,
    console: Console,
    later: float | None = 0.0,
    shares: Shares | None = None,
) -> None:
    """Run all jobs, `parallel` at a time, sharing the cores; a job that fails stops none but those that come after it.

    Each takes the one of `devices` (values of --device) that the fewest running jobs have. `later` is the command's
    work after them as a multiple of theirs, for the time that is left; None where it is unknown. `shares` gives each
    its --budget.

    Raises:
        AsgmError: one or more jobs failed; their logs are named, the exit code is that of the first.
        Interrupted: Ctrl-C or SIGTERM; running jobs were asked to save and stop.
    """
    threads = str(max(1, (os.cpu_count() or 1) // parallel))
    environment = {**own_environment(), "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
    # torchrun signals whole sessions; a rank's jobs have sessions of their own and are signalled by that rank.
    apart = find_launch().several
    waiting = list(jobs)
    running: list[Job] = []
    failed: list[Job] = []
    started, finished = time.monotonic(), 0
    told = started
    status = _status_of(jobs)
    with interruptible("Stopped; running ones saved their state. The same command with --resume goes on."):
        try:
            while waiting or running:
                open_ends = {job.title for job in (*waiting, *running, *failed)}
                while len(running) < parallel and (job := _next(waiting, open_ends)) is not None:
                    waiting.remove(job)
                    job.device = min(devices, key=[other.device for other in running].count)
                    job.log.parent.mkdir(parents=True, exist_ok=True)
                    own = _own_arguments(job, waiting, running, parallel, shares)
                    with job.log.open("wb") as log:
                        job.process = subprocess.Popen(
                            [*COMMAND, *own, *job.arguments],
                            stdout=log,
                            stderr=subprocess.STDOUT,
                            env=environment,
                            start_new_session=apart,
                        )
                    running.append(job)
                time.sleep(POLL_SECONDS)
                status.known_left = _left(time.monotonic() - started, finished, running, len(jobs), later)
                status.step(finished)
                if time.monotonic() - told > NEWS_SECONDS:
                    told = time.monotonic()
                    for job in running:
                        console.print(f"  {job.title}: {_news(job)}")
                    console.print(f"  {finished} of {len(jobs)} done{_spoken_left(', ', status.known_left, ' in all')}")
                for job in [job for job in running if job.process is not None and job.process.poll() is not None]:
                    running.remove(job)
                    finished += 1
                    if job.code:
                        failed.append(job)
                        waiting = _without(waiting, job)
                    left = _left(time.monotonic() - started, finished, running, len(jobs), later)
                    state = "FAILED" if job.code else "done"
                    console.print(f"{finished}/{len(jobs)} {job.title}: {state}{_spoken_left('; ', left)}")
        except BaseException:
            _stop(running)
            status.end(STOPPED)
            raise
    status.step(finished)
    status.end(FAILED if failed else FINISHED, f"{len(failed)} of {len(jobs)} runs failed" if failed else "")
    if failed:
        kind = FAILURES.get(failed[0].code, AsgmError)
        endings = [f"  {job.title}: {_last_line(job) or 'no output'} (log: {job.log})" for job in failed]
        raise kind("\n".join(["Some runs failed:", *endings]))


def _own_arguments(
    job: Job, waiting: Sequence[Job], running: Sequence[Job], parallel: int, shares: Shares | None
) -> list[str]:
    """Return the arguments of a job that are known when it begins: its device, and its part of a budget."""
    if shares is None:
        return ["--device", job.device]
    after, beside = ([other.title for other in group] for group in (waiting, running))
    return ["--device", job.device, "--budget", f"{shares.begin(job.title, after, beside, parallel):.1f}s"]


def _next(waiting: Sequence[Job], open_ends: Collection[str]) -> Job | None:
    """Return the first job none of whose forerunners is an open end: not begun, under way, or failed."""
    return next((job for job in waiting if not job.after & set(open_ends)), None)


def _without(waiting: Sequence[Job], failed: Job) -> list[Job]:
    """Return the jobs that may still be run: not those that come after `failed`, or after one of these."""
    gone = {failed.title}
    while True:
        more = {job.title for job in waiting if job.after & gone} - gone
        if not more:
            return [job for job in waiting if job.title not in gone]
        gone |= more


def summarize(recipe: Recipe, results: Sequence[Result]) -> Table:
    """Return the measured rows beside the paper's: mean ± deviation over seeds, and the default row's gain on each.

    The gain is paired: both rows on the same seeds, hence on the same labelled clips; the interval is Student's, 95%.
    Without top-1, all metrics are listed without gains.
    """
    known = {name for result in results for name in result["metrics"]}
    if MAIN_METRIC not in (known or {name for row in recipe.rows.values() for name in row.paper}):
        return _plain_table(recipe, results)
    values = {row: _by_seed(results, row) for row in recipe.rows}
    main = values[recipe.default_row]
    metrics: list[str] = [name for name in ("top1", "top5", *recipe.beside) if name in known] or [MAIN_METRIC]
    columns = ["row", *metrics, "seeds", f"gain of {recipe.default_row}, {MAIN_METRIC} (95%)"]
    # No column if the paper has no number, as on the demo data.
    printed = any(row.paper for row in recipe.rows.values())
    lines: list[list[Cell]] = []
    for name, row in recipe.rows.items():
        found = values[name]
        cells: list[Cell] = [row.title]
        cells += [_mean(list(found.values()), metric) for metric in metrics]
        cells += [len(found) if not row.cited else None]
        cells += [_gain(main, found) if name != recipe.default_row else None]
        lines.append([*cells, row.paper.get(MAIN_METRIC)] if printed else cells)
    bold = frozenset(index for index, name in enumerate(recipe.rows) if name == recipe.default_row)
    # Two decimals, as the paper prints them.
    others = [values[name] for name in recipe.rows if name != recipe.default_row]
    note = " ".join(filter(None, (recipe.of_whom(), _together(main, others), papers_note(recipe))))
    return Table(recipe.title, [*columns, "paper"] if printed else columns, lines, note, digits=2, bold=bold)


def _mean(results: Sequence[Result], metric: str) -> str | None:
    """Return mean ± deviation over the runs that have the metric."""
    values = [result["metrics"][metric] for result in results if metric in result["metrics"]]
    return mean_std(values) if values else None


def papers_note(recipe: Recipe) -> str:
    """Return a note on what the paper leaves open: cited rows, points of a figure drawn without their number."""
    notes = [f"{row.title}: {row.cited}." for row in recipe.rows.values() if row.cited]
    printed = sum(MAIN_METRIC in row.paper for row in recipe.rows.values())
    if recipe.figure is not None and 0 < printed < len(recipe.rows):
        notes.append(
            f"Paper: {printed} of the {len(recipe.rows)} points in words; the others are drawn in its figure without "
            "numbers, which are unpublished."
        )
    return " ".join(notes)


def _plain_table(recipe: Recipe, results: Sequence[Result]) -> Table:
    """Return rows of a task without top-1: mean ± deviation of every metric, beside the paper's number, if any."""
    printed = dict.fromkeys(name for row in recipe.rows.values() for name in row.paper)
    metrics = list(dict.fromkeys(name for result in results for name in result["metrics"])) or list(printed)
    if recipe.show:
        metrics = [name for name in recipe.show if name in metrics] or metrics
        printed = {name: None for name in printed if name in metrics}
    lines: list[list[Cell]] = []
    for name, row in recipe.rows.items():
        found = [result["metrics"] for result in results if result["row"] == name]
        cells: list[Cell] = [row.title]
        for metric in metrics:
            cells.append(mean_std([r[metric] for r in found if metric in r]) if found else None)
            if metric in printed:
                cells.append(row.paper.get(metric))
        lines.append([*cells, len(found)])
    columns = [name for metric in metrics for name in (metric, "paper")[: 1 + (metric in printed)]]
    return Table(recipe.title, ["row", *columns, "seeds"], lines)


def write_summary(folder: Path, table: Table, results: Sequence[Result], left_out: Sequence[StaleRun] = ()) -> None:
    """Write table.md, table.csv and table.json (with every run's result and the runs that do not count) to `folder`.

    Raises:
        DataError: the folder cannot be written to.
    """
    write_text(folder / "table.md", table.markdown())
    write_text(folder / "table.csv", table.csv())
    write_text(folder / "table.json", json.dumps(summary_data(table, results, left_out), indent=2) + "\n")


def summary_data(table: Table, results: Sequence[Result], left_out: Sequence[StaleRun] = ()) -> dict[str, object]:
    """Return the content of table.json."""
    return {**table.data(), "runs": list(results), "left_out": [run.data() for run in left_out]}


def _by_seed(results: Sequence[Result], row: str) -> dict[int, Result]:
    return {result["seed"]: result for result in results if result["row"] == row}


def _gain(main: Mapping[int, Result], other: Mapping[int, Result]) -> str | None:
    ours, theirs = _pairs(main, other)
    if not ours:
        return None
    difference = paired_difference(ours, theirs)
    if len(ours) == 1:
        return f"{difference.mean:+.1f}"
    return with_interval(difference.mean, difference.low, difference.high)


def _pairs(main: Mapping[int, Result], other: Mapping[int, Result]) -> tuple[list[float], list[float]]:
    """Return both rows' top-1 on the seeds that they share; nothing where a run lacks it."""
    seeds = sorted(main.keys() & other.keys())
    if any(MAIN_METRIC not in runs[seed]["metrics"] for runs in (main, other) for seed in seeds):
        return [], []
    ours, theirs = ([runs[seed]["metrics"][MAIN_METRIC] for seed in seeds] for runs in (main, other))
    return ours, theirs


def _together(main: Mapping[int, Result], others: Sequence[Mapping[int, Result]]) -> str:
    """Return a sentence on the intervals as one of several; "" where there are no two."""
    pairs = [_pairs(main, other) for other in others]
    wide = [pair for pair in pairs if len(pair[0]) > 1]
    if len(wide) < 2:
        return ""
    apart = [sum(_leaves_out_zero(*pair, comparisons=count) for pair in wide) for count in (1, len(wide))]
    return (
        f"{len(wide)} gains are compared: at 95% each {apart[0]} of their intervals leave out 0, at 95% for all "
        f"together (Bonferroni) {apart[1]}."
    )


def _leaves_out_zero(a: Sequence[float], b: Sequence[float], comparisons: int) -> bool:
    found = paired_difference(a, b, comparisons)
    return found.low > 0 or found.high < 0


def _stop(jobs: Sequence[Job]) -> None:
    """Ask running jobs to save and stop, and wait for them."""
    for job in jobs:
        if job.process is not None:
            job.process.terminate()
    for job in jobs:
        if job.process is not None:
            job.process.wait()


def _status_of(jobs: Sequence[Job]) -> Status:
    """Return the status of all jobs together, kept in the folder that holds their runs."""
    folder = Path(os.path.commonpath([job.log.parent.parent for job in jobs]))
    folder.mkdir(parents=True, exist_ok=True)
    status = Status(folder / STATUS_NAME, "train", folder.name, [Phase("runs", len(jobs))])
    status.begin("runs")
    return status


def _left(seconds: float, finished: int, running: Sequence[Job], count: int, later: float | None = 0.0) -> float | None:
    """Return the time that is left, s, by what is finished, how far the running jobs say they are, and what follows."""
    shares = [_share(job) for job in running]
    done = finished + sum(share for share in shares if isinstance(share, float))
    if later is None or not done or (not finished and done < EARLY * len(running)):
        return None
    whole = seconds / done * count
    return whole - seconds + later * whole


def _share(job: Job) -> object:
    """Return the share that a running job says it has done, or has ended with; None where it says none yet."""
    status = read_status(job.log.with_suffix("") / STATUS_NAME)
    assert job.process is not None
    # The file may be an earlier process's still.
    return status.data.get("share") if status is not None and status.data.get("process") == job.process.pid else None


def _spoken_left(before: str, seconds: float | None, after: str = "") -> str:
    """Return how long it takes yet between two texts, "" where that is unknown."""
    return "" if seconds is None else f"{before}about {spoken_time(seconds)} left{after}"


def _last_line(job: Job) -> str:
    lines = [line for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""


def _news(job: Job) -> str:
    """Return a running job's last message, without its run's name (already its title) but with a start's."""
    last = _last_line(job)
    run, marker, step = last.partition(": step ")
    own = "/".join(job.log.with_suffix("").parts[-3:])
    return f"step {step}" if marker and run == own else last or "starting"
