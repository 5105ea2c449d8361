"""Open a media file, once for all that is read of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import av
from av.stream import Discard, Disposition

from asgmcli.errors import MediaError
from asgmcli.media.bounds import CONTAINER_LIMITS, DECODER_LIMITS, check_claims, check_file
from asgmcli.media.cutoff import claimed_bytes
from asgmcli.media.extent import may_begin_late, start_seconds

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.stream import VideoStream

# Containers of one file. Playlists, concatenation scripts and device names, which lead FFmpeg to other files or to the
# network, are left out; a text file that calls itself .mp4 is refused.
CONTAINERS = (
    "mov,matroska,avi,mpegts,mpeg,flv,asf,ogg,wav,w64,mp3,flac,aac,aiff,caf,gif,"
    "jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe"
)
# Options that make FFmpeg trust an mp4's header: no picture is decoded, and this many microseconds of packets are
# read. One packet of sound is decoded, since aac may hold twice the rate in its header.
BELIEVING = {"skip_frame": "all", "analyzeduration": "1500000"}
UNEDITED = {"advanced_editlist": "0"}
# Packets of streams lie up to a second apart in a file: sound that begins this late (s) may not be among those.
LATE_SECONDS = 0.4
PICTURES = (
    (b"\xff\xd8\xff", "jpeg_pipe"),
    (b"\x89PNG\r\n\x1a\n", "png_pipe"),
    (b"BM", "bmp_pipe"),
    (b"II*\0", "tiff_pipe"),
    (b"MM\0*", "tiff_pipe"),
)
# ffmpeg's own weight of a stream marked as default, against pixels (video) or channels (audio).
DEFAULT_STREAM_BONUS = 5_000_000

Result = TypeVar("Result")
S = TypeVar("S", "VideoStream", "AudioStream")
Best = Callable[["InputContainer"], "Stream | None"]
"""Chooses a container's stream."""


class CutOffError(MediaError):
    """The file cannot be opened, and is shorter than the sizes in it say."""


def open_media(path: str | os.PathLike[str], *, believing: bool = False, unedited: bool = False) -> InputContainer:
    """Open a local media file with PyAV; use it as a context manager.

    Args:
        path: the file.
        believing: take an mp4's streams as its header describes them, which costs a fraction of decoding their first
            pictures (0.6 ms instead of 8 at 1280 x 720). The pixel format is then unknown, the stream's width and
            height are the header's, and a decoder without a table of delays may lose frames. Other containers, and
            mp4 whose header leaves something open, are opened normally.
        unedited: let the edit list of an mp4 move time stamps, but hide nothing.

    Returns:
        av.container.InputContainer.

    Raises:
        MediaError: no such file, empty, of no container in `CONTAINERS`, or of a size, length, number of streams or
            pixels that no clip has (`asgmcli.media.bounds`).
        CutOffError: it cannot be opened because its end is missing.
    """
    file = Path(path)
    if not file.is_file():
        reason = "is a folder, not a media file" if file.is_dir() else "no such file; is the path right?"
        raise MediaError(f"{path}: {reason}")
    try:
        check_file(path)
        with file.open("rb") as opened:
            head = opened.read(12)
        container, edits = None, UNEDITED if unedited else {}
        if believing and head[4:8] == b"ftyp":
            container = _open(file, None, BELIEVING | edits)
            if not _is_told(container):
                container.close()
                container = None
        container = container or _open(file, _picture_format(head), edits)
    except (av.FFmpegError, OSError, ValueError) as error:
        if (claimed := _claimed_beyond(file)) is not None:
            raise CutOffError(f"{path}: cut off: {claimed}; fetch the file again") from error
        raise MediaError(f"{path}: not a readable media file ({reason_of(error)}); is it whole?") from error
    try:
        check_claims(path, container)
    except MediaError:
        container.close()
        raise
    return container


def _open(file: Path, form: str | None, options: dict[str, str]) -> InputContainer:
    return av.open(
        f"file:{file.absolute()}",
        format=form,
        metadata_errors="replace",
        options={**DECODER_LIMITS, "format_whitelist": CONTAINERS, "protocol_whitelist": "file", **options},
        container_options=CONTAINER_LIMITS,
    )


def _claimed_beyond(file: Path) -> str | None:
    """Say how much of an unreadable file is there, if the sizes in it show that some is missing."""
    try:
        size, claimed = file.stat().st_size, claimed_bytes(file)
    except OSError:
        return None
    return f"it ends at byte {size} of {claimed} or more, its index is lost" if claimed > size else None


def _is_told(container: InputContainer) -> bool:
    """Return True if an mp4's header lists every packet and its streams begin at about the same time."""
    streams = [*container.streams.video, *container.streams.audio]
    starts = [start_seconds(stream) for stream in streams]
    return (
        all(stream.frames for stream in streams) and max(starts, default=0.0) - min(starts, default=0.0) < LATE_SECONDS
    )


