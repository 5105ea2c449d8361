"""From files to a manifest: what is found in them, and what of them is left out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from asgmcli.errors import DataError
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets.listing import Candidate, LeftOut, Listing
from asgmcli.prepare.judge import Check, judge, quarantine_csv
from asgmcli.prepare.verify import Facts, Fault, fingerprint
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


def test_only_decoding_finds_what_is_cut_or_damaged(tmp_path: Path, clip: bytes) -> None:
    cut, damaged, avi = tmp_path / "cut.mp4", tmp_path / "damaged.mp4", tmp_path / "cut.avi"
    write_clip(damaged, pictures(40, 3, 96, 128), 8.0)
    raw = bytearray(damaged.read_bytes())
    raw[len(raw) // 2 : len(raw) // 2 + 300] = bytes(300)
    damaged.write_bytes(raw)
    cut.write_bytes(clip[: int(len(clip) * 0.7)])
    xvid(avi)
    whole = looked(avi)
    assert isinstance(whole, Facts)
    assert (whole.frames, whole.fps) == (40, 25.0)
    avi.write_bytes(avi.read_bytes()[: int(avi.stat().st_size * 0.6)])
    for path, reason in ((cut, "truncated"), (damaged, "corrupt"), (avi, "truncated")):
        assert isinstance(looked(path, listen=False, decode=False), Facts)
        fault = looked(path)
        assert isinstance(fault, Fault)
        assert fault.reason == reason, (path, fault)


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
    outcome = judge(listing, answers, Check(drop_silent=True), tmp_path, missing_is_bad=False)
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
    assert judge(listing, answers, Check(), tmp_path, missing_is_bad=True).bad == 5
    louder = judge(listing, answers, Check(drop_silent=True, silence_dbfs=-70), tmp_path, missing_is_bad=False)
    assert "quiet" in {row.id for row in louder.rows}


def test_clips_that_were_never_looked_at_are_an_error(tmp_path: Path) -> None:
    listing = Listing([Candidate("new", tmp_path / "new", "dog", "train")], ["dog"])
    with pytest.raises(DataError, match="1 clips were never looked at, the first is new"):
        judge(listing, {}, Check(), tmp_path, missing_is_bad=False)
