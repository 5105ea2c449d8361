"""Clips with events: what is drawn, written and told of them, on any number of workers."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from asgmcli.data.manifest import check_files, read_manifest
from asgmcli.data.segments import read_segments, spans_to_labels
from asgmcli.errors import UsageError
from asgmcli.media.audio import read_audio
from asgmcli.media.video import read_clip
from asgmcli.synthetic import demo_events, demo_parsing
from asgmcli.synthetic.event_sets import EventSettings, World, render_clip
from asgmcli.synthetic.event_worlds import EVENTS_CLASSES, PARSING_CLASSES, events_content, parsing_content
from asgmcli.synthetic.events import Content, Stage, Thing, draw_stage, random_of, render_frames, render_sound
from tests.synthetic.test_demo import digest

SMALL = {"train": 6, "val": 2, "test": 2}


@pytest.fixture(scope="module", params=["demo_events", pytest.param("demo_parsing", marks=pytest.mark.long)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    module = {"demo_events": demo_events, "demo_parsing": demo_parsing}[request.param]
    out = tmp_path_factory.mktemp(request.param) / "set"
    seen: list[tuple[int, int]] = []
    module.generate(out, **SMALL, workers=1, progress=lambda done, total: seen.append((done, total)))
    assert seen[:10] == [(number, 10) for number in range(1, 11)]
    return module.WORLD, out


def test_the_manifest_lists_the_clips_and_segments_their_events(made: tuple[World, Path]) -> None:
    world, out = made
    manifest = read_manifest(out)
    check_files(manifest, manifest.rows)
    assert manifest.classes == list(world.classes)
    assert Counter(row.split for row in manifest.rows) == SMALL
    events = read_segments(manifest)
    for row in manifest.rows:
        split, _, index = row.id.partition("_")
        content = world.content(0, split, int(index))
        want = sorted(world.spans(split, content), key=lambda span: (span.start, span.end))
        assert events[row.id] == want
        assert (row.frames, row.fps, row.duration, row.width, row.height) == (40, 4.0, 10.0, 48, 48)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["manifest_sha256"] == manifest.sha256
    assert summary["counts"]["train"].keys() == set(world.classes)


def test_a_clip_decodes_to_what_was_rendered(made: tuple[World, Path]) -> None:
    world, out = made
    manifest = read_manifest(out)
    row = manifest.of_split("val")[1]
    clip = render_clip(world, EventSettings(**SMALL), "val", 1)
    frames = read_clip(manifest.resolve(row), range(40))
    assert np.abs(frames.astype(float) - clip.frames).mean() < 8
    sound = read_audio(manifest.resolve(row), 16_000, 0.0, 10.0)
    assert np.corrcoef(sound, clip.sound)[0, 1] > 0.9


def test_a_finished_set_is_left_and_other_settings_are_refused(made: tuple[World, Path]) -> None:
    world, out = made
    module = {"demo_events": demo_events, "demo_parsing": demo_parsing}[world.name]
    before = digest(out)
    module.generate(out, **SMALL, workers=1)
    assert digest(out) == before
    with pytest.raises(UsageError, match="seed 0 there, 1 now"):
        module.generate(out, **SMALL, seed=1, workers=1)


@pytest.mark.long
@pytest.mark.parametrize("module", [demo_events, demo_parsing])
def test_an_interrupted_set_made_by_two_workers_is_the_same(tmp_path: Path, module: object) -> None:
    for name in ("one", "two"):
        workers = 1 if name == "one" else 2
        if name == "two":  # interrupted: its settings and a clip are there

            class StopError(Exception):
                pass

            def stop(done: int, _: int) -> None:
                if done == 2:
                    raise StopError

            with pytest.raises(StopError):
                module.generate(tmp_path / name, **SMALL, workers=1, progress=stop)  # type: ignore[attr-defined]
        module.generate(tmp_path / name, **SMALL, workers=workers)  # type: ignore[attr-defined]
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_parsing_draws_what_it_says() -> None:
    contents = [parsing_content(3, "train", index) for index in range(1500)]
    counts = [len(content.things) for content in contents]
    assert 1 <= min(counts) <= max(counts) <= 4
    assert 1.85 < np.mean(counts) < 2.05
    star = Counter(
        (bool(t.heard), bool(t.seen)) for c in contents for t in c.things if t.label == PARSING_CLASSES[0].name
    )
    other = Counter(
        (bool(t.heard), bool(t.seen)) for c in contents for t in c.things if t.label != PARSING_CLASSES[0].name
    )
    assert abs(star[True, False] / star.total() - 0.72) < 0.05
    assert abs(other[True, True] / other.total() - 0.70) < 0.04
    assert abs(other[False, True] / other.total() - 0.12) < 0.03
    for content in contents[:300]:
        for span in content.spans():
            assert 0 <= span.start < span.end <= 10


def test_neither_modality_alone_tells_an_event() -> None:
    """Each shape and each timbre has two classes; what disturbs an event makes no class with it."""
    pairs = {(entry.shape, entry.timbre): entry.name for entry in EVENTS_CLASSES}
    assert len(pairs) == len({entry.name for entry in EVENTS_CLASSES}) == 10
    assert set(Counter(entry.shape for entry in EVENTS_CLASSES).values()) == {2}
    assert set(Counter(entry.timbre for entry in EVENTS_CLASSES).values()) == {2}
    classes = list(demo_events.WORLD.classes)
    background, two = [], 0
    for index in range(600):
        content = events_content(0, "train", index)
        spans = content.joint_spans()
        assert spans
        two += len(spans) > 1
        background.append((spans_to_labels(spans, classes, 10) == 10).mean())
        truth = [set() for _ in range(10)]  # type: list[set[str]]
        for span in spans:
            for second in range(int(span.start), int(span.end)):
                truth[second].add(span.label)
        for second in range(10):
            shapes = {t.shape for t in content.things for a, b in t.seen if a <= second < b}
            timbres = {t.timbre for t in content.things for a, b in t.heard if a <= second < b}
            assert {name for pair, name in pairs.items() if pair[0] in shapes and pair[1] in timbres} == truth[second]
    assert 0.18 < np.mean(background) < 0.27
    assert 0.4 < two / 600 < 0.6


def test_a_sound_does_not_tell_its_shape_by_its_motion() -> None:
    """A sound follows its sprite's motion; each class has every motion about as often."""
    things = [thing for index in range(1000) for thing in events_content(0, "train", index).things if thing.label]
    counts = Counter((thing.label, thing.motion) for thing in things)
    assert len(counts) == 10 * 5
    expected = len(things) / 50
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 90  # chi-square, 49: p < 0.001


