from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from asgmcli.data.augment import (
    KEEP_CHANNELS,
    Geometry,
    apply_geometry,
    crops,
    draw_dropped_channel,
    draw_geometry,
    draw_warp,
    rand_augment,
    spec_augment,
)


def frames(count: int, height: int, width: int) -> Tensor:
    """uint8 [T, H, W, 3] whose pixels tell frame, row and column."""
    grid = torch.zeros(count, height, width, 3, dtype=torch.uint8)
    grid[..., 0] = torch.arange(count)[:, None, None]
    grid[..., 1] = torch.arange(height)[:, None]
    grid[..., 2] = torch.arange(width)
    return grid


def test_the_whole_frame_is_left_as_it_is_and_the_flip_mirrors_it() -> None:
    clip = frames(3, 20, 20)
    plain = apply_geometry(clip, Geometry(0, 0, 20, 20, flip=False), 20)
    assert torch.equal(plain, clip.permute(0, 3, 1, 2))
    assert torch.equal(apply_geometry(clip, Geometry(0, 0, 20, 20, flip=True), 20), plain.flip(-1))


def test_a_crop_is_cut_where_it_says() -> None:
    view = apply_geometry(frames(2, 20, 30), Geometry(top=3, left=7, height=10, width=10, flip=False), 10)
    assert view.shape == (2, 3, 10, 10)
    assert view[1, :, 0, 0].tolist() == [1, 3, 7]
    assert view[1, :, -1, -1].tolist() == [1, 12, 16]


@pytest.mark.parametrize("shape", [(48, 48), (48, 96), (100, 60)])
def test_crops_lie_within_the_frame_and_have_the_asked_scale(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_geometry(rng, *shape, size=32, short_side=(36, 44), flip=0.5) for _ in range(300)]
    for geometry in drawn:
        assert geometry.height == geometry.width
        assert 0 <= geometry.top <= shape[0] - geometry.height
        assert 0 <= geometry.left <= shape[1] - geometry.width
    shares = np.array([geometry.height / min(shape) for geometry in drawn])
    assert shares.min() >= 32 / 44 - 0.02
    assert shares.max() <= 32 / 36 + 0.02
    assert 0.4 < np.mean([geometry.flip for geometry in drawn]) < 0.6
    assert max(geometry.top for geometry in drawn) > 0
    assert len({geometry.left for geometry in drawn}) > 5


def test_one_draw_of_rand_augment_serves_all_frames_and_leaves_the_global_state_alone() -> None:
    still = torch.randint(0, 255, (1, 3, 24, 24), dtype=torch.uint8).expand(5, -1, -1, -1)
    before = torch.get_rng_state()
    changed = 0
    for seed in range(40):
        view = rand_augment(still, np.random.default_rng(seed), operations=2, magnitude=15)
        assert view.shape == still.shape
        assert view.dtype == torch.uint8
        assert all(torch.equal(view[0], frame) for frame in view)
        changed += not torch.equal(view, still)
        assert torch.equal(view, rand_augment(still, np.random.default_rng(seed), operations=2, magnitude=15))
    assert changed > 30
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(5)
    one = rand_augment(still, np.random.default_rng(0), 2, 15)
    torch.manual_seed(6)
    assert torch.equal(one, rand_augment(still, np.random.default_rng(0), 2, 15))
    assert rand_augment(still, np.random.default_rng(0), operations=0, magnitude=9) is still


def test_rand_augments_values_are_torchvisions_whatever_the_layout() -> None:
    pixels = torch.randint(0, 255, (2, 20, 24, 3), dtype=torch.uint8)
    for view in (pixels.permute(0, 3, 1, 2), pixels.permute(0, 3, 1, 2).contiguous()):
        for seed in range(60):
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(int(np.random.default_rng(seed).integers(2**62)))
                expected = v2.RandAugment(num_ops=3, magnitude=9)(view)
            assert torch.equal(rand_augment(view, np.random.default_rng(seed), 3, 9), expected)


