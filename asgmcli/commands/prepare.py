"""`asgm prepare`: check raw data on disk and write the manifest for training."""

from __future__ import annotations

import difflib
import json
import os
from collections import Counter
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click

from asgmcli.commands.prepare_tables import NAME as TABLES
from asgmcli.commands.prepare_tables import command as tables
from asgmcli.errors import UsageError
from asgmcli.options import ShareType, shard_of
from asgmcli.signals import interruptible

if TYPE_CHECKING:
    from rich.console import Console

    from asgmcli.data.manifest import Manifest
    from asgmcli.prepare.datasets.listing import LayoutOptions
    from asgmcli.prepare.run import Preparation, Tracker
    from asgmcli.prepare.show import LabeledSplit

STOPPED = "Stopped. The same command goes on where it was."
SHARED = ("lists", "classes", "val_share", "test_share")
"""LayoutOptions that several data sets have, which `LayoutOptions` knows by name."""

COMMON = (
    click.Option(["--out"], type=click.Path(path_type=Path), help="Where the manifest goes.  [default: data/NAME]"),
    click.Option(
        ["--workers"], type=click.IntRange(min=1), help="Processes.  [default: the cores this process may use]"
    ),
    click.Option(
        ["--seed"], type=int, default=0, show_default=True, help="Of drawn splits, labels and generated clips."
    ),
    click.Option(["--write-lists"], is_flag=True, help="Also write list files `path class-number`."),
    click.Option(["--show-split"], is_flag=True, help="Print the labelled clips of a prepared data set and stop."),
    click.Option(
        ["--labels"],
        type=click.IntRange(min=1),
        help="Labelled clips a class, for --show-split [1] and --write-lists.",
    ),
    click.Option(["--overwrite"], is_flag=True, help="Replace a data set of other settings in --out."),
    click.Option(
        ["--json", "as_json"], is_flag=True, help="One JSON object on standard output, the rest on standard error."
    ),
)
ROOT = click.Option(
    ["--root"], type=click.Path(path_type=Path), help="Raw data.  [default: $ASGM_DATA/NAME, or data/NAME]"
)
LOOKING = (
    click.Option(
        ["--drop-silent"],
        is_flag=False,
        flag_value="all",
        type=click.Choice(["train", "all"]),
        help="Leave out clips without sound, of split train alone or of all (also where no value follows). A smaller "
        "test split is told.",
    ),
    click.Option(
        ["--silence-threshold"],
        type=float,
        default=-60.0,
        show_default=True,
        metavar="DBFS",
        help="Sound that stays under this level counts as silence.",
    ),
    click.Option(["--verify/--no-verify"], default=None, help="Decode every file once.  [default: only with --cache]"),
    click.Option(
        ["--cache"],
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Copy clips there: short side 256, quick to read; the manifest then names the copies.",
    ),
    click.Option(
        ["--max-bad"],
        type=ShareType(),
        default=0.05,
        show_default=True,
        help="Share of broken files above which the run fails at its end: 0.1 or 10%.",
    ),
    click.Option(
        ["--shard"],
        metavar="I/N",
        help="Look into part I (from 1) of N only.  [default: from a Slurm array's variables]",
    ),
    click.Option(
        ["--ray"],
        is_flag=False,
        flag_value="auto",
        metavar="[ADDRESS]",
        help="Look into files, copy them and make features on every core of a Ray cluster, whose machines see the same "
        "folders.  [without ADDRESS: the one that runs here]",
    ),
    click.Option(["--merge"], is_flag=True, help="Join what all shards found into the manifest."),
    click.Option(
        ["--time-limit"],
        type=click.FloatRange(min=0, min_open=True),
        metavar="S",
        help="Seconds one file may take.  [default: 30, with --verify 300]",
    ),
)


class PrepareGroup(click.Group):
    """A sub-command a data set, with the options its module declares; modules are imported on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own signature
        """Return the names of the data sets, generated ones first."""
        from asgmcli.prepare.datasets import DATASETS
        from asgmcli.synthetic import GENERATED

        return [*GENERATED, *DATASETS, TABLES]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        """Return the command of a data set."""
        from asgmcli.prepare.datasets import DATASETS
        from asgmcli.synthetic import GENERATED, generator_of

        if cmd_name == TABLES:
            return tables
        if cmd_name in GENERATED:
            module = generator_of(cmd_name)
            return click.Command(
                cmd_name,
                callback=partial(_generate, cmd_name),
                params=[*module.OPTIONS, *COMMON],
                help=f"Make {cmd_name} ready: {module.TITLE}.",
                short_help=module.TITLE,
            )
        if cmd_name not in DATASETS:
            return None
        module = DATASETS[cmd_name]
        return click.Command(
            cmd_name,
            callback=partial(_from_disk, cmd_name),
            params=[ROOT, *module.OPTIONS, *LOOKING, *COMMON],
            help=f"Make {cmd_name} ready: {module.TITLE}.\n\n\b\n{module.ROOT_HELP}",
            short_help=module.TITLE,
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that `args` name.

        Raises:
            UsageError: there is none; the message names the nearest.
        """
        names = self.list_commands(ctx)
        if args[0] not in names:
            near = difflib.get_close_matches(args[0].lower(), names, n=1, cutoff=0.4)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise UsageError(f"'{args[0]}' is no data set that can be prepared.{hint} There are {', '.join(names)}.")
        return super().resolve_command(ctx, args)


