"""Pictures of `asgm visualize-masks`: its frames, maps and masks, and its mixture with another clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from asgmcli.data.boxes import FrameBoxes
from asgmcli.errors import MediaError
from asgmcli.localize.clip_maps import RATE, Sound, motion_clip_maps, normalised
from asgmcli.localize.motion import WINDOW
from asgmcli.masks.heatmap import heatmap_mask, token_weights
from asgmcli.masks.mix import mix_audio
from asgmcli.masks.tube import kept_tokens, tube_mask
from asgmcli.media.audio import log_mel
from asgmcli.media.clips import audio_window, clip_indices
from asgmcli.media.probe import MediaInfo, probe
from asgmcli.media.video import read_clip
from asgmcli.media.write import write_clip
from asgmcli.nn.localizer import FrozenLocalizer
from asgmcli.tasks.masks.masks_figure import MaskPanels, mask_panels
from asgmcli.tasks.masks.mix_figure import MixPanels, mix_frames

Frame = NDArray[np.uint8]
Floats = NDArray[np.float32]

SIZE = 224
"""Side in pixels at which frames are shown."""
FRAMES, STRIDE = 8, 8
DRAWS = 255
SECONDS = 4.0
"""Of sound shown and mixed, centred on the frames."""
_EARLY = 10.0  # s; of a longer clip the middle of its first ten seconds is shown


@dataclass(frozen=True)
class Draw:
    """Settings of the masks: `grid` (rows, columns) of tokens, `keep` the share that is kept, `seed`, and
    `average_frames` and `sharpness` as `heatmap_mask` has them."""

    grid: tuple[int, int]
    keep: float
    seed: int = 0
    average_frames: int = 1
    sharpness: float = 1.0

    @property
    def tokens(self) -> int:
        """Return N, the tokens a frame."""
        return self.grid[0] * self.grid[1]

    @property
    def kept(self) -> int:
        """Return n, the tokens kept of them."""
        return kept_tokens(self.tokens, self.keep)


@dataclass(frozen=True)
class ClipMasks:
    """Figure 3 of a clip: the panels of its frames, at `times` seconds, and why its maps are uniform, if so."""

    name: str
    panels: list[MaskPanels]
    times: list[float]
    draw: Draw
    localizer: str
    warning: str | None

    def picture(self, path: Path) -> Path:
        """Draw the panels into `path`: .png, .svg or .pdf.

        Raises:
            UsageError: the suffix.
        """
        title = self.name if len(self.panels) > 1 else f"{self.name}, {self.times[0]:.1f} s"
        keep = self.draw.kept / self.draw.tokens
        return mask_panels(
            self.panels, path, draws=DRAWS, keep=keep, localizer=self.localizer, times=self.times, title=title
        )

    def heat_kept(self) -> tuple[float, float]:
        """Return the shares of the heat map's weight under the tube mask and the guided one, mean of the draws."""
        heat = torch.from_numpy(np.stack([panel.heatmap for panel in self.panels]))[None]
        weights = token_weights(heat, self.draw.grid)[0].numpy()
        means = [[getattr(panel, name).ravel() for panel in self.panels] for name in ("tube_mean", "guided_mean")]
        tube, guided = (float((weights * np.stack(mean)).sum() / weights.sum()) for mean in means)
        return tube, guided


def clip_masks(
    path: Path,
    draw: Draw,
    trained: FrozenLocalizer | None,
    *,
    audio: Path | None = None,
    frame: int | None = None,
    start: float | None = None,
    boxes: Mapping[int, FrameBoxes] | None = None,
) -> ClipMasks:
    """Draw the masks of a clip's eight frames, or of the `frame`th alone (from 1).

    Args:
        path: the clip.
        draw: of the masks.
        trained: a localizer; None: what moves with the sound.
        audio, start: see `open_clip`.
        boxes: around what truly sounds, by frame of the clip, where that is known; they are drawn.

    Raises:
        MediaError: see `open_clip`.
    """
    shown = open_clip(path, start, audio)
    maps, warning = shown_maps(path, shown, trained, draw.grid)
    generator = torch.Generator().manual_seed(draw.seed)
    panels = draw_panels(shown, maps, draw, generator)
    if boxes is not None:
        known = (boxes.get(index) for index in shown.indices)
        panels = [
            panel if box is None else replace(panel, boxes=in_square(box.corners, shown.info.width, shown.info.height))
            for panel, box in zip(panels, known, strict=True)
        ]
    times = shown.times
    if frame is None and len(set(shown.indices)) == 1:
        frame = 1  # a single picture eight times says no more
    if frame is not None:
        panels, times = panels[frame - 1 : frame], times[frame - 1 : frame]
    return ClipMasks(path.name, panels, times, draw, "motion" if trained is None else trained.model.kind, warning)


