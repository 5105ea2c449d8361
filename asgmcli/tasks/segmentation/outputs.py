"""The files of a masked clip: overlay with its sound, a strip of moments, the masks."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from asgmcli.files import replacing
from asgmcli.localize.clip_maps import Sound, clip_loudness
from asgmcli.localize.overlay_video import write_with_sound
from asgmcli.media.video import iterate_frames
from asgmcli.recipe.segmentation import SegmentationPredict
from asgmcli.tasks.segmentation.clip_masks import ClipMasks, strip_numbers

SHORT_SIDE = 360  # pixels of the overlay
MAX_FPS = 30.0
_TINT = np.array([255, 90, 20], dtype=np.uint16)
_EDGE = np.array([255, 255, 255], dtype=np.uint8)
Array = np.ndarray[Any, np.dtype[Any]]


def files_of(
    path: Path, audio: Path, found: ClipMasks, settings: SegmentationPredict
) -> dict[str, Callable[[Path], object]]:
    """Return what can be written of a masked clip, by the ending of its name."""
    return {
        "_overlay.mp4": lambda target: write_overlay(target, path, audio, found),
        "_strip.png": lambda target: write_strip(target, path, audio, found, settings),
        "_masks.npz": lambda target: write_arrays(target, found, settings.probabilities),
        "_masks": lambda target: write_masks(target, found),
    }


def write_arrays(target: Path, found: ClipMasks, probabilities: bool) -> None:
    """Write `masks` bool [T, h, w], `times` in seconds, and `probabilities` float16 [T, h, w] if asked for."""
    arrays: dict[str, Array] = {"masks": found.masks, "times": found.times}
    if probabilities:
        arrays["probabilities"] = found.probabilities
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # numpy's own stub


def write_masks(target: Path, found: ClipMasks) -> None:
    """Write a folder of PNGs, one a mask, black and white: 0000.png is the first."""
    work = target.with_name(f".{target.name}.part")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for number in range(len(found.times)):
        Image.fromarray(found.mask(number)).save(work / f"{number:04d}.png")
    shutil.rmtree(target, ignore_errors=True)
    work.replace(target)


def write_overlay(target: Path, path: Path, audio: Path, found: ClipMasks) -> None:
    """Write the clip with its masks in colour and its sound, atomically.

    Raises:
        MediaError: the clip cannot be read again, or the mp4 cannot be written.
    """
    step = max(1, -int(-found.info.fps // MAX_FPS))
    fps = (found.info.fps or 1.0) / step
    write_with_sound(target, _overlaid(path, found, step), fps, Sound(audio))


def _overlaid(path: Path, found: ClipMasks, step: int) -> Iterator[Array]:
    for index, (time, frame) in enumerate(iterate_frames(path, short_side=SHORT_SIDE)):
        if index % step == 0:
            yield tinted(frame, _fitted(found, found.at(time), frame.shape[:2]))


def tinted(frame: Array, mask: Array) -> Array:
    """Return uint8 [H, W, 3] with the pixels of a mask [H, W] in colour and its edge in white."""
    mixed: Array = np.where(mask[..., None], (frame.astype(np.uint16) + _TINT) // 2, frame).astype(np.uint8)
    inner = mask.copy()
    inner[1:-1, 1:-1] &= mask[:-2, 1:-1] & mask[2:, 1:-1] & mask[1:-1, :-2] & mask[1:-1, 2:]
    mixed[mask & ~inner] = _EDGE
    return mixed


def _fitted(found: ClipMasks, number: int, size: tuple[int, ...]) -> Array:
    """Return a mask bool [H, W] in another size than the clip's own."""
    small = Image.fromarray(found.small[number].astype(np.float32))
    large = np.asarray(small.resize((size[1], size[0]), Image.Resampling.BILINEAR))
    mask: Array = large > found.threshold
    return mask


def write_strip(target: Path, path: Path, audio: Path, found: ClipMasks, settings: SegmentationPredict) -> None:
    """Draw moments of the clip with their masks, and its loudness below."""
    from asgmcli.localize.overlay import strip_of_pictures

    numbers = strip_numbers(found, settings)
    wanted = [float(found.times[number]) for number in numbers]
    kept: list[Array] = []
    for time, frame in iterate_frames(path, short_side=SHORT_SIDE):
        while len(kept) < len(wanted) and time >= wanted[len(kept)] - 1e-6:
            kept.append(frame)
        if len(kept) == len(wanted):
            break
    numbers = numbers[: len(kept)]
    pairs = zip(numbers, kept, strict=True)
    shown = [tinted(frame, _fitted(found, number, frame.shape[:2])) for number, frame in pairs]
    times = [float(found.times[number]) for number in numbers]
    level = clip_loudness(Sound(audio), found.info.duration)
    shares = [f"{100 * float((found.small[number] > found.threshold).mean()):.0f}% sounds" for number in numbers]
    heads = [f"{time:.1f} s   {text}" for time, text in zip(times, shares, strict=True)]
    strip_of_pictures(shown, heads, times, level, target, title=f"{path.name}: what sounds")
