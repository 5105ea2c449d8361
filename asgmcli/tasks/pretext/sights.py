"""What a pretext's network sees of a sample: a generated clip or a frame of it, a still of glyphs, or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.plan import SampleKey, generator
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.synthetic.glyphs import draw_still
from asgmcli.synthetic.pretext import PretextClips
from asgmcli.tasks.pretext.targets import nearest_patches


@dataclass(frozen=True)
class Sight:
    """`video` uint8 [T, 3, S, S] and what is in it, as `Truth` has it."""

    video: Tensor
    places: Tensor
    cast: Tensor
    shapes: Tensor
    motions: Tensor


class Sights(Protocol):
    """The pictures of a data set."""

    def draw(self, key: SampleKey, rng: np.random.Generator) -> Sight:
        """Return the picture of a sample."""

    def kept(self, epoch: int, sight: Sight, rng: np.random.Generator) -> Tensor | None:
        """Return the cells that the network is to see, int64 [n]; None for all."""


@dataclass
class Scenes:
    """Generated clips.

    In the first `stills` epochs the video is one random frame of the clip (repeated to fill a tubelet): shapes are
    learnt from many stills at the price of few clips, motion afterwards. In the first `parts` epochs the network sees
    only the cells nearest to the shapes, where the recipe says how many.
    """

    clips: PretextClips
    recipe: PretextRecipe
    training: bool
    stills: int = 0
    parts: int = 0

    def draw(self, key: SampleKey, rng: np.random.Generator) -> Sight:
        """See `Sights`."""
        number, video = key.number, self.recipe.model.video
        frames, places = torch.from_numpy(self.clips.frames[number]), torch.from_numpy(self.clips.places[number])
        if self.training:
            if key.epoch < self.stills:
                shown = [int(rng.integers(len(frames)))] * (1 if video is None else video.tubelet)
                frames, places = frames[shown], places[:, shown]
            # Colours tell nothing. No flip: some motions and shapes are mirror images of others.
            frames = frames[..., torch.from_numpy(rng.permutation(3))]
        return Sight(
            frames.permute(0, 3, 1, 2),
            places,
            torch.from_numpy(self.clips.cast[number]),
            torch.from_numpy(self.clips.shapes[number].astype(np.float32)),
            torch.from_numpy(self.clips.motions[number].astype(np.float32)),
        )

    def kept(self, epoch: int, sight: Sight, rng: np.random.Generator) -> Tensor | None:
        """Return the cells nearest to the shapes, while the network is to see only these."""
        settings, video = self.recipe.generated, self.recipe.model.video
        count = settings.still_tokens if epoch < self.stills else settings.clip_tokens
        if not self.training or count is None or video is None or epoch >= self.parts:
            return None
        side = self.recipe.clip.size // video.patch_size
        chance = torch.from_numpy(rng.random(side * side, np.float32))
        return nearest_patches(sight.places, (side, side), count, chance)


@dataclass
class Stills:
    """Stills of glyphs, drawn anew for every epoch; a still depends on `seed`, epoch and number alone."""

    glyphs: int
    size: int
    seed: int

    def draw(self, key: SampleKey, rng: np.random.Generator) -> Sight:
        """See `Sights`."""
        still = draw_still(
            generator(self.seed, "glyphs", key.epoch, key.occurrence, key.number), self.glyphs, self.size
        )
        number = torch.from_numpy(still.glyphs)
        there = torch.zeros(self.glyphs)
        there[number[number >= 0]] = 1.0
        cast = torch.stack([number, torch.full_like(number, -1)], dim=1)
        video = torch.from_numpy(still.frame).permute(2, 0, 1)[None]
        return Sight(video, torch.from_numpy(still.places)[:, None], cast, there, torch.empty(0))

    def kept(self, epoch: int, sight: Sight, rng: np.random.Generator) -> None:
        """Return None: every cell is seen."""


class Darkness:
    """Nothing to be seen."""

    def draw(self, key: SampleKey, rng: np.random.Generator) -> Sight:
        """Return a sight without frames and sprites."""
        nothing = torch.empty(0)
        return Sight(nothing.byte(), torch.empty(0, 0, 3), torch.empty(0, 2, dtype=torch.int64), nothing, nothing)

    def kept(self, epoch: int, sight: Sight, rng: np.random.Generator) -> None:
        """Return None."""
