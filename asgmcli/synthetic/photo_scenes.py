"""Clips of photographs and recordings: cut-outs that move before a ground, one of which sounds.

Photographs, recordings and grounds of a class are divided among the splits, so that what is judged was never trained
on; of recordings whose names differ in a last letter alone (parts of one source) all are in one split.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

from asgmcli.data.frames import read_picture
from asgmcli.data.manifest import SPLITS
from asgmcli.data.split import hashed
from asgmcli.errors import DataError, MediaError, UsageError
from asgmcli.media.audio import read_audio
from asgmcli.synthetic.backgrounds import render_background
from asgmcli.synthetic.clips import AUDIO_RATE
from asgmcli.synthetic.motions import MOTIONS
from asgmcli.synthetic.scenes import Actor, Scene, draw_scene
from asgmcli.synthetic.segmentation_scenes import (
    NEXT_AFTER,
    SECONDS,
    SEGMENTATION,
    MadeClip,
    SegmentationSettings,
    at_rest,
    class_of,
    picture_times,
    random_of,
)
from asgmcli.synthetic.sounds import mix

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp"))
SOUNDS = frozenset((".wav", ".ogg", ".flac", ".mp3", ".m4a"))
_SHARES = (("test", 0.25), ("val", 0.15))
_LEAST = 3  # files of a class: one a split
_QUIET = 1e-4  # root mean square of a second that counts as silence
_BODY = 128


@dataclass(frozen=True)
class Photos:
    """Cut-outs and recordings by class, and grounds, each by split.

    Attributes:
        things: class -> split -> picture files with transparency.
        sounds: class -> split -> recordings.
        grounds: split -> picture files; empty: grounds are generated.
    """

    things: dict[str, dict[str, tuple[Path, ...]]]
    sounds: dict[str, dict[str, tuple[Path, ...]]]
    grounds: dict[str, tuple[Path, ...]]

    @property
    def classes(self) -> list[str]:
        """Return the names of the classes, sorted."""
        return sorted(self.things)


def find_photos(things: Path, sounds: Path, grounds: Path | None, seed: int) -> Photos:
    """Find the classes that have pictures and recordings enough, and divide these among the splits.

    Raises:
        UsageError: fewer than two classes of three pictures and three recordings, or too few grounds; what is missing
            is told.
    """
    pictures, recordings = _by_class(things, PICTURES), _by_class(sounds, SOUNDS)
    both = sorted(pictures.keys() & recordings.keys())
    good = [name for name in both if len(pictures[name]) >= _LEAST and len(_sources(recordings[name])) >= _LEAST]
    if len(good) < 2:
        told = [f"{name}: {len(pictures[name])} pictures, {len(recordings[name])} recordings" for name in both]
        raise UsageError(
            f"--things {things} --sounds {sounds}: {len(good)} classes have {_LEAST} pictures and {_LEAST} recordings, "
            f"two are needed ({'; '.join(told[:8]) or 'no folder has one name in both'}). Each holds folders by class."
        )
    ground = sorted(path for path in (grounds.rglob("*") if grounds else ()) if path.suffix.lower() in PICTURES)
    if grounds is not None and len(ground) < _LEAST:
        raise UsageError(f"--grounds {grounds}: {len(ground)} pictures, {_LEAST} are needed, one a split.")
    return Photos(
        {name: _divided([[path] for path in pictures[name]], seed) for name in good},
        {name: _divided(_sources(recordings[name]), seed) for name in good},
        _divided([[path] for path in ground], seed) if ground else {},
    )


def photo_clip(photos: Photos, settings: SegmentationSettings, split: str, index: int) -> MadeClip:
    """Make a clip of cut-outs: one sounds, one or two of other classes are silent and rest in half of the cases.

    Raises:
        MediaError: a picture or recording cannot be read.
    """
    times, size = picture_times(), settings.size
    shown = np.concatenate([times, times + NEXT_AFTER])
    scene, cast, label = _draw(photos, settings, split, index)
    frames, masks = _render(photos, scene, cast, shown, size, random_of(settings.seed, split, index, stream=4), split)
    sound = _sound(photos, settings, split, index, label, {name for name, _ in cast})
    return MadeClip(frames[:SECONDS], frames[SECONDS:], masks[:SECONDS], sound, label)


def photo_film(photos: Photos, settings: SegmentationSettings, split: str, index: int, fps: int) -> np.ndarray:
    """Return the same clip as a film, uint8 [SECONDS * fps, S, S, 3]."""
    scene, cast, _ = _draw(photos, settings, split, index)
    rng = random_of(settings.seed, split, index, stream=4)
    return _render(photos, scene, cast, np.arange(SECONDS * fps) / fps, settings.size, rng, split)[0]


def _by_class(folder: Path, suffixes: frozenset[str]) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder.")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.parent != folder:
            found.setdefault(path.relative_to(folder).parts[0], []).append(path)
    return found


def _sources(files: list[Path]) -> list[list[Path]]:
    """Return files by their source: names that differ in a last `-A`, `-B` alone are parts of one."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(re.sub(r"-[A-Z]$", "", path.stem), []).append(path)
    return list(groups.values())


