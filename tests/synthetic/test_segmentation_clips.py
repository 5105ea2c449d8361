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
    PAIRS,
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
from asgmcli.synthetic.things import WORLD, Clip, Stage, Thing, render_frames, sounding_masks
from tests.synthetic.cast_of import seen

SETTINGS = SegmentationSettings(train=20, val=0, test=0)
COUNT = 10_000


@pytest.fixture(scope="module")
def casts() -> list[Clip]:
    return [draw_cast(5, "train", index) for index in range(COUNT)]


def sources(clip: Clip) -> list[Thing]:
    return [clip.things[number] for number in clip.sources()]


def hidden(stage: Stage) -> Stage:
    """The same stage with what sounds unseen."""
    things = list(stage.clip.things)
    for number in stage.clip.sources():
        things[number] = replace(things[number], visible=())
    return replace(stage, clip=replace(stage.clip, things=tuple(things)))


def test_a_mask_is_where_the_picture_changes_without_what_sounds() -> None:
    times = np.concatenate([picture_times(), picture_times() + NEXT_AFTER])
    heard = set()
    for index in range(12):
        stage = clip_stage(SETTINGS, "train", index)
        heard.add(len(stage.clip.sources()))
        made = make_clip(SETTINGS, "train", index)
        whole, less = (render_frames(one, times, 64)[:SECONDS] for one in (stage, hidden(stage)))
        changed = (whole != less).any(axis=-1)
        assert not (made.masks & ~changed).any()
        assert made.masks.sum() > 0.7 * changed.sum()  # the rest: soft edges
        np.testing.assert_array_equal(made.frames, whole)
    assert heard == {1, 2}


def test_one_thing_sounds_or_two_of_three_and_none_of_them_rests(casts: list[Clip]) -> None:
    sizes, off_screen = Counter(), 0
    for index, clip in enumerate(casts):
        sounding = sources(clip)
        assert KINDS[source_of(5, "train", index)].name in [thing.kind for thing in sounding]
        assert not any(thing.rests for thing in sounding)
        assert len({thing.timbre for thing in sounding}) == len(sounding)
        assert len({thing.kind for thing in seen(clip)}) == len(seen(clip))
        unseen = [thing for thing in clip.things if not thing.visible]
        assert not {thing.timbre for thing in unseen} & {thing.timbre for thing in seen(clip)}
        off_screen += len(unseen)
        sizes[len(sounding), len(seen(clip))] += 1
    assert set(sizes) == {(1, 2), (1, 3), (2, 3)}
    assert sizes[2, 3] / COUNT == pytest.approx(PAIRS, abs=0.02)
    assert sizes[1, 3] / COUNT == pytest.approx((1 - PAIRS) * WORLD.three_sprites, abs=0.02)
    assert off_screen / COUNT == pytest.approx(WORLD.other_share, abs=0.02)


def left(clip: Clip, *, heard: bool = False, moved: bool = False) -> int:
    """How many of the things that are seen may be what sounds, by timbre and by whether they move."""
    timbres = {thing.timbre for thing in sources(clip)}
    return sum((thing.timbre in timbres or not heard) and not (moved and thing.rests) for thing in seen(clip))


def test_each_sense_leaves_something_open_that_another_tells(casts: list[Clip]) -> None:
    """By hand, apart for one and two that sound: a silent thing rests with a probability, and may be a twin."""

    def share(sounding: int, **told: bool) -> float:
        return float(np.mean([sounding / left(clip, **told) for clip in casts if len(clip.sources()) == sounding]))

    twin, rest, three = TWINS, RESTING, WORLD.three_sprites
    moves = 1 - rest
    assert share(1) == pytest.approx((1 - three) / 2 + three / 3, abs=0.005)
    assert share(1, heard=True) == pytest.approx(1 - twin / 2, abs=0.01)
    pair = rest + moves / 2
    trio = rest**2 + 2 * rest * moves / 2 + moves**2 / 3
    assert share(1, moved=True) == pytest.approx((1 - three) * pair + three * trio, abs=0.01)
    assert share(1, heard=True, moved=True) == pytest.approx(1 - twin * moves / 2, abs=0.01)
    assert share(2) == pytest.approx(2 / 3)
    assert share(2, heard=True) == pytest.approx(1 - twin / 3, abs=0.01)
    assert share(2, moved=True) == pytest.approx(1 - moves / 3, abs=0.01)
    assert share(2, heard=True, moved=True) == pytest.approx(1 - twin * moves / 3, abs=0.01)


def test_what_a_thing_is_and_where_it_is_painted_tell_nothing(casts: list[Clip]) -> None:
    """Every visible thing is as likely to sound: by what it is, how near it is painted and its motion's name."""
    for told in (lambda place, thing: thing.kind, lambda place, thing: place, lambda place, thing: thing.motion):
        sounding, shown = Counter(), Counter()
        for clip in casts:
            for place, thing in enumerate(seen(clip)):
                key = (len(clip.sources()), len(seen(clip)), told(place, thing))
                shown[key] += 1
                sounding[key] += bool(thing.sounding)
        for key, count in shown.items():
            chance = key[0] / key[1]
            assert sounding[key] / count == pytest.approx(chance, abs=4 * (chance * (1 - chance) / count) ** 0.5), key


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
        twins += len({thing.kind for thing in seen(clip)}) < len(seen(clip))
    assert twins / 600 == pytest.approx(TWINS, abs=0.07)


def test_with_two_timbres_one_thing_sounds_and_one_is_silent() -> None:
    kinds = tuple(Kind(name, "", name) for name in "ab")
    for index in range(50):
        shown = seen(draw_cast(1, "train", index, kinds))
        assert sorted(bool(thing.sounding) for thing in shown) == [False, True]


def test_every_block_of_clips_holds_every_kind_and_settings_decide_a_clip() -> None:
    sounding = [{thing.kind for thing in sources(draw_cast(0, "test", index))} for index in range(10, 20)]
    assert all(KINDS[source_of(0, "test", 10 + place)].name in kinds for place, kinds in enumerate(sounding))
    assert set().union(*sounding) == {kind.name for kind in KINDS}
    one, two = (make_clip(SETTINGS, "train", 3) for _ in range(2))
    assert one.clip == two.clip
    assert one.sounding == [thing.kind for thing in one.clip.things if thing.visible and thing.sounding]
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
