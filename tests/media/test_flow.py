"""Farneback's flow and its bytes."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from asgmcli.errors import InstallError
from asgmcli.media.flow import REST, decode_flow, encode_flow, farneback
from tests.avs_golden import frames, golden


def test_it_equals_opencvs_and_follows_what_moves() -> None:
    wanted, pair = golden("farneback"), frames(71, 64)
    flow = farneback(pair[0], pair[1])
    assert flow.shape == (2, 64, 64)
    assert flow.dtype == np.float32
    assert np.abs(flow - wanted["flow"]).max() < 0.05
    centre = flow[:, 28:36, 28:36].mean(axis=(1, 2))
    assert centre == pytest.approx([3.0, -2.0], abs=0.5)
    assert np.abs(flow[:, :8, :8]).mean() < 0.2


def test_bytes_by_hand_and_round_trip() -> None:
    wanted = golden("farneback")
    np.testing.assert_array_equal(encode_flow(wanted["flow"]), wanted["encoded"])
    given = np.array([-30.0, -20.0, 0.0, 20.0, 30.0], np.float32)
    assert encode_flow(given).tolist() == [0, 0, REST, 255, 255]
    assert np.abs(decode_flow(encode_flow(wanted["flow"])) - wanted["flow"]).max() <= 20 / 255 + 1e-4
    assert decode_flow(encode_flow(np.array([3.0]), bound=4), bound=4)[0] == pytest.approx(3.0, abs=4 / 255)


def test_frames_of_two_sizes_are_an_error() -> None:
    with pytest.raises(ValueError, match="one size"):
        farneback(np.zeros((4, 4, 3), np.uint8), np.zeros((4, 5, 3), np.uint8))


def test_without_opencv_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    pair = frames(71, 64)
    with pytest.raises(InstallError, match=r"pip install 'asgm\[flow\]'"):
        farneback(pair[0], pair[1])