def _divided(groups: list[list[Path]], seed: int) -> dict[str, tuple[Path, ...]]:
    """Return groups of files by split, a group in one; a seeded hash of their names decides."""
    order = sorted(groups, key=lambda group: hashed(seed, group[0].name))
    found: dict[str, tuple[Path, ...]] = {}
    for split, share in _SHARES:
        count = max(1, round(share * len(groups)))
        found[split] = tuple(path for group in order[:count] for path in group)
        order = order[count:]
    return {"train": tuple(path for group in order for path in group), **found}


def _draw(
    photos: Photos, settings: SegmentationSettings, split: str, index: int
) -> tuple[Scene, list[tuple[str, Path]], str]:
    """Draw the scene, and each actor's class and picture; the source's class is the clip's."""
    classes = photos.classes
    label = classes[class_of(settings.seed, split, index, len(classes))]
    rng = random_of(settings.seed, split, index, stream=2)
    others = [name for name in classes if name != label]
    silent = min(2 if rng.random() < SEGMENTATION.three_sprites else 1, len(others))
    names = [label, *(str(name) for name in rng.choice(others, silent, replace=False))]
    motions = [str(name) for name in rng.choice(list(MOTIONS), len(names), replace=False)]
    scene = at_rest(
        draw_scene(rng, list(zip(["square"] * len(names), motions, strict=True)), SEGMENTATION, picture_times()), rng
    )
    # An actor is told by its motion: the scene has its own painting order.
    named = dict(zip(motions, names, strict=True))
    cast = []
    for actor in scene.actors:
        files = photos.things[named[actor.motion]][split]
        cast.append((named[actor.motion], files[int(rng.integers(len(files)))]))
    return scene, cast, label


def _render(
    photos: Photos,
    scene: Scene,
    cast: list[tuple[str, Path]],
    times: np.ndarray,
    size: int,
    rng: np.random.Generator,
    split: str,
) -> tuple[np.ndarray, np.ndarray]:
    """Return frames uint8 [T, S, S, 3] and the source's pixels bool [T, S, S]."""
    if photos.grounds:
        files = photos.grounds[split]
        ground = np.asarray(Image.fromarray(_picture(files[int(rng.integers(len(files)))], "RGB")).resize((size, size)))
        canvas = np.broadcast_to(ground, (len(times), size, size, 3)).astype(np.float32)
    else:
        canvas = 255 * render_background(scene.background, times, size)
    masks = np.zeros((len(times), size, size), dtype=bool)
    for number, (actor, (_, path)) in enumerate(zip(scene.actors, cast, strict=True)):
        cutout = _picture(path, "RGBA")
        for frame, layer in enumerate(_layers(cutout, actor, times, size)):
            alpha = layer[..., 3:].astype(np.float32) / 255
            canvas[frame] += alpha * (layer[..., :3] - canvas[frame])
            covered = layer[..., 3] >= _BODY
            masks[frame] = covered if number == scene.source else masks[frame] & ~covered
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8), masks


