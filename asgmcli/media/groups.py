"""Decode only the packets that the wanted frames need: the exact short cut of `read_clip`.

A video is a row of groups, each from one key frame up to the next. Packets are read (cheap; a long mp4 is entered at a
key frame that its index tells) but only groups that hold a wanted frame are decoded (dear); within one, h264 and MPEG-4
packets that no other frame refers to are skipped, and the decoder is drained as soon as the last wanted packet went in.
Frames are identified by their presentation time stamp (in AVI by the number that their picture types give them), so the
result equals a plain decode of the whole file; wherever that leaves a doubt, `DoubtfulError` is raised and the caller
counts decoded frames instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from asgmcli.media.mpeg4_order import DoubtfulError, begins_with_b_vop, is_numberable, numbered

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Containers whose presentation time stamps are stored, one a frame (AVI's are guessed from decoding order), and codecs
# of which one packet is exactly one shown frame (VP8 hides frames, MPEG-2 may split them in two fields).
STAMPED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"})
STAMPED_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "libdav1d", "mpeg4", "mjpeg"})
# Containers whose index lists every packet, and how many packets a seek must spare to be worth it (a packet takes about
# 5 microseconds to read, an entry of the index half of one).
INDEXED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2"})
SEEK_AFTER_PACKETS = 64
# Codecs whose decoder can tell that no frame refers to a packet before it decodes it.
SKIPPING_CODECS = frozenset({"h264", "mpeg4"})


def is_stamped(container: InputContainer, stream: VideoStream) -> bool:
    """Return True if the packets' time stamps identify frames reliably."""
    return container.format.name in STAMPED_CONTAINERS and stream.codec_context.name in STAMPED_CODECS


def has_short_cut(container: InputContainer, stream: VideoStream) -> bool:
    """Return True if `frames_at` can be tried on this container."""
    return is_stamped(container, stream) or is_numberable(container, stream)


