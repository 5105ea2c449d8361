"""Number the MPEG-4 pictures (VOPs) of an AVI in display order.

AVI stores no presentation time stamps, and those that FFmpeg guesses go wrong with B-frames. The order follows from
the types of the pictures (ISO/IEC 14496-2, 6.3.5): a B-VOP is shown before the reference picture that precedes it in
the file, and nothing else is out of order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

VOP_START = b"\0\0\1\xb6"
B_VOP = 2
# A picture that is not coded at all ("show the last one again"), which the decoder gives no frame for, takes at most
# about eight bytes; a coded one of any usual size takes more.
SMALLEST_BYTES = 20


class DoubtfulError(Exception):
    """The packets do not tell which of them is which frame. Caught inside `asgmcli.media`; never reaches a user."""


def is_numberable(container: InputContainer, stream: VideoStream) -> bool:
    """Return True if `numbered` can be tried: AVI with MPEG-4 part 2, as Xvid and DivX write it."""
    return bool(container.format.name == "avi" and stream.codec_context.name == "mpeg4")


def numbered(packets: Iterable[Packet[VideoStream]]) -> Iterator[Packet[VideoStream]]:
    """Yield the packets in file order, each one's `pts` set to its frame's place in display order, from 0.

    Raises:
        DoubtfulError: a packet that is empty, cut off, very small or no single picture (a packed bitstream), or B-VOPs
            that refer to a picture before the first.
    """
    count = 0  # frames shown by what was yielded
    held: list[Packet[VideoStream]] = []  # a reference picture and the B-VOPs that follow it in the file
    for packet in packets:
        if packet.size == 0 and packet.pts is None and packet.dts is None:
            continue  # PyAV's mark of the end
        if _kind(packet) != B_VOP:
            yield from _in_turn(held, count)
            count += len(held)
            held = []
        elif not count:
            raise DoubtfulError("a B-frame without two references")
        held.append(packet)
    yield from _in_turn(held, count)


def begins_with_b_vop(packet: Packet[VideoStream]) -> bool:
    """Return True if an MPEG-4 packet begins with a bidirectional picture."""
    head = bytes(memoryview(packet)[: len(VOP_START) + 1])
    return head.startswith(VOP_START) and head[-1] >> 6 == B_VOP


def _in_turn(held: list[Packet[VideoStream]], count: int) -> list[Packet[VideoStream]]:
    """Return `held` with stamps set: the B-VOPs first, then the picture they precede."""
    for place, packet in enumerate(held):
        packet.pts = count + (place - 1) % len(held)
    return held


def _kind(packet: Packet[VideoStream]) -> int:
    """Return vop_coding_type: 0 intra, 1 predicted, 2 bidirectional, 3 sprite."""
    data = bytes(packet)
    if packet.is_corrupt or len(data) < SMALLEST_BYTES or data.count(VOP_START) != 1:
        raise DoubtfulError("a packet that is not one whole picture")
    return data[data.index(VOP_START) + len(VOP_START)] >> 6
