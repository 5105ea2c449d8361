from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from asgmcli.commands.visualize_masks import command
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.media.write import write_clip

RATE = 16000
FPS = 20
PICTURES = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def write_scene(path: Path, frames: int = 80, tone: float = 400, silent: bool = False, left: bool = True) -> Path:
    """A square that shakes in a corner whenever a tone is heard."""
    rng = np.random.default_rng(0)
    pictures = np.full((frames, 90, 120, 3), 60 if left else 170, np.uint8)
    on = np.arange(frames) % 16 < 8
    for index, picture in enumerate(pictures):
        down, right = rng.integers(-4, 5, 2) * on[index]
        picture[20 + down : 44 + down, 26 + right : 50 + right] = (240, 200, 40)
    clock = np.arange(round(frames / FPS * RATE))
    loud = on[np.minimum(clock * FPS // RATE, frames - 1)]
    wave = None if silent else (loud * np.sin(2 * np.pi * tone * clock / RATE) * 0.4).astype(np.float32)
    write_clip(path, pictures, FPS, wave, RATE)
    return path


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("scenes")
    return write_scene(folder / "one.mp4"), write_scene(folder / "two.mp4", tone=900, left=False)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.long
@pytest.mark.pictures
def test_every_frame_by_default(clips: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(clips[0], "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer["figure"] == "one_masks.png"
    assert (answer["tokens"], answer["kept"]) == (196, 65)
    assert np.allclose(np.diff(answer["times"]), 8 / FPS)
    assert "the motion localizer, which needs no training" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["one_masks.png"]
    with Image.open(tmp_path / "one_masks.png") as picture:
        assert picture.width > 1500
        assert picture.height > 1500


@pytest.mark.pictures
@pytest.mark.parametrize(
    "suffix", ["svg", *(pytest.param(suffix, marks=pytest.mark.long) for suffix in sorted({*PICTURES} - {"svg"}))]
)
def test_one_frame_in_every_format(
    suffix: str, clips: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path
) -> None:
    options = ("--frame", "3", "--keep", "0.5", "--average-frames", "2", "--grid", "7", "--seed", "5")
    result = run(clips[0], *options, "--out", f"a.{suffix}", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["tokens"], answer["kept"], len(answer["times"])) == (49, 24, 1)
    content = (tmp_path / f"a.{suffix}").read_bytes()
    assert content.startswith(PICTURES[suffix])
    if suffix == "svg":  # what is drawn is the same every time; that each format is written so, tests/report shows
        assert run(clips[0], *options, "--out", "b.svg").exit_code == 0
        assert content == (tmp_path / "b.svg").read_bytes()


@pytest.mark.long
@pytest.mark.pictures
def test_another_seed_draws_another_mask(clips: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path) -> None:
    for seed in (1, 2):
        assert run(clips[0], "--frame", "1", "--seed", seed, "--out", f"{seed}.png").exit_code == 0
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "2.png").read_bytes()


@pytest.mark.long
@pytest.mark.pictures
def test_a_mixture_to_look_at_and_to_hear(clips: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(clips[0], "--with", clips[1], "--save-clip", "mix.mp4", "--keep", "0.5", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert answer == {
        "figure": "one_mix.png",
        "clip": "mix.mp4",
        "localizer": "motion",
        "share": 0.5,
        "warnings": [],
    }
    mixed = probe(tmp_path / "mix.mp4")
    assert (mixed.width, mixed.height, mixed.frames, mixed.fps) == (224, 224, 64, FPS)
    start = 8 / FPS  # of 80 frames the middle 64 are mixed
    both = sum(0.5 * read_audio(clip, RATE, start, 3.0) for clip in clips)
    assert np.corrcoef(both, read_audio(tmp_path / "mix.mp4", RATE, 0.0, 3.0))[0, 1] > 0.97
    assert (tmp_path / "one_mix.png").stat().st_size > 50_000


def test_a_trained_localizer(clips: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path) -> None:
    import torch

    from asgmcli.nn.localizer import FNAC, save_localizer

    torch.manual_seed(0)
    save_localizer(tmp_path / "localizer.safetensors", FNAC(8, width=4, stride=16), {"input_size": 64, "seconds": 1.0})
    result = run(clips[0], "--weights", tmp_path, "--frame", "2", "--out", "fnac.png", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["localizer"] == "fnac"


def test_a_missing_clip_is_told_before_a_localizer_is_announced(
    clips: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path
) -> None:
    for arguments in (("gone.mp4",), ("gone.mp4", "--weights", "gone.pth"), (clips[0], "--with", "gone.mp4")):
        result = run(*arguments)
        assert result.exit_code == 3
        assert result.stderr == "Error: gone.mp4: no such file; is the path right?\n"
    assert not list(tmp_path.iterdir())


def test_brackets_in_a_name_are_no_markup(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(write_scene(tmp_path / "[b]quiet[-1].mp4", silent=True), "--frame", "1")
    assert result.exit_code == 0, result.output
    assert "Wrote [b]quiet[-1]_masks.png" in result.stderr
    assert f"Warning: {tmp_path}/[b]quiet[-1].mp4: the clip has no sound" in result.stderr


def test_silence_warns_and_draws_uniformly(run: Callable[..., Result], tmp_path: Path) -> None:
    quiet = write_scene(tmp_path / "quiet.mp4", silent=True)
    result = run(quiet, "--frame", "1", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["warnings"] == [f"{quiet}: the clip has no sound, its maps are uniform."]


def test_a_single_picture_is_shown_once(run: Callable[..., Result], tmp_path: Path) -> None:
    one = write_scene(tmp_path / "still.mp4", frames=1)
    result = run(one, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert len(answer["times"]) == 1
    assert "a single frame" in answer["warnings"][0]


def test_what_cannot_be_is_refused_and_nothing_is_written(
    clips: tuple[Path, Path], run: Callable[..., Result], tmp_path: Path
) -> None:
    (tmp_path / "old.png").write_text("mine")
    cases: list[tuple[tuple[object, ...], int, str]] = [
        ((clips[0], "--out", "a.gif"), 2, ".png, .svg, .pdf"),
        ((clips[0], "--out", "old.png"), 2, "--overwrite"),
        ((clips[0], "--save-clip", "mix.mp4"), 2, "--with"),
        ((clips[0], "--with", clips[1], "--frame", "2"), 2, "--frame"),
        ((clips[0], "--with", clips[1], "--save-clip", "mix.avi"), 2, ".mp4"),
        ((clips[0], "--frame", "9"), 2, "1<=x<=8"),
        ((clips[0], "--keep", "1.5"), 2, "not from 0 to 1"),
        ((clips[0], "--grid", "0x3"), 2, "14x14"),
        ((clips[0], "--grid", "1"), 2, "at least 2 tokens"),
        ((clips[0], "--start", "99"), 3, "--start"),
        ((clips[0], "--localizer", "fnac"), 2, "--weights"),
        (("gone.mp4",), 3, "no such file"),
    ]
    for arguments, code, words in cases:
        result = run(*arguments)
        assert result.exit_code == code, (arguments, result.output)
        assert words in result.stderr
        assert "Traceback" not in result.output
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old.png", "mine")]
