"""`asgm prepare`: from raw data on disk to a manifest that training can trust."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from asgmcli.commands.share import Share
from asgmcli.errors import UsageError
from asgmcli.signals import interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.data.manifest import Manifest

NAMES = ("demo", "folder", "ucf51", "kinetics400", "vggsound", "flickr_soundnet", "vggss")
DISK_OPTIONS = ("drop_silent", "verify", "cache", "shard", "merge", "lists", "classes")
DEMO_OPTIONS = ("train", "val", "test", "size", "seconds", "fps", "scene_bias")
LINE_SECONDS = 10.0
STOPPED = "Stopped. The same command goes on where it was."


def _epilog() -> str:
    from asgmcli.prepare.datasets import DATASETS

    lines = ["demo: generated clips of moving, sounding sprites; nothing to download"]
    lines += [f"{name}: {module.TITLE}" for name, module in DATASETS.items()]
    return "\b\nData sets:\n" + "\n".join(f"  {line}" for line in lines)


class _Command(click.Command):
    """Its epilog names the data sets, whose modules are looked at only when the help is asked for."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of data sets below the options."""
        self.epilog = _epilog()
        super().format_epilog(ctx, formatter)


@click.command(name="prepare", cls=_Command)
@click.argument("name", metavar="NAME")
@click.option("--root", type=click.Path(path_type=Path), help="Raw data. Default: $ASGM_DATA/NAME, or data/NAME.")
@click.option("--out", type=click.Path(path_type=Path), help="Where the manifest goes. Default: data/NAME.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes. Default: the cores this process may use.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the drawn splits, labels and generated clips.")
@click.option("--drop-silent", is_flag=True, help="Leave out clips without sound.")
@click.option(
    "--silence-threshold",
    type=float,
    default=-60.0,
    show_default=True,
    metavar="DBFS",
    help="Sound that stays under this level counts as silence.",
)
@click.option("--verify/--no-verify", default=None, help="Decode every file once. Default: only with --cache.")
@click.option(
    "--cache",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Copy clips there: short side 256, quick to read; the manifest then names the copies.",
)
@click.option(
    "--max-bad",
    type=Share(),
    default=0.05,
    show_default=True,
    help="Share of broken files above which the run fails at its end: 0.1 or 10%.",
)
@click.option(
    "--shard", metavar="I/N", help="Look into part I (from 1) of N only. Default: from a Slurm array's variables."
)
@click.option("--merge", is_flag=True, help="Join what all shards found into the manifest.")
@click.option(
    "--time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds one file may take. Default: 30, with --verify 300.",
)
@click.option("--fold", type=click.IntRange(1, 3), default=1, show_default=True, help="ucf51: the official split.")
@click.option(
    "--test-from",
    type=click.Choice(["val", "test"]),
    default="val",
    show_default=True,
    help="kinetics400: the official split that is evaluated.",
)
@click.option("--val-share", type=Share(), default=0.1, show_default=True, help="folder: drawn split.")
@click.option("--test-share", type=Share(), default=0.2, show_default=True, help="folder: drawn split.")
@click.option(
    "--list",
    "lists",
    multiple=True,
    metavar="SPLIT=FILE",
    help="folder: list file `path label` of a split; flickr_soundnet, vggss: ids. May be repeated.",
)
@click.option(
    "--classes", type=click.Path(path_type=Path), help="folder: class names, one a line, for numbered labels."
)
@click.option("--write-lists", is_flag=True, help="Also write list files `path class-number` beside the manifest.")
@click.option("--show-split", is_flag=True, help="Print the labelled clips of a prepared data set and stop.")
@click.option(
    "--labels",
    type=click.IntRange(min=1),
    help="Labelled clips a class, for --show-split [1] and --write-lists.",
)
@click.option("--train", type=click.IntRange(min=0), help="demo: clips [1200].")
@click.option("--val", type=click.IntRange(min=0), help="demo: clips [200].")
@click.option("--test", type=click.IntRange(min=0), help="demo: clips [500].")
@click.option("--size", type=click.IntRange(min=32), help="demo: frame side in pixels [96].")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="demo: length of a clip [2].")
@click.option("--fps", type=click.FloatRange(min=0, min_open=True), help="demo: frames a second [8].")
@click.option(
    "--scene-bias",
    type=Share(),
    metavar="P",
    help="demo: set a clip in its class's own place with this probability, else in another's; adds test_shuffled "
    "and val_shuffled, whose places tell nothing. Goes to data/demo_biasP_seedK.",
)
@click.option("--overwrite", is_flag=True, help="Replace a data set of other settings in --out.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output, the rest on standard error.")
def command(name: str, root: Path | None, out: Path | None, as_json: bool, **options: Any) -> None:
    """Make data set NAME ready: look into every clip, write manifest.csv, quarantine.csv, classes.txt, summary.json."""
    from rich.console import Console

    _check_name(name)
    console = Console(stderr=as_json)
    out = out or Path("data") / (_demo_name(options) if name == "demo" else name)
    if options["show_split"]:
        result = _show_split(console, out, options)
    elif name == "demo":
        result = _demo(console, root, out, options)
    else:
        result = _from_disk(console, name, root, out, options)
    if as_json:
        click.echo(json.dumps(result))


