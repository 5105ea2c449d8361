from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from asgmcli.commands.localize import command
from asgmcli.data.manifest import ManifestRow, write_manifest
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.media.video import decode_video
from asgmcli.media.write import write_clip

RATE = 16000
FPS = 12
SIZE = (72, 96)


def beating_clip(path: Path, seconds: float = 3.0, sound: str = "beats", size: tuple[int, int] = SIZE) -> Path:
    """A square in the left half that shakes with the sound, one in the right half that shakes between."""
    rng = np.random.default_rng(0)
    height, width = size
    frames = np.full((round(seconds * FPS), height, width, 3), 110, np.uint8)
    frames += rng.integers(0, 30, (1, height, width, 1), np.uint8)
    times = np.arange(len(frames)) / FPS
    beats = np.sin(2 * np.pi * 1.1 * times) > 0.3
    for index, frame in enumerate(frames):
        for centre, moves in ((0.25, beats[index]), (0.75, not beats[index])):
            down, right = rng.integers(-5, 6, 2) * moves
            row, column = height // 2 + int(down), round(centre * width) + int(right)
            frame[row - 9 : row + 9, column - 9 : column + 9] = 240
    clock = np.arange(round(seconds * RATE)) / RATE
    wave = (np.sin(2 * np.pi * 1.1 * clock) > 0.3) * np.sin(2 * np.pi * 500 * clock) * 0.4
    audio = {"beats": wave, "short": wave[: len(wave) // 2], "silence": wave * 0, "none": None}[sound]
    write_clip(path, frames, FPS, None if audio is None else audio.astype(np.float32), RATE)
    return path


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return beating_clip(tmp_path_factory.mktemp("clips") / "beat.mp4")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(command, [str(argument) for argument in arguments])


def tiny_weights(path: Path) -> Path:
    import torch

    from asgmcli.nn.localizer import FNAC, save_localizer

    torch.manual_seed(0)
    return save_localizer(path, FNAC(8, width=4, stride=16), {"input_size": 64, "seconds": 1.0})


@pytest.mark.pictures
def test_a_clip_gives_overlay_strip_maps_and_boxes(clip: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    result = run(clip, "--json")
    assert result.exit_code == 0, result.output
    assert "the motion localizer, which needs no training" in result.stderr
    answer = json.loads(result.stdout)
    assert answer["clips"][0]["localizer"] == "motion"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "beat_boxes.json",
        "beat_maps.npz",
        "beat_overlay.mp4",
        "beat_strip.png",
    ]
    with np.load(tmp_path / "beat_maps.npz") as saved:
        maps, times = saved["maps"], saved["times"]
        assert maps.dtype == np.float16
        assert maps.shape == (36, 14, 14)
        assert np.allclose(times, np.arange(36) / FPS, atol=1e-3)
        assert list(saved["size"]) == [96, 72]
    beats = np.sin(2 * np.pi * 1.1 * times) > 0.3
    peaks = maps.reshape(36, -1).argmax(axis=1) % 14
    assert (peaks[beats] < 7).mean() > 0.8
    boxes = json.loads((tmp_path / "beat_boxes.json").read_text())
    assert [entry["time"] for entry in boxes["frames"]] == [round(float(time), 4) for time in times]
    for entry in boxes["frames"]:
        if entry["box"]:
            x0, y0, x1, y1 = entry["box"]
            assert 0 <= x0 < x1 <= 96
            assert 0 <= y0 < y1 <= 72
    with Image.open(tmp_path / "beat_strip.png") as strip:
        assert strip.width > 1000


def test_the_overlay_keeps_the_sound_and_the_timing(clip: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    assert run(clip, "--write", "overlay").exit_code == 0
    overlay = probe(tmp_path / "beat_overlay.mp4")
    assert (overlay.width, overlay.height, overlay.frames, overlay.audio_rate) == (96, 72, 36, RATE)
    before, after = (read_audio(path, RATE, 0.0, 3.0) for path in (clip, tmp_path / "beat_overlay.mp4"))
    assert np.corrcoef(before, after)[0, 1] > 0.98
    plain, coloured = (decode_video(path)[0].astype(int) for path in (clip, tmp_path / "beat_overlay.mp4"))
    assert np.abs(plain - coloured).mean() > 2
    assert [path.name for path in tmp_path.iterdir()] == ["beat_overlay.mp4"]


def test_nothing_is_overwritten_unasked(clip: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "beat_maps.npz").write_text("mine")
    refused = run(clip)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["beat_maps.npz"]
    assert run(clip, "--write", "maps", "--overwrite").exit_code == 0
    assert np.load(tmp_path / "beat_maps.npz")["maps"].shape[0] == 36


@pytest.mark.parametrize(("sound", "reason"), [("silence", "the clip is silent"), ("none", "the clip has no sound")])
def test_silence_gives_uniform_maps_and_a_warning(
    sound: str, reason: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    quiet = beating_clip(tmp_path / "quiet.mp4", 1.0, sound)
    result = run(quiet, "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert f"Warning: {quiet}: {reason}, its maps are uniform." in result.stderr.replace("\n", " ").replace("  ", " ")
    assert json.loads(result.stdout)["clips"][0]["warning"] == reason
    maps = np.load(tmp_path / "out" / "quiet_maps.npz")["maps"]
    assert (maps == maps.flat[0]).all()
    boxes = json.loads((tmp_path / "out" / "quiet_boxes.json").read_text())
    assert all(entry["box"] is None for entry in boxes["frames"])
    assert probe(tmp_path / "out" / "quiet_overlay.mp4").audio_rate == (RATE if sound == "silence" else 0)


def read_boxes(path: Path) -> list[dict[str, float | list[int] | None]]:
    found: list[dict[str, float | list[int] | None]] = json.loads(path.read_text())["frames"]
    return found


def test_every_map_has_a_confidence_and_only_sure_ones_a_box(run: Callable[..., Result], tmp_path: Path) -> None:
    beating_clip(tmp_path / "beats.mp4", 6.0)
    result = run("beats.mp4", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)["clips"][0]
    confidences = np.load("beats_maps.npz")["confidence"]
    assert confidences.dtype == np.float16
    assert answer["sure"] == (confidences >= 0.95).sum() > 60
    assert f"{answer['sure']} of the maps are sure (confidence from 0.95)" in result.stderr
    boxes = read_boxes(tmp_path / "beats_boxes.json")
    assert np.allclose([entry["confidence"] for entry in boxes], confidences, atol=1e-3)
    assert sum(entry["box"] is not None for entry in boxes) > 30
    assert all(entry["box"] is None for entry in boxes if entry["confidence"] < 0.95)  # type: ignore[operator]


def test_a_clip_whose_sound_fits_nothing_keeps_its_maps_and_gets_no_box(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    frames, _ = decode_video(beating_clip(tmp_path / "beats.mp4", 6.0))
    rng = np.random.default_rng(3)
    tune = np.repeat(rng.uniform(0.05, 0.4, 24), RATE // 4) * rng.normal(0, 0.3, 6 * RATE)
    for name, wave in (("tune", tune), ("hiss", rng.normal(0, 5e-4, 6 * RATE))):
        write_clip(tmp_path / f"{name}.mp4", frames, FPS, wave.astype(np.float32), RATE)
        result = run(f"{name}.mp4", "--json")
        assert result.exit_code == 0, result.output
        answer = json.loads(result.stdout)["clips"][0]
        assert answer["sure"] == 0
        assert answer["confidence"] < 0.95
        maps = np.load(f"{name}_maps.npz")["maps"]
        assert all(entry["box"] is None for entry in read_boxes(tmp_path / f"{name}_boxes.json"))
        if name == "tune":  # what a mask is drawn by stays
            assert maps.min(axis=(1, 2)).max() < 0.5
            assert "No map is sure: the highest confidence is" in result.stderr
            shown = decode_video(tmp_path / "tune_overlay.mp4")[0].astype(int)
            assert np.abs(shown[:, -9:, :60] - frames[:, -9:, :60]).mean() > 20  # the caption
            assert run("tune.mp4", "--confidence", 0, "--overwrite", "--write", "boxes").exit_code == 0
            assert any(entry["box"] for entry in read_boxes(tmp_path / "tune_boxes.json"))
        else:
            assert (maps == 1).all()
            assert answer["warning"] == "the clip is nearly silent"


def test_brackets_in_a_name_are_no_markup(run: Callable[..., Result], tmp_path: Path) -> None:
    quiet = beating_clip(tmp_path / "[red]quiet[-1].mp4", 1.0, "silence")
    result = run(quiet, "--write", "boxes")
    assert result.exit_code == 0, result.output
    assert f"Warning: {quiet}: " in result.stderr
    assert "Wrote [red]quiet[-1]_boxes.json" in result.stderr


def test_a_single_frame_is_said_to_show_no_motion(run: Callable[..., Result], tmp_path: Path) -> None:
    one = beating_clip(tmp_path / "one.mp4", 1 / FPS)
    result = run(one, "--json", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["clips"][0]["warning"] == "a single frame shows no motion"


def test_sound_shorter_than_the_picture(run: Callable[..., Result], tmp_path: Path) -> None:
    short = beating_clip(tmp_path / "short.mp4", 3.0, "short")
    result = run(short, "--write", "maps", "--write", "overlay", "--out", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["clips"][0]["warning"] is None
    assert np.isfinite(np.load(tmp_path / "out" / "short_maps.npz")["maps"]).all()
    assert read_audio(tmp_path / "out" / "short_overlay.mp4", RATE).shape[0] == pytest.approx(3 * RATE, abs=2048)


def test_unreadable_files_are_one_clear_line(run: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    for name, words in (("text.mp4", "text.mp4"), ("empty.mp4", "empty"), ("missing.mp4", "no such file")):
        result = run(tmp_path / name, "--out", tmp_path / "out")
        assert result.exit_code == 3
        assert words in result.stderr
        assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_missing_file_is_told_before_a_localizer_is_announced(run: Callable[..., Result], tmp_path: Path) -> None:
    for options in ((), ("--weights", tmp_path / "gone.pth"), ("--localizer", "fnac")):
        for name in ("missing.mp4", "missing", "missing.csv"):
            result = run(name, *options)
            assert result.exit_code == 3
            assert result.stderr == f"Error: {name}: no such file; is the path right?\n"
    assert not list(tmp_path.iterdir())


def test_a_trained_localizer_by_file_and_by_run_folder(clip: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "seed0"
    folder.mkdir()
    tiny_weights(folder / "localizer.safetensors")
    options = ("--write", "maps", "--fps", "3", "--overwrite", "--json", "--out", tmp_path / "out")
    by_file = run(clip, "--weights", folder / "localizer.safetensors", *options)
    assert by_file.exit_code == 0, by_file.output
    assert json.loads(by_file.stdout)["clips"][0]["localizer"] == "fnac"
    first = np.load(tmp_path / "out" / "beat_maps.npz")["maps"]
    assert first.shape == (9, 4, 4)
    assert np.allclose(first.max(axis=(1, 2)), 1)
    assert np.isnan(np.load(tmp_path / "out" / "beat_maps.npz")["confidence"]).all()  # it knows none
    assert json.loads(by_file.stdout)["clips"][0]["confidence"] is None
    assert run(clip, "--weights", folder, "--localizer", "fnac", *options).exit_code == 0
    assert np.array_equal(first, np.load(tmp_path / "out" / "beat_maps.npz")["maps"])


def test_weights_that_do_not_fit(clip: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    import torch

    torch.save({"model": {"conv.weight": torch.zeros(2)}}, tmp_path / "other.pth")
    cases = [
        (("--localizer", "fnac"), 2, "needs --weights"),
        (("--localizer", "motion", "--weights", tmp_path / "other.pth"), 2, "has no weights"),
        (("--weights", tmp_path / "gone.pth"), 3, "there is no"),
        (("--weights", tmp_path), 3, "holds no localizer.safetensors"),
        (("--weights", tmp_path / "other.pth"), 3, "not an FNAC localizer"),
    ]
    for options, code, words in cases:
        result = run(clip, *options, "--out", tmp_path / "out")
        assert result.exit_code == code, result.output
        assert words in result.stderr.replace("\n", " ")
    assert not (tmp_path / "out").exists()


def manifest_of(folder: Path, names: list[str]) -> Path:
    rows = []
    for name in names:
        path = folder / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        beating_clip(path, 1.0)
        rows.append(ManifestRow(name, f"{name}.mp4", "beat", "train", 1.0, FPS, 12, 96, 72, f"{name}.mp4", ""))
    write_manifest(folder, rows, ["beat"])
    return folder / "manifest.csv"


def test_a_manifest_in_shards_goes_on_where_it_stopped(run: Callable[..., Result], tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", [f"beat/clip{index}" for index in range(5)])
    out = tmp_path / "maps"
    done = []
    for shard in ("1/2", "2/2"):
        result = run(manifest, "--out", out, "--shard", shard, "--json")
        assert result.exit_code == 0, result.output
        done += [entry["id"] for entry in json.loads(result.stdout)["clips"]]
    assert sorted(done) == [f"beat/clip{index}" for index in range(5)]
    assert sorted(path.name for path in (out / "beat").glob("*.npz")) == [f"clip{i}_maps.npz" for i in range(5)]
    assert not list(out.rglob("*.mp4"))
    (out / "beat" / "clip3_maps.npz").unlink()
    again = json.loads(run(manifest, "--out", out, "--json").stdout)
    assert [entry["id"] for entry in again["clips"]] == ["beat/clip3"]
    assert again["skipped"] == 4
    other = run(manifest, "--out", out, "--fps", "3")
    assert other.exit_code == 2
    assert "fps" in other.stderr


def test_a_broken_clip_does_not_stop_the_others(run: Callable[..., Result], tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", ["a", "b", "c"])
    (tmp_path / "data" / "b.mp4").write_text("no video")
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        result = run(manifest, "--out", out, "--json", "--workers", workers)
        assert result.exit_code == 3
        answer = json.loads(result.stdout.splitlines()[0])
        assert sorted(entry["id"] for entry in answer["clips"]) == ["a", "c"]
        assert [entry["id"] for entry in answer["failed"]] == ["b"]
        assert "b.mp4" in (out / "failed.csv").read_text()
        assert "1 of 3 clips could not be localized" in result.stderr.replace("\n", " ")


def test_a_folder_of_clips(clip: Path, run: Callable[..., Result], tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "one.mp4").write_bytes(clip.read_bytes())
    (folder / "deep" / "two.mp4").write_bytes(clip.read_bytes())
    (folder / "notes.txt").write_text("not a video")
    result = run(folder, "--write", "boxes", "--out", folder / "localized")
    assert result.exit_code == 0, result.output
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*_boxes.json"))
    assert found == ["localized/deep/two_boxes.json", "localized/one_boxes.json"]
    (tmp_path / "none").mkdir()
    empty = run(tmp_path / "none")
    assert empty.exit_code == 3
    assert "No video" in empty.stderr


@pytest.mark.parametrize("shard", ["0/2", "3/2", "half", "1"])
def test_impossible_shards(shard: str, run: Callable[..., Result], tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path / "data", ["a"])
    result = run(manifest, "--shard", shard)
    assert result.exit_code == 2
    assert "I/N" in result.stderr
