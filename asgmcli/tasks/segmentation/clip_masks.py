"""Masks of a whole clip a few times a second: each frame with its flow to the next and the sound before it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.data import augment
from asgmcli.errors import MediaError
from asgmcli.localize.clip_maps import RATE, Sound
from asgmcli.media.flow import encode_flow, farneback
from asgmcli.media.probe import MediaInfo, probe
from asgmcli.media.vggish_mel import PATCH, vggish_patches
from asgmcli.media.video import iterate_frames
from asgmcli.nn.vggish import VGGish
from asgmcli.recipe.segmentation import SegmentationPredict, SegmentationRecipe
from asgmcli.tasks.segmentation.model import Segmenter
from asgmcli.tasks.segmentation.sounds import audio_dim, hear

SOUND_BEFORE = 0.9375
"""Seconds from the begin of a mask's sound to its picture: 15/16, as in AVSBench."""
_AROUND = (0, -1, 1, -2, 2)
"""Seconds of the frames that TPAVI sees together, in the order in which they are taken."""
_BATCH = 8
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class ClipMasks:
    """Masks of what sounds in a clip.

    Attributes:
        info: of the file.
        times: seconds [T] of the masked frames.
        small: probabilities float16 [T, S, S] in the network's own size.
        threshold: from which a pixel sounds.
    """

    info: MediaInfo
    times: Array
    small: Array
    threshold: float

    @property
    def probabilities(self) -> Array:
        """Return the probabilities float16 [T, h, w] at the clip's own size."""
        return np.concatenate([self._large(number).astype(np.float16)[None] for number in range(len(self.times))])

    @property
    def masks(self) -> Array:
        """Return the masks bool [T, h, w] at the clip's own size."""
        return np.stack([self.mask(number) for number in range(len(self.times))])

    def mask(self, number: int) -> Array:
        """Return one mask, bool [h, w] at the clip's own size."""
        sounding: Array = self._large(number) > self.threshold
        return sounding

    def at(self, time: float) -> int:
        """Return the number of the mask nearest to a time in seconds."""
        return int(np.abs(self.times - time).argmin())

    def _large(self, number: int) -> Array:
        size = (self.info.height, self.info.width)
        whole = torch.from_numpy(self.small[number].astype(np.float32))[None, None]
        return F.interpolate(whole, size, mode="bilinear", align_corners=False)[0, 0].numpy()


def clip_masks(
    path: Path,
    network: Segmenter,
    recipe: SegmentationRecipe,
    listener: VGGish | None,
    bound: float,
    device: torch.device,
    audio: Path | None = None,
) -> ClipMasks:
    """Mask a clip.

    Args:
        path: a video.
        network: in evaluation mode.
        recipe: of the network; its `predict` says how.
        listener: VGGish, where the network hears by it.
        bound: largest displacement of its flow, pixels.
        device: of the network.
        audio: the file of the sound, where it is a separate one.

    Raises:
        MediaError: the file cannot be read, holds no picture, or no sound where the network hears.
    """
    info = probe(path)
    if info.kind == "audio":
        raise MediaError(f"{path} holds sound but no picture: there is nothing to mask. Name a video.")
    settings, size = recipe.predict, recipe.input.size
    times, frames, flow = _pictures(path, info, settings.fps, size, bound, recipe.reads_flow)
    heard = _heard(audio or path, times, info.duration, recipe, listener)
    together = settings.frames_together if recipe.model.kind == "tpavi" else 1
    groups = [_around(times, number, together) for number in range(len(times))]
    image = torch.from_numpy(frames).permute(0, 3, 1, 2)
    parts = []
    for numbers in _batches(groups):
        indices = torch.tensor([groups[number] for number in numbers])
        moved = None if flow is None else flow[indices].to(device)
        with torch.no_grad():
            logits = network(image[indices].to(device), heard[indices].to(device), moved).logits
        # The masked frame stands first in its group.
        own = [group.index(number) for number, group in ((n, groups[n]) for n in numbers)]
        parts.append(logits.float().sigmoid().cpu()[torch.arange(len(numbers)), torch.tensor(own)])
    small = torch.cat(parts).numpy().astype(np.float16)
    return ClipMasks(info, np.asarray(times), small, settings.threshold)


