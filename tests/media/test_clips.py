"""Which frames and which seconds: counted by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asgmcli.media.clips import (
    audio_window,
    clip_indices,
    clip_span,
    indices_at,
    last_start,
    random_start,
    spanned_indices,
    spanned_starts,
    uniform_starts,
)


def test_a_clip_by_hand_and_a_short_one_repeats_its_last_frame() -> None:
    assert clip_indices(100, 8, 8, 3) == [3, 11, 19, 27, 35, 43, 51, 59]
    assert clip_indices(20, 4, 8, 0) == [0, 8, 16, 19]
    assert clip_indices(3, 8, 8, 0) == [0, 2, 2, 2, 2, 2, 2, 2]
    assert clip_indices(5, 2, 1, 9) == [4, 4]


def test_every_start_that_fits_is_drawn_alike_and_no_other() -> None:
    assert last_start(57, 8, 8) == 0  # 57 = 7 * 8 + 1 frames hold one clip
    assert last_start(60, 8, 8) == 3
    draws = [random_start(60, 8, 8, step / 1000) for step in range(1000)]
    assert [draws.count(start) for start in range(5)] == [250, 250, 250, 250, 0]
    assert random_start(60, 8, 8, 1 - 2**-53) == 3
    assert random_start(10, 8, 8, 0.999) == 0


def test_evaluation_clips_reach_from_the_first_frame_to_the_last() -> None:
    assert uniform_starts(300, 8, 8, 5) == [0, 61, 122, 182, 243]  # 300 - 57 = 243
    assert uniform_starts(300, 8, 8, 2) == [0, 243]
    assert uniform_starts(300, 8, 8, 1) == [121]
    assert uniform_starts(30, 8, 8, 5) == [0, 0, 0, 0, 0]
    assert clip_indices(300, 8, 8, uniform_starts(300, 8, 8, 5)[-1])[-1] == 299
    assert spanned_starts(364, 64.0, 5, inclusive=True) == [0, 75, 150, 225, 300]
    assert spanned_starts(364, 64.0, 1, inclusive=True) == [150]


def test_released_evaluation_clips_leave_the_last_start_out() -> None:
    """Start k of n lies k / n of the way to the last one, so that the end of the video is not seen."""
    assert uniform_starts(300, 8, 8, 5, inclusive=False) == [0, 48, 97, 145, 194]  # 243 k / 5
    assert uniform_starts(300, 8, 8, 1, inclusive=False) == [0]
    assert spanned_starts(364, 64.0, 5, inclusive=False) == [0, 60, 120, 180, 240]
    assert spanned_starts(50, 64.0, 3, inclusive=False) == [0, 0, 0]


@pytest.mark.parametrize(
    ("fps", "expected"),
    [
        (30.0, [0, 9, 18, 27, 36, 45, 54, 63]),  # 64 frames: steps of 9, not of 8
        (25.0, [0, 7, 14, 22, 29, 37, 44, 52]),  # 53.3 frames
        (60.0, [0, 18, 36, 54, 72, 90, 108, 127]),  # 128 frames
        (15.0, [0, 4, 8, 13, 17, 22, 26, 31]),  # 32 frames
    ],
)
def test_a_clip_lasts_64_frames_of_30_a_second_at_any_rate(fps: float, expected: list[int]) -> None:
    span = 8 * 8 / 30 * fps
    indices = spanned_indices(1000, 8, span, 0.0)
    assert indices == expected
    seconds = [index / fps for index in indices]
    ideal = [place * (64 / 30 - 1 / fps) / 7 for place in range(8)]
    assert all(-1e-9 <= wanted - found < 1 / fps for found, wanted in zip(seconds, ideal, strict=True))
    assert clip_span(indices, fps)[1] == pytest.approx(64 / 30, abs=0.8 / fps)


def test_fractions_of_frames_are_counted_as_the_released_decoder_counts_them() -> None:
    """Time stamps from the first at or after the start to one past the end, of which eight are taken, rounded down."""
    rng, unit = np.random.default_rng(0), 1_000_000
    for _ in range(300):
        fps, total = float(rng.choice([15, 23.976, 24, 25, 29.97, 30, 50, 60])), int(rng.integers(20, 400))
        span = 64 / 30 * fps
        start = float(rng.uniform(0, max(total - span, 0)))
        low, high = int(start * unit), int((start + span - 1) * unit)
        decoded = []
        for frame in range(total):
            if frame * unit >= low:
                decoded.append(frame)
            if frame * unit > high:
                break
        places = torch.linspace(0, span - 1, 8).clamp(0, len(decoded) - 1).long().tolist()
        assert spanned_indices(total, 8, span, start) == [decoded[place] for place in places]


def test_sound_is_centred_on_the_frames() -> None:
    indices = clip_indices(300, 8, 8, 30)
    assert clip_span(indices, 30.0) == (1.0, 87 / 30)
    start = audio_window(indices, 30.0, 4.0)
    assert start == pytest.approx((1.0 + 2.9) / 2 - 2.0)
    assert audio_window([0, 8], 8.0, 4.0) == pytest.approx(-1.4375)
    assert clip_span([5, 3, 9], 10.0) == (0.3, 1.0)


@pytest.mark.parametrize(
    "call",
    [
        lambda: clip_indices(0, 8, 8, 0),
        lambda: clip_indices(10, 8, 0, 0),
        lambda: clip_indices(10, 8, 8, -1),
        lambda: random_start(10, 8, 8, 1.0),
        lambda: last_start(10, 0, 8),
        lambda: uniform_starts(10, 8, 8, 0),
        lambda: spanned_starts(10, 4.0, 0, inclusive=True),
        lambda: spanned_indices(10, 8, 0.5, 0),
        lambda: spanned_indices(10, 8, 8.0, -0.1),
        lambda: clip_span([], 10.0),
        lambda: clip_span([1], 0.0),
    ],
)
def test_impossible_numbers_are_refused(call: object) -> None:
    with pytest.raises(ValueError):
        call()


def test_the_frames_nearest_to_given_times() -> None:
    assert indices_at([0.0, 0.02, 0.021, 0.5, 9.99, 30.0, -1.0], 25.0, 250) == [0, 1, 1, 13, 249, 249, 0]
    assert indices_at([second + 8 / 16 for second in range(3)], 30.0, 90) == [15, 45, 75]
    # A clip shorter than asked for repeats its last frame.
    assert indices_at([0.5, 1.5, 2.5], 8.0, 10) == [4, 9, 9]
    # 0.29 * 100 is a little below 29 in binary.
    assert indices_at([0.285], 100.0, 100) == [29]
    for total, fps in ((0, 25.0), (3, 0.0)):
        with pytest.raises(ValueError, match="need frames"):
            indices_at([0.0], fps, total)
