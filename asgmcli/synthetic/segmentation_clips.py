"""Clips of the segmentation demo: things that move or rest, one or two of which sound, and which pixels are theirs.

A silent thing may be a source's twin to the ear. The sound then leaves two, of which the silent one often rests, as
its flow shows: each sense leaves something open that another one tells.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from asgmcli.synthetic.casts import draw_thing, random_of, source_of, unseen
from asgmcli.synthetic.kinds import KINDS, Kind, groups_of
from asgmcli.synthetic.making import GeneratedSettings
from asgmcli.synthetic.material import Kit
from asgmcli.synthetic.things import WORLD, Clip, Stage, draw_stage, render_frames, render_sound, sounding_masks

VERSION = 3  # of the generator: raised with any change that alters a clip
SECONDS = 5
"""Of a clip; a frame a second."""
PICTURE_AT = 15 / 16
"""Second within each at which its picture is taken."""
NEXT_AFTER = 1 / 25
"""Seconds from a picture to the one that its flow leads to."""
FLOW_BOUND = 4.0
"""Largest displacement that flow holds, pixels: what moves here moves a pixel or two in 1/25 s."""
RESTING = 0.5
"""Share of silent things that rest."""
TWINS = 0.3
"""Share of clips in which a silent thing has the timbre of a source; of others none has."""
PAIRS = 0.25
"""Share of clips in which two of three things sound, where there are three timbres."""
CAST, STAGE, SOUND = 12, 13, 14
"""Random streams, which are none of the recognition demo's."""
GENERATED = Kit()


@dataclass(frozen=True)
class SegmentationSettings(GeneratedSettings):
    """The settings of a generated data set: clips a split, seed, frame side in pixels."""

    train: int = 1000
    val: int = 200
    test: int = 400
    seed: int = 0
    size: int = 64
    version: int = VERSION

    def faults(self, multiple: int = 32) -> list[str]:
        """See `GeneratedSettings`."""
        return super().faults(multiple)


@dataclass(frozen=True)
class MadeClip:
    """A generated clip.

    Attributes:
        frames: uint8 [T, S, S, 3], a picture a second.
        following: uint8 [T, S, S, 3], the pictures `NEXT_AFTER` seconds later.
        masks: bool [T, S, S], the pixels of what sounds.
        sound: float32 [samples] at 16 kHz.
        clip: its things.
    """

    frames: np.ndarray
    following: np.ndarray
    masks: np.ndarray
    sound: np.ndarray
    clip: Clip

    @property
    def sounding(self) -> list[str]:
        """Return the kinds of what is seen and heard, in painting order."""
        return [self.clip.things[number].kind for number in self.clip.sources()]


def picture_times() -> np.ndarray:
    """Return each picture's time, seconds [SECONDS]."""
    return np.arange(SECONDS) + PICTURE_AT


def draw_cast(seed: int, split: str, index: int, kinds: tuple[Kind, ...] = KINDS) -> Clip:
    """Draw the things of a clip: one or two that sound, one or two silent ones, at times one that is heard unseen.

    Args:
        seed: of the data set.
        split: of the clip.
        index: of the clip in its split.
        kinds: that there are. A twin has the source's timbre; a kind that shares its with none is its own twin.
    """
    rng = random_of(seed, split, index, stream=CAST)
    source, groups = source_of(seed, split, index, kinds), groups_of(kinds)
    (own,) = (group for group in groups if source in group)
    others = [group for group in groups if group is not own]
    silent = [others[int(place)][int(rng.integers(len(others[int(place)])))] for place in rng.permutation(len(others))]
    pair = rng.random() < PAIRS
    count = min(2 if pair or rng.random() < WORLD.three_sprites else 1, len(silent))
    shown, absent = [source, *silent[:count]], silent[count:]
    if rng.random() < TWINS:
        twins = [number for number in own if number != source] or [source]
        shown[1] = twins[int(rng.integers(len(twins)))]
    sounding = {0, 2} if pair else {0}  # of the things that are shown: a twin, the second, is silent
    whole = ((0.0, float(SECONDS)),)
    things = []
    for number in rng.permutation(len(shown)):
        heard = number in sounding
        thing = draw_thing(rng, kinds[shown[number]], visible=whole, sounding=whole if heard else ())
        things.append(replace(thing, rests=bool(rng.random() < RESTING) and not heard))
    return Clip((*things, *unseen(rng, [kinds[number] for number in absent], whole)), float(SECONDS))


def clip_stage(settings: SegmentationSettings, split: str, index: int, kit: Kit = GENERATED) -> Stage:
    """Draw a clip, which seed, split and index alone decide."""
    clip = draw_cast(settings.seed, split, index, kit.kinds)
    return draw_stage(random_of(settings.seed, split, index, stream=STAGE), clip, kit.of(split))


def make_clip(settings: SegmentationSettings, split: str, index: int, kit: Kit = GENERATED) -> MadeClip:
    """Render a clip.

    Raises:
        MediaError: a picture or recording cannot be read.
    """
    stage, times = clip_stage(settings, split, index, kit), picture_times()
    shown = render_frames(stage, np.concatenate([times, times + NEXT_AFTER]), settings.size)
    masks = sounding_masks(stage, times, settings.size)
    sound = render_sound(random_of(settings.seed, split, index, stream=SOUND), stage)
    return MadeClip(shown[:SECONDS], shown[SECONDS:], masks, sound, stage.clip)


def film(settings: SegmentationSettings, split: str, index: int, fps: int, kit: Kit = GENERATED) -> np.ndarray:
    """Return the same clip as a film, uint8 [SECONDS * fps, S, S, 3]."""
    return render_frames(clip_stage(settings, split, index, kit), np.arange(SECONDS * fps) / fps, settings.size)
