"""From files to a manifest: what is found in them, and what of them is left out."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import pytest

from asgmcli.errors import DataError
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets.listing import Candidate, LeftOut, Listing
from asgmcli.prepare.selection import Check, quarantine_csv, select
from asgmcli.prepare.verify import Facts, Fault, fingerprint
from tests.media import media_files as mf
from tests.prepare.prepare_files import clip_bytes, looked, pictures, xvid


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return clip_bytes(tmp_path_factory.mktemp("clip"))


# --- what is in a file ---


@pytest.mark.parametrize("decode", [False, True])
def test_a_good_clip_is_described(tmp_path: Path, clip: bytes, decode: bool) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(clip)
    facts = looked(path, decode=decode)
    assert isinstance(facts, Facts)
    assert (facts.duration, facts.fps, facts.frames, facts.width, facts.height) == (2.0, 8.0, 16, 64, 48)
    assert facts.sound
    assert facts.loudness == pytest.approx(-20.0, abs=2.0)
    assert looked(path, listen=False, decode=False).loudness is None  # type: ignore[union-attr]


def test_silence_and_the_lack_of_sound_are_told_apart(tmp_path: Path) -> None:
    write_clip(tmp_path / "mute.mp4", pictures(8), 8.0)
    write_clip(tmp_path / "silent.mp4", pictures(8), 8.0, np.zeros(16_000, np.float32))
    mute, silent = looked(tmp_path / "mute.mp4"), looked(tmp_path / "silent.mp4")
    assert isinstance(mute, Facts)
    assert not mute.sound
    assert mute.loudness is None
    assert isinstance(silent, Facts)
    assert silent.sound
    assert silent.loudness == -120.0


def test_sound_in_a_file_of_its_own_is_looked_at(tmp_path: Path, clip: bytes) -> None:
    write_clip(tmp_path / "mute.mp4", pictures(8), 8.0)
    (tmp_path / "sound.mp4").write_bytes(clip)
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    facts = looked(tmp_path / "mute.mp4", audio=str(tmp_path / "sound.mp4"))
    assert isinstance(facts, Facts)
    assert facts.sound
    assert facts.loudness == pytest.approx(-20.0, abs=2.0)
    assert looked(tmp_path / "mute.mp4", audio=str(tmp_path / "broken.wav")).reason == "unreadable"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("empty.mp4", b"", "empty"), ("text.mp4", b"no video at all", "unreadable"), (None, b"", "missing")],
)
def test_files_that_cannot_be_opened(tmp_path: Path, name: str | None, content: bytes, reason: str) -> None:
    path = tmp_path / (name or "gone.mp4")
    if name:
        path.write_bytes(content)
    for decode in (False, True):
        fault = looked(path, decode=decode)
        assert isinstance(fault, Fault)
        assert fault.reason == reason
        assert str(path) not in fault.detail or reason == "missing"


def test_only_decoding_finds_what_is_damaged(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    write_clip(damaged, pictures(40, 3, 96, 128), 8.0)
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 300] = bytes(300)
    damaged.write_bytes(raw)
    assert isinstance(looked(damaged, listen=False, decode=False), Facts)
    assert looked(damaged).reason == "corrupt"  # type: ignore[union-attr]


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv", "webm"])
def test_a_file_that_is_cut_off_is_found_by_its_own_sizes(tmp_path: Path, clip: bytes, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "mp4":
        path.write_bytes(clip)
    elif suffix == "avi":
        xvid(path)
    else:
        codec, sound = ("libx264", "aac") if suffix == "mkv" else ("libvpx", "libopus")
        wave = mf.chirp(4.0, 48_000)
        mf.encode(path, pictures(40), codec=codec, sound=wave, sound_codec=sound, sound_rate=48_000)
    assert isinstance(looked(path, decode=False), Facts)
    raw = path.read_bytes()
    for share in (0.9, 0.6):
        path.write_bytes(raw[: int(len(raw) * share)])
        for decode in (False, True):
            fault = looked(path, listen=False, decode=decode)
            assert isinstance(fault, Fault), (share, fault)
            assert fault.reason == "truncated", fault
            assert "within a packet" in fault.detail or any(word in fault.detail for word in ("of 4.0", "at byte"))


def test_the_figures_of_a_cut_off_mp4_are_those_of_its_table(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(clip)
    with av.open(str(path)) as container:
        ends = [entry.pos + entry.size for entry in container.streams.video[0].index_entries]
    path.write_bytes(clip[: ends[9] + 1])
    fault = looked(path, decode=False)
    assert fault == Fault(
        "truncated",
        f"10 of 16 stored frames are there: the file ends at byte {ends[9] + 1}, they at byte {max(ends)}",
    )


def test_an_mp4_whose_index_came_last_and_is_lost_is_cut_off(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "a.mp4", pictures(40))
    raw = path.read_bytes()
    assert raw.index(b"mdat") < raw.index(b"moov")
    path.write_bytes(raw[: raw.index(b"moov") // 2])
    fault = looked(path, decode=False)
    assert isinstance(fault, Fault)
    assert fault.reason == "truncated"
    assert f"it ends at byte {raw.index(b'moov') // 2} of {raw.index(b'moov') - 4} or more" in fault.detail


def test_an_mkv_that_lost_only_its_index_is_used(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "a.mkv", pictures(40))
    raw = path.read_bytes()
    cues = raw.rindex(b"\x1c\x53\xbb\x6b")
    assert cues > len(raw) // 2
    path.write_bytes(raw[: cues + 4])
    facts = looked(path)
    assert isinstance(facts, Facts)
    assert facts.frames == 40


def test_the_sound_apart_may_be_cut_off_too(tmp_path: Path, clip: bytes) -> None:
    write_clip(tmp_path / "mute.mp4", pictures(8), 8.0)
    sound = mf.encode(tmp_path / "a.m4a", None, sound=mf.chirp(2.0), container={"movflags": "+faststart"})
    assert isinstance(looked(tmp_path / "mute.mp4", audio=str(sound)), Facts)
    sound.write_bytes(sound.read_bytes()[:-2000])
    fault = looked(tmp_path / "mute.mp4", audio=str(sound), listen=False, decode=False)
    assert isinstance(fault, Fault)
    assert fault.reason == "truncated"
    assert fault.detail.startswith("the sound's file: ")
    assert "packets of sound are there" in fault.detail


@pytest.mark.parametrize("suffix", ["mp4", "mov"])
def test_a_clip_cut_without_re_encoding_is_whole_and_its_note_says_what_is_shown(tmp_path: Path, suffix: str) -> None:
    source = mf.encode(tmp_path / "source.mp4", pictures(100), fps=25, gop=50, bframes=2, sound=mf.chirp(4.0))
    path = mf.cut(source, tmp_path / f"cut.{suffix}", 1.3)
    for decode in (False, True):
        facts = looked(path, decode=decode)
        assert isinstance(facts, Facts), facts
        assert (facts.frames, facts.fps) == (67, 25.0)
        assert facts.note == "shows 67 of 100 stored frames: an edit list hides 33"
    clips = [Candidate("cut", path, "dog", "train", note="from a list")]
    outcome = select(Listing(clips, ["dog"]), {"cut": facts}, Check(), tmp_path, missing_is_bad=False)
    assert [(row.frames, row.note) for row in outcome.rows] == [
        (67, "from a list; shows 67 of 100 stored frames: an edit list hides 33")
    ]


def test_a_file_of_which_nothing_can_be_decoded_is_no_truncated_one(tmp_path: Path) -> None:
    source = mf.encode(tmp_path / "source.mp4", pictures(40), gop=100, bframes=0)
    path = mf.cut(source, tmp_path / "cut.mp4", 1.3, first=13)
    fault = looked(path)
    assert isinstance(fault, Fault)
    assert fault.reason == "undecodable"


def test_a_live_recording_is_used_with_its_true_length(tmp_path: Path) -> None:
    path = mf.live_webm(tmp_path / "live.webm", pictures(45), fps=15)
    for decode in (False, True):
        facts = looked(path, decode=decode)
        assert isinstance(facts, Facts), facts
        assert (facts.frames, facts.note) == (45, "")
        assert facts.duration == pytest.approx(3.0, abs=0.01)
        assert facts.fps == pytest.approx(15.0, rel=0.01)


def test_frames_of_varying_length_are_counted_by_decoding(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number, picture in enumerate(pictures(60)):
            if number % 3 == 0 or number > 50:
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    facts = looked(path)
    assert isinstance(facts, Facts)
    assert facts.frames == 26
    assert facts.fps == pytest.approx(26 / 2.4, rel=0.02)


def test_fingerprints_are_of_size_and_edges(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    content = bytearray(rng.integers(0, 255, 200_000, dtype=np.uint8).tobytes())
    for name, place in (("a", None), ("b", None), ("head", 5), ("tail", 199_990), ("middle", 100_000)):
        other = bytearray(content)
        if place is not None:
            other[place] ^= 1
        (tmp_path / name).write_bytes(other)
    marks = {name: fingerprint(str(tmp_path / name), 200_000) for name in ("a", "b", "head", "tail", "middle")}
    assert marks["a"] == marks["b"] == marks["middle"]
    assert len({marks["a"], marks["head"], marks["tail"]}) == 3


# --- from answers to a manifest ---

GOOD = Facts(2.0, 8.0, 16, 64, 48, True, -20.0, "mark")


def facts(mark: str, **changes: object) -> Facts:
    values = {name: getattr(GOOD, name) for name in Facts.__slots__} | {"fingerprint": mark} | changes
    return Facts(**values)


def test_each_reason_to_leave_a_clip_out(tmp_path: Path) -> None:
    for name in ("good", "copy", "other"):
        (tmp_path / name).write_bytes(b"same" if name != "other" else b"else")
    clips = [
        Candidate("good", tmp_path / "good", "dog", "test"),
        Candidate("copy", tmp_path / "copy", "dog", "train"),
        Candidate("suspect", tmp_path / "other", "dog", "train"),
        Candidate("good", tmp_path / "twice", "cat", "train"),
        Candidate("mute", tmp_path / "mute", "dog", "train"),
        Candidate("quiet", tmp_path / "quiet", "dog", "train"),
        Candidate("long", tmp_path / "long", "dog", "train", seconds=10.0),
        Candidate("short", tmp_path / "short", "dog", "train", seconds=60.0),
        Candidate("gone", tmp_path / "gone", "dog", "train"),
        Candidate("broken", tmp_path / "broken", "dog", "train"),
    ]
    answers: dict[str, Facts | Fault] = {
        "good": facts("1"),
        "copy": facts("1"),
        "suspect": facts("1"),
        "mute": facts("2", sound=False, loudness=None),
        "quiet": facts("3", loudness=-60.5),
        "long": facts("4", duration=12.5),
        "short": facts("5"),
        "gone": Fault("missing", "gone"),
        "broken": Fault("corrupt", "after frame 3"),
    }
    listing = Listing(clips, ["cat", "dog"], [LeftOut("listed", "", "missing", "train, dog")])
    outcome = select(listing, answers, Check(drop_silent=True), tmp_path, missing_is_bad=False)
    assert [(row.id, row.split, row.path, row.audio) for row in outcome.rows] == [
        ("suspect", "train", "other", "other"),
        ("good", "test", "good", "good"),
    ]
    assert {(entry.id, entry.reason) for entry in outcome.left_out} == {
        ("copy", "duplicate_file"),
        ("good", "duplicate_id"),
        ("mute", "no_audio"),
        ("quiet", "silent"),
        ("long", "wrong_length"),
        ("short", "wrong_length"),
        ("gone", "missing"),
        ("broken", "corrupt"),
        ("listed", "missing"),
    }
    text = quarantine_csv(outcome.left_out)
    assert "-60.5 dBFS, under -60 dBFS" in text
    assert outcome.bad == 3
    assert select(listing, answers, Check(), tmp_path, missing_is_bad=True).bad == 5
    louder = select(listing, answers, Check(drop_silent=True, silence_dbfs=-70), tmp_path, missing_is_bad=False)
    assert "quiet" in {row.id for row in louder.rows}


def test_splits_are_drawn_among_the_clips_that_can_be_used(tmp_path: Path) -> None:
    """Of four dogs two are broken: whichever they are, the others are one for training and one for the test."""
    shares = (("train", 0.7), ("val", 0.1), ("test", 0.2))
    dogs = [Candidate(f"dog{number}", tmp_path / f"dog{number}", "dog", "") for number in range(4)]
    listing = Listing([*dogs, Candidate("none", tmp_path / "none", "", "train")], ["dog"], shares=shares)
    for broken in combinations(range(4), 2):
        answers: dict[str, Facts | Fault] = {
            clip.id: Fault("corrupt", "") if number in broken else facts(clip.id)
            for number, clip in enumerate(listing.candidates)
        }
        rows = select(listing, answers, Check(), tmp_path, missing_is_bad=False).rows
        assert [row.split for row in rows if row.label] == ["train", "test"]
        assert [row.split for row in rows if not row.label] == ["train"]


def test_the_draw_counts_the_splits_that_a_list_gives(tmp_path: Path) -> None:
    shares = (("train", 0.7), ("val", 0.1), ("test", 0.2))
    splits = ["test", "test", *[""] * 8]
    clips = [Candidate(str(place), tmp_path / str(place), "dog", split) for place, split in enumerate(splits)]
    listing = Listing(clips, ["dog"], shares=shares)
    rows = select(listing, {clip.id: facts(clip.id) for clip in clips}, Check(), tmp_path, missing_is_bad=False).rows
    assert Counter(row.split for row in rows) == {"train": 7, "val": 1, "test": 2}
    assert [row.id for row in rows if row.split == "test"] == ["0", "1"]


def test_clips_that_were_never_looked_at_are_an_error(tmp_path: Path) -> None:
    listing = Listing([Candidate("new", tmp_path / "new", "dog", "train")], ["dog"])
    with pytest.raises(DataError, match="1 clips were never looked at, the first is new"):
        select(listing, {}, Check(), tmp_path, missing_is_bad=False)
