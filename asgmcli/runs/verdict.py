"""A verdict in words with figures: which parts helped or are used, and whether the test is large enough to tell."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, stdev

import torch

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.split import hashed, partners_by_class
from asgmcli.errors import AsgmError
from asgmcli.localize.clip_maps import motion_clip_maps
from asgmcli.localize.evidence import ENOUGH
from asgmcli.metrics.paired import PairedDifference, paired_difference
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.sections import Guide
from asgmcli.report.table import Table
from asgmcli.runs.shown import NO_MEASURE, PREDICTED
from asgmcli.runs.target import find_trained
from asgmcli.train.run import Run
from asgmcli.train.task import Trained

LOOKED_AT = 40
"""Clips of which it is looked at whether a source can be told."""
SECONDS = 10.0
"""What is looked at of each, s."""
FEWEST = 6
"""Clips that must differ before a difference is told from none: five of one sign are a chance of one in 16."""
NONE_SEEN = 300.0
"""Percent of clips, times how many there are, that may do what none of them did (95%; the rule of three)."""
HARDLY = 5.0
"""Points that exchanging costs at most, by its interval, of what is hardly used."""
Quality = dict[str, float]


@dataclass(frozen=True)
class Finding:
    """One question, what was found in words, and its figures.

    Attributes:
        question: such as `Did the unlabelled clips help?`.
        answer: yes, no, or that it cannot be told, with the figures.
        figures: by name, for programs.
    """

    question: str
    answer: str
    figures: Mapping[str, float]

    def data(self) -> dict[str, object]:
        """Return it as what JSON can hold."""
        return asdict(self)


def quality_of(lines: Table) -> Quality:
    """Return how good each clip's answer is, by id, in percent: the share of its lines that are right, or the mean of
    their measure; empty if the lines of an examination do not tell."""
    names = list(lines.columns)
    found: dict[str, list[float]] = defaultdict(list)
    if PREDICTED in names and names.index(PREDICTED) >= 2:
        place = names.index(PREDICTED)
        for row in lines.rows:
            found[str(row[0])].append(100.0 * (row[place] == row[place - 1]))
    elif names and PREDICTED not in names and names[-1] not in NO_MEASURE:
        for row in lines.rows:
            if isinstance(row[-1], (int, float)):
                found[str(row[0])].append(float(row[-1]))
    return {name: fmean(values) for name, values in found.items()}


def examined(trained: Trained, manifest: Manifest) -> Quality:
    """Return how good each clip's answer is on the evaluation split of a manifest.

    Raises:
        AsgmError: it cannot be evaluated there.
    """
    _, lines = trained.examine(manifest).run(lambda _: None, {})
    return quality_of(lines)


def paired(one: Quality, other: Quality) -> PairedDifference | None:
    """Return `one` minus `other` over the clips that both have; None without any."""
    names = sorted(one.keys() & other.keys())
    return paired_difference([one[name] for name in names], [other[name] for name in names]) if names else None


def told(question: str, found: PairedDifference, words: tuple[str, str, str]) -> Finding:
    """Return a difference in words: for one above zero, below zero, and one that cannot be told from zero."""
    figures = {"difference": found.mean, "clips": float(found.pairs)}
    span = f"{found.mean:+.1f} points"
    word = words[2]
    if math.isfinite(found.low):
        figures |= {"low": found.low, "high": found.high}
        span += f" [{found.low:+.1f}, {found.high:+.1f}]"
        if found.differing >= FEWEST:
            word = words[0] if found.low > 0 else words[1] if found.high < 0 else word
    return Finding(question, f"{word} {span} over {found.pairs} clips, paired.", figures)


def helped(own: Quality, without: Quality, what: str, seeds: int = 1) -> Finding | None:
    """Return whether `what` helped: a network with it against one without it, on the same clips, means of `seeds`."""
    found = paired(own, without)
    if found is None:
        return None
    words = (f"Yes, {what} helped:", f"No, {what} harmed:", f"That {what} helped cannot be told:")
    finding = told(f"Did {what} help?", found, words)
    if "low" not in finding.figures:
        return finding
    of = (
        "of one seed: another may differ by more"
        if seeds == 1
        else f"of {seeds} seeds' mean: others may differ by more"
    )
    return replace(finding, answer=f"{finding.answer} The interval is over clips, {of}.")


def exchanged(manifest: Manifest, split: str, what: str) -> Manifest:
    """Return a manifest in which each clip of `split` has the `sound` or the `picture` of another.

    Clips are dealt in a circle by class, so that the other one is of another class where no class has half of them.
    The label stays that of the part which was not exchanged.
    """
    rows = [row for row in manifest.of_split(split) if row.audio and row.label]
    others = partners_by_class([row.label for row in rows], [row.id for row in rows])
    mixed = [_mixed(row, rows[other], what) for row, other in zip(rows, others, strict=True)]
    rest = [row for row in manifest.rows if row.split != split]
    return replace(manifest, rows=[*rest, *mixed])


def _mixed(row: ManifestRow, other: ManifestRow, what: str) -> ManifestRow:
    if what == "sound":
        return replace(row, audio=other.audio)
    seen = {name: getattr(other, name) for name in ("path", "duration", "fps", "frames", "width", "height")}
    return replace(row, **seen)


def used(trained: Trained, manifest: Manifest, own: Quality, what: str) -> Finding | None:
    """Return whether the `sound` or the `picture` is used: what exchanging it between clips costs. None: not measured.

    A task whose data do not allow it, or a class alone, says nothing.
    """
    split = trained.data.eval_split
    mixed = exchanged(manifest, split, what)
    if len({row.label for row in mixed.of_split(split)}) < 2:
        return None
    try:
        found = paired(own, examined(trained, mixed))
    except AsgmError:
        return None
    if found is None:
        return None
    costs = "Exchanged between clips it costs"
    most = max(found.high, NONE_SEEN / found.pairs if found.differing == 0 else 0.0)
    unclear = f"The {what} is hardly used." if most < HARDLY else f"Whether the {what} is used cannot be told."
    words = (f"Yes, the {what} is used. {costs}", f"No, the {what} misleads. {costs}", f"{unclear} {costs}")
    return told(f"Is the {what} used?", found, words)


def follows(manifest: Manifest, split: str, guide: str | None, seen: Callable[[], None]) -> Finding | None:
    """Return whether a mask that follows the sound has something to follow, by the motion localizer's confidence.

    Args:
        manifest: of the clips.
        split: whose clips are looked at.
        guide: kind of the localizer that guides the masks; None without one.
        seen: called for each clip that was looked at.
    """
    if guide is None:
        return None
    question = "Does the mask follow the source?"
    rows = sorted(manifest.of_split(split), key=lambda row: hashed(0, row.id))[:LOOKED_AT]
    sure, even = 0, 0
    for row in rows:
        try:
            found = motion_clip_maps(manifest.resolve(row), audio=manifest.resolve_audio(row), until=SECONDS)
        except AsgmError:
            continue
        finally:
            seen()
        even += found.warning is not None
        sure += found.warning is None and float(found.confidence.max(initial=0.0)) >= ENOUGH
    if not rows:
        return None
    share = sure / len(rows)
    chance = "one in twenty would by chance"
    word = "Yes, in most clips." if share > 0.5 else "In some clips." if share > 0.1 else "Hardly."
    text = f"{word} What moves fits the sound surely in {sure} of {len(rows)} clips ({chance})"
    text += f"; {even} are silent or still, and their mask is even." if even else "."
    if guide != "motion":
        text += f" Measured by the motion localizer; the masks follow {guide}'s maps."
    return Finding(question, text, {"sure": float(sure), "even": float(even), "clips": float(len(rows))})


def large_enough(own: Quality, compared: Sequence[Quality]) -> Finding | None:
    """Return what the test is able to tell: the interval of its mean, and the smallest difference it would show.

    A difference is shown in four of five tests (power of 80%) from 2.8 standard errors on; the error is that of the
    comparisons which were made. Nor does a difference show in which fewer clips differ than `FEWEST`, and what none of
    the clips shows may be so in `NONE_SEEN` percent over their number.
    """
    if len(own) < 2:
        return None
    values = list(own.values())
    half = max(1.96 * stdev(values) / math.sqrt(len(values)), min(NONE_SEEN / len(values), 100.0))
    errors = [found.error for other in compared if (found := paired(own, other)) and math.isfinite(found.error)]
    smallest = 2.8 * max(errors) if errors else 2.8 * math.sqrt(2) * stdev(values) / math.sqrt(len(values))
    smallest = min(max(smallest, 100.0 * FEWEST / len(values)), 100.0)
    word = "Yes." if smallest <= 5 else "For large differences." if smallest <= 15 else "No, it is small."
    text = f"{word} {len(values)} clips: {fmean(values):.1f} is known to ±{half:.1f}; "
    text += f"differences between networks show from about {smallest:.1f} points on."
    return Finding("Is the test large enough?", text, {"clips": len(values), "half": half, "smallest": smallest})


WITHOUT = "without "
"""Begins the title of a row that lacks something; the rest says what."""


def verdict_of(
    recipe: Recipe,
    runs: Mapping[str, Sequence[Run]],
    manifest: Manifest,
    device: torch.device,
    tell: Callable[[int, int], None],
) -> list[Finding]:
    """Return the verdict on the default row of a recipe: beside the rows that lack something, and by itself.

    Args:
        recipe: of the runs.
        runs: finished ones of each row, the seeds in one order.
        manifest: of its evaluation.
        device: to evaluate on.
        tell: gets the pieces of work done, and all.

    Raises:
        AsgmError: the default row's runs cannot be evaluated.
    """
    lacking = {
        row: title.title.removeprefix(WITHOUT) for row, title in recipe.rows.items() if title.title.startswith(WITHOUT)
    }
    own_runs = runs[recipe.default_row]
    steps = _Steps(tell, (1 + len(lacking)) * len(own_runs) + 2 + LOOKED_AT)
    own = _mean([_quality(run, manifest, device, steps) for run in own_runs])
    others = {row: _mean([_quality(run, manifest, device, steps) for run in runs[row]]) for row in lacking}
    found = [helped(own, others[row], what, len(own_runs)) for row, what in lacking.items()]
    trained = find_trained(own_runs[0].folder).load(device)
    first = own if len(own_runs) == 1 else examined(trained, manifest)
    for what in ("sound", "picture"):
        found.append(used(trained, manifest, first, what))
        steps.next()
    guide = next((source.kind for source in recipe.sources() if isinstance(source, Guide)), None)
    found.append(follows(manifest, "train", guide, steps.next))
    found.append(large_enough(own, list(others.values())))
    steps.end()
    return [finding for finding in found if finding is not None]


@dataclass
class _Steps:
    """Counts pieces of work."""

    tell: Callable[[int, int], None]
    count: int
    done: int = 0

    def next(self) -> None:
        self.done += 1
        self.tell(min(self.done, self.count), self.count)

    def end(self) -> None:
        self.tell(self.count, self.count)


def _quality(run: Run, manifest: Manifest, device: torch.device, steps: _Steps) -> Quality:
    found = examined(find_trained(run.folder).load(device), manifest)
    steps.next()
    return found


def _mean(found: Sequence[Quality]) -> Quality:
    """Return each clip's mean over the seeds."""
    return {name: fmean(quality[name] for quality in found) for name in found[0]}
