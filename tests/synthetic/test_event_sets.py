"""Clips with events: what is drawn, written and told of them, on any number of workers."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from asgmcli.data.manifest import check_files, read_manifest
from asgmcli.data.segments import read_segments, spans_to_labels
from asgmcli.errors import DataError, UsageError
from asgmcli.media.audio import read_audio
from asgmcli.media.video import read_clip
from asgmcli.recipe.events import EventData
from asgmcli.runs.generated import ensure_prepared
from asgmcli.synthetic import demo_events, demo_parsing
from asgmcli.synthetic.event_casts import (
    EVENT_CLASSES,
    PAIRS,
    PARSING_KINDS,
    events_cast,
    joint_spans,
    parsing_cast,
    random_of,
)
from asgmcli.synthetic.event_sets import EventSettings, World, render_clip
from asgmcli.synthetic.kinds import KINDS
from asgmcli.synthetic.things import Clip, Stage, draw_stage, render_frames, render_sound
from tests.synthetic.test_demo import digest

SMALL = {"train": 6, "val": 2, "test": 2}


def hurried(world: World) -> World:
    """The same world, but that the network of its features sees few stills."""
    if world.features is None:
        return world
    return replace(world, features=replace(world.features, learn=partial(demo_parsing.learn, stills=50, epochs=1)))


@pytest.fixture(scope="module", params=["demo_events", pytest.param("demo_parsing", marks=pytest.mark.long)])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    world = {"demo_events": demo_events.WORLD, "demo_parsing": demo_parsing.WORLD}[request.param]
    out = tmp_path_factory.mktemp(request.param) / "set"
    seen: list[tuple[int, int]] = []
    hurried(world).generate(out, **SMALL, workers=1, progress=lambda done, total: seen.append((done, total)))
    steps = 10 if world.features is None else 20  # a clip, then its features
    assert seen == [(number, steps) for number in range(1, steps + 1)]
    return world, out


def test_the_manifest_lists_the_clips_and_segments_their_events(made: tuple[World, Path]) -> None:
    world, out = made
    manifest = read_manifest(out)
    check_files(manifest, manifest.rows)
    assert manifest.classes == list(world.classes)
    assert Counter(row.split for row in manifest.rows) == SMALL
    events = read_segments(manifest)
    for row in manifest.rows:
        split, _, index = row.id.partition("_")
        clip = world.cast(0, split, int(index))
        want = sorted(world.spans(split, clip), key=lambda span: (span.start, span.end))
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


def test_a_set_of_the_former_generator_is_refused(
    made: tuple[World, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its settings lack the mark of the stickers' world."""
    world, out = made
    module = {"demo_events": demo_events, "demo_parsing": demo_parsing}[world.name]
    old = tmp_path / "data" / world.name
    old.mkdir(parents=True)
    for name in ("settings.json", "manifest.csv"):
        (old / name).write_bytes((out / name).read_bytes())
    settings = json.loads((old / "settings.json").read_text())
    assert settings.pop("world") == "stickers"
    (old / "settings.json").write_text(json.dumps(settings | {"version": 1}))
    with pytest.raises(UsageError, match=r"version 1 there, 3 now.*--overwrite"):
        module.generate(old, **SMALL, workers=1)
    monkeypatch.chdir(tmp_path)
    data = EventData(dataset=world.name)
    with pytest.raises(DataError, match=f"asgm prepare {world.name} --overwrite"):
        ensure_prepared(data, Console(quiet=True))
    (old / "settings.json").write_bytes((out / "settings.json").read_bytes())
    ensure_prepared(data, Console(quiet=True))


@pytest.mark.long
@pytest.mark.parametrize(("world", "stops"), [(demo_events.WORLD, (2,)), (demo_parsing.WORLD, (2, 13))])
def test_an_interrupted_set_made_by_two_workers_is_the_same(
    tmp_path: Path, world: World, stops: tuple[int, ...]
) -> None:
    """It stops among the clips, and among their features."""

    class StopError(Exception):
        pass

    quick = hurried(world)
    quick.generate(tmp_path / "one", **SMALL, workers=1)
    for last in stops:

        def stop(done: int, _: int, last: int = last) -> None:
            if done == last:
                raise StopError

        with pytest.raises(StopError):
            quick.generate(tmp_path / "two", **SMALL, workers=1, progress=stop)
    quick.generate(tmp_path / "two", **SMALL, workers=2)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")


