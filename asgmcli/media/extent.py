"""Find which of a video's stored pictures are shown, and when: cutting without re-encoding leaves it open.

Such a file begins at the key frame before the cut. An edit list hides the pictures up to the cut (FFmpeg marks their
packets `discard`), or the key frame was lost and what hangs on it cannot be decoded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import av

if TYPE_CHECKING:
    from fractions import Fraction

    from av.container import InputContainer
    from av.stream import Stream

# Duration times rate may differ from the header's count by this share before packets are counted.
COUNT_TOLERANCE = 0.02
# The first picture shown is among this many packets from the first one not hidden: codecs reorder 16 at most.
REORDERED_PACKETS = 33
SHOW_FRAME = 0x10  # of a VP8 packet's first byte (RFC 6386, 9.1)

Opener = Callable[[bool], "InputContainer"]
"""Opens the file anew: an av.container.InputContainer at its start, as a context manager.

Given True, no packet of an mp4 is hidden, and time stamps are the movie's own: FFmpeg otherwise puts the first picture
shown at zero, though the cut may lie up to a frame before it.
"""


_Packet: TypeAlias = "tuple[int | None, int, bool]"
"""Time stamp, duration, and whether an edit list hides it."""


@dataclass(frozen=True, slots=True)
class ShownFrames:
    """The shown part of a video stream.

    `frames` of `stored` packets are shown, `hidden` of the others by an edit list, and `early` come before the first
    picture that can be decoded. `start` and `end` are in units of the stream's time base, None where no picture has a
    time; `begin` is the start on the clock of the sound, which FFmpeg's stamps miss behind an edit list. `whole` is
    False where the last packet is cut off.
    """

    frames: int
    stored: int
    hidden: int
    early: int
    start: int | None
    end: int | None
    whole: bool
    begin: int | None

    @property
    def note(self) -> str:
        """Return one line on the frames that are not shown; "" if all are."""
        parts = []
        if self.hidden:
            parts.append(f"an edit list hides {self.hidden}")
        if self.early:
            parts.append(f"{self.early} precede the first picture that can be decoded")
        return f"shows {self.frames} of {self.stored} stored frames: {', '.join(parts)}" if parts else ""


def read_only(container: InputContainer, stream: Stream) -> None:
    """Let the demuxer pass over the packets of every other stream."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all


def tick_of(stream: Stream) -> Fraction:
    """Return the seconds in a unit of the stream's time stamps."""
    assert stream.time_base is not None, "every stream of an open file has one"
    return stream.time_base


def start_seconds(stream: Stream) -> float:
    """Return when a stream begins by its header, in seconds on the container's clock."""
    return 0.0 if stream.start_time is None else float(stream.start_time * tick_of(stream))


def may_begin_late(container: InputContainer, stream: Stream) -> bool:
    """Return True if the first packet may not be the first picture shown, by what opening the file has told."""
    entries = stream.index_entries
    if not len(entries):
        return True  # nothing is told: transport streams, and Matroska whose first packet is no key frame
    first = entries[0]
    if first.is_discard or not first.is_keyframe:
        return True
    matroska = container.format.name == "matroska,webm"
    return bool(matroska and stream.start_time is not None and first.timestamp > stream.start_time)


def needs_counting(container: InputContainer, stream: Stream, seconds: float, fps: float) -> bool:
    """Return True if the header leaves open how many pictures are shown.

    Args:
        container: av.container.InputContainer.
        stream: its video stream.
        seconds: its duration by the header, 0 if unknown.
        fps: its average frames a second, 0 where unknown.
    """
    if not stream.frames or not seconds:
        return True
    if container.format.name == "avi":
        return bool(len(stream.index_entries)) and not stream.index_entries[0].is_keyframe
    if abs(stream.frames - seconds * fps) > max(COUNT_TOLERANCE * stream.frames, 1):
        return True
    entries = stream.index_entries
    # Hidden at either end; the second packet may be shown before the key frame.
    return may_begin_late(container, stream) or entries[-1].is_discard or (len(entries) > 1 and entries[1].is_discard)


