"""AVSBench's S4 as it is distributed: frames, masks of every PNG mode, pickled log-mels, flow."""

from __future__ import annotations

import csv
import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from PIL import Image

from asgmcli.data.frames import read_flow, read_frames, read_mask
from asgmcli.data.manifest import read_manifest
from asgmcli.media.flow import encode_flow, farneback
from asgmcli.media.video import decode_video
from asgmcli.media.write import write_clip
from asgmcli.prepare.datasets.frame_plan import squeezed
from tests.avs_golden import golden
from tests.calling import asgm

CLIPS = (
    ("abcdefghijk_1", "dog_barking", "train"),
    ("bbcdefghijk_2", "typing", "val"),
    ("cbcdefghijk_3", "typing", "test"),
)


def s4(root: Path, videos: bool = False) -> Path:
    """A miniature of Single-source/; the flow's video has 10 frames a second."""
    data = root / "Single-source" / "s4_data"
    lines = ["name,start,category,split"]
    rng = np.random.default_rng(0)
    for number, (name, category, split) in enumerate(CLIPS):
        lines.append(f"{name},0,{category},{split}")
        inner = Path(split) / category
        frames, masks = data / "visual_frames" / inner / name, data / "gt_masks" / inner / name
        for folder in (frames, masks, data / "audio_log_mel" / inner):
            folder.mkdir(parents=True, exist_ok=True)
        ground = np.kron(rng.integers(0, 255, (16, 16, 3)), np.ones((14, 14, 1))).astype(np.uint8)
        film = np.stack([np.roll(ground, 2 * frame, axis=1) for frame in range(50)])
        for k in range(1, 6):
            Image.fromarray(film[10 * k - 1]).save(frames / f"{name}_{k}.png")
            if k == 1 or split != "train":
                mask = Image.fromarray((np.indices((224, 224)).sum(0) < 60 * k).astype(np.uint8) * 255)
                modes = ("1", "L", "RGB", "P", "RGBA")
                mask.convert(modes[(k + number) % 5]).save(masks / f"{name}_{k}.png")
        with (data / "audio_log_mel" / inner / f"{name}.pkl").open("wb") as file:
            pickle.dump(torch.zeros(5, 1, 96, 64, requires_grad=True), file)
        if videos:
            (data / "raw_videos" / inner).mkdir(parents=True, exist_ok=True)
            write_clip(data / "raw_videos" / inner / f"{name}.mp4", film, 10.0, crf=10)
    (root / "Single-source" / "s4_meta_data.csv").write_text("\n".join(lines) + "\n")
    return data


def prepare(root: Path, *options: str, code: int = 0) -> Result:
    return asgm("prepare", "avsbench_s4", "--root", root, "--out", root / "out", "--workers", 1, *options, code=code)


def reasons(root: Path) -> dict[str, str]:
    with (root / "out" / "quarantine.csv").open() as file:
        return {row["id"]: row["reason"] for row in csv.DictReader(file)}


def test_frames_masks_and_sound_become_a_manifest(tmp_path: Path) -> None:
    s4(tmp_path)
    assert "no flow is stored" in prepare(tmp_path).output
    manifest = read_manifest(tmp_path / "out")
    assert manifest.classes == ["dog_barking", "typing"]
    assert [(row.split, row.label, row.frames, row.width) for row in manifest.rows] == [
        ("train", "dog_barking", 5, 224), ("val", "typing", 5, 224), ("test", "typing", 5, 224),
    ]  # fmt: skip
    frames = read_frames(manifest)
    assert [bool(frame.mask) for frame in frames[CLIPS[0][0]]] == [True, False, False, False, False]
    assert all(frame.mask for frame in frames[CLIPS[1][0]])
    assert all(not frame.flow for clip in frames.values() for frame in clip)
    for k, frame in enumerate(frames[CLIPS[2][0]], start=1):
        wanted = np.indices((224, 224)).sum(0) < 60 * k
        np.testing.assert_array_equal(read_mask(manifest.folder / frame.mask).numpy(), wanted)
    assert str(manifest.resolve_audio(manifest.rows[0])).endswith("abcdefghijk_1.pkl")
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["flow"] == {"kind": "none", "bound": 20.0, "clips": 0, "without": 3}


@pytest.mark.long
def test_farnebacks_flow_leads_to_the_videos_next_frame(tmp_path: Path) -> None:
    data = s4(tmp_path, videos=True)
    gone = data / "raw_videos" / "test" / "typing" / "cbcdefghijk_3.mp4"
    gone.unlink()
    prepare(tmp_path, "--flow", "farneback", "--flow-bound", "8")
    frames = read_frames(read_manifest(tmp_path / "out"))
    name = CLIPS[0][0]
    flow = read_flow(tmp_path / "out" / frames[name][0].flow, 5, (224, 224))
    film, _ = decode_video(data / "raw_videos" / "train" / "dog_barking" / f"{name}.mp4")
    second = farneback(squeezed(film[19]), squeezed(film[20]))  # int(1·10 + 15/16·10) = 19
    np.testing.assert_array_equal(flow[1], encode_flow(second, 8))
    last = -farneback(squeezed(film[49]), squeezed(film[48]))
    np.testing.assert_array_equal(flow[4], encode_flow(last, 8))
    assert frames[CLIPS[2][0]][0].flow == ""
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["flow"] == {"kind": "farneback", "bound": 8.0, "clips": 2, "without": 1}