def test_parsing_draws_what_it_says() -> None:
    clips = [parsing_cast(3, "train", index) for index in range(1500)]
    counts = [len(clip.things) for clip in clips]
    assert 1 <= min(counts) <= max(counts) <= 4
    assert 1.85 < np.mean(counts) < 2.05
    how = Counter(
        (thing.kind == "telephone", bool(thing.sounding), bool(thing.visible))
        for clip in clips
        for thing in clip.things
    )
    first, other = (sum(count for key, count in how.items() if key[0] is which) for which in (True, False))
    assert abs(how[True, True, False] / first - 0.72) < 0.05
    assert abs(how[False, True, True] / other - 0.70) < 0.04
    assert abs(how[False, False, True] / other - 0.12) < 0.03
    for clip in clips[:300]:
        for span in clip.segments():
            assert 0 <= span.start < span.end <= 10


def test_what_is_only_heard_has_a_name() -> None:
    """In demo_parsing each kind has a glyph and a timbre that no other has."""
    assert [kind.name for kind in PARSING_KINDS] == [kind.name for kind in KINDS]
    assert len({kind.glyph for kind in PARSING_KINDS}) == len({kind.timbre for kind in PARSING_KINDS}) == 10
    named = {kind.name: (kind.glyph, kind.timbre) for kind in PARSING_KINDS}
    for index in range(100):
        for thing in parsing_cast(0, "train", index).things:
            assert (thing.glyph, thing.timbre) == named[thing.kind]


def at(second: int, times: tuple[tuple[float, float], ...]) -> bool:
    return any(start <= second < end for start, end in times)


@pytest.mark.long
def test_neither_modality_alone_tells_an_event() -> None:
    """The best guess of a second from all that sounds, from all that shows, and from both, over 10,000 drawn clips."""
    assert len(PAIRS) == len({entry.name for entry in EVENT_CLASSES}) == 10
    assert set(Counter(entry.kind.name for entry in EVENT_CLASSES).values()) == {2}
    assert set(Counter(entry.timbre for entry in EVENT_CLASSES).values()) == {2}
    classes = list(demo_events.WORLD.classes)
    tables: dict[str, dict[object, Counter[int]]] = {name: defaultdict(Counter) for name in ("ear", "eye", "both")}
    names = {(entry.kind.glyph, entry.timbre): entry.name for entry in EVENT_CLASSES}
    two = 0
    for index in range(10_000):
        clip = events_cast(0, "train", index)
        spans = joint_spans(clip)
        assert spans
        two += len(spans) > 1
        labels = spans_to_labels(spans, classes, 10)
        for second, label in enumerate(labels):
            heard = frozenset(thing.timbre for thing in clip.things if at(second, thing.sounding))
            shown = frozenset(thing.glyph for thing in clip.things if at(second, thing.visible))
            made = [name for (glyph, timbre), name in names.items() if glyph in shown and timbre in heard]
            assert made == ([] if classes[label] == "background" else [classes[label]])
            for name, known in (("ear", heard), ("eye", shown), ("both", (heard, shown))):
                tables[name][known][int(label)] += 1
    best = {name: sum(max(c.values()) for c in table.values()) / 100_000 for name, table in tables.items()}
    assert 0.40 < best["ear"] < 0.43
    assert 0.38 < best["eye"] < 0.41
    assert best["both"] == 1
    assert 0.22 < sum(c[10] for c in tables["both"].values()) / 100_000 < 0.26
    assert 0.48 < two / 10_000 < 0.53


