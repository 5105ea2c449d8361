"""MPEG-4 in AVI: pictures are numbered by their types, and every doubt is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import asgmcli.media.video as video_module
from asgmcli.media.mpeg4_order import DoubtfulError, numbered
from asgmcli.media.opening import best_video_stream, open_media
from asgmcli.media.video import read_clip
from tests.media import media_files as mf

COUNT = 60
KINDS = "IPBS"


@dataclass
class Packet:
    """What is asked of a packet; `pts` and `dts` as AVI's reader gives them."""

    data: bytes
    pts: int | None = None
    dts: int | None = 0
    is_corrupt: bool = False

    def __bytes__(self) -> bytes:
        return self.data

    @property
    def size(self) -> int:
        return len(self.data)


def picture(kind: str, size: int = 40) -> bytes:
    """A packet of one picture: header, picture start code, type in the upper two bits, data."""
    start = b"\0\0\1\x20abc\0\0\1\xb6" if kind == "I" else b"\0\0\1\xb6"
    return (start + bytes(["IPBS".index(kind) << 6 | 21])).ljust(size, b"x")


@pytest.mark.parametrize(
    ("types", "shown"),
    [
        ("IPPP", [0, 1, 2, 3]),
        ("IPBBPBBIP", [0, 3, 1, 2, 6, 4, 5, 7, 8]),
        ("IPBIBBPSB", [0, 2, 1, 5, 3, 4, 6, 8, 7]),
        ("I", [0]),
        ("", []),
    ],
)
def test_the_order_of_showing_by_hand(types: str, shown: list[int]) -> None:
    packets = [*map(Packet, map(picture, types)), Packet(b"", dts=None)]
    given = list(numbered(packets))
    assert given == packets[:-1]
    assert [packet.pts for packet in given] == shown


@pytest.mark.parametrize(
    "odd",
    [
        Packet(picture("P") + picture("B")),  # a packed bitstream
        Packet(picture("P", size=7)),  # not coded: no frame comes of it
        Packet(b"", dts=3),  # a dropped frame
        Packet(b"\0\0\1\x20" + b"x" * 40),  # a header without a picture
        Packet(picture("P"), is_corrupt=True),
    ],
)
def test_what_is_not_one_whole_picture_is_doubtful(odd: Packet) -> None:
    with pytest.raises(DoubtfulError):
        list(numbered([Packet(picture("I")), odd]))


def test_b_frames_before_the_second_reference_are_doubtful() -> None:
    with pytest.raises(DoubtfulError):
        list(numbered(map(Packet, map(picture, "IBP"))))


@pytest.mark.parametrize("gop", [12, 250])
@pytest.mark.parametrize("bframes", [0, 1, 2])
def test_frames_of_avi_equal_a_plain_decode_without_counting(
    gop: int, bframes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mf.encode(tmp_path / "a.avi", mf.moving_frames(COUNT), codec="mpeg4", tag="xvid", gop=gop, bframes=bframes)
    reference = mf.plain_decode(path)
    monkeypatch.setattr(video_module, "_read_counting", lambda *_: pytest.fail("counted frames"))
    rng = np.random.default_rng(gop + bframes)
    for indices in ([0], [COUNT - 1], list(range(COUNT)), *np.sort(rng.choice(COUNT, (8, 5))).tolist()):
        np.testing.assert_array_equal(read_clip(path, indices), reference[indices], err_msg=str(indices))


def test_small_pictures_are_counted_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    still = np.repeat(mf.moving_frames(1, 32, 48), 20, axis=0)
    path = mf.encode(tmp_path / "still.avi", still, codec="mpeg4", tag="xvid", bframes=2)
    with open_media(path) as container:
        sizes = [packet.size for packet in container.demux(best_video_stream(container))]
    assert 0 < min(size for size in sizes if size) < 20
    counted: list[int] = []
    real = video_module._read_counting
    monkeypatch.setattr(video_module, "_read_counting", lambda *given: [counted.append(1), real(*given)][1])
    np.testing.assert_array_equal(read_clip(path, [3, 17]), mf.plain_decode(path)[[3, 17]])
    assert counted