@pytest.mark.long
def test_released_flow_is_used_as_it_is(tmp_path: Path) -> None:
    data = s4(tmp_path)
    for name, category, split in CLIPS:
        for axis in "xy":
            folder = data / "S4_flows" / f"flows_{axis}" / split / category / name
            folder.mkdir(parents=True)
            for k in range(1, 6):
                (folder / f"{name}_{k}.png").write_bytes(golden("files")["png_flow"].tobytes())
    assert "every frame has released flow" in prepare(tmp_path).output
    frames = read_frames(read_manifest(tmp_path / "out"))
    flow = read_flow(tmp_path / "out" / frames[CLIPS[0][0]][0].flow, 5, (224, 224))
    np.testing.assert_allclose(flow[2, 1] / 255, golden("files")["flow224"], atol=1e-6)


@pytest.mark.long
def test_every_fault_leaves_out_its_video_and_is_named(tmp_path: Path) -> None:
    data = s4(tmp_path)
    base = data / "gt_masks" / "train" / "dog_barking" / "abcdefghijk_1" / "abcdefghijk_1_1.png"
    frame = data / "visual_frames" / "val" / "typing" / "bbcdefghijk_2" / "bbcdefghijk_2_3.png"
    sound = data / "audio_log_mel" / "test" / "typing" / "cbcdefghijk_3.pkl"
    good = {path: path.read_bytes() for path in (base, frame, sound)}

    def left_out(max_bad: str = "1.0") -> dict[str, str]:
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        prepare(tmp_path, "--max-bad", max_bad)
        found = reasons(tmp_path)
        for path, content in good.items():
            path.write_bytes(content)
        return found

    Image.new("L", (100, 224)).save(base)
    frame.unlink()
    assert left_out() == {"abcdefghijk_1": "wrong_size", "bbcdefghijk_2": "missing_frame"}
    base.unlink()
    frame.write_bytes(good[frame][:200])
    assert left_out() == {"abcdefghijk_1": "missing_mask", "bbcdefghijk_2": "broken_png"}
    sound.write_bytes(golden("files")["pickle_bad"].tobytes())
    assert left_out() == {"cbcdefghijk_3": "refused_pickle"}
    with sound.open("wb") as file:
        pickle.dump(torch.zeros(3, 1, 96, 64), file)
    assert left_out() == {"cbcdefghijk_3": "bad_logmel"}
    sound.unlink()
    assert left_out() == {"cbcdefghijk_3": "no_audio"}


@pytest.mark.long
def test_an_empty_mask_is_kept_and_noted_and_copies_are_of_all_frames(tmp_path: Path) -> None:
    data = s4(tmp_path)
    mask = data / "gt_masks" / "val" / "typing" / "bbcdefghijk_2" / "bbcdefghijk_2_2.png"
    Image.new("L", (224, 224)).save(mask)
    pictures = [data / "visual_frames" / split / category / name for name, category, split in CLIPS]
    first = [next(folder.glob("*_1.png")) for folder in pictures]
    shutil.copy(first[2], first[0])  # one frame in common is no copy
    prepare(tmp_path)
    rows = {row.id: row for row in read_manifest(tmp_path / "out").rows}
    assert len(rows) == 3
    assert rows["bbcdefghijk_2"].note == "no pixel in mask 2"
    for k in range(1, 6):
        shutil.copy(next(pictures[2].glob(f"*_{k}.png")), next(pictures[0].glob(f"*_{k}.png")))
    shutil.rmtree(tmp_path / "out")
    prepare(tmp_path)
    assert reasons(tmp_path) == {"abcdefghijk_1": "duplicate_file"}


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--flow", "released"), "some frames have no released flow"), (("--flow", "farneback"), "no raw videos")],
)
def test_flow_that_cannot_be_made_is_told(tmp_path: Path, options: tuple[str, ...], said: str) -> None:
    s4(tmp_path)
    assert said in prepare(tmp_path, *options, code=3).output


def test_both_names_are_told_and_what_the_root_should_hold(tmp_path: Path) -> None:
    result = asgm("prepare", "avsbench", code=2)
    assert "avsbench_s4" in result.stderr
    assert "avsbench_ms3" in result.stderr
    assert "on request" in prepare(tmp_path, code=3).output
