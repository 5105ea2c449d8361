"""Generated clips in memory, with weak augmentation of the picture and SpecAugment of the sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from asgmcli.data import augment
from asgmcli.data.loader import collate, make_loader
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.data.plan import Plan, Planned, SampleKey, Stream, generator
from asgmcli.data.reader import RATE
from asgmcli.media.audio import log_mel
from asgmcli.media.vggish_mel import vggish_patches
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.synthetic.pretext import PretextClips, generate
from asgmcli.tasks.pretext.batch import Batch, Inputs, Truth
from asgmcli.tasks.pretext.targets import nearest_patches

SEED = 20_000
TEST_SEED = 30_000
SECOND = 1.0
"""Sound of a clip for backbones that hear a second, s."""


@dataclass
class PretextViews(Dataset[Batch]):
    """Generated clips, and what is in them.

    In the first `stills` epochs the video is one random frame of the clip (repeated to fill a tubelet): shapes are
    learnt from many stills at the price of few clips, motion afterwards. In the first `parts` epochs the network sees
    only the cells nearest to the shapes, where the recipe says how many.
    """

    clips: PretextClips
    sounds: Tensor
    recipe: PretextRecipe
    training: bool
    stills: int = 0
    parts: int = 0

    def __len__(self) -> int:
        return len(self.clips.frames)

    def __getitem__(self, key: SampleKey) -> Batch:
        number, recipe = key.number, self.recipe
        rng = generator(recipe.seed, "pretext", key.epoch, key.occurrence, number)
        frames, places = torch.from_numpy(self.clips.frames[number]), torch.from_numpy(self.clips.places[number])
        sound = self.sounds[number]
        if self.training:
            if key.epoch < self.stills:
                shown = [int(rng.integers(len(frames)))] * (
                    1 if recipe.model.video is None else recipe.model.video.tubelet
                )
                frames, places = frames[shown], places[:, shown]
            # Colours tell nothing. No flip: some motions and shapes are mirror images of others.
            frames = frames[..., torch.from_numpy(rng.permutation(3))]
            if recipe.model.video is not None:
                sound = augment.spec_augment(sound, rng, recipe.augment.frequency_mask, recipe.augment.time_mask, 0.0)
        kept = self._kept(key.epoch, places, rng) if self.training else None
        truth = Truth(
            places,
            torch.from_numpy(self.clips.cast[number]),
            shapes=torch.from_numpy(self.clips.shapes[number].astype(np.float32)),
            motions=torch.from_numpy(self.clips.motions[number].astype(np.float32)),
            timbre=torch.tensor(int(self.clips.timbre[number])),
            envelope=torch.tensor(int(self.clips.envelope[number])),
        )
        return Batch([str(number)], Inputs(frames.permute(0, 3, 1, 2), sound, kept), truth)

    def _kept(self, epoch: int, places: Tensor, rng: np.random.Generator) -> Tensor | None:
        """Return the cells nearest to the shapes, while the network is to see only these."""
        settings, video = self.recipe.generated, self.recipe.model.video
        count = settings.still_tokens if epoch < self.stills else settings.clip_tokens
        if count is None or video is None or epoch >= self.parts:
            return None
        side = self.recipe.clip.size // video.patch_size
        chance = torch.from_numpy(rng.random(side * side, np.float32))
        return nearest_patches(places, (side, side), count, chance)


@dataclass
class PretextLoaders(Planned):
    """Batches of generated clips, made once at the start of the run."""

    recipe: PretextRecipe
    train: PretextViews
    test: PretextViews
    plan: Plan

    @property
    def length(self) -> int:
        """Return L, the log-mel's time steps."""
        return self.train.sounds.shape[1]

    def epoch(self, number: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of epoch `number` from step `start` on."""
        return make_loader(self.train, self.plan.batches(number, start), 0, collate)

    @property
    def evaluation(self) -> Iterator[Batch]:
        """Yield the batches of clips generated from another seed."""
        return make_loader(self.test, plan_of(self.recipe, len(self.test)).batches(0), 0, collate)

    def summary(self) -> dict[str, object]:
        """Return the number of clips."""
        return {"dataset": "pretext", "train": len(self.train), "test": len(self.test)}


def build_data(recipe: PretextRecipe) -> PretextLoaders:
    """Generate the clips: some seconds on every core."""
    train = _generate(recipe, recipe.generated.train, SEED + recipe.seed)
    test = _generate(recipe, recipe.generated.test, TEST_SEED + recipe.seed)
    if recipe.model.backbones is not None:
        sounds, test_sounds = _patches(train), _patches(test)
    elif recipe.model.localizer is not None:
        sounds, test_sounds = torch.from_numpy(train.waves), torch.from_numpy(test.waves)
    else:
        sounds, test_sounds = _log_mels(recipe, train), _log_mels(recipe, test)
        mel_statistics = LogMelStatistics(float(sounds.mean()), float(sounds.std()))
        sounds, test_sounds = mel_statistics.normalise(sounds), mel_statistics.normalise(test_sounds)
    stills = round(recipe.generated.still_share * recipe.train.epochs)
    parts = round((1 - recipe.generated.whole_share) * recipe.train.epochs)
    views = PretextViews(train, sounds, recipe, training=True, stills=stills, parts=parts)
    tests = PretextViews(test, test_sounds, recipe, training=False)
    return PretextLoaders(recipe, views, tests, plan_of(recipe, len(views)))


def plan_of(recipe: PretextRecipe, clips: int) -> Plan:
    """Return which of so many clips every step has."""
    # The seed's name is that of the runs in RESULTS.md: under another their shuffles would be others.
    return Plan({"clips": Stream(clips, recipe.train.batch, seed_name="labeled")}, recipe.seed)


def _generate(recipe: PretextRecipe, count: int, seed: int) -> PretextClips:
    clip = recipe.clip
    return generate(
        count,
        seed=seed,
        size=clip.size,
        frames=clip.frames,
        stride=clip.stride,
        seconds=recipe.audio.seconds if recipe.model.backbones is None else SECOND,
    )


def _patches(clips: PretextClips) -> Tensor:
    """Return [n, 96, 64], the log-mel patch of each clip's second."""
    return torch.stack([vggish_patches(wave)[0] for wave in clips.waves])


def _log_mels(recipe: PretextRecipe, clips: PretextClips) -> Tensor:
    """Return log-mels [n, L, M], not normalised."""
    return torch.stack([log_mel(wave, rate=RATE, mels=recipe.audio.mels) for wave in clips.waves])
