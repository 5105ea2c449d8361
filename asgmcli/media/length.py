"""The length of a video or a sound, from its header or by reading its packets if the header leaves it open."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from asgmcli.media.bounds import MAX_SECONDS
from asgmcli.media.cutoff import last_second, missing
from asgmcli.media.extent import (
    COUNT_TOLERANCE,
    Opener,
    ShownFrames,
    count_shown,
    needs_counting,
    start_seconds,
    tick_of,
)

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream


@dataclass(frozen=True, slots=True)
class Length:
    """Seconds, frames a second (0 if unknown), frames, start of the first one (s), and a note on frames not shown."""

    seconds: float
    fps: float
    frames: int
    start: float
    note: str = ""


def video_length(
    container: InputContainer,
    video: VideoStream,
    audio: AudioStream | None,
    path: str | os.PathLike[str],
    opener: Opener,
) -> tuple[Length, str]:
    """Return a video's length, and a line on what is missing where the file is cut off ("" otherwise).

    Args:
        container: av.container.InputContainer, which is not read from.
        video: its video stream.
        audio: its audio stream, None without sound.
        path: the file.
        opener: opens the file anew.

    Raises:
        av.FFmpegError, OSError: packets must be counted and cannot be read.
    """
    seconds = _seconds(video, container)
    rate = video.average_rate or video.guessed_rate
    fps = float(rate) if rate else 0.0
    if not seconds and video.frames and fps:
        seconds = video.frames / fps
    length = Length(seconds, fps, video.frames, start_seconds(video))
    shown: ShownFrames | None = None
    if needs_counting(container, video, seconds, fps):
        shown = count_shown(opener, video.index)
        length = _counted(length, shown, tick_of(video))
    streams = [video] if audio is None else [video, audio]
    return length, missing(path, container, streams, shown, opener)


def sound_length(
    container: InputContainer, audio: AudioStream, path: str | os.PathLike[str], opener: Opener
) -> tuple[float, str]:
    """Return the seconds of a file without pictures, and a line on what is missing if it is cut off.

    Raises:
        av.FFmpegError, OSError: packets cannot be read.
    """
    seconds = _seconds(audio, container)
    if not seconds:  # a live recording
        with opener(False) as again:
            seconds = max(last_second(again) - start_seconds(audio), 0.0)
    return seconds, missing(path, container, [audio], None, opener)


def _counted(told: Length, shown: ShownFrames, time_base: Fraction) -> Length:
    """Return the length by the frames shown, keeping the header's rate if it fits them."""
    if shown.start is None or shown.end is None:
        return Length(told.seconds, told.fps, shown.frames, told.start, shown.note)
    seconds = float((shown.end - shown.start) * time_base)
    fits = abs(seconds * told.fps - shown.frames) <= max(COUNT_TOLERANCE * shown.frames, 1)
    fps = told.fps if fits or not seconds else shown.frames / seconds
    return Length(seconds, fps, shown.frames, float((shown.begin or 0) * time_base), shown.note)


def _seconds(stream: Stream, container: InputContainer) -> float:
    """Return a stream's duration in seconds: its own field, its Matroska tag, or the container's."""
    if stream.duration is not None:
        return float(stream.duration * tick_of(stream))
    tag = stream.metadata.get("DURATION", "")
    try:
        hours, minutes, seconds = tag.split(":")
        # The tag is the time at which the stream ends.
        length = int(hours) * 3600 + int(minutes) * 60 + float(seconds) - start_seconds(stream)
        if 0 <= length <= MAX_SECONDS:  # it is text, which may say anything
            return length
    except ValueError:
        pass
    return container.duration / av.time_base if container.duration else 0.0
