"""Versions of a clip without its sound, its picture, or its source's place, and how a network's answer changes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from asgmcli.errors import MediaError
from asgmcli.localize.clip_maps import ClipMaps, motion_clip_maps
from asgmcli.media.audio import read_audio
from asgmcli.media.bounds import check_decoded
from asgmcli.media.probe import probe
from asgmcli.media.video import iterate_frames
from asgmcli.media.write import write_clip
from asgmcli.report.style import ACCENT, BLUE, MUTED, new_figure, save_figure
from asgmcli.report.table import Cell
from asgmcli.runs.shown import told_line
from asgmcli.train.task import Prediction, Trained

SHORT_SIDE = 320
"""Pixels of the shorter side that the changed clips have."""
RATE = 16_000
HIDDEN = 0.2
"""Largest share of each frame that is hidden: the hottest cells of the source's map, or as many far from them."""
BARS = 5
"""Classes, or lines of an answer, that are shown."""
LETTERS = 34
TITLE = 18
"""Letters of a line above a picture."""
Frames = NDArray[np.uint8]
Masks = NDArray[np.bool_]


@dataclass(frozen=True)
class Version:
    """The clip with something taken away, and the answer about it.

    Attributes:
        name: what it is, such as `without sound`.
        frame: its middle frame, uint8 [H, W, 3].
        wave: its sound, float32 [S]; None without.
        answer: of the network; None where it has none.
        note: why there is no answer, or what must be known of it.
    """

    name: str
    frame: Frames
    wave: NDArray[np.float32] | None
    answer: Prediction | None
    note: str = ""

    def data(self, columns: Sequence[str]) -> dict[str, object]:
        """Return it as what JSON can hold."""
        rows = [] if self.answer is None else self.answer.rows[:BARS]
        return {"version": self.name, "rows": [dict(zip(columns, row, strict=True)) for row in rows], "note": self.note}


