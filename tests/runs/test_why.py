"""What is taken away from a clip, and what the network is then asked about."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.errors import MediaError
from asgmcli.localize.clip_maps import ClipMaps
from asgmcli.media.probe import MediaInfo, probe
from asgmcli.media.video import iterate_frames
from asgmcli.media.write import write_clip
from asgmcli.runs.why import RATE, Version, elsewhere, hidden, hottest, versions, words_of
from asgmcli.train.task import Prediction

FOUND = {"dog": 0.75, "cat": 0.25}


class Asked:
    """Stands for a network: what it is asked about is kept, and silent clips are no answer."""

    def __init__(self) -> None:
        self.clips: list[tuple[bool, np.ndarray]] = []

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        frames = np.stack([frame for _, frame in iterate_frames(path)])
        self.clips.append((probe(audio or path).audio_rate > 0, frames))
        if not self.clips[-1][0]:
            raise MediaError(f"{path}: no sound to listen to")
        return Prediction(None, [["dog", 0.75]], {"probabilities": dict(FOUND)})


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two seconds: a square that flickers whenever the tone sounds, on the left of a still grey picture."""
    time = np.arange(32_000) / 16_000
    on = np.sin(2 * np.pi * 2.0 * time) > 0
    frames = np.full((20, 48, 96, 3), 128, dtype=np.uint8)
    for number in range(20):
        if on[number * 1600]:
            frames[number, 16:32, 8:24] = 250 if number % 2 else 10
    write_clip(
        tmp_path / "clip.mp4", frames, 10.0, (0.5 * on * np.sin(2 * np.pi * 440 * time)).astype(np.float32), crf=12
    )
    return tmp_path / "clip.mp4"


def test_each_version_lacks_what_its_name_says(clip: Path) -> None:
    network = Asked()
    found = versions(network, clip)  # type: ignore[arg-type]
    assert [version.name for version in found] == [
        "as it is",
        "without sound",
        "without picture",
        "without the source's place",
        "without another place",
    ]
    assert [heard for heard, _ in network.clips] == [True, False, True, True, True]
    _, mute, grey, place, other = (frames.astype(float) for _, frames in network.clips)
    assert grey.std() < 3
    flicker = [frames[:, : frames.shape[1], : frames.shape[2] // 3].std(0).max() for frames in (mute, place, other)]
    assert flicker[1] < 0.6 * flicker[0]
    assert flicker[2] > 0.8 * flicker[0]
    assert found[1].answer is None
    assert found[1].note == "no sound to listen to"
    assert found[1].data(("label", "probability")) == {
        "version": "without sound",
        "rows": [],
        "note": "no sound to listen to",
    }
    assert found[0].data(("label", "probability"))["rows"] == [{"label": "dog", "probability": 0.75}]
    assert words_of(found).startswith("dog: 75% as it is; 75% without picture, 75% without the source's place")


def test_a_silent_clip_has_no_place_and_no_version_without_sound(tmp_path: Path) -> None:
    write_clip(tmp_path / "still.mp4", np.full((10, 48, 48, 3), 90, dtype=np.uint8), 10.0, None)

    class Sees(Asked):
        def predict(self, path: Path, audio: Path | None = None) -> Prediction:
            return Prediction(None, [["dog", 0.75]], {"probabilities": dict(FOUND)})

    found = versions(Sees(), tmp_path / "still.mp4")  # type: ignore[arg-type]
    assert [version.name for version in found] == ["as it is", "without picture"]
    assert "no place of its source" in found[0].note


def test_only_what_is_warm_is_hidden_of_a_still_picture() -> None:
    heat = np.zeros((1, 14, 14), np.float32)
    heat[0, 4:6, 7:9] = 1.0
    info = MediaInfo(Path("x.mp4"), "video", 1.0, 1.0, 1, 56, 56, 0, RATE, 1, 0.0, 0.0)
    maps = ClipMaps(info, "motion", heat, np.zeros(1), np.ones(1, np.float32), None, np.ones(1, np.float32))
    (mask,) = hottest(maps, [0.0], (56, 56))
    assert 0.02 < mask.mean() < 0.1
    assert mask[16:24, 28:36].all()
    heat[:] = 0.5
    assert not hottest(maps, [0.0], (56, 56)).any()


def test_the_hottest_fifth_is_hidden_and_another_of_its_form() -> None:
    heat = np.zeros((1, 5, 5), np.float32)
    heat[0, 1] = 1.0
    info = MediaInfo(Path("x.mp4"), "video", 1.0, 1.0, 1, 50, 50, 0, RATE, 1, 0.0, 0.0)
    maps = ClipMaps(info, "motion", heat, np.zeros(1), np.ones(1, np.float32), None, np.ones(1, np.float32))
    masks = hottest(maps, [0.0, 0.4], (50, 50))
    assert masks.shape == (2, 50, 50)
    assert masks.mean() == pytest.approx(0.2, abs=0.02)
    assert masks[0, 10:20].mean() > 0.9
    moved = elsewhere(masks)
    assert moved.sum() == masks.sum()
    assert not (moved & masks).any()
    frames = np.random.default_rng(0).integers(0, 256, (2, 50, 50, 3), dtype=np.uint8)
    blurred = hidden(frames, masks)
    assert (blurred[~masks] == frames[~masks]).all()
    assert blurred[masks].std() < 0.3 * frames[masks].std()


def test_words_need_probabilities() -> None:
    frame = np.zeros((2, 2, 3), np.uint8)
    assert words_of([Version("as it is", frame, None, Prediction(None, [[1.0]], {}))]) == ""