def frames_at(
    container: InputContainer, stream: VideoStream, wanted: Sequence[int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode the frames of the given presentation indices.

    Args:
        container: av.container.InputContainer at its start.
        stream: the video stream, its decoder set up for one thread.
        wanted: strictly ascending indices.

    Yields:
        (index, av.VideoFrame), in ascending order; indices past the end are not yielded.

    Raises:
        DoubtfulError: a time stamp is missing, doubled, before its key frame's at the start, or never comes out; or
            a frame is marked as broken.
        av.FFmpegError: a packet could not be decoded.
    """
    places = _seek(container, stream, wanted[0])
    first: int | None = None  # presentation index of the group's first frame
    position = 0
    for packets, stamps, leading in _groups(container, stream):
        if first is None:
            first = _first_index(packets, places)
            if first > wanted[0]:
                raise DoubtfulError("sought too far")
        here: dict[int, int] = {}
        while position < len(wanted) and wanted[position] < first + len(stamps):
            here[stamps[wanted[position] - first]] = wanted[position]
            position += 1
        if here:
            yield from _decode(stream.codec_context, packets + leading, here)
        if position == len(wanted):
            return
        first += len(stamps)


def _seek(container: InputContainer, stream: VideoStream, target: int) -> dict[int, int]:
    """Seek to a key frame shown before frame `target`, in an indexed file, if it saves enough.

    Returns:
        The place in the file's order of packets by decoding time stamp; empty: the container stays at its start.
    """
    entries = stream.index_entries
    if container.format.name not in INDEXED_CONTAINERS or not SEEK_AFTER_PACKETS < target < len(entries):
        return {}
    places: dict[int, int] = {}
    keys: list[int] = []
    for place, entry in enumerate(islice(entries, target + 1)):
        if entry.is_discard:
            return {}  # an edit list hides packets: places are not frames
        places[entry.timestamp] = place
        if entry.is_keyframe:
            keys.append(place)
    if len(keys) < 3 or len(places) <= target or keys[-2] < SEEK_AFTER_PACKETS:
        return {}
    # Its leading packets, fewer than lie before the next key frame, put a key frame's index above its place.
    container.seek(entries[keys[-2]].timestamp, stream=stream)
    return places


def _stamp(packet: Packet[VideoStream]) -> int:
    assert packet.pts is not None, "_runs_of_packets gives none without"
    return packet.pts


def _first_index(packets: Sequence[Packet[VideoStream]], places: dict[int, int]) -> int:
    """Return the presentation index of the first key frame read: its place, plus what is shown before but stored after
    it.
    """
    leading = sum(_stamp(packet) < _stamp(packets[0]) for packet in packets)
    if not places:
        if leading:
            raise DoubtfulError("frames before the first key frame")
        return 0
    if packets[0].dts not in places:
        raise DoubtfulError("sought to an unknown packet")
    return leading + places[packets[0].dts]


def _groups(
    container: InputContainer, stream: VideoStream
) -> Iterator[tuple[list[Packet[VideoStream]], list[int], list[Packet[VideoStream]]]]:
    """Yield groups as (packets in file order, sorted stamps of frames shown before the next key frame, leading
    packets).

    Leading packets follow the next key frame in the file and are shown before it (an open group). The third item is
    that key frame and all packets up to its last leading one, empty if there are none.
    """
    held: list[Packet[VideoStream]] = []
    for packets in _runs_of_packets(container, stream):
        if held:
            yield held, *_boundary(held, packets)
        held = packets
    if held:
        yield held, *_boundary(held, [])


def _boundary(
    held: list[Packet[VideoStream]], following: list[Packet[VideoStream]]
) -> tuple[list[int], list[Packet[VideoStream]]]:
    """Return the stamps shown from `held`'s key frame up to that of `following`, and the leading packets of
    `following`.
    """
    shown = [packet for packet in held if _stamp(packet) >= _stamp(held[0])]
    last = 0
    if following:
        for place, packet in enumerate(following):
            if _stamp(packet) < _stamp(following[0]):
                shown.append(packet)
                last = place + 1
        if any(_stamp(packet) >= _stamp(following[0]) for packet in shown):
            raise DoubtfulError("a frame is shown after the next key frame")
    stamps = sorted(_stamp(packet) for packet in shown if not packet.is_discard)
    if any(one == other for one, other in pairwise(stamps)):
        raise DoubtfulError("two frames have the same time stamp")
    return stamps, following[:last]


def _runs_of_packets(container: InputContainer, stream: VideoStream) -> Iterator[list[Packet[VideoStream]]]:
    """Yield packets in file order, from one key frame up to the next."""
    run: list[Packet[VideoStream]] = []
    latest: int | None = None
    packets = container.demux(stream)
    numberable = is_numberable(container, stream)
    mpeg4 = stream.codec_context.name == "mpeg4" and not numberable
    for packet in numbered(packets) if numberable else packets:
        if packet.size == 0:
            if packet.pts is None and packet.dts is None:
                continue  # PyAV's mark of the end
            raise DoubtfulError("an empty packet")
        if packet.pts is None or packet.is_corrupt:
            raise DoubtfulError("a packet without a time stamp, or cut off")
        if mpeg4 and (latest is None or packet.pts > latest):
            latest = packet.pts
            if begins_with_b_vop(packet):
                raise DoubtfulError("stamped in the order of decoding: copied out of an AVI")
        if packet.is_keyframe and run:
            yield run
            run = []
        if not run and not packet.is_keyframe:
            raise DoubtfulError("the file does not begin with a key frame")
        run.append(packet)
    if run:
        yield run


def _decode(
    context: VideoCodecContext, packets: Sequence[Packet[VideoStream]], wanted: dict[int, int]
) -> Iterator[tuple[int, VideoFrame]]:
    """Decode one group for the frames whose stamps are the keys of `wanted`; yields (its value, frame)."""
    # What the first key frame's own leading packets refer to lies in the group before; nothing after it needs them.
    packets = [packet for packet in packets if _stamp(packet) >= _stamp(packets[0])]
    last = max(place for place, packet in enumerate(packets) if packet.pts in wanted)
    skipping = context.name in SKIPPING_CODECS
    missing = dict(wanted)
    context.flush_buffers()
    for packet in [*packets[: last + 1], None]:
        if skipping:
            keep = packet is None or packet.pts in wanted
            context.skip_frame = "DEFAULT" if keep else "NONREF"
        for frame in context.decode(packet):
            if frame.is_corrupt:
                raise DoubtfulError("a frame is broken")
            if frame.pts in missing:
                yield missing.pop(frame.pts), frame
    if missing:
        raise DoubtfulError("a frame did not come out of the decoder")
