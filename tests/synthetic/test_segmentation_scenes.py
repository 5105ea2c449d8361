"""Scenes of the segmentation demo: masks less what covers them, silent things that rest, every class in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from asgmcli.synthetic import segmentation_scenes
from asgmcli.synthetic.clips import CLASSES
from asgmcli.synthetic.scenes import render
from asgmcli.synthetic.segmentation_scenes import (
    SegmentationSettings,
    at_rest,
    class_of,
    picture_times,
    source_masks,
    sprite_clip,
)

SETTINGS = SegmentationSettings(train=20, val=0, test=0)


def test_a_mask_is_where_the_picture_changes_without_the_source() -> None:
    times = picture_times()
    for index in range(4):
        scene, _ = segmentation_scenes._draw(SETTINGS, "train", index, times)
        masks = source_masks(scene, times, 64)
        silent = replace(scene, actors=tuple(actor for n, actor in enumerate(scene.actors) if n != scene.source))
        changed = (render(scene, times, 64) != render(silent, times, 64)).any(axis=-1)
        assert not (masks & ~changed).any()
        assert masks.sum() > 0.7 * changed.sum()  # the rest: soft edges


def test_half_of_the_silent_things_rest_and_the_source_never() -> None:
    times, rested, silent = picture_times(), 0, 0
    for index in range(60):
        scene, _ = segmentation_scenes._draw(SETTINGS, "train", index, times)
        assert scene.actors[scene.source].clock.rate > 0
        others = [actor for number, actor in enumerate(scene.actors) if number != scene.source]
        rested += sum(actor.clock.rate == 0 for actor in others)
        silent += len(others)
    assert 0.35 < rested / silent < 0.65
    assert at_rest(scene, np.random.default_rng(0)).source == scene.source


def test_every_block_of_clips_holds_every_class() -> None:
    assert sorted(class_of(0, "train", index, 10) for index in range(10, 20)) == list(range(10))


def test_a_clip_is_decided_by_its_settings_alone() -> None:
    one, two = (sprite_clip(SETTINGS, "train", 3) for _ in range(2))
    assert one.label == two.label
    assert one.label in {entry.name for entry in CLASSES}
    assert np.array_equal(one.frames, two.frames)
    assert np.array_equal(one.sound, two.sound)
    assert one.frames.shape == one.following.shape == (5, 64, 64, 3)
    other = sprite_clip(SegmentationSettings(train=20, val=0, test=0, seed=1), "train", 3)
    assert not np.array_equal(one.frames, other.frames)
