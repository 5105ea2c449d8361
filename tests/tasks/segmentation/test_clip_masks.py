"""A whole clip: times, flow to the next frame, sound before the picture, frames seen together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.errors import MediaError
from asgmcli.media.flow import encode_flow, farneback
from asgmcli.media.vggish_mel import PATCH, vggish_patches
from asgmcli.media.write import write_clip
from asgmcli.recipe.segmentation import SegmentationRecipe
from asgmcli.tasks.segmentation import clip_masks as module
from asgmcli.tasks.segmentation.clip_masks import ClipMasks, _around, clip_masks, squeeze
from asgmcli.tasks.segmentation.model import Segmenter, build_network
from asgmcli.tasks.segmentation.sounds import ear
from tests.tasks.segmentation.conftest import Make

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    ground = np.kron(rng.integers(0, 255, (12, 16, 3)), np.ones((4, 4, 1))).astype(np.uint8)
    frames = np.stack([np.roll(ground, number, axis=1) for number in range(20)])
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    write_clip(path, frames, 8.0, np.sin(np.arange(40_000) / 9) * 0.3)
    return path


def masked(film: Path, recipe: SegmentationRecipe) -> tuple[ClipMasks, Segmenter]:
    torch.manual_seed(0)
    network = Segmenter(build_network(recipe)).eval()
    return clip_masks(film, network, recipe, None, 20.0, CPU), network


def test_each_mask_is_of_its_frame_flow_and_sound(film: Path, recipe_of: Make) -> None:
    recipe = recipe_of("ufe", "predict.fps=2.0", "predict.frames_together=1")
    found, network = masked(film, recipe)
    assert found.times == pytest.approx([0, 0.5, 1, 1.5, 2], abs=1e-6)
    assert found.masks.shape == (5, 48, 64)
    assert found.masks.dtype == bool
    assert found.probabilities.dtype == np.float16
    from asgmcli.media.audio import read_audio
    from asgmcli.media.video import decode_video

    frames, _ = decode_video(film)
    sound = read_audio(film, 16_000)
    number, frame = 3, 12
    pair = [squeeze(frames[place], 32) for place in (frame, frame + 1)]
    flow = torch.from_numpy(encode_flow(farneback(*pair), 20.0)).float()[None, None] / 255
    start = round((1.5 - 15 / 16) * 16_000)
    heard = ear(vggish_patches(sound[start : start + PATCH]))[None]
    image = torch.from_numpy(np.array(pair[0])).permute(2, 0, 1)[None, None]
    with torch.no_grad():
        wanted = network(image, heard, flow).logits[0, 0].sigmoid().numpy()
    np.testing.assert_allclose(found.small[number], wanted, atol=2e-3)


def test_frames_a_second_apart_are_seen_together(film: Path, recipe_of: Make) -> None:
    times = [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    assert _around(times, 4, 5) == [0, 2, 4, 6]
    assert _around(times, 4, 3) == [2, 4, 6]
    assert _around(times, 0, 5) == [0, 2, 4]
    assert _around(times, 3, 1) == [3]
    together, _ = masked(film, recipe_of("ufe", "predict.fps=2.0"))
    assert len(together.times) == 5


def test_the_last_frames_flow_is_what_led_to_it(film: Path) -> None:
    from asgmcli.media.probe import probe

    times, frames, flow = module._pictures(film, probe(film), 8.0, 32, 20.0, True)
    assert flow is not None
    assert len(times) == len(frames) == len(flow) == 20
    wanted = encode_flow(-farneback(frames[-1], frames[-2]), 20.0)
    np.testing.assert_array_equal((flow[-1].numpy() * 255).round(), wanted)


def test_a_threshold_widens_or_narrows(film: Path, recipe_of: Make) -> None:
    low, _ = masked(film, recipe_of("plain", "predict.threshold=0.1"))
    high, _ = masked(film, recipe_of("plain", "predict.threshold=0.9"))
    assert low.masks.sum() > high.masks.sum()


def test_a_silent_file_is_refused_but_for_a_deaf_network(tmp_path: Path, recipe_of: Make) -> None:
    path = tmp_path / "silent.mp4"
    write_clip(path, np.zeros((8, 32, 32, 3), np.uint8), 8.0)
    with pytest.raises(MediaError, match="holds no sound"):
        masked(path, recipe_of("plain"))
    found, _ = masked(path, recipe_of("plain", "audio.kind=none"))
    assert len(found.times) == 4


def test_a_clip_shorter_than_a_window_is_heard_with_silence_behind(tmp_path: Path, recipe_of: Make) -> None:
    path = tmp_path / "short.mp4"
    write_clip(path, np.zeros((4, 32, 32, 3), np.uint8), 8.0, np.sin(np.arange(8000)) * 0.3)
    assert len(masked(path, recipe_of("plain"))[0].times) == 2