def _check_name(name: str) -> None:
    if name not in NAMES:
        near = difflib.get_close_matches(name.lower(), NAMES, n=1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(f"'{name}' is no data set that can be prepared.{hint} There are {', '.join(NAMES)}.")


def _demo(console: Console, root: Path | None, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    from asgmcli.prepare.show import show_summary
    from asgmcli.synthetic.demo import generate

    if root is not None:
        raise UsageError("The demo is generated: it has no --root. Name where it goes with --out.")
    wrong = [f"--{'list' if key == 'lists' else key.replace('_', '-')}" for key in DISK_OPTIONS if options[key]]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: only for data sets that are read from disk; the demo is generated.")
    given = {key: options[key] for key in DEMO_OPTIONS if options[key] is not None}
    with interruptible(STOPPED), _progress(console, "making clips") as progress:
        generate(
            out,
            **given,
            seed=options["seed"],
            workers=options["workers"],
            progress=progress,
            overwrite=options["overwrite"],
        )
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    show_summary(console, summary)
    _write_lists(console, out, options)
    _say(console, f"See {out / 'preview.png'} for what each class is.")
    return summary


def _demo_name(options: dict[str, Any]) -> str:
    from asgmcli.prepare.source import demo_name

    return demo_name(options)


def _from_disk(console: Console, name: str, root: Path | None, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    from asgmcli.prepare.datasets import DATASETS
    from asgmcli.prepare.datasets.listing import Options
    from asgmcli.prepare.judge import Check
    from asgmcli.prepare.run import Job, prepare
    from asgmcli.prepare.show import show_summary

    wrong = [f"--{key.replace('_', '-')}" for key in DEMO_OPTIONS if options[key] is not None]
    if wrong:
        raise UsageError(f"{', '.join(wrong)}: only the demo takes this; {name} is read from disk.")
    if options["merge"] and options["shard"]:
        raise UsageError("--merge joins all shards; give it without --shard.")
    verify = options["cache"] is not None if options["verify"] is None else options["verify"]
    held_out = (("val", options["val_share"]), ("test", options["test_share"]))
    rest = 1 - options["val_share"] - options["test_share"]
    job = Job(
        name,
        DATASETS[name],
        root or _default_root(name, options),
        out,
        Options(
            seed=options["seed"],
            shares=(("train", 0.0 if abs(rest) < 1e-9 else rest), *held_out),
            fold=options["fold"],
            lists=tuple(_list_option(text) for text in options["lists"]),
            classes=options["classes"],
            test_from=options["test_from"],
        ),
        Check(
            drop_silent=options["drop_silent"],
            silence_dbfs=options["silence_threshold"],
            verify=verify,
            limit_s=options["time_limit"] or (300.0 if verify else 30.0),
            max_bad=options["max_bad"],
        ),
        workers=options["workers"] or _cores(),
        cache=options["cache"],
        shard=None if options["merge"] else _shard(options["shard"]),
        merge=options["merge"],
        overwrite=options["overwrite"],
    )
    with interruptible(STOPPED):
        summary = prepare(job, lambda title: _progress(console, title), lambda text: _say(console, text))
    if job.shard is not None:
        text = f"Shard {summary['shard']} of {summary['of']}: {summary['clips']} clips looked into. When all are done, "
        _say(console, f"{text}give the same command with --merge in place of the shard.")
        return summary
    show_summary(console, summary)
    _write_lists(console, out, options)
    return summary


def _show_split(console: Console, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    from asgmcli.data.manifest import read_manifest
    from asgmcli.data.split import labeled_subset
    from asgmcli.prepare.show import show_split, split_summary

    manifest = read_manifest(out)
    train = manifest.of_split("train")
    chosen = labeled_subset(train, options["labels"] or 1, options["seed"])
    split = split_summary(manifest, chosen, options["labels"] or 1, options["seed"])
    show_split(console, split, Counter(row.label for row in train))
    return split


def _write_lists(console: Console, out: Path, options: dict[str, Any]) -> None:
    if not options["write_lists"]:
        return
    from asgmcli.data.manifest import read_manifest
    from asgmcli.data.split import labeled_subset
    from asgmcli.prepare.datasets.lists import write_lists

    manifest: Manifest = read_manifest(out)
    labels = options["labels"]
    chosen = labeled_subset(manifest.of_split("train"), labels, options["seed"]) if labels else ()
    for path in write_lists(manifest, out, chosen):
        _say(console, f"list {path}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _default_root(name: str, options: dict[str, Any]) -> Path:
    # List files may hold absolute paths: then nothing need lie at a place of the data set's own.
    return Path() if options["lists"] and name == "folder" else Path(os.environ.get("ASGM_DATA") or "data") / name


def _list_option(text: str) -> tuple[str, Path]:
    split, found, path = text.partition("=")
    if not found or not path:
        raise UsageError(f"--list {text}: write it as SPLIT=FILE, such as --list train=train.txt.")
    return split, Path(path)


def _shard(text: str | None) -> tuple[int, int] | None:
    """(index from 1, count) of --shard, or of the Slurm array this runs in, or None."""
    if text is None:
        count = os.environ.get("SLURM_ARRAY_TASK_COUNT", "1")
        if count == "1":
            return None
        try:
            first, step = int(os.environ["SLURM_ARRAY_TASK_MIN"]), int(os.environ.get("SLURM_ARRAY_TASK_STEP", "1"))
            return (int(os.environ["SLURM_ARRAY_TASK_ID"]) - first) // step + 1, int(count)
        except (KeyError, ValueError):
            raise UsageError("The variables of the Slurm array cannot be read; give --shard I/N.") from None
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: write it as I/N with I from 1 to N, such as --shard 1/8.")
    return int(match[1]), int(match[2])


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _progress(console: Console, title: str) -> Iterator[Callable[[int, int], None]]:
    """A live bar with rate and time left on a terminal, a line every few seconds elsewhere."""
    import time

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    rate = TextColumn("{task.fields[rate]}")
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn())
    begin = time.monotonic()
    said, first = begin, -1
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None, rate="")

        def tell(done: int, total: int) -> None:
            nonlocal said, first
            # What an earlier run had done does not count for the rate.
            first = done if first < 0 else first
            now = time.monotonic()
            speed = f"{(done - first) / max(now - begin, 1e-6):.0f}/s"
            bar.update(task, completed=done, total=total, rate=speed)
            if not console.is_terminal and now - said > LINE_SECONDS:
                said = now
                console.print(f"{title}: {done} of {total}, {speed}", markup=False, highlight=False)

        yield tell
