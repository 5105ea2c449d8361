"""Watches that check each training step's terms and warn, once, what a person should change.

A task whose state has `watches` (see `Watched`) supplies its own; the loop reports and saves what they find.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from asgmcli.metrics.chance import above_chance
from asgmcli.train.checkpoint import State

FEWEST_IN_A_ROW = 5
FEWEST_STEPS = 40
"""Steps of a phase below which its accuracy is not evaluated: nothing may have been learnt yet."""


class Watch(Protocol):
    """Checks every step for one kind of fault."""

    @property
    def warning(self) -> str | None:
        """Return what is wrong and what to change, given the steps so far; None if nothing is."""

    def see(self, step: int, terms: Mapping[str, float]) -> None:
        """Record the terms of step `step`, counted from 0 over the whole run."""

    def state_dict(self) -> State:
        """Return the counts, as numbers that a checkpoint can hold."""

    def load_state_dict(self, state: State) -> None:
        """Restore the state that `state_dict` returned."""


@runtime_checkable
class Watched(Protocol):
    """A task's state that can detect a failing training."""

    def watches(self, steps: int, steps_an_epoch: int) -> Sequence[Watch]:
        """Return the watches of a run of `steps` steps."""


@dataclass
class Health:
    """The watches of a run, and which of them have warned."""

    watches: Sequence[Watch] = ()
    told: list[bool] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.told = self.told or [False] * len(self.watches)

    def see(self, step: int, terms: Mapping[str, float]) -> list[str]:
        """Show the watches a step's terms. Return the new warnings."""
        new = []
        for number, watch in enumerate(self.watches if terms else ()):
            watch.see(step, terms)
            if not self.told[number] and (warning := watch.warning) is not None:
                self.told[number] = True
                new.append(warning)
        return new

    @property
    def warnings(self) -> list[str]:
        """Return every warning that holds after all steps so far."""
        return [warning for watch in self.watches if (warning := watch.warning) is not None]

    def state_dict(self) -> State:
        """Return the warnings given and the watches' counts."""
        return {"told": list(self.told), "watches": [watch.state_dict() for watch in self.watches]}

    def load_state_dict(self, state: State) -> None:
        """Restore the state that `state_dict` returned.

        Raises:
            ValueError: it belongs to other watches.
        """
        for watch, saved in zip(self.watches, state["watches"], strict=True):
            watch.load_state_dict(saved)
        self.told = list(state["told"])


def watch_over(state: object, steps: int, steps_an_epoch: int) -> Health:
    """Return the health of a run of `steps` steps, without watches if `state` is not `Watched`."""
    return Health(state.watches(steps, steps_an_epoch) if isinstance(state, Watched) else ())


@dataclass
class ZeroTerm:
    """Warn of a `term` that is 0 in many consecutive steps. Steps without the term are skipped.

    Args:
        term: name of a step's term.
        steps: steps of the whole run that have the term; a tenth of them in a row is a fault, but no fewer than
            `FEWEST_IN_A_ROW`.
        message: with the fields `zeros` and `seen` (steps), `row`, `first` and `last` (the longest row, counted from 1)
            and `beside`.
        beside: another term, whose mean over all steps with a 0 is part of the message.
    """

    term: str
    steps: int
    message: str
    beside: str
    seen: int = 0
    zeros: int = 0
    row: int = 0
    longest: int = 0
    last: int = 0
    total: float = 0.0

    @property
    def warning(self) -> str | None:
        """See `Watch`."""
        if self.longest < max(FEWEST_IN_A_ROW, math.ceil(self.steps / 10)):
            return None
        return self.message.format(
            zeros=self.zeros,
            seen=self.seen,
            row=self.longest,
            first=self.last - self.longest + 1,
            last=self.last,
            beside=self.total / self.zeros,
        )

    def see(self, step: int, terms: Mapping[str, float]) -> None:
        """See `Watch`."""
        if self.term not in terms:
            return
        self.seen += 1
        if terms[self.term]:
            self.row = 0
            return
        self.zeros += 1
        self.row += 1
        self.total += terms[self.beside]
        if self.row > self.longest:
            self.longest, self.last = self.row, step + 1

    def state_dict(self) -> State:
        """See `Watch`."""
        return {name: getattr(self, name) for name in ("seen", "zeros", "row", "longest", "last", "total")}

    def load_state_dict(self, state: State) -> None:
        """See `Watch`."""
        for name in self.state_dict():
            setattr(self, name, state[name])


@dataclass(frozen=True)
class Phase:
    """Steps from `start` up to `stop`, and their name."""

    name: str
    start: int
    stop: int

    @property
    def last_quarter(self) -> range:
        """Return the last quarter of the steps, on which a phase is evaluated."""
        return range(self.stop - (self.stop - self.start) // 4, self.stop)


@dataclass
class AtChance:
    """Warn of an accuracy no better than guessing at the end of a phase; the last phase that ended decides.

    A phase counts if it has `FEWEST_STEPS`, and enough answers for twice the accuracy of guessing (or halfway to 100%
    if that is less) to be significant.

    Args:
        term: share of right answers in a step, 0..1.
        answers: answers a step.
        chance: probability that a guess is right.
        phases: in the order of their ends.
        message: with the fields `phase`, `first`, `last` (steps counted from 1), `percent`, `answers` and `chance`
            (percent).
    """

    term: str
    answers: int
    chance: float
    phases: Sequence[Phase]
    message: str
    right: list[int] = field(default_factory=list)
    seen: list[int] = field(default_factory=list)
    ended: int = 0

    def __post_init__(self) -> None:
        self.phases = [phase for phase in self.phases if self._can_evaluate(phase)]
        self.right, self.seen = [0] * len(self.phases), [0] * len(self.phases)

    def _can_evaluate(self, phase: Phase) -> bool:
        answers = self.answers * len(phase.last_quarter)
        learnt = math.floor(answers * min(2 * self.chance, (1 + self.chance) / 2))
        return phase.stop - phase.start >= FEWEST_STEPS and above_chance(learnt, answers, self.chance)

    @property
    def warning(self) -> str | None:
        """See `Watch`."""
        number = self.ended - 1
        if number < 0 or above_chance(self.right[number], self.seen[number], self.chance):
            return None
        phase = self.phases[number]
        return self.message.format(
            phase=phase.name,
            first=phase.last_quarter.start + 1,
            last=phase.stop,
            percent=100 * self.right[number] / max(1, self.seen[number]),
            answers=self.seen[number],
            chance=100 * self.chance,
        )

    def see(self, step: int, terms: Mapping[str, float]) -> None:
        """See `Watch`."""
        for number, phase in enumerate(self.phases):
            if step in phase.last_quarter and self.term in terms:
                self.right[number] += round(terms[self.term] * self.answers)
                self.seen[number] += self.answers
            if step + 1 == phase.stop:
                self.ended = number + 1

    def state_dict(self) -> State:
        """See `Watch`."""
        return {"right": list(self.right), "seen": list(self.seen), "ended": self.ended}

    def load_state_dict(self, state: State) -> None:
        """See `Watch`."""
        self.right, self.seen, self.ended = list(state["right"]), list(state["seen"]), int(state["ended"])
