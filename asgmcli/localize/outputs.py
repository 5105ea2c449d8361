"""Write the outputs of `asgm localize` for one clip: overlay mp4, strip, maps and boxes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np
from numpy.typing import NDArray

from asgmcli.data.maps import MAPS_ENDING, state_of
from asgmcli.errors import DataError, MediaError, UsageError
from asgmcli.files import replacing, write_text
from asgmcli.localize.clip_maps import FNAC_FPS, MOTION_FPS, ClipMaps, Sound, fnac_clip_maps, motion_clip_maps
from asgmcli.localize.evidence import ENOUGH
from asgmcli.localize.regions import Box, hottest_box
from asgmcli.media.video import iterate_frames
from asgmcli.workers import Failure, run_tasks

if TYPE_CHECKING:
    from asgmcli.nn.localizer import FrozenLocalizer

Frame = NDArray[np.uint8]
Progress = Callable[[float], None]
"""Is given the share done, 0 to 1."""

ENDINGS = {"overlay": "_overlay.mp4", "strip": "_strip.png", "maps": MAPS_ENDING, "boxes": "_boxes.json"}
"""What can be written, and what is put behind a clip's name for it."""
RUN_WEIGHTS = "localizer.safetensors"
"""The file of a training run's folder that holds its localizer."""
NO_WEIGHTS = "No --weights: the motion localizer, which needs no training (what moves in time with the sound)."
TIME_LIMIT = 3600.0
"""Seconds one clip of many may take before it is given up."""
_SHORT_SIDE = 360  # pixels of the overlay
_MAX_FPS = 30.0  # of the overlay


@dataclass(frozen=True)
class MapSettings:
    """Settings by which maps are made and written.

    `localizer` is motion or fnac, `weights` fnac's file, `fps` maps a second (None: the localizer's own), `frames`
    pictures in the strip, `threshold` the heat inside a box, `confidence` the least with which a box is drawn, `write`
    keys of `ENDINGS`, `device` where fnac runs.
    """

    localizer: str = "motion"
    weights: Path | None = None
    fps: float | None = None
    frames: int = 8
    threshold: float = 0.5
    confidence: float = ENOUGH
    write: tuple[str, ...] = tuple(ENDINGS)
    device: str = "cpu"


@dataclass(frozen=True)
class ClipFiles:
    """One clip: its name in messages, its file, the file of its sound, and its outputs' path without their endings."""

    id: str
    path: Path
    audio: Path
    stem: Path

    def targets(self, settings: MapSettings) -> dict[str, Path]:
        """Return the files to write, by kind."""
        return {kind: self.stem.with_name(self.stem.name + ENDINGS[kind]) for kind in settings.write}


def check_there(path: Path) -> None:
    """Check that a clip, folder or manifest exists, before a localizer is loaded for it.

    Raises:
        MediaError: nothing is there.
    """
    if not path.exists():
        raise MediaError(f"{path}: no such file; is the path right?")


def choose_localizer(localizer: str | None, weights: Path | None) -> str:
    """Return the localizer's name for a user's options: fnac if weights are given, else motion.

    Raises:
        UsageError: a name that does not go with the weights. DataError: there are no such weights.
    """
    name = localizer or ("fnac" if weights else "motion")
    if name == "fnac" and weights is None:
        raise UsageError(
            "--localizer fnac needs --weights: a released checkpoint, or the folder of a localizer run "
            "(asgm train demo_localizer makes one). Without weights use --localizer motion."
        )
    if name == "motion" and weights is not None:
        raise UsageError("--localizer motion has no weights: leave out --weights, or choose --localizer fnac.")
    if weights is not None:
        weights_file(weights)
    return name


def weights_file(path: Path) -> Path:
    """Return the weight file that `path`, a file or a localizer run's folder, stands for.

    Raises:
        DataError: nothing there, or a folder without a localizer.
    """
    file = path / RUN_WEIGHTS if path.is_dir() else path
    if not file.is_file():
        what = f"the folder {path} holds no {RUN_WEIGHTS}" if path.is_dir() else f"there is no {path}"
        raise DataError(
            f"No localizer: {what}. Name a weight file, or a run's folder such as runs/demo_localizer/<row>/seed0."
        )
    return file


@lru_cache(maxsize=1)
def _localizer(file: Path, device: str) -> FrozenLocalizer:
    from asgmcli.nn.localizer import load_localizer

    return load_localizer(file).to(device)