def versions(trained: Trained, path: Path, audio: Path | None = None) -> list[Version]:
    """Return the answers about a clip: as it is, without sound, without picture, without the source's place, and
    without another place as large.

    The source's place is the motion localizer's; in a silent or still clip there is none.

    Raises:
        MediaError: the clip cannot be read, or is too large to be held in memory.
    """
    info = probe(path)
    if info.kind == "audio":
        raise MediaError(f"{path} holds sound but no picture: there is nothing to leave out. Name a video.")
    frames, times = _decoded(path)
    heard = probe(audio or path).audio_rate > 0
    wave = read_audio(audio or path, RATE) if heard else None
    maps = motion_clip_maps(path, audio=audio)
    middle = frames[len(frames) // 2]
    found = [_asked("as it is", middle, wave, lambda: trained.predict(path, audio))]
    if wave is None:
        found[0] = replace(found[0], note="it has no sound")
    fps = info.fps or 1.0

    def changed(name: str, pictures: Frames, sound: NDArray[np.float32] | None) -> Version:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / path.with_suffix(".mp4").name
            write_clip(target, pictures, fps, sound, RATE, crf=12)
            return _asked(name, pictures[len(pictures) // 2], sound, lambda: trained.predict(target))

    if wave is not None:
        found.append(changed("without sound", frames, None))
    grey = np.broadcast_to(frames.mean((0, 1, 2)).astype(np.uint8), frames.shape).copy()
    found.append(changed("without picture", grey, wave))
    if maps.warning is None:
        place = hottest(maps, times, frames.shape[1:3])
        found.append(changed("without the source's place", hidden(frames, place), wave))
        found.append(changed("without another place", hidden(frames, elsewhere(place)), wave))
    else:
        found[0] = replace(found[0], note=f"no place of its source: {maps.warning}")
    return found


def _decoded(path: Path) -> tuple[Frames, list[float]]:
    frames, times = [], []
    for time, frame in iterate_frames(path, short_side=SHORT_SIDE):
        frames.append(frame)
        times.append(time)
        check_decoded(path, len(frames) * frame.nbytes)
    return np.stack(frames), times


def _asked(name: str, frame: Frames, wave: NDArray[np.float32] | None, ask: Callable[[], Prediction]) -> Version:
    try:
        return Version(name, frame, wave, ask())
    except MediaError as error:
        return Version(name, frame, wave, None, error.message.rpartition(": ")[2])


def hottest(maps: ClipMaps, times: Sequence[float], size: tuple[int, int], share: float = HIDDEN) -> Masks:
    """Return where each frame's map is hottest, bool [T, H, W]: `share` of the picture, less where less is warm."""
    masks = []
    for time in times:
        heat = Image.fromarray(maps.at(time).astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
        values = np.asarray(heat)
        # Where most of the picture is still, its map is 0 there, and so is the quantile.
        masks.append((values >= np.quantile(values, 1 - share)) & (values > values.min()))
    return np.stack(masks)


def elsewhere(masks: Masks) -> Masks:
    """Return masks bool [T, H, W] of the same forms, moved by half of the picture in both directions."""
    moved: Masks = np.roll(masks, (masks.shape[1] // 2, masks.shape[2] // 2), axis=(1, 2))
    return moved


def hidden(frames: Frames, masks: Masks) -> Frames:
    """Return frames [T, H, W, 3] in which what lies under the masks [T, H, W] is blurred beyond recognition."""
    radius = max(frames.shape[1:3]) / 8
    shown = [
        np.where(mask[..., None], np.asarray(Image.fromarray(frame).filter(ImageFilter.BoxBlur(radius))), frame)
        for frame, mask in zip(frames, masks, strict=True)
    ]
    return np.stack(shown)


def probabilities(answer: Prediction | None) -> dict[str, float]:
    """Return the probability of each class where an answer tells them; empty where it does not."""
    found = {} if answer is None else answer.data.get("probabilities")
    return dict(found) if isinstance(found, dict) else {}


def draw_why(found: Sequence[Version], columns: Sequence[str], title: str, path: Path) -> Path:
    """Draw the versions side by side: a frame, the sound, and the answer to each.

    Raises:
        UsageError: the suffix of `path`. DataError: it cannot be written.
    """
    return save_figure(path, lambda: _figure(found, columns, title))


def _figure(found: Sequence[Version], columns: Sequence[str], title: str) -> Figure:
    figure = new_figure(4.6, 2.2 * len(found))
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    axes = figure.subplots(3, len(found), height_ratios=(3, 0.8, 2.2), squeeze=False)
    shares = [probabilities(version.answer) for version in found]
    names = sorted(shares[0], key=lambda name: -shares[0][name])[:BARS]
    for column, (version, share) in enumerate(zip(found, shares, strict=True)):
        top, sound, below = axes[:, column]
        top.imshow(version.frame)
        top.set_title("\n".join(wrap(version.name, TITLE)))
        top.set_axis_off()
        sound.set_axis_off()
        wave = np.zeros(2, np.float32) if version.wave is None else version.wave
        pieces = np.array_split(np.abs(wave), min(200, len(wave)))
        level = [float(piece.max(initial=0.0)) for piece in pieces]
        sound.fill_between(range(len(level)), level, [-value for value in level], color=BLUE, linewidth=0)
        sound.set_ylim(-1, 1)
        if version.wave is None:
            sound.text(0, 0, "silent", va="center", color=MUTED)
        if names and share:
            best = max(share, key=lambda name: share[name])
            shown = names if best in names else [*names[:-1], best]
            colours = [ACCENT if name == best else MUTED for name in shown]
            below.barh(range(len(shown)), [share[name] for name in shown], color=colours)
            below.set_yticks(range(len(shown)), [name[:LETTERS] for name in shown])
            below.invert_yaxis()
            below.set_xlim(0, 1)
            below.set_xticks([0, 0.5, 1])
        else:
            below.set_axis_off()
            below.text(0, 1, "\n".join(_lines(version, columns)), va="top", fontsize=8, transform=below.transAxes)
    return figure


def _lines(version: Version, columns: Sequence[str]) -> list[str]:
    if version.answer is None:
        return [f"no answer: {version.note}"[:LETTERS]]
    rows: list[list[Cell]] = version.answer.rows[:BARS]
    return [told_line(columns, row)[:LETTERS] for row in rows] or ["nothing"]


def words_of(found: Sequence[Version]) -> str:
    """Return in a sentence what the answer rests on, where it is one of classes."""
    first = probabilities(found[0].answer)
    if not first:
        return ""
    best = max(first, key=lambda name: first[name])
    parts = [
        f"{share.get(best, 0.0):.0%} {version.name}"
        for version in found[1:]
        if (share := probabilities(version.answer))
    ]
    return f"{best}: {first[best]:.0%} as it is; {', '.join(parts)}."
