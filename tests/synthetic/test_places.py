"""The demo with a scene bias: where clips are set, and that nothing else changes."""

from __future__ import annotations

import colorsys
import csv
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asgmcli.data.manifest import check_files, read_manifest
from asgmcli.errors import UsageError
from asgmcli.media.video import read_clip
from asgmcli.synthetic import demo_shapes as demo
from asgmcli.synthetic.clips import (
    CLASSES,
    SHUFFLED,
    VAL_SHUFFLED,
    DemoSettings,
    clip_label,
    clip_place,
    clip_scene,
    clip_sound,
)
from asgmcli.synthetic.places import PLACES
from asgmcli.synthetic.scenes import render, source_boxes

SMALL = {"train": 10, "val": 0, "test": 10}
SIZE = 32
SETTINGS = DemoSettings(**SMALL, size=SIZE)

BIASED = replace(SETTINGS, scene_bias=0.7)


@pytest.fixture(scope="module")
def biased(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("biased") / "set"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "draw_preview", lambda path, *_: path.write_bytes(b"blank"))  # which nobody looks at
        demo.generate(out, **SMALL, size=SIZE, scene_bias=0.7, workers=1)
    return out


def evenly(counts: Counter[str]) -> bool:
    """Whether all ten places are as frequent as even draws make them, within four standard deviations."""
    expected = sum(counts.values()) / 10
    return len(counts) == 10 and all(abs(count - expected) < 4 * expected**0.5 for count in counts.values())


def own_share(settings: DemoSettings, split: str, clips: int) -> tuple[float, Counter[str]]:
    """How often a clip is set in its class's own place, and how often each place is seen where it is not."""
    own, others = 0, Counter()
    for index in range(clips):
        label = clip_label(settings.seed, split, index)
        place = clip_place(settings, split, index)
        assert place is not None
        own += place == PLACES[label]
        if place != PLACES[label]:
            others[place.name] += 1
    return own / clips, others


@pytest.mark.parametrize("bias", [0.0, 0.4, 0.7, 1.0])
def test_the_place_is_the_classs_own_with_the_biass_probability(bias: float) -> None:
    settings = replace(SETTINGS, scene_bias=bias)
    for split in ("train", "val", "test"):
        share, others = own_share(settings, split, 1000)
        assert abs(share - bias) <= 3 * (bias * (1 - bias) / 1000) ** 0.5
        assert bias == 1 or (evenly(others))
    for split in (SHUFFLED, VAL_SHUFFLED):
        share, others = own_share(settings, split, 1000)
        assert abs(share - 0.1) < 3 * (0.09 / 1000) ** 0.5
        assert evenly(others)


def test_places_are_ten_and_differ() -> None:
    assert len({place.name for place in PLACES}) == len(PLACES) == len(CLASSES)
    for one, two in zip(PLACES, (*PLACES[1:], PLACES[0]), strict=True):
        assert one.texture != two.texture
    same = [abs(a.hue - b.hue) for a in PLACES for b in PLACES if a.texture == b.texture and a is not b]
    assert min(min(gap, 1 - gap) for gap in same) >= 0.3


def test_a_bias_changes_the_place_and_nothing_else() -> None:
    for index in range(30):
        plain, scene = clip_scene(SETTINGS, "train", index), clip_scene(BIASED, "train", index)
        place = clip_place(BIASED, "train", index)
        assert place is not None
        assert clip_place(SETTINGS, "train", index) is None
        assert scene.background.texture == place.texture
        assert (scene.background.velocity, scene.background.seed) == (
            plain.background.velocity,
            plain.background.seed,
        )
        assert scene.source == plain.source
        np.testing.assert_array_equal(
            source_boxes(scene, SETTINGS.times, SIZE), source_boxes(plain, SETTINGS.times, SIZE)
        )
        sounds = [clip_sound(each, "train", index, shown) for each, shown in ((SETTINGS, plain), (BIASED, scene))]
        np.testing.assert_array_equal(*sounds)
        for number in range(2):
            hue = colorsys.rgb_to_hsv(*scene.background.colours[number])[0]
            assert abs((hue - place.hue + 0.5) % 1 - 0.5) < 0.07
        alone = replace(scene, actors=(), source=-1)
        pictures = [render(replace(alone, background=each.background), SETTINGS.times, SIZE) for each in (scene, plain)]
        assert (pictures[0] != pictures[1]).any()


def test_a_biased_set_has_shuffled_test_clips_and_says_where_each_is_set(biased: Path) -> None:
    manifest = read_manifest(biased)
    check_files(manifest, manifest.rows)
    assert Counter(row.split for row in manifest.rows) == {"train": 10, "test": 10, SHUFFLED: 10}
    assert {row.note for row in manifest.rows} <= {place.name for place in PLACES}
    row = manifest.of_split(SHUFFLED)[4]
    assert (row.id, row.note) == ("test_shuffled_00004", clip_place(BIASED, SHUFFLED, 4).name)  # type: ignore[union-attr]
    assert set(Counter(row.label for row in manifest.of_split(SHUFFLED)).values()) == {1}
    summary = json.loads((biased / "summary.json").read_text())
    assert summary["settings"]["scene_bias"] == 0.7
    assert sum(summary["counts"][SHUFFLED].values()) == 10
    with (biased / "boxes.csv").open(newline="") as file:
        assert {line["id"] for line in csv.DictReader(file)} == {row.id for row in manifest.rows}
    frames = read_clip(biased / row.path, list(range(16)))
    drawn = render(clip_scene(BIASED, SHUFFLED, 4), BIASED.times, SIZE)
    assert np.abs(frames.astype(int) - drawn).mean() < 7


def test_the_biased_set_and_the_plain_one_do_not_replace_each_other(biased: Path, tmp_path: Path) -> None:
    def digest() -> dict[str, str]:
        files = sorted(path for path in biased.rglob("*") if path.is_file())
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    before = digest()
    with pytest.raises(UsageError, match=r"scene_bias 0\.7 there, None now"):
        demo.generate(biased, **SMALL, size=SIZE, workers=1)
    with pytest.raises(UsageError, match=r"scene_bias 0\.7 there, 0\.5 now"):
        demo.generate(biased, **SMALL, size=SIZE, scene_bias=0.5, workers=1)
    demo.generate(biased, **SMALL, size=SIZE, scene_bias=0.7, workers=1)
    assert digest() == before
    demo.generate(tmp_path / "plain", train=2, val=0, test=0, workers=1)
    with pytest.raises(UsageError, match=r"scene_bias None there, 0\.7 now"):
        demo.generate(tmp_path / "plain", train=2, val=0, test=0, scene_bias=0.7, workers=1)


@pytest.mark.parametrize("bias", [1.2, -0.1, float("nan")])
def test_a_bias_is_a_probability(tmp_path: Path, bias: float) -> None:
    with pytest.raises(UsageError, match=r"scene_bias = .* is not a probability"):
        demo.generate(tmp_path / "set", **SMALL, scene_bias=bias)
    assert not (tmp_path / "set").exists()
