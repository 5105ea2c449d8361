"""The demo data set: what is written, and what happens when it is made again."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from click import ClickException
from PIL import Image

from asgmcli.data.boxes import read_boxes as boxes_of
from asgmcli.data.manifest import check_files, read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.errors import UsageError
from asgmcli.synthetic import demo
from asgmcli.synthetic.casts import SHUFFLED, UNBIASED, VAL_SHUFFLED, source_of
from asgmcli.synthetic.demo import DemoSettings, clip_sound, clip_stage, source_boxes
from asgmcli.synthetic.kinds import KINDS
from asgmcli.synthetic.things import render_frames

SMALL = {"train": 20, "val": 10, "test": 10}
SETTINGS = DemoSettings(**SMALL)


@pytest.fixture(autouse=True)
def _without_preview(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("pictures") is None:
        monkeypatch.setattr(demo, "draw_preview", lambda path, *_: path.write_bytes(b"blank"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "set"
    seen: list[tuple[int, int]] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "draw_preview", lambda path, *_: path.write_bytes(b"blank"))
        demo.generate(out, **SMALL, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 40) for number in range(1, 41)]
    return out


def test_what_is_heard_and_seen_lasts_as_long_as_the_frames() -> None:
    settings = DemoSettings(seconds=1.1, fps=8.0)
    assert len(settings.times) == 9
    stage = clip_stage(settings, "train", 0)
    assert {span.end for span in stage.clip.segments()} == {9 / 8}
    assert len(clip_sound(settings, "train", 0, stage)) == 18_000


def digest(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def decode(path: Path) -> tuple[np.ndarray, np.ndarray]:
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    with av.open(str(path)) as container:
        sound = np.concatenate([frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)])
    return frames, sound


def test_everything_is_written_and_agrees(made: Path) -> None:
    names = {path.name for path in made.iterdir()}
    assert names == {
        "boxes.csv", "classes.txt", "clips", "manifest.csv", "preview.png", "quarantine.csv", "segments.csv",
        "settings.json", "summary.json",
    }  # fmt: skip
    manifest = read_manifest(made)
    check_files(manifest, manifest.rows)
    assert manifest.classes == [kind.name for kind in KINDS]
    assert Counter(row.split for row in manifest.rows) == SMALL
    assert json.loads((made / "summary.json").read_text())["counts"]["train"] == dict.fromkeys(manifest.classes, 2)
    for row, (split, index) in zip(manifest.rows, SETTINGS.clips, strict=True):
        clip = clip_stage(SETTINGS, split, index).clip
        assert row.label == KINDS[source_of(0, split, index)].name
        assert (row.duration, row.fps, row.frames, row.width, row.height) == (2.0, 8.0, 16, 64, 64)
        assert row.note.split() == [one.kind for one in clip.things if one.visible and not one.sounding]


def test_clips_hold_what_was_drawn(made: Path) -> None:
    for split, index in SETTINGS.clips[::13]:
        stage = clip_stage(SETTINGS, split, index)
        frames, sound = decode(made / f"clips/{split}/{split}_{index:05d}.mp4")
        drawn = render_frames(stage, SETTINGS.times, 64).astype(int)
        assert frames.shape == drawn.shape
        # h264 at this quality, with colours at half the resolution, is off by a few of 255 levels.
        assert np.abs(frames.astype(int) - drawn).mean() < 9
        assert np.abs(frames[1:].astype(int) - drawn[:-1]).mean() > np.abs(frames[1:].astype(int) - drawn[1:]).mean()
        wave = clip_sound(SETTINGS, split, index, stage)
        assert len(sound) >= len(wave)
        assert np.corrcoef(sound[: len(wave)], wave)[0, 1] > 0.95


def test_boxes_and_segments_are_those_of_the_things(made: Path) -> None:
    manifest = read_manifest(made)
    found, events = boxes_of(manifest), read_segments(manifest)
    for split, index in SETTINGS.clips[::7]:
        name = f"{split}_{index:05d}"
        stage = clip_stage(SETTINGS, split, index)
        corners = np.concatenate([found[name][frame].corners for frame in range(16)])
        np.testing.assert_allclose(corners * 64, source_boxes(stage, SETTINGS))
        assert sorted(events[name], key=str) == sorted(stage.clip.segments(), key=str)


@pytest.mark.long
def test_same_settings_give_the_same_bytes_on_any_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        demo.generate(tmp_path / str(workers), train=4, val=1, test=0, size=32, workers=workers)
    assert digest(tmp_path / "1") == digest(tmp_path / "2")


def test_a_finished_set_is_left_alone_and_a_broken_off_one_is_finished(tmp_path: Path) -> None:
    out = tmp_path / "set"
    options = {"train": 6, "val": 0, "test": 0, "size": 32, "workers": 1}
    demo.generate(out, **options)
    before = digest(out)
    calls: list[int] = []
    demo.generate(out, **options, progress=lambda done, total: calls.append(done))
    assert calls == []
    kept = out / "clips/train/train_00002.mp4"
    stamp = kept.stat().st_mtime_ns
    for name in ("summary.json", "manifest.csv", "boxes.csv", "clips/train/train_00003.mp4"):
        (out / name).unlink()
    demo.generate(out, **options)
    assert digest(out) == before
    assert kept.stat().st_mtime_ns == stamp


def test_a_set_of_the_former_world_is_refused(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"train": 2, "val": 0, "test": 0, "seed": 0, "size": 64}))
    with pytest.raises(UsageError, match=r"world None there, stickers now.*--overwrite"):
        demo.generate(tmp_path, train=2, val=0, test=0, workers=1)


def test_companions_bring_splits_to_compare_with_and_unlabelled_clips(tmp_path: Path) -> None:
    out = tmp_path / "set"
    demo.generate(out, train=4, val=1, test=2, unbiased=3, companions=1.0, size=32, workers=1)
    manifest = read_manifest(out)
    splits = {"train": 4, "val": 1, "test": 2, SHUFFLED: 2, VAL_SHUFFLED: 1, UNBIASED: 3}
    assert Counter(row.split for row in manifest.rows) == splits
    assert all((row.label == "") == (row.split == UNBIASED) for row in manifest.rows)
    friends = {KINDS[n].name: KINDS[(n + 2) % 10].name for n in range(10)}
    for row in manifest.rows:
        if row.split in ("train", "val", "test"):
            assert friends[row.label] in row.note.split()
    with (out / "boxes.csv").open() as file:
        assert {line["id"] for line in csv.DictReader(file)} == {row.id for row in manifest.rows}


def test_a_folder_is_named_by_what_is_in_it() -> None:
    assert demo.folder({}) == "demo"
    assert demo.folder({"seed": 3, "train": 5}) == "demo_seed3"
    assert demo.folder({"seed": 0, "companions": 0.9}) == "demo_companions0.9"
    assert demo.size({"companions": 0.5}).clips[UNBIASED] == 600
    assert DemoSettings(companions=0.5).content() == DemoSettings(companions=0.5, unbiased=600).content()
    assert demo.size({}).clips == {"train": 1000, "val": 200, "test": 400}
    assert demo.size({}).boxes


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"size": 65}, "size = 65"),
        ({"companions": 1.5}, "companions = 1.5"),
        ({"unbiased": 5}, "unbiased = 5 goes with companions"),
        ({"fps": 0.0}, "fewer than 2 frames"),
        ({"seconds": 1e6}, "more than 10000 frames"),
        ({"train": 0, "val": 0, "test": 0}, "no split has a clip"),
    ],
)
def test_impossible_settings_are_named(tmp_path: Path, wrong: dict[str, int], said: str) -> None:
    with pytest.raises(ClickException, match=said):
        demo.generate(tmp_path / "set", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "set").exists()


@pytest.mark.pictures
def test_the_preview_shows_every_kind_that_there_is_and_is_the_same_every_time(tmp_path: Path) -> None:
    examples = demo._examples(DemoSettings(train=10, val=0, test=0), demo.GENERATED)
    assert [example.kind for example in examples] == list(KINDS)
    for name in ("one.png", "two.png"):
        demo.draw_preview(tmp_path / name, KINDS, examples, 64, 0.9)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    demo.draw_preview(tmp_path / "few.png", KINDS, examples[:3], 64, None)
    full, few = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("one.png", "few.png"))
    assert full.shape == few.shape
    rows = np.abs(full - few).max(axis=(1, 2)) > 60
    assert rows[few.shape[0] // 2 :].any()  # what is missing lies below
    assert not (np.abs(full - few)[150:240, :700].max(axis=2) > 60).any()