def _layers(cutout: np.ndarray, actor: Actor, times: np.ndarray, size: int) -> list[np.ndarray]:
    """Return the cut-out in its pose on an empty frame, uint8 [S, S, 4], at each time; its longer side is 2 radii."""
    pose = actor.pose(times)
    picture = Image.fromarray(cutout)
    scale = 2 * actor.radius * size / max(picture.size)
    layers = []
    for x, y, across, down, angle in zip(pose.x, pose.y, pose.scale_x, pose.scale_y, pose.angle, strict=True):
        wide, tall = scale * across, scale * down
        cosine, sine = float(np.cos(angle)), float(np.sin(angle))
        # From a pixel of the frame back to one of the picture.
        a, b, d, e = cosine / wide, sine / wide, -sine / tall, cosine / tall
        c = picture.width / 2 - a * x * size - b * y * size
        f = picture.height / 2 - d * x * size - e * y * size
        reduced = picture.reduce(max(1, int(1 / max(wide, tall, 1e-3) / 2)))
        factor = reduced.width / picture.width
        matrix = tuple(factor * value for value in (a, b, c, d, e, f))
        moved = reduced.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        layers.append(np.asarray(moved))
    return layers


def _sound(
    photos: Photos, settings: SegmentationSettings, split: str, index: int, label: str, shown: set[str]
) -> np.ndarray:
    """Return float32 [S] at 16 kHz: a recording of the class, noise, at times one of a class that is not to be seen."""
    rng = random_of(settings.seed, split, index, stream=3)
    source = _excerpt(rng, photos.sounds[label][split])
    unseen = [name for name in photos.classes if name not in shown]
    other = None
    if unseen and rng.random() < SEGMENTATION.other_share:
        other = _excerpt(rng, photos.sounds[unseen[int(rng.integers(len(unseen)))]][split])
    return mix(rng, source, other, SEGMENTATION, AUDIO_RATE)


def _excerpt(rng: np.random.Generator, files: tuple[Path, ...]) -> np.ndarray:
    """Return SECONDS of a drawn recording from a drawn place on, repeated where it is shorter, of unit power."""
    wave = _wave(files[int(rng.integers(len(files)))])
    samples = SECONDS * AUDIO_RATE
    start = int(rng.integers(len(wave)))
    whole = np.resize(np.roll(wave, -start), samples)
    unit: np.ndarray = (whole / max(float(np.sqrt(np.mean(whole**2))), _QUIET)).astype(np.float32)
    return unit


@lru_cache(maxsize=512)
def _wave(path: Path) -> np.ndarray:
    """Return a recording at 16 kHz without its silent ends.

    Raises:
        MediaError: it cannot be read, or is silent.
    """
    wave = read_audio(path, AUDIO_RATE)
    loud = np.flatnonzero(np.abs(wave) > _QUIET)
    if not len(loud):
        raise MediaError(f"{path}: a silent recording; take it out of --sounds")
    return wave[loud[0] : loud[-1] + 1]


@lru_cache(maxsize=512)
def _picture(path: Path, mode: str) -> np.ndarray:
    return read_picture(path, mode)


def check_photos(photos: Photos) -> None:
    """Read every file once, so that a broken one is told before hours go into clips.

    Raises:
        DataError: some cannot be read; the first are named.
    """
    faults = []
    files = [(path, "RGBA") for by_split in photos.things.values() for split in SPLITS for path in by_split[split]]
    files += [(path, "RGB") for paths in photos.grounds.values() for path in paths]
    files += [(path, "") for by_split in photos.sounds.values() for split in SPLITS for path in by_split[split]]
    for path, mode in files:
        try:
            if mode:
                _picture(path, mode)
            else:
                _wave(path)
        except MediaError as error:
            faults.append(error.message)
    if faults:
        raise DataError(f"{len(faults)} files cannot be used: {'; '.join(faults[:5])}. Mend or remove them.")
