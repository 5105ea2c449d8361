from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from asgmcli.data.augment import (
    Geometry,
    apply_geometry,
    crops,
    draw_dropped_channels,
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
    drawn = Counter(tuple(draw_dropped_channels(rng, 0.2)) for _ in range(3000))
    assert {sum(lost) for lost in drawn} == {0, 1}
    assert len(drawn) == 4
    assert abs(drawn[False, False, False] / 3000 - 0.8) < 0.03
    assert sum(draw_dropped_channels(rng, 0.0)) == 0
    assert sum(draw_dropped_channels(rng, 1.0)) == 1


def test_each_channel_is_dropped_by_itself_as_torch_drops_whole_channels() -> None:
    """Shares of 0, 1, 2 and 3 lost channels: .8^3, 3 x .8^2 x .2, 3 x .8 x .2^2, .2^3."""
    rng, clips = np.random.default_rng(0), 20_000
    ours = Counter(sum(draw_dropped_channels(rng, 0.2, "each")) for _ in range(clips))
    released = (F.dropout2d(torch.ones(clips, 3, 1, 1), 0.2) == 0).sum(1).flatten()
    for lost, share in enumerate((0.512, 0.384, 0.096, 0.008)):
        assert abs(ours[lost] / clips - share) < 0.01
        assert abs(float((released == lost).float().mean()) - share) < 0.01


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


def released_filler(kept: list[int], frames: int, cut: Callable[[int, int], int]) -> list[int]:
    """A warp by the words of SVFormer's released code: `cut` draws a place between two kept frames, both included."""
    shown = [kept[0]] * kept[0]
    for first, second in pairwise(kept):
        middle = second if second == first + 1 else cut(first, second)
        shown += [first] * (middle - first) + [second] * (second - middle)
    return shown + [kept[-1]] * (frames - kept[-1])


def test_a_random_filler_cuts_anywhere_between_two_kept_frames() -> None:
    cuts: Counter[int] = Counter()
    for seed in range(1500):
        warp, (kept, cut) = draw_warp(np.random.default_rng(seed), 8, "random"), warp_draws(seed)
        assert warp == released_filler(kept, 8, cut)
        if len(kept) == 2 and kept[1] - kept[0] == 4:
            cuts[warp.index(kept[1]) - kept[0]] += 1
    assert set(cuts) == {0, 1, 2, 3, 4}  # at the first itself: it is then not shown


def warp_draws(seed: int) -> tuple[list[int], Callable[[int, int], int]]:
    """The frames that a warp of eight keeps, and its draws of places between them."""
    rng = np.random.default_rng(seed)
    count = (2, 4, 8)[int(rng.integers(3))]
    kept = range(8) if count == 8 else sorted(rng.choice(8, size=count, replace=False).tolist())
    return list(kept), lambda first, second: int(rng.integers(first, second + 1))


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
