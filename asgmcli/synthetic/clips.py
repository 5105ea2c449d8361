"""The demo's clips: class, picture and sound of each, determined by seed, split and index."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from asgmcli.data.manifest import SPLITS
from asgmcli.synthetic.difficulty import DEMO
from asgmcli.synthetic.making import GeneratedSettings
from asgmcli.synthetic.motions import draw_clock
from asgmcli.synthetic.places import Place, choose_place
from asgmcli.synthetic.scenes import Scene, draw_scene
from asgmcli.synthetic.sounds import mix, play


@dataclass(frozen=True)
class DemoClass:
    """A class of the demo: the sounding sprite's kind and action, its timbre, and how the sound follows the action."""

    shape: str
    motion: str
    timbre: str
    follows: str

    @property
    def name(self) -> str:
        """Return the class name, such as star-bounce."""
        return f"{self.shape}-{self.motion}"


CLASSES = (
    DemoClass("star", "bounce", "bell", "struck at each landing"),
    DemoClass("star", "pulse", "organ", "louder as it grows"),
    DemoClass("cross", "shake", "buzz", "flutters with it"),
    DemoClass("cross", "stretch", "saw", "higher as it gets taller"),
    DemoClass("triangle", "sweep", "whistle", "glides from side to side"),
    DemoClass("triangle", "zigzag", "reed", "low going down, high going up"),
    DemoClass("ring", "orbit", "hum", "one wave a round"),
    DemoClass("ring", "jump", "wood", "a new note at each place"),
    DemoClass("crescent", "spin", "metal", "throbs twice a turn"),
    DemoClass("crescent", "swing", "hiss", "struck at each end"),
)
VERSION = 1  # of the generator: raised with any change that alters a clip
# Splits whose scenes are independent of the class, beside those of a biased data set.
SHUFFLED = "test_shuffled"
VAL_SHUFFLED = "val_shuffled"
STREAMS = (*SPLITS, SHUFFLED, VAL_SHUFFLED)
"""Splits in the order that their random streams are numbered by: a clip's bytes hang on it."""
AUDIO_RATE = 16_000
MOST_FRAMES = 10_000  # of a clip


@dataclass(frozen=True)
class DemoSettings(GeneratedSettings):
    """The settings of a generated data set: clips a split, seed, frame side in pixels, seconds, frames a second.

    With a `scene_bias` each clip is set in a place: its class's with that probability, else another's. The data set
    then has two more splits of equal size, `test_shuffled` and `val_shuffled`, whose places are independent of the
    class.
    """

    train: int = 1200
    val: int = 200
    test: int = 500
    seed: int = 0
    size: int = 96
    seconds: float = 2.0
    fps: float = 8.0
    version: int = VERSION
    scene_bias: float | None = None

    @property
    def times(self) -> np.ndarray:
        """Return each frame's time, seconds [T]."""
        return np.arange(round(self.seconds * self.fps)) / self.fps

    @property
    def counts(self) -> dict[str, int]:
        """Return the number of clips of each split."""
        shuffled = {} if self.scene_bias is None else {SHUFFLED: self.test, VAL_SHUFFLED: self.val}
        return {split: getattr(self, split) for split in SPLITS} | shuffled

    def content(self) -> dict[str, object]:
        """Return the settings as written into the data set's files, without those that are unset."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def faults(self, multiple: int = 2) -> list[str]:
        """See `GeneratedSettings`."""
        faults = super().faults(multiple)
        if self.scene_bias is not None and not 0 <= self.scene_bias <= 1:
            faults.append(f"scene_bias = {self.scene_bias} is not a probability in 0..1")
        if self.seconds * self.fps > MOST_FRAMES:
            faults.append(f"seconds = {self.seconds} at fps = {self.fps} give more than {MOST_FRAMES} frames")
        elif self.fps <= 0 or self.seconds <= 0 or len(self.times) < 2:
            faults.append(f"seconds = {self.seconds} at fps = {self.fps} give fewer than 2 frames")
        return faults


def clip_label(seed: int, split: str, index: int) -> int:
    """Return the clip's class number: every ten clips of a split hold each class once, in a drawn order."""
    block, place = divmod(index, len(CLASSES))
    return int(_rng(seed, split, block, stream=1).permutation(len(CLASSES))[place])


def clip_scene(settings: DemoSettings, split: str, index: int) -> Scene:
    """Draw the clip's scene: the class's sprite and one or two of other kinds, each moving as its own class does."""
    rng = _rng(settings.seed, split, index, stream=2)
    label = CLASSES[clip_label(settings.seed, split, index)]
    kinds = sorted({entry.shape for entry in CLASSES} - {label.shape})
    silent = 2 if rng.random() < DEMO.three_sprites else 1
    shown = [label]
    for kind in rng.choice(kinds, silent, replace=False):
        same_kind = [entry for entry in CLASSES if entry.shape == kind]
        shown.append(same_kind[int(rng.integers(len(same_kind)))])
    place = clip_place(settings, split, index)
    texture, hue = (None, None) if place is None else (place.texture, place.hue)
    cast = [(entry.shape, entry.motion) for entry in shown]
    return draw_scene(rng, cast, DEMO, settings.times, texture, hue)


def clip_place(settings: DemoSettings, split: str, index: int) -> Place | None:
    """Draw the place of a clip; None if the data set has no places.

    The draw is independent of the clip's others: another bias changes the place and nothing else.
    """
    if settings.scene_bias is None:
        return None
    rng = _rng(settings.seed, split, index, stream=4)
    own = clip_label(settings.seed, split, index)
    return choose_place(rng, own, None if split in (SHUFFLED, VAL_SHUFFLED) else settings.scene_bias)


def clip_sound(settings: DemoSettings, split: str, index: int, scene: Scene) -> np.ndarray:
    """Return the clip's sound, float32 [S] at 16 kHz: the source, noise, often a class that is not in the picture."""
    rng = _rng(settings.seed, split, index, stream=3)
    label = CLASSES[clip_label(settings.seed, split, index)]
    samples = round(settings.seconds * AUDIO_RATE)
    voice = partial(play, rng, difficulty=DEMO, samples=samples, rate=AUDIO_RATE)
    source = voice(label.timbre, label.motion, scene.actors[scene.source].clock)
    shown = {actor.shape for actor in scene.actors}
    unseen = [entry for entry in CLASSES if entry.shape not in shown]
    other = None
    if rng.random() < DEMO.other_share:
        entry = unseen[int(rng.integers(len(unseen)))]
        other = voice(entry.timbre, entry.motion, draw_clock(rng, entry.motion))
    return mix(rng, source, other, DEMO, AUDIO_RATE)


def _rng(seed: int, split: str, index: int, stream: int) -> np.random.Generator:
    """Return the random numbers of one clip (or block of clips), one stream for each thing that is drawn."""
    return np.random.default_rng([seed, STREAMS.index(split), index, stream])
