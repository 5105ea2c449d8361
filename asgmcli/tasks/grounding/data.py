"""Sound and picture of a split's windows in memory, and which of their seconds belong together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.features import Features, features_folder, open_features
from asgmcli.data.manifest import Manifest
from asgmcli.data.plan import Plan, Planned, Stream
from asgmcli.data.split import hashed
from asgmcli.errors import DataError, UsageError
from asgmcli.media.seconds import SECONDS
from asgmcli.prepare.parsing_networks import RATE, find_weights
from asgmcli.prepare.source import how_to_prepare, open_manifest
from asgmcli.ranks.exchange import count_ranks, own_share
from asgmcli.recipe.grounding import GroundingRecipe
from asgmcli.tasks.grounding.truth import kept_truth
from asgmcli.train.batches import Precomputed

NONE, MEASURED = "none", "measured"
HASH_RANGE = 2**32


@dataclass(frozen=True)
class Batch(Precomputed):
    """Windows of ten seconds: `audio` [B, T, A], `image` [B, T, I], and `truth` bool [B, T, T] of their seconds."""

    ids: list[str]
    audio: Tensor
    image: Tensor
    truth: Tensor


@dataclass
class Windows:
    """Features and truth of some windows."""

    ids: list[str]
    audio: Tensor
    image: Tensor
    truth: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, numbers: Sequence[int]) -> Batch:
        """Return windows as a batch."""
        index = torch.tensor(numbers, dtype=torch.int64)
        ids = [self.ids[number] for number in numbers]
        return Batch(ids, self.audio[index].float(), self.image[index].float(), self.truth[index])


@dataclass
class GroundingSet(Planned):
    """The data of a run."""

    recipe: GroundingRecipe
    manifest: Manifest
    train: Windows
    val: Windows
    dims: tuple[int, int]
    notes: list[str] = field(default_factory=list)

    @property
    def plan(self) -> Plan:
        """Return which of the training windows every step has."""
        return plan_of(self.recipe, len(self.train))

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Return the batches of windows of epoch `number` from step `start` on."""
        return map(self.train.batch, self.plan.numbers(number, start))

    @property
    def evaluation(self) -> Iterable[Batch]:
        """Return the batches of the validated share: there is no other."""
        numbers, size = list(range(len(self.val))), self.recipe.evaluate.batch
        parts = [numbers[first : first + size] for first in range(0, len(numbers), size)]
        return [self.val.batch(part) for part in own_share().deal(parts)]

    @property
    def validation(self) -> Iterable[Batch]:
        """Return the same."""
        return self.evaluation

    def summary(self) -> dict[str, object]:
        """Return the data's entry in the result."""
        counts = {"train": len(self.train), "val": len(self.val)}
        together = float(self.val.truth.float().mean()) if len(self.val) else 0.0
        return {
            "dataset": self.recipe.data.dataset,
            "manifest": self.manifest.sha256,
            **counts,
            "together": round(together, 4),
        }


def plan_of(recipe: GroundingRecipe, windows: int) -> Plan:
    """Return which of so many windows every step has."""
    return Plan({"clips": Stream(windows, recipe.train.batch)}, recipe.seed, own_share(), partial=recipe.train.partial)


def validated(recipe: GroundingRecipe, clip: str) -> bool:
    """Return True for a clip of the share that is validated on, by the seeded hash."""
    return hashed(recipe.seed, f"grounding:{clip}") % HASH_RANGE < recipe.data.val_share * HASH_RANGE


def build_data(recipe: GroundingRecipe) -> GroundingSet:
    """Open the features, and make or open the truth of every window.

    Raises:
        DataError: features are missing, damaged or of another manifest; or no clip is left on a side.
        UsageError: ranks that do not divide the last batch.
    """
    manifest = open_manifest(recipe.data)
    how = how_to_prepare(recipe.data)
    folder = features_folder(manifest.folder)
    stores = [open_features(folder, name, how=how) for name in (recipe.features.audio, recipe.features.image)]
    for store in stores:
        if store.origin.manifest != manifest.sha256:
            raise DataError(f"{store.path}: made from another manifest than {manifest.path}. {how}")
        if len(store.shape) != 2 or store.shape[0] != SECONDS:
            raise DataError(f"{store.path}: features {list(store.shape)} a window, where [{SECONDS}, width] is wanted.")
    silence, notes = silence_of(recipe, stores[0].shape[1])
    clips = [row.id for row in manifest.of_split(recipe.data.train_split)]
    stores.append(kept_truth(recipe, manifest, stores, silence))
    parts = {
        wanted: _windows([clip for clip in clips if validated(recipe, clip) is wanted], stores)
        for wanted in (False, True)
    }
    if not len(parts[False]) or not len(parts[True]):
        raise DataError(
            f"{manifest.path}: {len(clips)} clips of split {recipe.data.train_split!r} leave none to train or none to "
            "validate on. Change data.val_share."
        )
    _check_ranks(recipe, len(parts[False]))
    dims = (stores[0].shape[1], stores[1].shape[1])
    return GroundingSet(recipe, manifest, parts[False], parts[True], dims, notes)


def _windows(clips: Sequence[str], stores: Sequence[Features]) -> Windows:
    """Return the windows of clips; `stores` hold sound, picture and truth."""
    values = [[store.of_clip(clip) for clip in clips] for store in stores]
    ids = [clip for clip, value in zip(clips, values[0], strict=True) for _ in range(len(value))]
    if not ids:
        empty = torch.zeros(0, SECONDS, SECONDS, dtype=torch.bool)
        return Windows([], torch.zeros(0), torch.zeros(0), empty)
    audio, image, truth = (torch.from_numpy(np.concatenate(part)) for part in values)
    return Windows(ids, audio, image, truth > 0)


def silence_of(recipe: GroundingRecipe, width: int) -> tuple[Tensor | None, list[str]]:
    """Return the features of no sound, None where none are known, and what must be said of that.

    Raises:
        DataError: a file that is missing or of another width.
    """
    wanted = recipe.truth.silence
    if wanted == NONE:
        return None, []
    if wanted == MEASURED:
        return _measured(width)
    try:
        silence = torch.from_numpy(np.load(Path(wanted), allow_pickle=False)).float().flatten()
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"truth.silence: {wanted}: {str(error).splitlines()[0]}") from None
    if len(silence) != width:
        raise DataError(f"truth.silence: {wanted} holds {len(silence)} numbers, the sound's features have {width}.")
    return silence, []


def _measured(width: int) -> tuple[Tensor | None, list[str]]:
    """Return our VGGish's features of zeros; None, and why, where its weights are not there or others are stored."""
    from asgmcli.media.vggish_mel import vggish_patches
    from asgmcli.nn.vggish import VGGish, embed_patches, load_vggish

    if width != VGGish(width=1, hidden=1).dim:
        return None, [
            f"truth.silence: the sound's features are {width} wide, not VGGish's: no second counts as silent."
        ]
    try:
        path = find_weights("vggish", {})
    except DataError as error:
        return None, [f"truth.silence: no second counts as silent. {error.message}"]
    network = VGGish()
    load_vggish(network, path)
    return embed_patches(network.eval(), vggish_patches(torch.zeros(RATE)))[0], []


def _check_ranks(recipe: GroundingRecipe, windows: int) -> None:
    ranks, last = count_ranks(), windows % recipe.train.batch
    if ranks > 1 and recipe.train.partial == "keep" and last % ranks:
        raise UsageError(
            f"train.partial: keep leaves a last batch of {last} clips, which do not divide among {ranks} processes. "
            "Set train.partial=drop or fill."
        )
