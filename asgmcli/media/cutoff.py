"""Find what a file lacks at its end, from the sizes that the file itself claims; nothing is decoded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import av

from asgmcli.media.extent import Opener, ShownFrames, count_shown, tick_of
from asgmcli.media.mp4 import last_byte

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

# Matroska that ends this long before its header says is cut off; sound may run on after the picture.
SLACK_SECONDS = 1.0
# The same where the file's own size says that something is missing; only an index may be.
SHORT_SECONDS = 0.1
SEGMENT = b"\x18\x53\x80\x67"  # the Matroska element that holds all others
UNTOLD = (0, 0xFFFFFFFF)  # a RIFF list's size where its writer never came back to fill it in
MAX_CHUNKS = 256  # at the top of an AVI file


def claimed_bytes(path: str | os.PathLike[str]) -> int:
    """Return the length in bytes that an MP4, Matroska or AVI file claims for itself; 0 if it does not say.

    For AVI this is the end of the pictures and sound: a missing index loses nothing.

    Raises:
        OSError: the file cannot be read.
    """
    with Path(path).open("rb") as file:
        head = file.read(12)
        if head[:4] == b"\x1a\x45\xdf\xa3":
            return _segment_end(file)
        if head[:4] == b"RIFF" and head[8:] == b"AVI ":
            return _movi_end(file)
        return last_byte(file)


def missing(
    path: str | os.PathLike[str],
    container: InputContainer,
    streams: Sequence[Stream],
    shown: ShownFrames | None,
    opener: Opener,
) -> str:
    """Return one line with figures if a file is cut off, "" if nothing shows that it is.

    Args:
        path: the file.
        container: av.container.InputContainer of it.
        streams: those that are read, the video first.
        shown: the result of counting its packets, None if they were not counted.
        opener: opens the file.

    Raises:
        av.FFmpegError, OSError: a packet cannot be read.
    """
    size = os.path.getsize(path)
    name = container.format.name
    if shown is not None and not shown.whole:
        return f"the data end within a packet, after {shown.stored} whole frames"
    if name.startswith("mov") and all(len(stream.index_entries) for stream in streams) and not _fragmented(streams):
        return next(filter(None, (_beyond(stream, size) for stream in streams)), "")
    if not (name.startswith("mov") or name in {"avi", "matroska,webm"}):
        return ""
    claimed = claimed_bytes(path)
    short = claimed > size
    if name == "matroska,webm" and container.duration:
        length = container.duration / av.time_base
        slack = SHORT_SECONDS if short else SLACK_SECONDS
        if shown is not None and shown.end is not None and tick_of(streams[0]) * shown.end >= length - slack:
            return ""
        with opener(False) as again:
            end = last_second(again)
        return f"ends at {end:.2f} s of {length:.2f} s" if end < length - slack else ""
    if not short:
        return ""
    there = (shown or count_shown(opener, streams[0].index)).stored
    of = f" of {streams[0].frames}" if streams[0].frames else ""
    return f"the file ends at byte {size} of {claimed}; {there}{of} stored frames are there"


def last_second(container: InputContainer) -> float:
    """Return when the last packet of any stream ends, in seconds on the container's clock.

    The container must stand at its start.
    """
    ends = [
        float((packet.pts + (packet.duration or 0)) * packet.time_base)
        for packet in container.demux()
        if packet.pts is not None and not packet.is_corrupt
    ]
    return max(ends, default=0.0)


def _fragmented(streams: Sequence[Stream]) -> bool:
    return not all(stream.frames for stream in streams)


def _beyond(stream: Stream, size: int) -> str:
    """Describe what a stream's sample table places beyond the file's `size`; "" if nothing."""
    entries = stream.index_entries
    if entries[-1].pos + entries[-1].size <= size:
        return ""
    ends = [entry.pos + entry.size for entry in entries]
    there = sum(end <= size for end in ends)
    what = "stored frames" if stream.type == "video" else "packets of sound"
    return f"{there} of {len(ends)} {what} are there: the file ends at byte {size}, they at byte {max(ends)}"


def _segment_end(file: BinaryIO) -> int:
    """Return where a Matroska file's segment ends; 0 if a live recording left its size open."""
    begin, inside = 0, b""
    for _ in range(2):  # the EBML header, then the segment
        file.seek(begin)
        inside = file.read(16)
        width = 9 - inside[4].bit_length() if len(inside) > 4 and inside[4] else 9
        if width > 8 or len(inside) < 4 + width:
            return 0
        length = int.from_bytes(inside[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if inside[:4] == SEGMENT:
            return 0 if length == (1 << 7 * width) - 1 else begin + 4 + width + length
        begin += 4 + width + length
    return 0


def _movi_end(file: BinaryIO) -> int:
    """Return where the last list of pictures and sound of an AVI file ends (OpenDML has several); 0 if unknown."""
    begin, end, size = 0, 0, os.fstat(file.fileno()).st_size
    for _ in range(MAX_CHUNKS):
        file.seek(begin)
        head = file.read(12)
        length = int.from_bytes(head[4:8], "little")
        if len(head) < 12 or begin >= size:
            break
        if head[:4] == b"RIFF":
            begin += 12
            continue
        if head[:4] == b"LIST" and head[8:] == b"movi":
            if length in UNTOLD:
                return 0
            end = begin + 8 + length
        begin += 8 + length + length % 2
    return end