def test_a_thing_shows_and_sounds_in_its_seconds_alone() -> None:
    thing = Thing("star", "bounce", "bell", seen=((2, 4),), heard=((6, 8),), label="star-bell")
    content = Content((thing,), faint=(3,), covered=(9,))
    stage = draw_stage(random_of(0, "train", 0, 2), content)
    still = Stage(stage.background, stage.actors)
    frames = render_frames(content, still, 48, 4.0).astype(int)
    nothing = render_frames(Content(()), Stage(stage.background, ()), 48, 4.0).astype(int)
    change = np.abs(frames - nothing).sum(axis=(1, 2, 3)).reshape(10, 4).mean(axis=1)
    assert (change > 0).tolist() == [second in (2, 3) for second in range(10)]
    assert change[3] < 0.4 * change[2]
    sound = render_sound(random_of(0, "train", 0, 3), content, stage).reshape(10, -1)
    power = np.square(sound).mean(axis=1)
    assert set(np.argsort(power)[-3:]) == {6, 7, 9}
    assert power[[6, 7]].min() > 4 * power[:6].max()


def test_impossible_settings_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"seed = -1 .*size = 33 .*fps = 0"):
        demo_parsing.generate(tmp_path / "x", train=1, val=0, test=0, seed=-1, size=33, fps=0.5)
    with pytest.raises(UsageError, match="no split has a clip"):
        demo_events.generate(tmp_path / "x", train=0, val=0, test=0)
    assert demo_parsing.size({"train": 7}).clips == {"train": 7, "val": 250, "test": 500}
    assert demo_events.size({}).classes == 11
