"""Clips of photographs and recordings: cut-outs that move before a ground, one of which sounds.

Which file is of which split: `material`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from asgmcli.synthetic.backgrounds import render_background
from asgmcli.synthetic.material import Photos, read_cutout, read_recording
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
from asgmcli.synthetic.sounds import AUDIO_RATE, excerpt, mix

_BODY = 128


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
        ground = np.asarray(
            Image.fromarray(read_cutout(files[int(rng.integers(len(files)))], "RGB")).resize((size, size))
        )
        canvas = np.broadcast_to(ground, (len(times), size, size, 3)).astype(np.float32)
    else:
        canvas = 255 * render_background(scene.background, times, size)
    masks = np.zeros((len(times), size, size), dtype=bool)
    for number, (actor, (_, path)) in enumerate(zip(scene.actors, cast, strict=True)):
        cutout = read_cutout(path, "RGBA")
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
    source = _recorded(rng, photos.sounds[label][split])
    unseen = [name for name in photos.classes if name not in shown]
    other = None
    if unseen and rng.random() < SEGMENTATION.other_share:
        other = _recorded(rng, photos.sounds[unseen[int(rng.integers(len(unseen)))]][split])
    return mix(rng, source, other, SEGMENTATION, AUDIO_RATE)


def _recorded(rng: np.random.Generator, files: tuple[Path, ...]) -> np.ndarray:
    return excerpt(rng, read_recording(files[int(rng.integers(len(files)))]), SECONDS * AUDIO_RATE)