def find_maps(job: ClipFiles, settings: MapSettings, progress: Progress) -> ClipMaps:
    """Compute a clip's maps by the chosen localizer; `progress` is given the seconds of the clip that are done."""
    if settings.localizer == "motion":
        return motion_clip_maps(job.path, audio=job.audio, fps=settings.fps or MOTION_FPS, progress=progress)
    if settings.weights is None:
        raise ValueError("fnac needs weights")
    localizer = _localizer(weights_file(settings.weights), settings.device)
    return fnac_clip_maps(job.path, localizer, audio=job.audio, fps=settings.fps or FNAC_FPS, progress=progress)


class Localized(TypedDict):
    """Findings in a clip, as JSON: `maps` counts them, `sure` those with enough confidence, `seconds` were taken.

    `confidence` is the highest, None where the localizer knows none.
    """

    id: str
    path: str
    outputs: dict[str, str]
    maps: int
    seconds: float
    localizer: str
    warning: str | None
    confidence: float | None
    sure: int


def localize(job: ClipFiles, settings: MapSettings, progress: Progress | None = None) -> Localized:
    """Locate the source of a clip's sound and write the outputs, each atomically.

    Raises:
        MediaError: the clip cannot be read. DataError: weights that are no localizer, or no room.
    """
    begin = time.perf_counter()
    targets = job.targets(settings)
    pictures = [kind for kind in ("overlay", "strip") if kind in targets]
    report = _ProgressShare(progress, 0.5 if pictures else 1.0)
    source = state_of(job.path) if job.path.exists() else []  # before it is read: it may be replaced meanwhile
    found = find_maps(job, settings, report.of_seconds)
    report.length = found.info.duration
    if "maps" in targets:
        _write_maps(targets["maps"], found, source)
    if "boxes" in targets:
        _write_boxes(targets["boxes"], job, found, settings)
    if pictures:
        report.second_half()
        _write_pictures(targets, job, found, settings, report)
    return {
        "id": job.id,
        "path": str(job.path),
        "outputs": {kind: str(path) for kind, path in targets.items()},
        "maps": len(found.maps),
        "seconds": round(time.perf_counter() - begin, 3),
        "localizer": found.localizer,
        "warning": found.warning,
        "confidence": _number(found.confidence.max()),
        "sure": sum(found.sure(time_, settings.confidence) for time_ in found.times),
    }


def _number(confidence: np.floating) -> float | None:
    """Return a confidence as JSON holds it."""
    return None if np.isnan(confidence) else round(float(confidence), 4)


def localize_all(
    jobs: list[ClipFiles], settings: MapSettings, workers: int
) -> Iterator[tuple[ClipFiles, Localized | str]]:
    """Yield each clip with what was written of it (see `localize`), or with the reason it cannot be read."""
    if workers == 1:
        for job in jobs:
            yield job, _localize_one((job, settings))
        return
    for (job, _), answer in run_tasks(_localize_one, [(job, settings) for job in jobs], workers, TIME_LIMIT):
        yield job, f"{job.path}: {answer.reason}: {answer.detail}" if isinstance(answer, Failure) else answer


def _localize_one(task: tuple[ClipFiles, MapSettings]) -> Localized | str:
    try:
        return localize(*task)
    except MediaError as error:
        return error.message


class _ProgressShare:
    """Converts seconds of video done to the share of all work done."""

    def __init__(self, progress: Progress | None, weight: float) -> None:
        self.progress, self.weight, self.done, self.length = progress, weight, 0.0, 0.0

    def of_seconds(self, seconds: float) -> None:
        if self.progress is not None and self.length:
            self.progress(self.done + self.weight * min(seconds / self.length, 1.0))

    def second_half(self) -> None:
        self.done = self.weight


def _write_maps(target: Path, found: ClipMaps, source: list[int]) -> None:
    size = np.array([found.info.width, found.info.height])
    with replacing(target) as temporary:
        np.savez_compressed(
            temporary,
            maps=found.maps.astype(np.float16),
            times=found.times,
            size=size,
            confidence=found.confidence.astype(np.float16),
            localizer=np.array(found.localizer),
            warning=np.array(found.warning or ""),
            source=np.array(source, dtype=np.int64),
        )


def _box(found: ClipMaps, index: int, settings: MapSettings) -> Box | None:
    """Return the box of a map; None where its place is not sure."""
    if not found.sure(float(found.times[index]), settings.confidence):
        return None
    return hottest_box(found.maps[index], settings.threshold)