@click.group(
    "prepare",
    cls=PrepareGroup,
    subcommand_metavar="NAME [OPTIONS]",
    short_help="make a data set ready: check every clip, write its list",
)
def command() -> None:
    """Prepare a data set: check every clip, write manifest.csv, quarantine.csv, classes.txt, summary.json.

    \b
    asgm prepare demo
    asgm prepare ucf51 --root UCF101 --drop-silent
    asgm prepare folder --root my_clips --out data/mine
    """


def _generate(name: str, out: Path | None, as_json: bool, **options: object) -> None:
    """Make a generated data set."""
    from asgmcli.console import make_console
    from asgmcli.prepare.show import show_summary
    from asgmcli.progress import tracked
    from asgmcli.synthetic import generator_of

    console = make_console(stderr=as_json)
    module = generator_of(name)
    given = {option.name: options[option.name] for option in module.OPTIONS if options[option.name] is not None}
    out = out or Path("data") / module.folder({**given, "seed": options["seed"]})
    if options["show_split"]:
        summary = _show_split(console, out, options)
    else:
        with interruptible(STOPPED), tracked(console, f"making {name}", "prepare", out) as progress:
            module.generate(
                out,
                **given,
                seed=options["seed"],
                workers=options["workers"],
                progress=progress,
                overwrite=options["overwrite"],
            )
        summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
        show_summary(console, summary)
        _write_lists(console, out, options)
        console.print(f"See {out / 'preview.png'} for what each class is.")
    if as_json:
        click.echo(json.dumps(summary))


def _from_disk(name: str, root: Path | None, out: Path | None, as_json: bool, **options: object) -> None:
    """Prepare a data set that is on disk."""
    from asgmcli.console import make_console

    console = make_console(stderr=as_json)
    out = out or Path("data") / name
    shown = options["show_split"]
    result = _show_split(console, out, options) if shown else _look(console, name, root, out, options)
    if as_json:
        click.echo(json.dumps(result))


def _look(console: Console, name: str, root: Path | None, out: Path, options: dict[str, Any]) -> dict[str, Any]:
    from asgmcli.cluster import ray_cluster
    from asgmcli.prepare.datasets import DATASETS
    from asgmcli.prepare.run import Preparation, prepare
    from asgmcli.prepare.selection import Check
    from asgmcli.prepare.show import show_summary
    from asgmcli.workers import cores

    if options["merge"] and options["shard"]:
        raise UsageError("--merge joins all shards; give it without --shard.")
    verify = options["cache"] is not None if options["verify"] is None else options["verify"]
    job = Preparation(
        name,
        DATASETS[name],
        root or _default_root(name, options),
        out,
        _options(DATASETS[name], options),
        Check(
            drop_silent={None: False, "all": True}.get(options["drop_silent"], options["drop_silent"]),
            silence_dbfs=options["silence_threshold"],
            verify=verify,
            limit_s=options["time_limit"] or (300.0 if verify else 30.0),
            max_bad=options["max_bad"],
        ),
        workers=options["workers"] or cores(),
        cache=options["cache"],
        shard=None if options["merge"] else shard_of(options["shard"]),
        merge=options["merge"],
        overwrite=options["overwrite"],
    )
    with interruptible(STOPPED), ray_cluster(options["ray"]) if options["ray"] else nullcontext():
        summary = prepare(job, _tracks(console, job), console.print)
    if job.shard is not None:
        text = f"Shard {summary['shard']} of {summary['of']}: {summary['clips']} clips looked into. When all are done, "
        console.print(f"{text}give the same command with --merge in place of the shard.")
        return summary
    show_summary(console, summary)
    _write_lists(console, out, options)
    return summary


def _tracks(console: Console, job: Preparation) -> Tracker:
    """Return what opens the display of a phase; before the copy into the cache, its time is unknown."""
    from asgmcli.prepare.run import COPYING
    from asgmcli.progress import tracked

    later = (COPYING,) if job.cache is not None else ()
    return lambda title: tracked(console, title, "prepare", job.out, later=[] if title in later else later)


def _options(module: ModuleType, given: dict[str, Any]) -> LayoutOptions:
    """Return a data set module's options: those that several share, and its own by name."""
    from asgmcli.prepare.datasets.listing import LayoutOptions

    own = {option.name: given[option.name] for option in module.OPTIONS}
    shared: dict[str, Any] = {"seed": given["seed"], "own": {k: v for k, v in own.items() if k not in SHARED}}
    if "val_share" in own:
        rest = 1 - own["val_share"] - own["test_share"]
        train = 0.0 if abs(rest) < 1e-9 else rest
        shared["shares"] = (("train", train), ("val", own["val_share"]), ("test", own["test_share"]))
    if "lists" in own:
        shared["lists"] = tuple(_list_option(text) for text in own["lists"])
    if "classes" in own:
        shared["classes"] = own["classes"]
    return LayoutOptions(**shared)


def _show_split(console: Console, out: Path, options: dict[str, Any]) -> LabeledSplit:
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
        console.print(f"list {path}")


def _default_root(name: str, options: dict[str, object]) -> Path:
    # List files may hold absolute paths: then nothing need lie at a place of the data set's own.
    return Path() if options.get("lists") and name == "folder" else Path(os.environ.get("ASGM_DATA") or "data") / name


def _list_option(text: str) -> tuple[str, Path]:
    split, found, path = text.partition("=")
    if not found or not path:
        raise UsageError(f"--list {text}: write it as SPLIT=FILE, such as --list train=train.txt.")
    return split, Path(path)
