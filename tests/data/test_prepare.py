"""From files to a manifest: what is found in them, killed and resumed runs, shards, and the cache."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from asgmcli.data import prepare as module
from asgmcli.data.cache import cache_all, cache_task, estimate, see_room
from asgmcli.data.datasets.listing import Candidate, LeftOut, Listing
from asgmcli.data.journal import Journal
from asgmcli.data.manifest import Row
from asgmcli.data.prepare import Check, Outcome, judge, look, quarantine_csv
from asgmcli.data.verify import Facts, Fault, Task, examine, fingerprint
from asgmcli.errors import DataError
from asgmcli.media.audio import read_audio
from asgmcli.media.video import decode_video
from asgmcli.media.write import write_clip

TONE = 0.1 * np.sin(np.arange(32_000) / 5).astype(np.float32)


def pictures(frames: int, seed: int = 0, height: int = 48, width: int = 64) -> np.ndarray:
    """Smooth moving pictures, different for each seed."""
    rng = np.random.default_rng(seed)
    y, x, t = np.mgrid[0:height, 0:width, 0:frames]
    # Slow in space: halved chroma must not blur what tests compare.
    waves = [np.sin(x * a / width + y * b / height + t * c) for a, b, c in rng.uniform(1, 6, (3, 3)) / (1, 1, 20)]
    return ((np.stack(waves, -1) + 1) * 127).astype(np.uint8).transpose(2, 0, 1, 3)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_clip(path, pictures(16), 8.0, TONE)
    return path.read_bytes()


def distinct(clip: bytes, number: int) -> bytes:
    """The same clip in other bytes: an mp4 box that players pass over stands at its end."""
    return clip + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big")


def looked(path: Path, listen: bool = True, decode: bool = True, audio: str = "") -> Facts | Fault:
    return examine(Task("x", str(path), audio, listen, decode))


def xvid(path: Path, frames: int = 40) -> None:
    """An AVI as UCF-101 holds them: MPEG-4 part 2 with B-frames and mp3."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.codec_context.max_b_frames = 2
        audio = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        for picture in pictures(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode(None))
        wave = (0.1 * np.sin(np.arange(int(44_100 * frames / 25)) / 9)).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
        frame.sample_rate = 44_100
        container.mux(audio.encode(frame))
        container.mux(audio.encode(None))


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


# --- processes that die, runs that are killed ---


def dangerous(task: Task) -> Facts:
    if task.id == "hang":
        time.sleep(600)
    if task.id == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    return facts(task.id)


def test_a_file_that_hangs_or_crashes_its_reader_is_left_out_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "examine", dangerous)
    clips = [Candidate(name, tmp_path / name, "dog", "train") for name in ("a", "hang", "b", "crash", "c")]
    calls: list[tuple[int, int]] = []
    answers = look(tmp_path, clips, Check(limit_s=0.5), 2, lambda done, total: calls.append((done, total)))
    assert {name: answer for name, answer in answers.items() if isinstance(answer, Fault)} == {
        "hang": Fault("timeout", "no answer within 0.5 s"),
        "crash": Fault("crash", "the process reading it died (signal SIGSEGV)"),
    }
    assert set(answers) == {"a", "b", "c", "hang", "crash"}
    assert calls == [(number, 5) for number in range(6)]
    monkeypatch.setattr(module, "examine", examine)
    again = look(tmp_path, clips, Check(limit_s=30), 1)
    assert {name: again[name] for name in "abc"} == {name: answers[name] for name in "abc"}
    assert {again["hang"].reason, again["crash"].reason} == {"missing"}  # type: ignore[union-attr]


def test_a_journal_with_a_torn_line_goes_on(tmp_path: Path) -> None:
    with Journal(tmp_path, "files") as journal:
        journal.add("1", GOOD)
        journal.add("2", Fault("corrupt", "x"))
        journal.add("3", Fault("timeout", "x"))
    path = tmp_path / ".prepare/files.jsonl"
    path.write_bytes(path.read_bytes()[:-8])
    with Journal(tmp_path, "files") as journal:
        assert journal.known == {"1": GOOD}
        journal.add("2", Fault("empty", "y"))
    with Journal(tmp_path, "files") as journal:
        assert journal.known == {"1": GOOD, "2": Fault("empty", "y")}


