"""Clips of the segmentation demo: masks equal what is rendered, and each sense leaves open what it should."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from asgmcli.media.flow import farneback
from asgmcli.synthetic.casts import source_of
from asgmcli.synthetic.kinds import KINDS, Kind
from asgmcli.synthetic.segmentation_clips import (
    NEXT_AFTER,
    RESTING,
    SECONDS,
    TWINS,
    SegmentationSettings,
    clip_stage,
    draw_cast,
    film,
    make_clip,
    picture_times,
)
from asgmcli.synthetic.things import WORLD, Clip, Stage, render_frames, sounding_masks
from tests.synthetic.cast_of import seen, source

SETTINGS = SegmentationSettings(train=20, val=0, test=0)
COUNT = 10_000


@pytest.fixture(scope="module")
def casts() -> list[Clip]:
    return [draw_cast(5, "train", index) for index in range(COUNT)]


def hidden(stage: Stage, number: int) -> Stage:
    """The same stage with one thing unseen."""
    things = list(stage.clip.things)
    things[number] = replace(things[number], visible=())
    return replace(stage, clip=replace(stage.clip, things=tuple(things)))


def test_a_mask_is_where_the_picture_changes_without_what_sounds() -> None:
    times = np.concatenate([picture_times(), picture_times() + NEXT_AFTER])
    for index in range(12):
        stage = clip_stage(SETTINGS, "train", index)
        (number,) = stage.clip.sources()
        made = make_clip(SETTINGS, "train", index)
        whole, less = (render_frames(one, times, 64)[:SECONDS] for one in (stage, hidden(stage, number)))
        changed = (whole != less).any(axis=-1)
        assert not (made.masks & ~changed).any()
        assert made.masks.sum() > 0.7 * changed.sum()  # the rest: soft edges
        np.testing.assert_array_equal(made.frames, whole)


def test_one_thing_sounds_and_never_rests(casts: list[Clip]) -> None:
    sizes, off_screen = Counter(), 0
    for index, clip in enumerate(casts):
        assert source(clip).kind == KINDS[source_of(5, "train", index)].name
        assert not source(clip).rests
        assert len({thing.kind for thing in seen(clip)}) == len(seen(clip))
        unseen = [thing for thing in clip.things if not thing.visible]
        assert not {thing.timbre for thing in unseen} & {thing.timbre for thing in seen(clip)}
        off_screen += len(unseen)
        sizes[len(seen(clip))] += 1
    assert set(sizes) == {2, 3}
    assert sizes[3] / COUNT == pytest.approx(WORLD.three_sprites, abs=0.02)
    assert off_screen / COUNT == pytest.approx(WORLD.other_share, abs=0.02)


def left(clip: Clip, *, heard: bool = False, moved: bool = False) -> int:
    """How many of the things that are seen may be the source, by timbre and by whether they move."""
    timbre = source(clip).timbre
    return sum((thing.timbre == timbre or not heard) and not (moved and thing.rests) for thing in seen(clip))


def test_each_sense_leaves_something_open_that_another_tells(casts: list[Clip]) -> None:
    """By hand: a share of clips has three things, a share a twin; a silent thing rests with a probability."""

    def share(**told: bool) -> float:
        return float(np.mean([1 / left(clip, **told) for clip in casts]))

    twin, rest, three = TWINS, RESTING, WORLD.three_sprites
    moves = 1 - rest
    assert share() == pytest.approx((1 - three) / 2 + three / 3, abs=0.005)
    assert share(heard=True) == pytest.approx(1 - twin / 2, abs=0.01)
    pair = rest + moves / 2
    trio = rest**2 + 2 * rest * moves / 2 + moves**2 / 3
    assert share(moved=True) == pytest.approx((1 - three) * pair + three * trio, abs=0.01)
    assert share(heard=True, moved=True) == pytest.approx(1 - twin * moves / 2, abs=0.01)


def test_what_a_thing_is_and_where_it_is_painted_tell_nothing(casts: list[Clip]) -> None:
    """Every visible thing is as likely to sound: by what it is, how near it is painted and its motion's name."""
    for told in (lambda place, thing: thing.kind, lambda place, thing: place, lambda place, thing: thing.motion):
        sounding, shown = Counter(), Counter()
        for clip in casts:
            for place, thing in enumerate(seen(clip)):
                key = (len(seen(clip)), told(place, thing))
                shown[key] += 1
                sounding[key] += bool(thing.sounding)
        for key, count in shown.items():
            spread = (1 / key[0] * (1 - 1 / key[0]) / count) ** 0.5
            assert sounding[key] / count == pytest.approx(1 / key[0], abs=4 * spread), key


def test_a_thing_that_rests_does_not_move_in_the_flow_and_others_do() -> None:
    """Each visible thing alone before a ground that stands still."""
    times, lengths = picture_times(), {True: [], False: []}
    for index in range(40):
        drawn = clip_stage(SETTINGS, "train", index)
        for number, thing in enumerate(drawn.clip.things):
            if not thing.visible:
                continue
            clip = Clip((replace(thing, sounding=thing.visible),), drawn.clip.seconds)
            ground = replace(drawn.ground, velocity=(0.0, 0.0))
            stage = replace(drawn, clip=clip, ground=ground, players=(drawn.players[number],))
            masks = sounding_masks(stage, times, 64)
            shown = render_frames(stage, np.concatenate([times, times + NEXT_AFTER]), 64)
            for frame, following, mask in zip(shown[:SECONDS], shown[SECONDS:], masks, strict=True):
                lengths[thing.rests].append(np.hypot(*farneback(frame, following))[mask].mean())
    assert max(lengths[True]) < 0.01  # pixels; the step of the flow as stored is .03
    assert np.median(lengths[False]) > 0.2


def test_a_kind_that_shares_its_timbre_with_none_is_its_own_twin() -> None:
    kinds = tuple(Kind(name, "", name) for name in "abc")
    twins = 0
    for index in range(600):
        clip = draw_cast(1, "train", index, kinds)
        twins += sum(thing.kind == source(clip).kind for thing in seen(clip)) == 2
    assert twins / 600 == pytest.approx(TWINS, abs=0.07)


def test_every_block_of_clips_holds_every_kind_and_settings_decide_a_clip() -> None:
    assert sorted(draw_cast(0, "test", index).sources() != [] for index in range(10)) == [True] * 10
    assert {source(draw_cast(0, "test", index)).kind for index in range(10, 20)} == {kind.name for kind in KINDS}
    one, two = (make_clip(SETTINGS, "train", 3) for _ in range(2))
    assert one.label == two.label
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.sound, two.sound)
    assert len(one.sound) == SECONDS * 16_000
    other = make_clip(replace(SETTINGS, seed=1), "train", 3)
    assert not np.array_equal(one.frames, other.frames)


def test_the_film_is_the_same_clip() -> None:
    moving = film(SETTINGS, "train", 0, 16)
    assert moving.shape == (SECONDS * 16, 64, 64, 3)
    # Grounds are drawn for all times at once, and shift by a share of a pixel where these reach further.
    away = np.abs(moving[15::16].astype(int) - make_clip(SETTINGS, "train", 0).frames)
    assert away.mean() < 1
