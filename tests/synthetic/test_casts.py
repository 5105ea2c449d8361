"""Which things a clip has: what sound, picture and both can tell is counted on ten thousand drawn casts."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np
import pytest

from asgmcli.synthetic.acts import ACTS
from asgmcli.synthetic.casts import SHUFFLED, UNBIASED, VAL_SHUFFLED, draw_cast, source_of
from asgmcli.synthetic.kinds import KINDS, TIMBRES, companion
from asgmcli.synthetic.things import Clip
from tests.synthetic.cast_of import seen, source

COUNT = 10_000
TIMBRE = {kind.name: kind.timbre for kind in KINDS}
NUMBER = {kind.name: number for number, kind in enumerate(KINDS)}


@pytest.fixture(scope="module")
def casts() -> list[Clip]:
    return [draw_cast(5, "train", index) for index in range(COUNT)]


def silent(clip: Clip) -> list[str]:
    return [thing.kind for thing in clip.things if not thing.sounding]


def test_the_ten_kinds_are_five_pairs_of_twins_to_the_ear() -> None:
    assert Counter(kind.timbre for kind in KINDS) == dict.fromkeys(TIMBRES, 2)
    assert len({kind.glyph for kind in KINDS}) == len({kind.name for kind in KINDS}) == 10
    assert [KINDS[companion(NUMBER[name])].name for name in ("telephone", "gear", "anchor", "heart")] == [
        "umbrella",
        "notes",
        "telephone",
        "gear",
    ]
    for number, kind in enumerate(KINDS):
        assert KINDS[companion(number)].timbre != kind.timbre


def test_one_thing_sounds_in_the_picture_and_all_are_of_different_timbres(casts: list[Clip]) -> None:
    sizes, off_screen = Counter(), 0
    for index, clip in enumerate(casts):
        assert source(clip).kind == KINDS[source_of(5, "train", index)].name
        timbres = [thing.timbre for thing in clip.things]
        assert len(set(timbres)) == len(timbres)
        assert all(thing.timbre == TIMBRE[thing.kind] for thing in clip.things)
        assert all(thing.sounding or thing.visible for thing in clip.things)
        sizes[len(seen(clip))] += 1
        unseen = [thing for thing in clip.things if not thing.visible]
        off_screen += len(unseen)
        assert all(-22 <= thing.lead <= -8 for thing in unseen)
        assert source(clip).lead == 0
    assert set(sizes) == {2, 3}
    assert sizes[3] / COUNT == pytest.approx(0.3, abs=0.02)
    assert off_screen / COUNT == pytest.approx(0.3, abs=0.02)


def test_the_sound_leaves_two_kinds(casts: list[Clip]) -> None:
    """The best rule from all that is heard, learnt on half of the casts and judged on the other half."""
    known: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
    right = 0
    for number, clip in enumerate(casts):
        heard = (source(clip).timbre, *(thing.timbre for thing in clip.things if not thing.visible))
        if number < COUNT // 2:
            known[heard][source(clip).kind] += 1
        else:
            right += known[heard].most_common(1)[0][0] == source(clip).kind
    assert right / (COUNT // 2) == pytest.approx(0.5, abs=0.02)


def test_the_picture_leaves_what_is_seen(casts: list[Clip]) -> None:
    """Every visible thing is as likely to sound: by what it is, how near it is painted and how it moves."""
    assert np.mean([1 / len(seen(clip)) for clip in casts]) == pytest.approx(0.45, abs=0.005)
    for told in (lambda place, thing: thing.kind, lambda place, thing: place, lambda place, thing: thing.motion):
        sounding, shown = Counter(), Counter()
        for clip in casts:
            for place, thing in enumerate(seen(clip)):
                key = (len(seen(clip)), told(place, thing))
                shown[key] += 1
                sounding[key] += bool(thing.sounding)
        for key, count in shown.items():
            chance, spread = 1 / key[0], (count * (1 / key[0]) * (1 - 1 / key[0])) ** 0.5 / count
            assert sounding[key] / count == pytest.approx(chance, abs=4 * spread), key


def test_pairs_do_not_tell_either(casts: list[Clip]) -> None:
    """The best rule from the set of what is seen, learnt on half of the casts, is no better than a guess among it."""
    known: defaultdict[frozenset[str], Counter[str]] = defaultdict(Counter)
    right = []
    for number, clip in enumerate(casts):
        shown = frozenset(thing.kind for thing in seen(clip))
        if number < COUNT // 2:
            known[shown][source(clip).kind] += 1
        elif shown in known:
            right.append(known[shown].most_common(1)[0][0] == source(clip).kind)
    assert np.mean(right) == pytest.approx(0.45, abs=0.025)


def test_picture_and_sound_tell_all(casts: list[Clip]) -> None:
    for clip in casts:
        (told,) = {thing.kind for thing in seen(clip) if thing.timbre == source(clip).timbre}
        assert told == source(clip).kind


def test_a_logistic_regression_finds_no_more(casts: list[Clip]) -> None:
    from sklearn.linear_model import LogisticRegression

    picture, sound = np.zeros((COUNT, 10)), np.zeros((COUNT, 5))
    for row, clip in enumerate(casts):
        picture[row, [NUMBER[thing.kind] for thing in seen(clip)]] = 1
        sound[row, TIMBRES.index(source(clip).timbre)] = 1
    both = (picture[:, :, None] * sound[:, None]).reshape(COUNT, -1)
    labels = [NUMBER[source(clip).kind] for clip in casts]
    reached = {}
    for name, told in {"picture": picture, "sound": sound, "both": both}.items():
        reached[name] = LogisticRegression(C=10).fit(told[:3000], labels[:3000]).score(told[3000:], labels[3000:])
    assert reached["both"] == 1.0
    assert 0.42 < reached["picture"] < 0.465
    assert 0.48 < reached["sound"] < 0.52


def test_company_tells_the_class_where_it_is_usual() -> None:
    def share(split: str, companions: float | None, count: int = 2000) -> float:
        found = 0
        for index in range(count):
            clip = draw_cast(2, split, index, companions=companions)
            found += KINDS[companion(NUMBER[source(clip).kind])].name in silent(clip)
        return found / count

    chance = 0.7 / 8 + 0.3 * 2 / 8  # that a random silent thing is the companion
    assert share("train", None) == pytest.approx(chance, abs=0.03)
    for split in ("train", "val", "test"):
        assert share(split, 0.9, 1000) == pytest.approx(0.9 + 0.1 * chance, abs=0.03)
    for split in (SHUFFLED, VAL_SHUFFLED, UNBIASED):
        assert share(split, 0.9) == pytest.approx(chance, abs=0.03)


def test_company_changes_the_silent_things_alone() -> None:
    for index in range(300):
        one, two = draw_cast(1, "train", index), draw_cast(1, "train", index, companions=0.0)
        assert one == two
        usual = draw_cast(1, "train", index, companions=1.0)
        assert source(usual).kind == source(one).kind
        assert len(seen(usual)) == len(seen(one))
        friend = KINDS[companion(NUMBER[source(one).kind])].name
        assert friend in silent(usual)
        timbres = [thing.timbre for thing in usual.things]
        assert len(set(timbres)) == len(timbres)


def test_labels_are_balanced_and_splits_and_seeds_differ() -> None:
    for split in ("train", "val", "test", SHUFFLED, UNBIASED):
        assert set(Counter(source_of(0, split, index) for index in range(200)).values()) == {20}
    drawn = {
        tuple(source_of(seed, split, index) for index in range(50)) for seed in (0, 1) for split in ("train", "val")
    }
    assert len(drawn) == 4


def test_motions_are_drawn_alike(casts: list[Clip]) -> None:
    counts = Counter(thing.motion for clip in casts for thing in clip.things)
    assert set(counts) == set(ACTS)
    assert max(counts.values()) < 1.1 * min(counts.values())
