"""Clips as lists of things: frames, sound and truths come from the one list."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asgmcli.data.segments import Span
from asgmcli.synthetic.acts import ACTS
from asgmcli.synthetic.casts import draw_cast
from asgmcli.synthetic.demo import DemoSettings, clip_sound, clip_stage
from asgmcli.synthetic.kinds import KINDS
from asgmcli.synthetic.motions import clock_at
from asgmcli.synthetic.sounds import ENVELOPES, gate
from asgmcli.synthetic.things import (
    AUDIO_RATE,
    TILT,
    WORLD,
    Clip,
    Stage,
    Thing,
    boxes,
    draw_stage,
    render_frames,
    render_sound,
    sounding_masks,
)

SETTINGS = DemoSettings()
TIMES = np.arange(16) / 8


def thing(number: int, motion: str = "hop", **given: object) -> Thing:
    kind = KINDS[number]
    return Thing(kind.name, kind.glyph, kind.timbre, motion, **given)  # type: ignore[arg-type]


def staged(*things: Thing, seconds: float = 2.0, seed: int = 0) -> Stage:
    return draw_stage(np.random.default_rng(seed), Clip(things, seconds))


def without(stage: Stage, number: int) -> Stage:
    """The same stage with one thing unseen."""
    things = list(stage.clip.things)
    things[number] = replace(things[number], visible=())
    return replace(stage, clip=replace(stage.clip, things=tuple(things)))


def test_the_segments_say_what_is_seen_and_heard_when() -> None:
    clip = Clip((thing(0, visible=((0, 2), (3, 4)), sounding=((1, 2),)), thing(3, sounding=((0, 4),))), 4)
    assert clip.segments() == [
        Span(1, 2, "telephone", modality="audio"),
        Span(0, 2, "telephone", modality="visual"),
        Span(3, 4, "telephone", modality="visual"),
        Span(0, 4, "notes", modality="audio"),
    ]
    assert clip.sources() == [0]


def test_a_thing_is_in_the_picture_in_its_times_alone() -> None:
    stage = staged(thing(0, visible=((0.5, 1.0), (1.5, 2.0))), thing(2, visible=((0, 2),)))
    changed = (render_frames(stage, TIMES, 64) != render_frames(without(stage, 0), TIMES, 64)).any(axis=(1, 2, 3))
    np.testing.assert_array_equal(changed, (TIMES >= 0.5) & ((TIMES < 1.0) | (TIMES >= 1.5)))


def test_what_is_drawn_lies_in_the_box_and_fills_it() -> None:
    for index in range(20):
        stage = clip_stage(SETTINGS, "test", index)
        (source,) = stage.clip.sources()
        found = boxes(stage, source, TIMES, 64)
        changed = (render_frames(stage, TIMES, 64) != render_frames(without(stage, source), TIMES, 64)).any(axis=3)
        for frame, (x1, y1, x2, y2) in enumerate(found):
            assert 0 <= x1 < x2 <= 64
            assert 0 <= y1 < y2 <= 64
            assert changed[frame, y1:y2, x1:x2].sum() == changed[frame].sum()
        # Nothing hides a thing that is alone: then the box is tight, but for a hair of coverage that rounds to nothing.
        alone = staged(replace(stage.clip.things[source], motion="nod"), seed=index)
        drawn = (render_frames(alone, TIMES, 64) != render_frames(without(alone, 0), TIMES, 64)).any(axis=3)
        for frame, box in enumerate(boxes(alone, 0, TIMES, 64)):
            rows, columns = np.nonzero(drawn[frame])
            tight = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
            assert np.abs(tight - box).max() <= 1


def test_masks_are_of_what_sounds_now_and_nearer_things_cover_it() -> None:
    whole = ((0.0, 2.0),)
    stage = staged(thing(0, "nod", visible=whole, sounding=((0, 1),)), thing(8, "nod", visible=whole))
    over = replace(stage.players[1], home=stage.players[0].home)
    hidden = replace(stage, players=(stage.players[0], over))
    free, covered = (sounding_masks(one, TIMES, 64) for one in (without(stage, 1), hidden))
    assert not free[TIMES >= 1].any()
    body = sounding_masks(replace(staged(thing(8, "nod", visible=whole, sounding=whole)), players=(over,)), TIMES, 64)
    np.testing.assert_array_equal(covered, free & ~body & (TIMES < 1)[:, None, None])
    assert 0 < covered[0].sum() < free[0].sum()
    for frame, (x1, y1, x2, y2) in enumerate(boxes(stage, 0, TIMES, 64)[:8]):
        assert free[frame, y1:y2, x1:x2].sum() == free[frame].sum()
        assert 0.3 < free[frame].sum() / ((x2 - x1) * (y2 - y1)) < 1


def test_two_things_that_sound_are_both_in_the_mask() -> None:
    whole = ((0.0, 2.0),)
    both = staged(*(thing(n, "nod", visible=whole, sounding=whole) for n in (0, 4)))
    one, two = (sounding_masks(without(both, n), TIMES, 64) for n in (1, 0))
    np.testing.assert_array_equal(sounding_masks(both, TIMES, 64), one | two)


def loudness(sound: np.ndarray, parts: int) -> np.ndarray:
    """Root mean square of equal parts of a sound."""
    return np.sqrt(np.square(sound.reshape(parts, -1)).mean(axis=1))


def test_a_thing_is_heard_in_its_times_alone() -> None:
    stage = staged(thing(8, "sway", visible=((0, 4),), sounding=((1, 2), (3, 4))), seconds=4.0)
    loud = loudness(render_sound(np.random.default_rng(0), stage), 16)
    heard = np.repeat([False, True, False, True], 4)
    assert loud[heard].min() > 2 * loud[~heard].max()


def test_the_source_leads_over_noise_and_what_is_heard_unseen() -> None:
    stages = [staged(thing(8, sounding=((0, 2),), lead=lead)) for lead in (0.0, -20.0)]
    first, second = (render_sound(np.random.default_rng(1), stage) for stage in stages)
    assert first.std() > 3 * second.std()


def test_a_gate_opens_and_closes_within_ramps() -> None:
    found = gate(((0.5, 1.0), (1.5, 2.0)), 4000, 2000)
    np.testing.assert_array_equal(found[:1000], 0)
    np.testing.assert_array_equal(found[1061:1940], 1)
    np.testing.assert_array_equal(found[2000:3000], 0)
    assert found[1030] == pytest.approx(0.5)
    assert found.dtype == np.float32


def test_an_empty_clip_is_ground_and_noise() -> None:
    stage = staged()
    assert render_frames(stage, TIMES, 32).shape == (16, 32, 32, 3)
    assert render_sound(np.random.default_rng(0), stage).std() > 0
    assert not sounding_masks(stage, TIMES, 32).any()


def test_things_are_drawn_within_their_ranges_and_stay_apart_in_the_frame() -> None:
    near = 0
    for index in range(150):
        stage = clip_stage(SETTINGS, "train", index)
        seen = [n for n, one in enumerate(stage.clip.things) if one.visible]
        for number in seen:
            player, pose = stage.players[number], stage.pose(number, TIMES)
            assert 0.32 <= 2 * player.radius <= 0.40
            assert abs(player.tilt) <= TILT
            for middle in (pose.x, pose.y):
                assert middle.min() > 0.9 * player.radius
                assert middle.max() < 1 - 0.9 * player.radius
        for one in seen:
            for two in seen[:one]:
                poses = [stage.pose(n, TIMES) for n in (one, two)]
                apart = np.hypot(poses[0].x - poses[1].x, poses[0].y - poses[1].y)
                near += bool((apart < 0.6 * (stage.players[one].radius + stage.players[two].radius)).any())
    assert near < 15


def test_motions_reach_what_they_say_and_each_is_heard_in_time_with_it() -> None:
    rng = np.random.default_rng(0)
    cycles = np.linspace(0, 8, 2000)
    for act in ACTS.values():
        clock = clock_at(rng, act.motion.rate)
        pose = act.motion.pose(cycles, clock)
        assert act.motion.reach[0] <= 0.1
        assert act.motion.reach[1] <= 0.1
        assert np.abs(pose.x).max() <= act.motion.reach[0] + 1e-9
        assert np.abs(pose.y).max() <= act.motion.reach[1] + 1e-9
        assert act.envelope in ENVELOPES
    # A hop is struck where it lands, a nod at both ends, a pulse is loudest where it is largest.
    at = {name: ACTS[name].motion.pose(np.array([0.0, 0.25, 0.5, 0.75]), clock_at(rng, (1, 1))) for name in ACTS}
    assert at["hop"].y.argmax() == 0
    assert list(np.abs(at["nod"].angle).round(3)) == [0, 0.45, 0, 0.45]
    loud = ENVELOPES["pulse"](np.array([0.0, 0.25, 0.5, 0.75]), clock_at(rng, (1, 1)))[0]
    assert loud.argmax() == at["pulse"].scale_x.argmax() == 1


def test_a_sound_is_finite_and_within_full_scale() -> None:
    for index in range(12):
        sound = clip_sound(SETTINGS, "train", index, clip_stage(SETTINGS, "train", index))
        assert sound.shape == (2 * AUDIO_RATE,)
        assert sound.dtype == np.float32
        assert np.isfinite(sound).all()
        assert np.abs(sound).max() <= 1
        assert sound.std() > 1e-3


def test_the_ground_is_textured_and_pans_slowly() -> None:
    for index in range(10):
        stage = replace(clip_stage(SETTINGS, "train", index), clip=Clip((), 2.0), players=())
        assert np.hypot(*stage.ground.velocity) <= WORLD.pan[1]
        frames = render_frames(stage, TIMES, 64).astype(float)
        assert frames.std(axis=(1, 2)).max() > 3


def test_seed_split_and_index_decide_a_clip() -> None:
    frames = {
        (seed, split, index): render_frames(
            draw_stage(np.random.default_rng(index), draw_cast(seed, split, index)), TIMES[:1], 32
        ).tobytes()
        for seed in (0, 1)
        for split in ("train", "val")
        for index in (0, 1)
    }
    assert len(set(frames.values())) == 8