def test_a_changed_file_is_looked_at_again(tmp_path: Path, clip: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"")
    clips = [Candidate("a", path, "dog", "train")]
    assert look(tmp_path, clips, Check(), 1)["a"].reason == "empty"  # type: ignore[union-attr]
    path.write_bytes(clip)
    assert isinstance(look(tmp_path, clips, Check(), 1)["a"], Facts)


def start(*arguments: object) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "asgmcli", "prepare", *map(str, arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def run(*arguments: object) -> str:
    process = start(*arguments)
    text = process.communicate()[0].decode()
    assert process.returncode == 0, text
    return text


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory, clip: bytes) -> Path:
    """120 clips in three classes, two of them broken."""
    root = tmp_path_factory.mktemp("tree")
    for number in range(120):
        folder = root / f"class{number % 3}"
        folder.mkdir(exist_ok=True)
        content = b"broken" if number in (7, 70) else distinct(clip, number)
        (folder / f"clip{number:03d}.mp4").write_bytes(content)
    return root


@pytest.fixture(scope="module")
def straight(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one uninterrupted run makes of the tree."""
    out = tmp_path_factory.mktemp("straight")
    run("folder", "--root", tree, "--out", out, "--workers", 2, "--verify")
    return out


OUTPUTS = ("manifest.csv", "quarantine.csv", "classes.txt", "summary.json")


def same(one: Path, other: Path) -> None:
    for name in OUTPUTS:
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(("how", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_killed_run_goes_on_to_the_same_bytes(
    tree: Path, straight: Path, tmp_path: Path, how: signal.Signals, code: int
) -> None:
    arguments = ("folder", "--root", tree, "--out", tmp_path, "--workers", 1, "--verify")
    process = start(*arguments)
    journal = tmp_path / ".prepare/files.jsonl"
    limit = time.monotonic() + 60
    while time.monotonic() < limit and (not journal.exists() or journal.read_bytes().count(b"\n") < 3):
        time.sleep(0.005)
    process.send_signal(how)
    text = process.communicate()[0].decode()
    assert process.returncode == code, text
    assert "Traceback" not in text
    before = journal.read_bytes().count(b"\n")
    assert 3 <= before < 120
    assert not (tmp_path / "manifest.csv").exists()
    run(*arguments)
    same(tmp_path, straight)
    assert journal.read_bytes().count(b"\n") <= 121, "files were looked at twice"


def test_shards_merge_to_the_same_bytes(
    tree: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("folder", "--root", tree, "--out", tmp_path, "--workers", 1, "--verify")
    process = start(*arguments, "--merge")
    assert b"No shards" in process.communicate()[0]
    assert process.returncode == 3
    run(*arguments, "--shard", "3/3")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "10")
    monkeypatch.setenv("SLURM_ARRAY_TASK_STEP", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "10")
    assert "Shard 1 of 3" in run(*arguments)
    assert not (tmp_path / "manifest.csv").exists()
    process = start(*arguments, "--merge")
    assert b"Shards missing of 3: 2." in process.communicate()[0]
    assert process.returncode == 3
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "15")
    run(*arguments)
    process = start(*arguments[:-1], "--merge")
    assert b"made with other settings" in process.communicate()[0]
    run(*arguments, "--merge")
    same(tmp_path, straight)
    parts = [len(path.read_text().splitlines()) - 1 for path in sorted((tmp_path / ".prepare").glob("shard-*-of-*"))]
    assert sum(parts) == 120
    assert min(parts) > 20


# --- the cache ---


def make_row(path: Path, **changes: object) -> Row:
    found = examine(Task("x", str(path), "", False, True))
    assert isinstance(found, Facts)
    values = (path.name, str(path), "dog", "train", found.duration, found.fps, found.frames, found.width, found.height)
    return Row(*values, audio=str(path) if found.sound else "", note="")


def test_the_cache_holds_the_same_frames_and_sound_ready_to_read(tmp_path: Path) -> None:
    write_clip(tmp_path / "large.mp4", pictures(20, 1, 360, 480), 10.0, TONE)
    write_clip(tmp_path / "small.mp4", pictures(12, 2, 96, 128), 8.0)
    xvid(tmp_path / "old.avi")
    rows = [make_row(tmp_path / name) for name in ("large.mp4", "small.mp4", "old.avi")]
    folder, out = tmp_path / "cache", tmp_path
    todo, size = estimate(folder, Outcome(rows, [], 0, 3), out)
    assert todo == 3
    assert size > 0
    assert "3 clips to copy" in see_room(folder, todo, size)
    with pytest.raises(DataError, match="Make room"):
        see_room(folder, 3, 10**18)
    outcome = cache_all(folder, Outcome(rows, [], 0, 3), out, 1, 60.0)
    assert outcome.left_out == []
    large, small, old = outcome.rows
    # 480 x 256 / 360 is 341.3; h264 wants even sides.
    assert (large.width, large.height, large.frames, large.fps) == (342, 256, 20, 10.0)
    assert (small.width, small.height, small.audio) == (128, 96, "")
    assert old.frames == 40
    for row, source in zip(outcome.rows, rows, strict=True):
        copy, _ = decode_video(out / row.path)
        original, _ = decode_video(source.path, short_side=256)
        width = min(copy.shape[2], original.shape[2])
        copy, original = copy[:, :, :width].astype(int), original[:, :, :width].astype(int)
        error, shifted = np.abs(copy - original).mean(), np.abs(copy[1:] - original[:-1]).mean()
        assert error < min(6, 0.7 * shifted), (row.id, error, shifted)
        with av.open(str(out / row.path)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
            keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
            assert max(np.diff([*keys, len(packets)])) <= 8
            assert not container.streams.video[0].codec_context.has_b_frames
    sound = np.load(out / large.audio)
    assert sound.dtype == np.int16
    assert np.abs(read_audio(out / large.audio) - read_audio(rows[0].path)).max() <= 0.5001 / 32768


def test_the_cache_is_written_once_and_again_for_a_changed_file(tmp_path: Path, clip: bytes) -> None:
    path, folder = tmp_path / "a.mp4", tmp_path / "cache"
    path.write_bytes(clip)
    row = make_row(path)
    first = cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0).rows[0]
    stamp = (tmp_path / first.path).stat().st_mtime_ns
    assert estimate(folder, Outcome([row], [], 0, 1), tmp_path)[0] == 0
    again = cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0).rows[0]
    assert again == first
    assert (tmp_path / first.path).stat().st_mtime_ns == stamp
    path.write_bytes(distinct(clip, 1))
    assert cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0).rows[0].path != first.path


def test_ids_do_not_lead_out_of_the_cache(tmp_path: Path) -> None:
    row = Row("../../etc/passwd", "/x.mp4", "", "train", 1, 8, 8, 8, 8, "", "")
    task = cache_task(tmp_path / "cache", row, tmp_path)
    assert Path(task.video).parent.parent == tmp_path / "cache"


def test_a_clip_that_cannot_be_copied_is_left_out_and_leaves_nothing_behind(tmp_path: Path, clip: bytes) -> None:
    path, folder = tmp_path / "a.mp4", tmp_path / "cache"
    path.write_bytes(clip)
    row = make_row(path)
    path.write_bytes(clip[: int(len(clip) * 0.7)])
    outcome = cache_all(folder, Outcome([row], [], 0, 1), tmp_path, 1, 60.0)
    assert outcome.rows == []
    assert outcome.bad == 1
    assert [entry.reason for entry in outcome.left_out] == ["cache_failed"]
    assert not list(folder.rglob("*.mp4"))
    assert not list(folder.rglob("*.part"))


def test_the_command_writes_a_manifest_of_the_cache(tmp_path: Path, clip: bytes) -> None:
    root = tmp_path / "raw/dog"
    root.mkdir(parents=True)
    for number in range(3):
        (root / f"{number}.mp4").write_bytes(distinct(clip, number))
    (root / "cut.mp4").write_bytes(clip[: int(len(clip) * 0.7)])
    out = tmp_path / "out"
    text = run(
        "folder", "--root", tmp_path / "raw", "--out", out, "--workers", 1, "--cache", out / "cache", "--max-bad", 0.3
    )
    assert "3 clips to copy" in text
    lines = (out / "manifest.csv").read_text().splitlines()
    assert len(lines) == 4
    assert all(",cache/" in line and ".npy," in line for line in lines[1:])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["settings"]["verify"]
    assert summary["left_out"] == {"truncated": 1}