@dataclass(frozen=True)
class ShownClip:
    """The part of a clip that is shown: `frames` uint8 [T,224,224,3] at `indices` of the video and `times` seconds."""

    info: MediaInfo
    sound: Sound
    frames: Frame
    indices: list[int]
    times: list[float]
    stride: int

    @property
    def fps(self) -> float:
        """Return the frames a second; 1 for a picture."""
        return self.info.fps or 1.0

    def wave(self, seconds: float, rate: int = RATE) -> Floats:
        """Return the sound centred on the frames, float32 [S] at `rate`."""
        start = audio_window(self.indices, self.fps, seconds)
        return self.sound.samples(rate, round(start * rate), round(seconds * rate))


def open_clip(path: Path, start: float | None = None, audio: Path | None = None) -> ShownClip:
    """Read eight frames of a clip as training does: every eighth (denser in a short clip), the central square.

    Args:
        path: the clip.
        audio: the file with its sound, where that is another one.
        start: seconds of the first frame; None: the middle of the clip, of a long one early in it.

    Raises:
        MediaError: not a video, it cannot be read, or it ends before `start`.
    """
    info = probe(path)
    if info.kind == "audio":
        raise MediaError(f"{path} holds sound but no picture, so there is nothing to mask. Name a video.")
    total, fps = max(info.frames, 1), info.fps or 1.0
    stride = max(1, min(STRIDE, total // FRAMES))
    first = round(start * fps) if start is not None else round(min(total, _EARLY * fps) - FRAMES * stride) // 2
    if first >= total:
        raise MediaError(f"{path} is {total / fps:.1f} s long: it ends before --start {start:g}.")
    indices = clip_indices(total, FRAMES, stride, max(first, 0))
    frames = np.stack([square(frame) for frame in read_clip(path, indices, short_side=SIZE)])
    return ShownClip(info, Sound(audio or path), frames, indices, [index / fps for index in indices], stride)


def square(frame: Frame) -> Frame:
    """Return the central square of a frame [H,W,3] at 224 pixels."""
    side = min(frame.shape[:2])
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    cut = frame[top : top + side, left : left + side]
    if side == SIZE:
        return np.ascontiguousarray(cut)
    return np.asarray(Image.fromarray(cut).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def in_square(corners: NDArray[np.float64], width: int, height: int) -> NDArray[np.float64]:
    """Return boxes [n,4], fractions of a frame, as fractions of its central square; what lies outside is cut off."""
    side = min(width, height)
    wide, high = width / side, height / side
    return np.clip((corners - 0.5) * [wide, high, wide, high] + 0.5, 0, 1)


def shown_maps(
    path: Path, shown: ShownClip, localizer: FrozenLocalizer | None, grid: tuple[int, int]
) -> tuple[Floats, str | None]:
    """Return heat maps [T,h,w] in [0, 1] of the frames shown, and why they are uniform, if so.

    `localizer` None is the motion localizer, which looks at the frames in between as well, at the tokens of `grid`; a
    trained one hears the seconds it was trained with, centred on the frames, as it does in training.
    """
    if localizer is None:
        until = shown.times[-1] + WINDOW
        found = motion_clip_maps(path, audio=shown.sound.path, grid=grid, crop=square, until=until)
        # Brought to [0, 1] frame by frame, as the draw does: a faint frame's mask is no less decided.
        return normalised(np.stack([found.at(time) for time in shown.times])), found.warning
    wave = torch.from_numpy(shown.wave(localizer.seconds, localizer.rate))
    pictures = torch.from_numpy(shown.frames).permute(3, 0, 1, 2)[None].float() / 255
    warning = None
    if not shown.sound.rate or not bool(wave.any()):
        warning = "the clip has no sound" if not shown.sound.rate else "the clip is silent here"
    return normalised(localizer.maps(pictures, wave[None])[0].numpy()), warning


def draw_panels(shown: ShownClip, maps: Floats, draw: Draw, generator: torch.Generator) -> list[MaskPanels]:
    """Draw the panels of Figure 3 for each frame; the masks shown are the first of the draws whose mean is shown.

    Args:
        shown: T frames.
        maps: [T,h,w].
        draw: settings of the masks.
        generator: source of the draws.
    """
    frames = len(shown.frames)
    heat = torch.from_numpy(maps)[None].expand(DRAWS, -1, -1, -1)
    tube = tube_mask(DRAWS, frames, draw.tokens, draw.keep, generator)
    guided = heatmap_mask(
        heat,
        grid=draw.grid,
        keep=draw.keep,
        generator=generator,
        average_frames=draw.average_frames,
        sharpness=draw.sharpness,
    )
    tube_masks, guided_masks = (mask.reshape(DRAWS, frames, *draw.grid).numpy() for mask in (tube, guided))
    tube_means, guided_means = (m.mean(axis=0, dtype=np.float32) for m in (tube_masks, guided_masks))
    return [
        MaskPanels(frame, tube_masks[0, t], tube_means[t], maps[t], guided_masks[0, t], guided_means[t])
        for t, frame in enumerate(shown.frames)
    ]


def mix_clips(
    a: ShownClip,
    b: ShownClip,
    maps: Floats,
    *,
    grid: tuple[int, int],
    keep: float,
    generator: torch.Generator,
    average_frames: int = 1,
) -> MixPanels:
    """Return the panels of the mixture of A and B under A's maps [T,h,w].

    Args:
        a, b: T frames each.
        maps: A's.
        grid: (rows, columns) of tokens.
        keep: share of A's tokens that is kept.
        generator: source of the draw.
        average_frames: see `heatmap_mask`.
    """
    mask = heatmap_mask(
        torch.from_numpy(maps)[None], grid=grid, keep=keep, generator=generator, average_frames=average_frames
    )[0]
    share = kept_tokens(mask.shape[1], keep) / mask.shape[1]
    masks = mask.reshape(-1, *grid).numpy()
    mixed = np.stack([mix_frames(*three) for three in zip(a.frames, b.frames, masks, strict=True)])
    mels = [log_mel(clip.wave(SECONDS)) for clip in (a, b)]
    both = mix_audio(mels[0][None], mels[1][None], share)[0]
    return MixPanels(
        a.frames, b.frames, mixed, maps, masks, mels[0].numpy(), mels[1].numpy(), both.numpy(), share, SECONDS
    )


def save_mixture(target: Path, a: ShownClip, b: ShownClip, paths: tuple[Path, Path], panels: MixPanels) -> None:
    """Write the mixture as an mp4: every frame of the span, each under the mask of the shown frame before it.

    Frames follow each other at A's rate; the sound is λ·A + (1 - λ)·B.

    Raises:
        MediaError: a clip cannot be read, or the mp4 cannot be written.
    """
    count = FRAMES * a.stride
    spans = []
    for path, clip in zip(paths, (a, b), strict=True):
        indices = clip_indices(max(clip.info.frames, 1), count, 1, clip.indices[0])
        spans.append([square(frame) for frame in read_clip(path, indices, short_side=SIZE)])
    frames = [
        mix_frames(one, other, panels.mask[index // a.stride])
        for index, (one, other) in enumerate(zip(*spans, strict=True))
    ]
    samples = round(count / a.fps * RATE)
    waves = [clip.sound.samples(RATE, round(clip.times[0] * RATE), samples) for clip in (a, b)]
    wave = panels.share * waves[0] + (1 - panels.share) * waves[1]
    write_clip(target, frames, a.fps, wave.astype(np.float32), RATE, crf=18)