def _batches(groups: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """Yield the numbers of groups, in order, equally long ones together."""
    batch: list[int] = []
    for number, group in enumerate(groups):
        if batch and (len(batch) == _BATCH or len(groups[batch[0]]) != len(group)):
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch


def _around(times: Sequence[float], number: int, together: int) -> list[int]:
    """Return the numbers of the frames seen together with frame `number`, in the order of time.

    They are the nearest to t, t - 1, t + 1, t - 2, t + 2 s that lie within half a step of it, `together` at most.
    """
    step = times[1] - times[0] if len(times) > 1 else 1.0
    found: list[int] = []
    for shift in _AROUND[:together] if together <= len(_AROUND) else _shifts(together):
        wanted = times[number] + shift
        nearest = min(range(len(times)), key=lambda place: abs(times[place] - wanted))
        if abs(times[nearest] - wanted) <= step / 2 + 1e-6 and nearest not in found:
            found.append(nearest)
    return sorted(found)


def _shifts(count: int) -> list[int]:
    """Return 0, -1, 1, -2, 2, ... of `count` seconds."""
    return [0, *(sign * second for second in range(1, count) for sign in (-1, 1))][:count]


def _pictures(
    path: Path, info: MediaInfo, fps: float, size: int, bound: float, reads_flow: bool
) -> tuple[list[float], Array, Tensor | None]:
    """Return times, frames uint8 [T, S, S, 3], and flow float32 [T, 2, S, S] to each frame's next one."""
    step = max(1, round(info.fps / fps)) if info.fps else 1
    times: list[float] = []
    frames: list[Array] = []
    flows: list[Array] = []
    last = before = None
    waiting = False
    for index, (time, frame) in enumerate(iterate_frames(path)):
        if waiting:
            flows.append(farneback(frames[-1], squeeze(frame, size)))
            waiting = False
        if index % step == 0:
            times.append(time)
            frames.append(squeeze(frame, size))
            before, waiting = last, reads_flow
        last = frame
    if waiting:  # the last frame has no next one: its motion is what led to it
        still = np.zeros((2, size, size), np.float32)
        flows.append(still if before is None else -farneback(frames[-1], squeeze(before, size)))
    flow = None
    if reads_flow:
        flow = torch.from_numpy(encode_flow(np.stack(flows), bound)).float() / 255
    return times, np.stack(frames), flow


def squeeze(frame: Array, size: int) -> Array:
    """Return a frame uint8 [H, W, 3] squeezed to [S, S, 3]."""
    if frame.shape[:2] == (size, size):
        return frame
    tensor = torch.from_numpy(np.array(frame)).permute(2, 0, 1)
    return augment.resize(tensor, (size, size), "bilinear").permute(1, 2, 0).numpy()


def _heard(
    path: Path, times: Sequence[float], duration: float, recipe: SegmentationRecipe, listener: VGGish | None
) -> Tensor:
    """Return the sound's vectors [T, A]: of the 0.96 s from t - 0.9375, shifted into the clip where it ends before."""
    if recipe.audio.kind == "none":
        return torch.zeros(len(times), audio_dim(recipe.audio))
    sound = Sound(path)
    if not sound.rate:
        raise MediaError(f"{path}: holds no sound, so nothing in it can be masked by its sound.")
    last = max(math.floor(duration * RATE) - PATCH, 0)
    starts = [min(max(round((time - SOUND_BEFORE) * RATE), 0), last) for time in times]
    patches = [vggish_patches(sound.samples(RATE, start, PATCH)) for start in starts]
    return hear(torch.cat(patches), listener)


def strip_numbers(found: ClipMasks, settings: SegmentationPredict) -> list[int]:
    """Return the numbers of the moments that a strip shows, spread over the clip."""
    count = min(settings.strip, len(found.times))
    return [int((place + 0.5) * len(found.times) / count) for place in range(count)]