def _write_boxes(target: Path, job: ClipFiles, found: ClipMaps, settings: MapSettings) -> None:
    width, height = found.info.width, found.info.height
    entries = []
    for index, (time_, heatmap, sure) in enumerate(zip(found.times, found.maps, found.confidence, strict=True)):
        box = _box(found, index, settings)
        pixels = None if box is None else [round(v * s) for v, s in zip(box, (width, height) * 2, strict=True)]
        heat = round(float(heatmap.max()), 4)
        entries.append({"time": round(float(time_), 4), "box": pixels, "heat": heat, "confidence": _number(sure)})
    content = {
        "clip": job.path.name,
        "localizer": found.localizer,
        "width": width,
        "height": height,
        "threshold": settings.threshold,
        "least_confidence": settings.confidence,
        "box": "x0, y0, x1, y1 in pixels, right and bottom exclusive; null where no place stands out or none is sure",
        "confidence": "share of other sounds that fit what moves less than the clip's own; null where it is unknown",
        "warning": found.warning,
    }
    # One line a moment: a file of many hours stays readable.
    head = json.dumps(content, indent=1).removesuffix("\n}")
    lines = ",\n  ".join(json.dumps(entry) for entry in entries)
    write_text(target, f'{head},\n "frames": [\n  {lines}\n ]\n}}\n')


def _write_pictures(
    targets: dict[str, Path], job: ClipFiles, found: ClipMaps, settings: MapSettings, report: _ProgressShare
) -> None:
    """Go through the clip once more for the overlay and the strip's frames."""
    from asgmcli.localize.overlay import strip
    from asgmcli.localize.overlay_video import write_with_sound

    count = min(settings.frames, len(found.times))
    chosen = ((np.arange(count) + 0.5) * len(found.times) / count).astype(int)
    kept: list[Frame] = []
    passing = _passing(job.path, [float(found.times[index]) for index in chosen], kept, report)
    if "overlay" in targets:
        step = _step(found)
        fps = (found.info.fps or 1.0) / step
        write_with_sound(targets["overlay"], _overlaid(passing, found, step, settings), fps, Sound(job.audio))
    for _ in passing:  # the frames the overlay did not take: all if it is not written
        pass
    if "strip" in targets:
        strip(
            kept,
            [found.maps[index] for index in chosen],
            [float(found.times[index]) for index in chosen],
            found.level,
            targets["strip"],
            title=f"{job.path.name}: {found.localizer} localizer" + (f" ({found.warning})" if found.warning else ""),
            boxes=[_box(found, index, settings) for index in chosen],
            captions=["" if found.warning else _confidence_text(found.confidence[index]) for index in chosen],
            faint=[not found.sure(float(found.times[index]), settings.confidence) for index in chosen],
        )


def write_overlay(target: Path, path: Path, found: ClipMaps, audio: Path | None = None) -> None:
    """Write a clip with its maps over it and its sound as mp4, atomically; maps that are not sure are faint.

    Raises:
        MediaError: the clip cannot be read again, or the mp4 cannot be written.
    """
    from asgmcli.localize.overlay_video import write_with_sound

    step = _step(found)
    frames = iterate_frames(path, short_side=_SHORT_SIDE)
    overlaid = _overlaid(frames, found, step, MapSettings(found.localizer))
    write_with_sound(target, overlaid, (found.info.fps or 1.0) / step, Sound(audio or path))


def _step(found: ClipMaps) -> int:
    """Return the step between the overlay's frames: 1, or more to stay within `_MAX_FPS` frames a second."""
    return max(1, -int(-found.info.fps // _MAX_FPS))


def _passing(
    path: Path, wanted: list[float], kept: list[Frame], report: _ProgressShare
) -> Iterator[tuple[float, Frame]]:
    """Yield all frames in turn; append those at the `wanted` times to `kept`."""
    for time_, frame in iterate_frames(path, short_side=_SHORT_SIDE):
        while len(kept) < len(wanted) and time_ >= wanted[len(kept)] - 1e-6:
            kept.append(frame)
        report.of_seconds(time_)
        yield time_, frame


def _confidence_text(confidence: float) -> str:
    return "" if np.isnan(confidence) else f"confidence {confidence:.2f}"


def _caption(found: ClipMaps, time_: float, settings: MapSettings) -> str:
    """Return what the overlay says of a map: how sure it is, or why it shows nothing."""
    if found.warning:
        return f"no evidence: {found.warning}"
    text = _confidence_text(float(np.interp(time_, found.times, found.confidence)))
    return text if not text or found.sure(time_, settings.confidence) else f"not sure: {text}"


def _overlaid(
    frames: Iterator[tuple[float, Frame]], found: ClipMaps, step: int, settings: MapSettings
) -> Iterator[Frame]:
    from asgmcli.localize.overlay import ALPHA, FAINT_ALPHA, overlay, with_caption

    for index, (time_, frame) in enumerate(frames):
        if index % step == 0:
            alpha = ALPHA if found.sure(time_, settings.confidence) else FAINT_ALPHA
            yield with_caption(overlay(frame, found.at(time_), alpha), _caption(found, time_, settings))
