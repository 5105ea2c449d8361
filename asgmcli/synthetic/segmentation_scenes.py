"""Clips of the segmentation demo: the demo's classes, larger, of which silent ones often rest; and who covers whom."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from asgmcli.data.manifest import SPLITS
from asgmcli.synthetic.clips import CLASSES
from asgmcli.synthetic.difficulty import DEMO
from asgmcli.synthetic.making import GeneratedSettings
from asgmcli.synthetic.motions import draw_clock
from asgmcli.synthetic.scenes import Scene, draw_scene, render
from asgmcli.synthetic.sounds import AUDIO_RATE, mix, play
from asgmcli.synthetic.sprites import cut

VERSION = 1  # of the generator: raised with any change that alters a clip
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
SEGMENTATION = replace(DEMO, diameter=(0.34, 0.42), three_sprites=0.4, noise=(12.0, 28.0), other_share=0.4)
"""Larger sprites than the demo's, fewer of them, less noise: small ones were not learnt (docs/EXPERIMENTS.md)."""
_BODY = 0.5
_WORLD = 101  # of the random streams, which are none of the demo's


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
        label: the class that sounds.
    """

    frames: np.ndarray
    following: np.ndarray
    masks: np.ndarray
    sound: np.ndarray
    label: str


def picture_times() -> np.ndarray:
    """Return each picture's time, seconds [SECONDS]."""
    return np.arange(SECONDS) + PICTURE_AT


def sprite_clip(settings: SegmentationSettings, split: str, index: int) -> MadeClip:
    """Make a clip of sprites: one sounds, one or two of other kinds are silent and rest in half of the cases."""
    times = picture_times()
    scene, label = _draw(settings, split, index, times)
    shown = render(scene, np.concatenate([times, times + NEXT_AFTER]), settings.size)
    masks = source_masks(scene, times, settings.size)
    sound = _sound(settings, split, index, scene, label)
    return MadeClip(shown[:SECONDS], shown[SECONDS:], masks, sound, CLASSES[label].name)


def sprite_film(settings: SegmentationSettings, split: str, index: int, fps: int) -> np.ndarray:
    """Return the same clip as a film, uint8 [SECONDS * fps, S, S, 3]."""
    scene, _ = _draw(settings, split, index, picture_times())
    return render(scene, np.arange(SECONDS * fps) / fps, settings.size)


def source_masks(scene: Scene, times: np.ndarray, size: int) -> np.ndarray:
    """Return the sounding sprite's pixels at `times`, bool [T, size, size], less those that nearer sprites cover."""
    masks = np.zeros((len(times), size, size), dtype=bool)
    for number, actor in enumerate(scene.actors):
        if number < scene.source:
            continue
        patch = cut(actor.shape, actor.pose(times), actor.radius, size)
        for frame in range(len(times)):
            rows, columns, inner_rows, inner_columns = patch.spans(frame, size)
            covered = patch.alpha[frame, inner_rows, inner_columns] > _BODY
            if number == scene.source:
                masks[frame, rows, columns] |= covered
            else:
                masks[frame, rows, columns] &= ~covered
    return masks


def class_of(seed: int, split: str, index: int, classes: int) -> int:
    """Return the number of the class that sounds: each block of clips holds each class once, in a drawn order."""
    block, place = divmod(index, classes)
    return int(random_of(seed, split, block, stream=1).permutation(classes)[place])


def at_rest(scene: Scene, rng: np.random.Generator) -> Scene:
    """Return the scene with each silent thing at rest in half of the cases."""
    resting = rng.random(len(scene.actors)) < RESTING
    actors = tuple(
        replace(actor, clock=replace(actor.clock, rate=0.0)) if number != scene.source and resting[number] else actor
        for number, actor in enumerate(scene.actors)
    )
    return replace(scene, actors=actors)


def random_of(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    """Return the random numbers of one clip (or block of clips), one stream for each thing that is drawn."""
    return np.random.default_rng([seed, _WORLD, SPLITS.index(split), index, stream])


def _draw(settings: SegmentationSettings, split: str, index: int, times: np.ndarray) -> tuple[Scene, int]:
    """Draw the scene and the number of the class that sounds; sprites keep apart at `times`."""
    label = class_of(settings.seed, split, index, len(CLASSES))
    rng = random_of(settings.seed, split, index, stream=2)
    kinds = sorted({entry.shape for entry in CLASSES} - {CLASSES[label].shape})
    shown = [CLASSES[label]]
    for kind in rng.choice(kinds, 2 if rng.random() < SEGMENTATION.three_sprites else 1, replace=False):
        same = [entry for entry in CLASSES if entry.shape == kind]
        shown.append(same[int(rng.integers(len(same)))])
    scene = draw_scene(rng, [(entry.shape, entry.motion) for entry in shown], SEGMENTATION, times)
    return at_rest(scene, rng), label


def _sound(settings: SegmentationSettings, split: str, index: int, scene: Scene, label: int) -> np.ndarray:
    """Return float32 [S] at 16 kHz: the source, noise, at times a class that is not to be seen."""
    rng = random_of(settings.seed, split, index, stream=3)
    voice = partial(play, rng, difficulty=SEGMENTATION, samples=SECONDS * AUDIO_RATE, rate=AUDIO_RATE)
    source = voice(CLASSES[label].timbre, CLASSES[label].motion, scene.actors[scene.source].clock)
    other = None
    if rng.random() < SEGMENTATION.other_share:
        shown = {actor.shape for actor in scene.actors}
        unseen = [entry for entry in CLASSES if entry.shape not in shown]
        entry = unseen[int(rng.integers(len(unseen)))]
        other = voice(entry.timbre, entry.motion, draw_clock(rng, entry.motion))
    return mix(rng, source, other, SEGMENTATION, AUDIO_RATE)