def test_a_sound_does_not_tell_its_glyph_by_its_motion() -> None:
    """A sound follows its thing's motion; each class has every motion about as often."""
    things = [thing for index in range(1000) for thing in events_cast(0, "train", index).things if "-" in thing.kind]
    counts = Counter((thing.kind, thing.motion) for thing in things)
    assert len(counts) == 10 * 6
    expected = len(things) / 60
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 99  # chi-square, 59: p < 0.001


def without(stage: Stage, number: int, **lacking: object) -> Stage:
    """The same stage with one thing unseen or unheard."""
    things = list(stage.clip.things)
    things[number] = replace(things[number], **lacking)  # type: ignore[arg-type]
    return replace(stage, clip=replace(stage.clip, things=tuple(things)))


@pytest.mark.parametrize("world", [demo_events.WORLD, demo_parsing.WORLD], ids=lambda world: world.name)
def test_each_thing_is_painted_and_sounds_in_its_seconds_alone(world: World) -> None:
    settings = EventSettings(**SMALL)
    for index in range(3):
        clip = world.cast(0, "val", index)
        stage = draw_stage(random_of(0, "val", index, 2), clip)
        frames = render_frames(stage, settings.times, 32)
        for number, thing in enumerate(clip.things):
            other = render_frames(without(stage, number, visible=()), settings.times, 32)
            changed = (frames != other).any(axis=(1, 2, 3)).reshape(10, 4)
            shown = [at(second, thing.visible) for second in range(10)]
            # Something nearer may hide it in a frame, not in a second.
            assert changed.any(axis=1).tolist() == shown
            alone = Stage(Clip((thing,), 10.0), stage.ground, (stage.players[number],))
            power = np.square(render_sound(np.random.default_rng(0), alone).reshape(10, -1)).mean(axis=1)
            heard = np.array([at(second, thing.sounding) for second in range(10)])
            if heard.any() and not heard.all():
                assert power[heard].min() > 2 * power[~heard].max()


def test_faint_things_hardly_show_and_noise_covers_what_sounds() -> None:
    clip = next(clip for index in range(100) if (clip := events_cast(0, "val", index)).faint and clip.covered)
    plain = replace(clip, faint=(), covered=())
    stages = [draw_stage(np.random.default_rng(0), one) for one in (clip, plain)]
    nothing = replace(stages[0], clip=Clip((), 10.0), players=())
    times = EventSettings(**SMALL).times
    ground, spoilt, clear = (render_frames(stage, times, 32).astype(float) for stage in (nothing, *stages))
    faint = np.repeat([at(second, clip.faint) for second in range(10)], 4)
    np.testing.assert_array_equal(spoilt[~faint], clear[~faint])
    near, far = (np.abs(one[faint] - ground[faint]).mean(axis=(1, 2, 3)) for one in (spoilt, clear))
    assert (near[far > 0] < 0.4 * far[far > 0]).all()
    loud = [np.square(render_sound(np.random.default_rng(0), stage).reshape(10, -1)).mean(axis=1) for stage in stages]
    covered = np.array([at(second, clip.covered) for second in range(10)])
    share = loud[0] / loud[1]  # noise draws move a thing's level little beside what covers it
    assert share[covered].min() > 3 * share[~covered].max()


def test_a_share_of_seconds_is_spoilt() -> None:
    clips = [events_cast(0, "train", index) for index in range(1000)]
    assert 0.09 < sum(len(clip.faint) for clip in clips) / 10_000 < 0.11
    assert 0.09 < sum(len(clip.covered) for clip in clips) / 10_000 < 0.11
    assert not any(set(clip.faint) & set(clip.covered) for clip in clips)


def test_impossible_settings_are_all_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"seed = -1 .*size = 33 .*fps = 0"):
        demo_parsing.generate(tmp_path / "x", train=1, val=0, test=0, seed=-1, size=33, fps=0.5)
    with pytest.raises(UsageError, match="no split has a clip"):
        demo_events.generate(tmp_path / "x", train=0, val=0, test=0)
    assert demo_parsing.size({"train": 7}).clips == {"train": 7, "val": 250, "test": 500}
    assert demo_events.size({}).classes == 11
