"""The short cut to the frames of a clip: what is decoded for it, where a file is entered, and when it is not taken."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest

import asgmcli.media.groups as groups_module
import asgmcli.media.opening as opening_module
import asgmcli.media.video as video_module
from asgmcli.errors import MediaError
from asgmcli.media.groups import frames_at
from asgmcli.media.mpeg4_order import DoubtfulError
from asgmcli.media.opening import best_video_stream, open_media
from asgmcli.media.video import read_clip
from tests.media import media_files as mf

COUNT = 48
CLOSED = {
    "cache.mp4": {"bframes": 0, "gop": 8},
    "bframes.mp4": {"bframes": 3, "gop": 16},
    "matroska.mkv": {"bframes": 3},
    "mpeg4.mp4": {"codec": "mpeg4", "bframes": 2, "gop": 12},
    "vp9.webm": {"codec": "libvpx-vp9", "gop": 12, "options": {"deadline": "realtime", "cpu-used": "8"}},
    "xvid.avi": {"codec": "mpeg4", "tag": "xvid", "bframes": 2, "gop": 12},
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mf.encode(tmp_path_factory.mktemp("plain") / "clip.mp4", mf.moving_frames(COUNT), bframes=3, gop=16)


def test_only_groups_with_wanted_frames_are_decoded_and_unwanted_packets_skipped(plain: Path) -> None:
    class Counting:
        """The decoder, counting the packets it is given and those it may skip."""

        def __init__(self, context: object) -> None:
            object.__setattr__(self, "context", context)
            object.__setattr__(self, "fed", [])

        def __getattr__(self, name: str) -> object:
            return getattr(self.context, name)

        def __setattr__(self, name: str, value: object) -> None:
            setattr(self.context, name, value)

        def decode(self, packet: object) -> object:
            if packet is not None:
                self.fed.append((packet.pts, self.context.skip_frame))
            return self.context.decode(packet)

    class Stream:
        def __init__(self, stream: object) -> None:
            self.stream, self.codec_context = stream, Counting(stream.codec_context)

    with open_media(plain) as container:
        stream = Stream(best_video_stream(container))
        container_of = type("Container", (), {"demux": lambda _, wrapped: container.demux(wrapped.stream)})()
        container_of.format, stream.index_entries = container.format, stream.stream.index_entries
        got = dict(frames_at(container_of, stream, [20, 34]))
    assert sorted(got) == [20, 34]
    step = got[34].pts // 34
    fed = [pts // step for pts, _ in stream.codec_context.fed]
    assert min(fed) == 16  # nothing of the first group
    assert len(fed) < 16 + 5  # the second group at most, and the start of the third
    skipped = [pts // step for pts, mode in stream.codec_context.fed if mode == "NONREF"]
    assert set(fed) - set(skipped) == {20, 34}


@pytest.mark.parametrize(
    "options", [pytest.param({}, marks=pytest.mark.long), {"x264-params": "open-gop=1:scenecut=0"}]
)
def test_a_long_file_is_entered_at_a_key_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, str]
) -> None:
    count = 1000
    path = mf.encode(tmp_path / "long.mp4", mf.moving_frames(count, 32, 48), bframes=3, gop=40, options=options)
    reference = mf.plain_decode(path)
    landed: list[int] = []
    find = groups_module._first_index

    def spy(packets: list[object], places: dict[int, int]) -> int:
        landed.append(find(packets, places))
        return landed[-1]

    monkeypatch.setattr(groups_module, "_first_index", spy)
    rng = np.random.default_rng(0)
    for start in [601, 640, 641, 679, 680, count - 1, *rng.integers(601, count, 8).tolist()]:
        indices = [min(start + 8 * place, count - 1) for place in range(8)]
        np.testing.assert_array_equal(read_clip(path, indices), reference[indices], err_msg=str(start))
        assert start - 125 < landed[-1] <= start  # three groups at most
    np.testing.assert_array_equal(read_clip(path, [700, 20]), reference[[700, 20]])
    assert landed[-1] == 0
    with pytest.raises(MediaError, match="past the end"):
        read_clip(path, [count - 2, count])


def test_a_cached_clip_is_entered_two_key_frames_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = {"x264-params": "scenecut=0"}
    path = mf.encode(tmp_path / "cache.mp4", mf.moving_frames(160, 32, 48), bframes=0, gop=8, options=options)
    reference = mf.plain_decode(path)
    landed: list[int] = []
    find = groups_module._first_index
    monkeypatch.setattr(groups_module, "_first_index", lambda *given: [landed.append(find(*given)), landed[-1]][1])
    for start, entered in ((0, 0), (71, 0), (72, 64), (79, 64), (80, 72), (159, 144)):
        indices = [min(start + 8 * place, 159) for place in range(8)]
        np.testing.assert_array_equal(read_clip(path, indices), reference[indices])
        assert landed[-1] == entered


@pytest.mark.parametrize("kind", CLOSED)
def test_the_short_cut_is_taken_where_groups_are_closed(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = mf.encode(tmp_path / kind, mf.moving_frames(COUNT), **CLOSED[kind])
    monkeypatch.setattr(video_module, "_read_counting", lambda *_: pytest.fail("counted frames"))
    assert read_clip(path, [COUNT - 1, 20]).shape[0] == 2


def test_a_decoder_that_the_header_told_too_little_is_given_all_before_frames_are_counted(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = mf.plain_decode(plain)
    opened: list[bool] = []

    def opening(path: Path, *, believing: bool = False) -> object:
        opened.append(believing)
        return open_media(path, believing=believing)

    def losing(container: object, stream: object, wanted: list[int]) -> object:
        frames = list(frames_at(container, stream, wanted))
        if opened[-1]:
            raise DoubtfulError("a frame did not come out of the decoder")
        yield from frames

    monkeypatch.setattr(opening_module, "open_media", opening)
    monkeypatch.setattr(video_module, "frames_at", losing)
    monkeypatch.setattr(video_module, "_read_counting", lambda *_: pytest.fail("counted frames"))
    np.testing.assert_array_equal(read_clip(plain, [30, 5]), reference[[30, 5]])
    assert opened == [True, False]


def test_an_avi_copied_into_mp4_keeps_its_frames_though_their_stamps_are_in_the_order_of_decoding(
    tmp_path: Path,
) -> None:
    avi = mf.encode(tmp_path / "a.avi", mf.moving_frames(40), codec="mpeg4", bframes=2, gop=12)
    path = tmp_path / "copy.mp4"
    with av.open(str(avi)) as given, av.open(str(path), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        for packet in given.demux(video=0):
            if packet.size:
                packet.pts, packet.stream = packet.dts, stream  # as `ffmpeg -c copy` stamps them
                output.mux(packet)
    plain = mf.plain_decode(path)
    for index in (0, 1, 2, 20, 38, len(plain) - 1):
        np.testing.assert_array_equal(read_clip(path, [index])[0], plain[index])