def test_channels_are_dropped_as_often_as_asked() -> None:
    rng = np.random.default_rng(0)
    drawn = Counter(draw_dropped_channel(rng, 0.2) for _ in range(3000))
    assert set(drawn) == {KEEP_CHANNELS, 0, 1, 2}
    assert abs(drawn[KEEP_CHANNELS] / 3000 - 0.8) < 0.03
    assert draw_dropped_channel(rng, 0.0) == KEEP_CHANNELS
    assert draw_dropped_channel(rng, 1.0) != KEEP_CHANNELS


def test_a_warp_keeps_two_four_or_all_frames_and_fills_with_the_nearest() -> None:
    rng = np.random.default_rng(0)
    lengths: Counter[int] = Counter()
    for _ in range(1500):
        warp = draw_warp(rng, 8)
        kept = sorted(set(warp))
        lengths[len(kept)] += 1
        for position, shown in enumerate(warp):
            nearest = min(abs(position - frame) for frame in kept)
            assert abs(position - shown) == nearest
            assert shown == min(frame for frame in kept if abs(position - frame) == nearest)
    assert set(lengths) == {2, 4, 8}
    assert all(abs(count / 1500 - 1 / 3) < 0.05 for count in lengths.values())


@pytest.mark.parametrize(("count", "lengths"), [(1, {1}), (2, {2}), (4, {2, 4}), (3, {2, 3})])
def test_short_clips_are_warped_as_far_as_they_can(count: int, lengths: set[int]) -> None:
    rng = np.random.default_rng(1)
    assert {len(set(draw_warp(rng, count))) for _ in range(60)} == lengths


def runs(masked: np.ndarray) -> int:
    return int((np.diff(np.concatenate([[False], masked]).astype(int)) == 1).sum())


def test_spec_augment_masks_one_band_and_one_span_up_to_their_widths() -> None:
    rng = np.random.default_rng(0)
    logmel = torch.rand(60, 32) + 1
    widths, spans = set(), set()
    for _ in range(300):
        masked = spec_augment(logmel, rng, frequency=6, time=10, fill=-5.0)
        hidden = (masked == -5.0).numpy()
        band, span = hidden.all(axis=0), hidden.all(axis=1)
        if span.all() or band.all():
            continue
        assert np.array_equal(hidden, band[None] | span[:, None])
        assert torch.equal(masked[~torch.from_numpy(hidden)], logmel[~torch.from_numpy(hidden)])
        assert runs(band) <= 1
        assert runs(span) <= 1
        widths.add(int(band.sum()))
        spans.add(int(span.sum()))
    assert widths == set(range(7))
    assert spans == set(range(11))
    assert float(logmel.min()) >= 1  # the argument is as it was
    assert torch.equal(spec_augment(logmel, rng, 0, 0, -5.0), logmel)
    hidden = {int((spec_augment(logmel[:2, :2], rng, 99, 99, -5.0) == -5.0).sum()) for _ in range(60)}
    assert hidden == {0, 2, 3, 4}  # of widths 0 to 2 each way


@pytest.mark.parametrize("upright", [False, True])
def test_three_crops_are_the_ends_and_the_middle(upright: bool) -> None:
    clip = frames(2, 20, 36)
    if upright:
        clip = clip.transpose(1, 2)
    views = crops(clip, 20, 3)
    assert views.shape == (3, 2, 3, 20, 20)
    corners = [view[0, 2, 0, 0].item() for view in views]
    assert corners == [0, 8, 16]
    assert views[2][1, 2].max() == 35
    assert torch.equal(crops(clip, 20, 1)[0], views[1])


def test_crops_resize_the_short_side() -> None:
    assert crops(frames(1, 50, 100), 20, 3).shape == (3, 1, 3, 20, 20)
    assert crops(frames(1, 9, 17), 20, 1).shape == (1, 1, 3, 20, 20)
