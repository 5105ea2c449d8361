"""Check one clip's files: probe them, listen to them, or decode them from end to end."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from asgmcli.errors import MediaError
from asgmcli.media.audio import SILENCE_DBFS
from asgmcli.media.bounds import strict_options
from asgmcli.media.extent import start_seconds, tick_of
from asgmcli.media.opening import CutOffError, best_audio_stream, best_video_stream, open_media, reason_of
from asgmcli.media.probe import MediaInfo, probe

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

EDGE_BYTES = 1 << 16
HOLE_S = 0.5


@dataclass(frozen=True, slots=True)
class FileCheck:
    """A clip to check: `audio` is the file of its sound if that is a separate one, else "".

    `listen` measures the loudness, `decode` decodes every frame and sample. `more` are other files that a data set's
    own check reads: where they have changed it is made again.
    """

    id: str
    path: str
    audio: str
    listen: bool
    decode: bool
    more: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """A usable clip: seconds, frames a second, pixels, peak level in dBFS (None: not listened to).

    `fingerprint` hashes the file's size, beginning and end: equal files have equal ones. `note` says which part of the
    file is used if not all of it is.
    """

    duration: float
    fps: float
    frames: int
    width: int
    height: int
    sound: bool
    loudness: float | None
    fingerprint: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """An unusable clip, and why."""

    reason: str
    detail: str


def examine(task: FileCheck) -> Facts | Fault:
    """Check a clip's files. Never raises for anything a file may hold."""
    try:
        return _look_into(task)
    except CutOffError as error:
        return Fault("truncated", _without(error.message, task))
    except MediaError as error:
        return Fault("unreadable", _without(error.message, task))
    except PlayError as error:
        return Fault(error.reason, error.detail)
    except FileNotFoundError as error:
        return Fault("missing", f"{error.filename} is gone")
    except OSError as error:
        return Fault("unreadable", str(error.strerror or error))


def _look_into(task: FileCheck) -> Facts | Fault:
    """Probe the files and play what the task asks for.

    Raises:
        MediaError: a file cannot be opened, or is cut off.
        PlayError: it does not play to its end.
        OSError: it cannot be read.
    """
    size = os.path.getsize(task.path)
    if size == 0:
        return Fault("empty", "the file has no bytes")
    info = probe(task.path)
    if not info.width:
        return Fault("no_video", "the file holds no pictures")
    sound_info = probe(task.audio) if task.audio else info
    if info.cut:
        return Fault("truncated", info.cut)
    if sound_info.cut:
        return Fault("truncated", f"the sound's file: {sound_info.cut}")
    sound = sound_info.audio_rate > 0
    frames, loudness = _play(task, info, sound)
    if frames < 1:
        return Fault("undecodable", "no frame can be decoded")
    duration, fps = info.duration, info.fps
    if info.kind == "image" and sound_info.duration:
        # A picture with a sound of its own is a video of one frame that lasts as long as the sound.
        duration, fps = sound_info.duration, 1 / sound_info.duration
    elif task.decode and info.duration and abs(frames - info.frames) > 0.02 * info.frames:
        # Frames of varying length: the true average rate matters.
        fps = frames / info.duration
    mark = fingerprint(task.path, size)
    return Facts(duration, fps, frames, info.width, info.height, sound, loudness, mark, info.note)


def _play(task: FileCheck, info: MediaInfo, sound: bool) -> tuple[int, float | None]:
    """Return the number of frames and the loudness (None: not listened to), decoding what the task asks for."""
    frames, loudness = info.frames, None
    if task.decode:
        frames, loudness = play_through(
            task.path, pictures=True, sound=sound and not task.audio, seconds=info.duration, frames=info.frames
        )
    if sound and (task.listen or task.decode) and loudness is None:
        _, loudness = play_through(task.audio or task.path, pictures=False, sound=True)
    return frames, loudness


