"""The course of `asgm prepare`: list, check, select, write; all at once, in shards, or merging shards."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import ModuleType

from asgmcli.data.manifest import MANIFEST_NAME, read_manifest, write_manifest
from asgmcli.errors import DataError, UsageError
from asgmcli.files import write_text
from asgmcli.prepare.cache import cache_all, estimate, see_room
from asgmcli.prepare.datasets.listing import LayoutOptions, Listing
from asgmcli.prepare.journal import read_shards, write_shard
from asgmcli.prepare.selection import Check, Outcome, Progress, look, quarantine_csv, select, shard_of, summarise

QUARANTINE_NAME = "quarantine.csv"
SUMMARY_NAME = "summary.json"
COPYING = "copying into the cache"
Tracker = Callable[[str], AbstractContextManager[Progress]]
"""Opens a progress display under a title."""


@dataclass(frozen=True)
class Preparation:
    """One call of `asgm prepare` on a data set that is on disk.

    `cache` is the folder of the smaller copy; `shard` is (index from 1, count); `merge` joins what the shards found.
    """

    name: str
    module: ModuleType
    root: Path
    out: Path
    options: LayoutOptions = field(default_factory=LayoutOptions)
    check: Check = field(default_factory=Check)
    workers: int = 1
    cache: Path | None = None
    shard: tuple[int, int] | None = None
    merge: bool = False
    overwrite: bool = False

    def settings(self) -> dict[str, object]:
        """Return the settings that the manifest depends on besides the files, as summary.json keeps them."""
        check = asdict(self.check)
        del check["limit_s"], check["max_bad"]
        chosen = asdict(self.options)
        chosen["lists"] = [[split, str(path)] for split, path in self.options.lists]
        chosen["classes"] = None if self.options.classes is None else str(self.options.classes)
        chosen["shares"] = dict(self.options.shares)
        own = chosen.pop("own")
        # As JSON gives them back.
        chosen |= {key: _as_json(value) for key, value in own.items()}
        del chosen["out"]
        cache = None if self.cache is None else str(self.cache)
        return {"root": str(self.root), "cache": cache, **chosen, **check}


def prepare(job: Preparation, track: Tracker, say: Callable[[str], None]) -> dict[str, object]:
    """Prepare the data set and return its summary (or the shard's); `say` gets lines for a person.

    Raises:
        UsageError: --out holds a data set of other settings.
        DataError: nothing under --root, too many broken files, no clip left, or a file that cannot be read or written.
    """
    try:
        return _prepare(job, track, say)
    except OSError as error:
        where = error.filename or job.out
        raise DataError(f"{where}: {error.strerror or error}. Mend that and run the same command again.") from None


def _prepare(job: Preparation, track: Tracker, say: Callable[[str], None]) -> dict[str, object]:
    if not job.root.exists():
        raise DataError(f"Nothing at {job.root}.\n{job.module.ROOT_HELP}\nName another place with --root.")
    claim(job)
    listing: Listing = job.module.find(job.root, replace(job.options, out=job.out))
    kind = {"listen": bool(job.check.drop_silent) or job.check.verify, "decode": job.check.verify}
    if job.shard is not None:
        index, count = job.shard
        part = shard_of(listing.candidates, index, count)
        with track(f"shard {index} of {count}") as progress:
            name = f"shard-{index}-{count}"
            answers = look(job.out, part, job.check, job.workers, progress, name, listing.examine)
        copied(job, select(replace(listing, candidates=part), answers, job.check, job.out, False), track, say)
        path = write_shard(job.out, index, count, kind, answers)
        return {"dataset": job.name, "shard": index, "of": count, "clips": len(answers), "file": str(path)}
    if job.merge:
        answers = read_shards(job.out, kind)
    else:
        with track("looking into files") as progress:
            answers = look(job.out, listing.candidates, job.check, job.workers, progress, own_check=listing.examine)
    outcome = select(listing, answers, job.check, job.out, job.module.MISSING_IS_BAD)
    # Checked before hours go into a copy, and again after it.
    see_enough(job, outcome)
    outcome = copied(job, outcome, track, say)
    see_enough(job, outcome)
    summary = write_outputs(job, listing, outcome, say)
    if job.cache is not None and frames_are_cached(job):
        from asgmcli.prepare.frames import cache_manifest  # torch, and only here

        cache_manifest(read_manifest(job.out), job.cache, say, job.workers)
    return summary


def frames_are_cached(job: Preparation) -> bool:
    """Return True if the cache holds frames as JPEGs, made once the manifest is written, and no copies of clips."""
    return job.options.own.get("cache_form") == "jpeg"


def copied(job: Preparation, outcome: Outcome, track: Tracker, say: Callable[[str], None]) -> Outcome:
    """Copy the outcome's clips into the cache, if one is asked for, and return the outcome.

    Say first how much room the copy takes.
    """
    if job.cache is None or frames_are_cached(job):
        return outcome
    say(see_room(job.cache, *estimate(job.cache, outcome, job.out)))
    with track(COPYING) as progress:
        return cache_all(job.cache, outcome, job.out, job.workers, job.check.limit_s, progress)


def _as_json(value: object) -> object:
    """Return an option's value as a file of JSON gives it back."""
    if isinstance(value, Path):
        return str(value)
    return [_as_json(part) for part in value] if isinstance(value, tuple) else value


def claim(job: Preparation) -> None:
    """Claim --out for this data set.

    Raises:
        UsageError: it holds a manifest of other settings, or of unknown origin, and --overwrite is not given.
        DataError: it cannot be written to.
    """
    if (job.out / MANIFEST_NAME).exists() and not job.overwrite:
        try:
            summary = json.loads((job.out / SUMMARY_NAME).read_text(encoding="utf-8"))
            name, there = summary["dataset"], summary["settings"]
        except (OSError, ValueError, KeyError, TypeError):
            name, there = None, {}
        now = job.settings()
        if name != job.name:
            what = f"the data set {name}" if name else "a manifest that this command did not write"
            raise UsageError(f"{job.out} holds {what}. Name another --out, or give --overwrite to replace it.")
        differing = [
            f"{key} was {there.get(key)}, now {value}" for key, value in now.items() if there.get(key) != value
        ]
        if differing:
            raise UsageError(
                f"{job.out} holds {job.name} prepared with other settings ({'; '.join(differing)}). "
                "Give those, name another --out, or give --overwrite to replace it."
            )
    try:
        job.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{job.out} cannot be made ({error.strerror}); name another folder with --out.") from None


def see_enough(job: Preparation, outcome: Outcome) -> None:
    """Write quarantine.csv, and stop before the manifest if too much is broken or nothing is left.

    Raises:
        DataError: more than `max_bad` of the files are broken, or no clip is left.
    """
    where = job.out / QUARANTINE_NAME
    write_text(where, quarantine_csv(outcome.left_out))
    share = outcome.bad / max(outcome.looked_at, 1)
    if share > job.check.max_bad:
        raise DataError(
            f"{outcome.bad} of {outcome.looked_at} files are broken ({100 * share:.1f}%, more than --max-bad "
            f"{100 * job.check.max_bad:g}%); {where} names each with its reason. No manifest was written. "
            "Fetch them again, or raise --max-bad."
        )
    if not outcome.rows:
        raise DataError(f"No clip of {job.root} can be used; {where} says why of each.")


def write_outputs(
    job: Preparation, listing: Listing, outcome: Outcome, say: Callable[[str], None]
) -> dict[str, object]:
    """Write the listing's own files, manifest.csv, classes.txt and, last, summary.json. Return the summary."""
    for name, text_of in listing.files.items():
        write_text(job.out / name, text_of(outcome.rows))
    manifest = write_manifest(job.out, outcome.rows, listing.classes)
    summary = summarise(job.name, listing, outcome, job.settings(), manifest.sha256)
    if listing.finish is not None:
        # Written before, too: by it the same command, after a kill, knows the manifest as its own.
        write_text(job.out / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")
        summary |= listing.finish(manifest, say)
    write_text(job.out / SUMMARY_NAME, json.dumps(summary, indent=2) + "\n")
    return summary
