"""Where a file should end, by the sizes that it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from asgmcli.errors import MediaError
from asgmcli.media.cutoff import claimed_bytes
from asgmcli.media.opening import CutOffError, open_media
from asgmcli.media.probe import probe
from tests.media import media_files as mf


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv", "avi"])
def test_a_whole_file_claims_what_it_has_and_a_cut_one_more(tmp_path: Path, suffix: str) -> None:
    path = mf.encode(tmp_path / f"v.{suffix}", mf.moving_frames(20), bframes=0)
    data = path.read_bytes()
    whole = claimed_bytes(path)
    # After an AVI's pictures comes only its index.
    assert whole == (len(data) if suffix != "avi" else data.rindex(b"idx1"))
    path.write_bytes(data[: len(data) // 2])
    assert claimed_bytes(path) >= min(whole, len(data) // 2 + 1)
    assert probe(path).cut if suffix in {"mkv", "avi"} else claimed_bytes(path) > len(data) // 2


def test_sizes_that_tell_nothing(tmp_path: Path) -> None:
    live = mf.live_webm(tmp_path / "live.webm", mf.moving_frames(8))
    assert claimed_bytes(live) == 0
    avi = mf.encode(tmp_path / "v.avi", mf.moving_frames(8), codec="mpeg4")
    data = bytearray(avi.read_bytes())
    at = data.index(b"movi") - 4
    data[at : at + 4] = bytes(4)  # as written by a program that never came back to it
    avi.write_bytes(data)
    assert claimed_bytes(avi) == 0
    for content in (b"", b"short", b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3\x00" + bytes(40), b"RIFF\0\0\0\0AVI "):
        odd = tmp_path / "odd"
        odd.write_bytes(content)
        assert claimed_bytes(odd) in {0, len(content)}


def test_an_avi_in_several_parts_ends_with_the_last(tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return name + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2)

    first = chunk(b"LIST", b"hdrl" + bytes(10)) + chunk(b"LIST", b"movi" + bytes(101)) + chunk(b"idx1", bytes(16))
    second = chunk(b"LIST", b"movi" + bytes(50))
    path = tmp_path / "v.avi"
    whole = chunk(b"RIFF", b"AVI " + first) + chunk(b"RIFF", b"AVIX" + second)
    path.write_bytes(whole)
    assert claimed_bytes(path) == len(whole)
    path.write_bytes(whole[:-20])
    assert claimed_bytes(path) == len(whole)


def test_a_cut_off_mp4_tells_how_much_is_there(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "v.mp4", mf.moving_frames(20), container={"movflags": "+faststart"})
    with open_media(path) as container:
        ends = [entry.pos + entry.size for entry in container.streams.video[0].index_entries]
    path.write_bytes(path.read_bytes()[: ends[12]])
    assert probe(path).cut == (
        f"13 of 20 stored frames are there: the file ends at byte {ends[12]}, they at byte {ends[-1]}"
    )


def test_a_fragmented_mp4_is_cut_off_where_its_last_box_is(tmp_path: Path) -> None:
    fragments = {"movflags": "frag_keyframe+empty_moov"}
    path = mf.encode(tmp_path / "v.mp4", mf.moving_frames(40), gop=10, container=fragments)
    assert (probe(path).frames, probe(path).cut) == (40, "")
    data = path.read_bytes()
    path.write_bytes(data[: data.rindex(b"mdat") + 500])
    assert probe(path).cut


def test_a_file_that_cannot_be_opened_because_its_end_is_missing_says_so(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "v.mp4", mf.moving_frames(20))
    data = path.read_bytes()
    path.write_bytes(data[:3000])
    with pytest.raises(CutOffError, match=r"v\.mp4: cut off: it ends at byte 3000 of \d+ or more, its index is lost"):
        probe(path)
    path.write_bytes(b"\0\0\0\x08ftyp" + bytes(100))
    with pytest.raises(MediaError, match="not a readable media file"):
        probe(path)