class PlayError(Exception):
    """The file does not play to its end."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def play_through(
    path: str | Path, *, pictures: bool, sound: bool, seconds: float = 0.0, frames: int = 0
) -> tuple[int, float | None]:
    """Decode a file to its end in bounded memory.

    Args:
        path: the file.
        pictures: decode every frame. The decoder stops at the first error: what it would conceal is a wrong
            picture that looks like a right one.
        sound: decode every sample and measure the peak.
        seconds: expected length of the pictures, 0 if unknown.
        frames: expected number of frames shown, 0 if unknown.

    Returns:
        (frames decoded, peak in dBFS or None without sound).

    Raises:
        PlayError: corrupt, undecodable or truncated.
    """
    with open_media(path) as container:
        video = best_video_stream(container) if pictures else None
        audio = best_audio_stream(container) if sound else None
        played = _Pass(seconds, frames)
        if video is not None:
            video.codec_context.options = strict_options(video)
            video.codec_context.thread_count = 1
        try:
            for packet in container.demux([stream for stream in (video, audio) if stream is not None]):
                played.take(packet)
        except (av.FFmpegError, OSError, ValueError) as error:
            kind = "corrupt" if played.frames or played.audio_end else "undecodable"
            raise PlayError(kind, f"{reason_of(error)} after {played.where}") from None
        for stream in (video, audio):
            if stream is not None:
                played.see_end(stream, container.format.name)
    return played.frames, played.meter.loudness() if sound else None


class _Pass:
    """One pass through a file's packets: what came out, and up to what time."""

    def __init__(self, seconds: float, promised: int) -> None:
        self.seconds = seconds
        self.promised = promised
        self.video_start: float | None = None
        self.packets = 0
        self.frames = 0
        self.video_end = 0.0
        self.audio_end = 0.0
        self.broken_sound = ""
        self.holes = {"video": 0.0, "audio": 0.0}
        self.where = "the start"
        self.meter = _Meter()

    def take(self, packet: Any) -> None:
        """Decode a packet of either stream.

        Frames before the first decodable one are skipped, as players do; so is a truncated last packet of sound.
        Anything broken in between is an error.
        """
        if packet.is_corrupt:
            raise PlayError("truncated", f"the data ends within a packet after {self.where}")
        picture = packet.stream.type == "video"
        self.packets += picture and packet.size > 0
        try:
            decoded = packet.decode()
        except av.error.InvalidDataError as error:
            if picture and self.frames:
                raise
            self.broken_sound = reason_of(error) if self.audio_end and not picture else ""
            return
        for frame in decoded:
            time = float(frame.time) if frame.time is not None else 0.0
            if picture:
                if frame.is_corrupt:
                    raise PlayError("corrupt", f"frame {self.frames} is damaged")
                self.frames += 1
                self.video_start = time if self.video_start is None else min(self.video_start, time)
                self._pass_over("video", time - self.video_end)
                self.video_end = max(self.video_end, time)
                self.where = f"frame {self.frames}"
            else:
                if self.broken_sound:
                    raise PlayError("corrupt", f"the sound is damaged at {self.audio_end:.2f} s ({self.broken_sound})")
                self.meter.add(frame)
                self._pass_over("audio", time - self.audio_end)
                self.audio_end = max(self.audio_end, time + frame.samples / frame.sample_rate)

    def _pass_over(self, kind: str, seconds: float) -> None:
        if self.video_end and self.audio_end:
            self.holes[kind] = max(self.holes[kind], seconds)

    def see_end(self, stream: VideoStream | AudioStream, container: str) -> None:
        """Compare what was decoded with what the header promises.

        Raises:
            PlayError: no picture came out, packets of the index are missing, or over 2% of the frames, or over half a
                second and 5% of the time, or pictures and sound both pause where some formats drop broken data in
                silence.
        """
        if min(self.holes.values()) > HOLE_S:
            raise PlayError("corrupt", f"{max(self.holes.values()):.2f} s within are missing")
        picture = stream.type == "video"
        if picture:
            if not self.frames:
                raise PlayError("undecodable", f"not one of {self.packets} stored frames can be decoded")
            indexed = len(stream.index_entries) if container.startswith("mov") else 0
            if self.packets < indexed or self.frames < self.promised - max(3, 0.02 * self.promised):
                raise PlayError("truncated", f"{self.frames} of {self.promised} frames can be decoded")
        length = self.seconds if picture else float((stream.duration or 0) * tick_of(stream))
        begin = start_seconds(stream) if self.video_start is None or not picture else self.video_start
        reached = max((self.video_end if picture else self.audio_end) - begin, 0.0)
        if reached < 0.95 * length - 0.5:
            what = "picture" if picture else "sound"
            raise PlayError("truncated", f"the {what} ends at {reached:.2f} s of {length:.2f} s")


class _Meter:
    """The highest sample of a stream of audio frames, channels averaged."""

    def __init__(self) -> None:
        self._resampler: av.AudioResampler | None = None
        self._peak = 0.0

    def add(self, frame: av.AudioFrame) -> None:
        if self._resampler is None:
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=frame.sample_rate)
        for piece in self._resampler.resample(frame):
            self._peak = max(self._peak, loudest(piece.to_ndarray()))

    def loudness(self) -> float:
        return round(max(20 * math.log10(self._peak), SILENCE_DBFS), 2) if self._peak > 0 else SILENCE_DBFS


def loudest(samples: np.ndarray) -> float:
    """Return the largest magnitude of float samples."""
    return float(np.abs(samples).max(initial=0.0))


def fingerprint(path: str, size: int) -> str:
    """Return a hash of a file's size, first and last 64 KB: cheap, and equal for equal files."""
    digest = hashlib.blake2b(str(size).encode(), digest_size=12)
    with open(path, "rb") as stream:
        digest.update(stream.read(EDGE_BYTES))
        if size > EDGE_BYTES:
            stream.seek(max(size - EDGE_BYTES, EDGE_BYTES))
            digest.update(stream.read(EDGE_BYTES))
    return digest.hexdigest()


def _without(message: str, task: FileCheck) -> str:
    """Return the message without the path it begins with: the row names it already."""
    for path in (task.path, task.audio):
        if path:
            message = message.replace(f"{path}: ", "").replace(path, "the file")
    return message