def count_shown(opener: Opener, index: int, most: int | None = None) -> ShownFrames:
    """Read a file's video packets once, and count those that are shown; nothing is decoded in an ordinary file.

    Where the file does not begin with a key frame, it is decoded up to the first picture that comes out.

    Args:
        opener: opens the file.
        index: the video stream's place among all.
        most: stop after this many packets that are not hidden: then only `start` and `begin` hold.

    Raises:
        av.FFmpegError, OSError: a packet cannot be read.
    """
    packets: list[_Packet] = []
    starts_with_key, whole, seen = True, True, 0
    with opener(False) as container:
        stream = container.streams[index]
        read_only(container, stream)
        vp8 = stream.codec_context.name in {"vp8", "libvpx"}
        guessed = container.format.name == "avi"  # its time stamps
        for packet in container.demux(stream):
            if packet.is_corrupt:
                whole = False
                break
            if not packet.size:
                continue
            if not packets:
                starts_with_key = bool(packet.is_keyframe)
            if vp8 and not bytes(packet)[0] & SHOW_FRAME:
                continue
            packets.append((packet.pts, packet.duration or 0, packet.is_discard))
            seen += not packet.is_discard
            if most is not None and seen >= most:
                break
    decoded = None if starts_with_key else _first_decoded(opener, index)
    if decoded is None and not starts_with_key:
        return ShownFrames(0, len(packets), 0, len(packets), None, None, whole, None)
    first = packets[0][0] if packets and not guessed and decoded is None else decoded
    shown = _shown(packets, first, whole)
    if decoded is not None:
        shown = replace(shown, start=decoded, begin=decoded)
    if shown.hidden and shown.start is not None:
        place = next((place for place, packet in enumerate(packets) if packet[0] == shown.start and not packet[2]), 0)
        shown = replace(shown, begin=_movie_time(opener, index, place, shown.start))
    return shown


def first_shown(opener: Opener, index: int) -> int | None:
    """Return the time stamp of the first picture shown, in units of the stream's time base, on the clock of the sound.

    Returns:
        None where no picture has a time.

    Raises:
        av.FFmpegError, OSError: a packet cannot be read.
    """
    return count_shown(opener, index, REORDERED_PACKETS).begin


def _shown(packets: list[_Packet], first: int | None, whole: bool) -> ShownFrames:
    """Return the shown part of the packets; those before `first` cannot be decoded."""
    early = hidden = frames = 0
    start: int | None = None
    last: tuple[int, int] | None = None
    for stamp, duration, discard in packets:
        if discard:
            hidden += 1
        elif first is not None and stamp is not None and stamp < first:
            early += 1
        else:
            frames += 1
            if stamp is not None:
                start = stamp if start is None else min(start, stamp)
                last = max(last or (stamp, duration), (stamp, duration))
    end = None
    if start is not None and last is not None:
        # A live recording gives no durations: the last picture lasts as long as the others did on average.
        end = last[0] + (last[1] or round((last[0] - start) / max(frames - 1, 1)))
    return ShownFrames(frames, len(packets), hidden, early, start, end, whole, start)


def _movie_time(opener: Opener, index: int, place: int, stamp: int) -> int:
    """Return the time stamp, on the movie's own clock, of the packet at `place` in the file; `stamp` if it has none."""
    with opener(True) as container:
        stream = container.streams[index]
        read_only(container, stream)
        for packet in islice((packet for packet in container.demux(stream) if packet.size), place, None):
            return stamp if packet.pts is None else int(packet.pts)
    return stamp


def _first_decoded(opener: Opener, index: int) -> int | None:
    """Return the time stamp of the first picture that a decoder gives; None if it gives none."""
    with opener(False) as container:
        stream = container.streams[index]
        read_only(container, stream)
        stream.codec_context.thread_count = 1
        for packet in container.demux(stream):
            try:
                for frame in packet.decode():
                    stamp: int | None = frame.pts
                    return stamp
            except av.error.InvalidDataError:
                continue
    return None