def best_video_stream(container: InputContainer) -> VideoStream | None:
    """Return the video stream ffmpeg takes by default (marked as default, then most pixels, then first), or None."""
    return _best(container.streams.video, lambda stream: stream.width * stream.height)


def best_audio_stream(container: InputContainer) -> AudioStream | None:
    """Return the audio stream ffmpeg takes by default (marked as default, then most channels, then first), or None."""
    return _best(container.streams.audio, lambda stream: stream.codec_context.channels)


@dataclass(frozen=True)
class _Kept:
    """A container that is open within `one_opening`, and the places of the streams that were decoded."""

    container: InputContainer
    decoded: set[int]

    def rewind(self, best: Best) -> bool:
        """Go to the beginning of a stream that was not decoded; return False if there is none.

        Raises:
            av.FFmpegError, OSError: it cannot be sought.
        """
        stream = best(self.container)
        if stream is None or stream.index in self.decoded:
            return False  # a decoder's options cannot be set a second time
        for other in self.container.streams:
            other.discard = Discard.default
        self.container.seek(stream.index_entries[0].timestamp - 1, stream=stream)
        self.decoded.add(stream.index)
        return True


_KEPT: ContextVar[dict[str, _Kept] | None] = ContextVar("kept", default=None)


@contextmanager
def one_opening() -> Iterator[None]:
    """Let `read_media` within the block, which is about one clip, open its file once for both of its streams."""
    kept: dict[str, _Kept] = {}
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        for one in kept.values():
            one.container.close()


def read_media(
    path: str | os.PathLike[str],
    read: Callable[[InputContainer], Result],
    best: Best | None = None,
    *,
    believing: bool = True,
) -> Result:
    """Return what `read` finds in a file that is opened by `open_media`.

    Within `one_opening` the file may be open already: an mp4 whose header tells all is rewound, which gives the same
    packets. What goes wrong with it is tried again with the file opened anew.

    Args:
        path: the file.
        read: what to do with its container, which stands at its start.
        best: the one stream that is decoded; None: none is.
        believing: of `open_media`; a file opened otherwise is always opened anew.

    Raises:
        MediaError: as `open_media`, and what `read` raises.
    """
    kept = _KEPT.get()
    if kept is None or not believing:
        with open_media(path, believing=believing) as container:
            return read(container)
    known = kept.pop(str(path), None)  # `read` may come here again
    if known is not None and best is not None:
        with suppress(Exception):
            if known.rewind(best):
                found = read(known.container)
                _keep(kept, path, known)
                return found
    if known is not None:
        known.container.close()
    container = open_media(path, believing=True)
    try:
        found = read(container)
        stream = None if best is None else best(container)
    except BaseException:
        container.close()
        raise
    _keep(kept, path, _Kept(container, set() if stream is None else {stream.index}))
    return found


def _keep(kept: dict[str, _Kept], path: str | os.PathLike[str], one: _Kept) -> None:
    """Hold a container for later, in place of another of the same file, if it can be rewound; else close it."""
    before = kept.pop(str(path), None)
    if before is not None:
        before.container.close()
    if _may_be_rewound(one.container):
        kept[str(path)] = one
    else:
        one.container.close()


def _may_be_rewound(container: InputContainer) -> bool:
    """Return True for an mp4 opened by its header, where an edit list hides nothing but sound before the pictures."""
    if BELIEVING.items() - container.options.items():
        return False
    return all(
        len(stream.index_entries) == stream.frames
        and stream.start_time is not None
        and not stream.index_entries[-1].is_discard
        and (stream.type == "audio" or not may_begin_late(container, stream))
        for stream in (*container.streams.video, *container.streams.audio)
    )


def reason_of(error: BaseException) -> str:
    """Return the short reason of a PyAV or operating-system error."""
    if isinstance(error, av.error.ArgumentError):  # what FFmpeg answers when the format is not on our list
        return "no video, sound or picture format"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _picture_format(head: bytes) -> str | None:
    """Return FFmpeg's reader of single pictures for a file's first bytes; None if it is no picture.

    By default FFmpeg may take a picture's name for the pattern of a numbered series.
    """
    return next((name for start, name in PICTURES if head.startswith(start)), None) or (
        "webp_pipe" if head[:4] == b"RIFF" and head[8:] == b"WEBP" else None
    )


def _best(streams: Iterable[S], size: Callable[[S], int]) -> S | None:
    def score(stream: S) -> int:
        return size(stream) + DEFAULT_STREAM_BONUS * bool(stream.disposition & Disposition.default)

    # A cover picture inside a sound file is no video; a stream without a decoder cannot be read.
    usable = [s for s in streams if s.codec_context is not None and not s.disposition & Disposition.attached_pic]
    return max(usable, key=score, default=None)
