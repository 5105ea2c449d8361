"""Generated clips in memory, with weak augmentation of the picture and SpecAugment of the sound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

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
from asgmcli.tasks.pretext.sights import Darkness, Scenes, Sights, Stills

SEED = 20_000
TEST_SEED = 30_000
SECOND = 1.0
"""Sound of a clip for backbones that hear a second, s."""


@dataclass
class PretextViews(Dataset[Batch]):
    """What is to be seen and heard of `count` samples; `sounds` [count, ...], None where nothing is heard."""

    count: int
    sights: Sights
    heard: PretextClips | None
    sounds: Tensor | None
    recipe: PretextRecipe
    training: bool

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, key: SampleKey) -> Batch:
        recipe, number = self.recipe, key.number
        rng = generator(recipe.seed, "pretext", key.epoch, key.occurrence, number)
        sight = self.sights.draw(key, rng)
        sound, timbre, envelope = torch.empty(0), -1, -1
        if self.sounds is not None and self.heard is not None:
            sound, timbre, envelope = self.sounds[number], self.heard.timbre[number], self.heard.envelope[number]
            if self.training and recipe.model.encodes:
                sound = augment.spec_augment(sound, rng, recipe.augment.frequency_mask, recipe.augment.time_mask, 0.0)
        truth = Truth(
            sight.places,
            sight.cast,
            shapes=sight.shapes,
            motions=sight.motions,
            timbre=torch.tensor(int(timbre)),
            envelope=torch.tensor(int(envelope)),
        )
        kept = self.sights.kept(key.epoch, sight, rng)
        return Batch([str(number)], Inputs(sight.video, sound, kept), truth)


@dataclass
class PretextLoaders(Planned):
    """Batches of generated clips, made once at the start of the run."""

    recipe: PretextRecipe
    train: PretextViews
    test: PretextViews
    plan: Plan

    @property
    def length(self) -> int:
        """Return L, the log-mel's time steps; 0 where nothing is heard."""
        return 0 if self.train.sounds is None else self.train.sounds.shape[1]

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
    """Generate the clips, or the sounds alone: some seconds on every core. Stills of glyphs are drawn as they come."""
    made = recipe.generated
    stills = round(made.still_share * recipe.train.epochs)
    parts = round((1 - made.whole_share) * recipe.train.epochs)
    train = _generate(recipe, made.train, SEED + recipe.seed)
    test = _generate(recipe, made.test, TEST_SEED + recipe.seed)
    sounds, test_sounds = _sounds(recipe, train, test)

    def views(count: int, clips: PretextClips | None, sounds: Tensor | None, training: bool) -> PretextViews:
        sights: Sights = Darkness()
        if made.glyphs is not None:
            sights = Stills(made.glyphs, recipe.clip.size, (SEED if training else TEST_SEED) + recipe.seed)
        elif recipe.model.sees and clips is not None:
            sights = Scenes(clips, recipe, training, *((stills, parts) if training else (0, 0)))
        return PretextViews(count, sights, clips, sounds, recipe, training)

    shown = views(made.train, train, sounds, True), views(made.test, test, test_sounds, False)
    return PretextLoaders(recipe, *shown, plan_of(recipe, made.train))


def _sounds(
    recipe: PretextRecipe, train: PretextClips | None, test: PretextClips | None
) -> tuple[Tensor | None, Tensor | None]:
    """Return what the network hears of both, the log-mels of encoders normalised by the first's statistics."""
    if train is None or test is None or not recipe.model.listens:
        return None, None
    if recipe.model.backbones is not None:
        return _patches(train), _patches(test)
    if recipe.model.localizer is not None:
        return torch.from_numpy(train.waves), torch.from_numpy(test.waves)
    sounds, test_sounds = _log_mels(recipe, train), _log_mels(recipe, test)
    mel_statistics = LogMelStatistics(float(sounds.mean()), float(sounds.std()))
    return mel_statistics.normalise(sounds), mel_statistics.normalise(test_sounds)


def plan_of(recipe: PretextRecipe, clips: int) -> Plan:
    """Return which of so many clips every step has."""
    # The seed's name is that of the runs in RESULTS.md: under another their shuffles would be others.
    return Plan({"clips": Stream(clips, recipe.train.batch, seed_name="labeled")}, recipe.seed)


def _generate(recipe: PretextRecipe, count: int, seed: int) -> PretextClips | None:
    """Return clips, without pictures where none is seen or glyphs are; None where nothing of them is asked."""
    clip, scenes = recipe.clip, recipe.model.sees and recipe.generated.glyphs is None
    if not scenes and not recipe.model.listens:
        return None
    return generate(
        count,
        seed=seed,
        size=clip.size,
        frames=clip.frames,
        stride=clip.stride,
        seconds=recipe.audio.seconds if recipe.model.backbones is None else SECOND,
        pictures=scenes,
    )


def _patches(clips: PretextClips) -> Tensor:
    """Return [n, 96, 64], the log-mel patch of each clip's second."""
    return torch.stack([vggish_patches(wave)[0] for wave in clips.waves])


def _log_mels(recipe: PretextRecipe, clips: PretextClips) -> Tensor:
    """Return log-mels [n, L, M], not normalised."""
    return torch.stack([log_mel(wave, rate=RATE, mels=recipe.audio.mels) for wave in clips.waves])
