"""The windows of a data set with events, by number; their features are the state's."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from asgmcli.data.plan import Plan, Planned, RankShare, Stream
from asgmcli.errors import DataError
from asgmcli.metrics.segments import IGNORED
from asgmcli.prepare.event_set import EventSet, drawn, open_events
from asgmcli.ranks.exchange import own_share
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.tasks.event_localization.batch import Batch

JUDGED_AT_ONCE = 256  # windows of small features; of maps as many as a step has


@dataclass
class EventBatches(Planned):
    """The data of a run.

    Attributes:
        recipe: of the run.
        events: the data set.
        train: numbers of the windows that are trained on.
        plan: of its batches.
        notes: what a user must know.
    """

    recipe: EventLocalizationRecipe
    events: EventSet
    train: NDArray[np.int64]
    plan: Plan
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._labels = torch.from_numpy(self.events.labels)
        self._categories = torch.from_numpy(self.events.categories())

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` from step `start` on."""
        weak = self.recipe.supervision == "weak"
        for numbers in self.plan.numbers(number, start):
            batch = self._batch(self.train[numbers])
            hidden = torch.full_like(batch.labels if weak else batch.category, IGNORED)
            yield Batch(
                batch.ids,
                batch.windows,
                hidden if weak else batch.labels,
                batch.category if weak else hidden,
            )

    @property
    def evaluation(self) -> Iterator[Batch]:
        """Yield the windows of the evaluation split."""
        return self.batches_of(self.events.of_split(self.recipe.data.eval_split))

    @property
    def validation(self) -> Iterator[Batch] | None:
        """Yield the windows of the validation split; None where the data set has none."""
        numbers = self.events.of_split(self.recipe.data.val_split)
        return self.batches_of(numbers) if len(numbers) else None

    def batches_of(self, numbers: NDArray[np.int64]) -> Iterator[Batch]:
        """Yield these windows, this rank's share of them."""
        size = self.recipe.train.batch if self.recipe.takes in ("released", "maps") else JUDGED_AT_ONCE
        parts = [numbers[first : first + size] for first in range(0, len(numbers), size)]
        return (self._batch(part) for part in own_share().deal(parts))

    def _batch(self, numbers: NDArray[np.int64]) -> Batch:
        chosen = torch.from_numpy(numbers)
        ids = [self.events.windows[number].row.id for number in numbers]
        return Batch(ids, chosen, self._labels[chosen], self._categories[chosen])

    def summary(self) -> dict[str, object]:
        """Return the manifest's hash and the number of windows that are trained on."""
        return {
            "dataset": self.recipe.data.dataset,
            "manifest": self.events.manifest.sha256,
            "windows": len(self.train),
            "eval_split": self.recipe.data.eval_split,
        }


def plan_of(recipe: EventLocalizationRecipe, windows: int, share: RankShare | None = None) -> Plan:
    """Return which of so many windows every step has, with `share` this process's part of it."""
    stream = Stream(windows, recipe.train.batch)
    return Plan({"windows": stream}, recipe.seed, share or RankShare(), recipe.train.partial)


def build_data(recipe: EventLocalizationRecipe) -> EventBatches:
    """Open the data set and draw the clips that count as labelled.

    Raises:
        DataError: no manifest, no events, too few clips, or no clip with a category under weak supervision.
    """
    events = open_events(recipe.data, recipe.clip.seconds)
    rows = events.manifest.of_split(recipe.data.train_split)
    seed = recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed
    numbers = events.numbers(drawn(rows, recipe.data.labeled_clips, seed))
    notes = []
    if recipe.supervision == "weak":
        known = events.categories()[numbers] >= 0
        if left := int((~known).sum()):
            notes.append(f"{left} training windows are of clips with several classes, or none: left out.")
        numbers = numbers[known]
    else:
        numbers = numbers[(events.labels[numbers] != IGNORED).any(1)]
    plan = plan_of(recipe, len(numbers), own_share())
    if not plan.steps:
        raise DataError(
            f"{events.manifest.path}: {len(numbers)} training windows make no batch of {recipe.train.batch}."
        )
    return EventBatches(recipe, events, numbers, plan, notes)
