"""The segmentation demo as files: complete, the same on any run, refused where another lies."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from asgmcli.cli import main
from asgmcli.data.frames import mask_array, read_flow, read_frames, read_picture
from asgmcli.data.manifest import read_manifest
from asgmcli.errors import UsageError
from asgmcli.media.audio import read_audio
from asgmcli.synthetic.demo_segmentation import generate
from asgmcli.synthetic.segmentation_clips import FLOW_BOUND, draw_cast


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("segmentation") / "demo"
    generate(out, train=1, val=1, test=1, size=64, workers=1)
    return out


def test_every_frame_has_its_mask_and_every_clip_its_flow_and_sound(made: Path) -> None:
    manifest = read_manifest(made)
    frames = read_frames(manifest)
    assert {row.split for row in manifest.rows} == {"train", "val", "test"}
    for row in manifest.rows:
        assert (row.frames, row.fps, row.width, row.height) == (5, 1, 64, 64)
        assert [frame.frame for frame in frames[row.id]] == [1, 2, 3, 4, 5]
        for frame in frames[row.id]:
            assert read_picture(made / frame.image).shape == (64, 64, 3)
            assert 0.005 < mask_array(made / frame.mask).mean() < 0.3
        assert read_flow(made / frames[row.id][0].flow, 5, (64, 64)).std() > 0
        sound = read_audio(manifest.resolve_audio(row) or made, 16_000)
        assert len(sound) == 80_000
        seen = [thing for thing in draw_cast(0, row.split, 0).things if thing.visible]
        heard, silent = ([thing.kind for thing in seen if bool(thing.sounding) is sounds] for sounds in (True, False))
        assert row.note == f"heard: {', '.join(heard)}; silent: {', '.join(silent)}"
        assert row.label in heard
        assert np.sqrt((sound**2).mean()) > 0.005
    assert json.loads((made / "summary.json").read_text())["flow"] == {"kind": "farneback", "bound": FLOW_BOUND}
    assert (made / "clips" / "test_00000.mp4").exists()


@pytest.mark.long
def test_the_same_settings_give_the_same_bytes_on_any_workers_and_others_are_refused(
    made: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again"
    generate(again, train=1, val=0, test=1, size=64, workers=2)
    for name in (
        "frames/train_00000_3.png",
        "masks/train_00000_5.png",
        "flow/train_00000.npy",
        "sound/train_00000.wav",
        "clips/test_00000.mp4",
    ):
        assert (again / name).read_bytes() == (made / name).read_bytes()
    with pytest.raises(UsageError, match="train 1 there, 2 now"):
        generate(again, train=2, val=0, test=1, size=64, workers=1)


def test_a_set_of_the_former_sprites_is_refused_and_replaced(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text(json.dumps({"dataset": "demo_segmentation", "train": 1, "version": 1}))
    with pytest.raises(UsageError, match=r"world None there, stickers now.*version 1 there, 3 now.*--overwrite"):
        generate(tmp_path, train=1, val=0, test=0, workers=1)
    generate(tmp_path, train=1, val=0, test=0, workers=1, overwrite=True)
    assert json.loads((tmp_path / "settings.json").read_text())["world"] == "stickers"


def test_what_was_stopped_goes_on(made: Path, tmp_path: Path) -> None:
    import shutil

    again = tmp_path / "again"
    shutil.copytree(made, again)
    for name in ("summary.json", "sound/val_00000.wav", "frames/val_00000_2.png"):
        (again / name).unlink()
    kept = again / "frames" / "train_00000_1.png"
    kept.write_bytes(b"kept")
    generate(again, train=1, val=1, test=1, size=64, workers=1)
    assert kept.read_bytes() == b"kept"
    for name in ("summary.json", "sound/val_00000.wav", "frames/val_00000_2.png"):
        assert (again / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", "50"], "multiple of 32"),
        (["--things", "."], "It holds a folder a kind"),
        (["--train", "0", "--val", "0", "--test", "0"], "no split has a clip"),
    ],
)
def test_impossible_options_are_one_line(tmp_path: Path, options: list[str], said: str) -> None:
    result = CliRunner().invoke(main, ["prepare", "demo_segmentation", "--out", str(tmp_path / "out"), *options])
    assert result.exit_code == 2
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_photographs_and_recordings_make_composites(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wave

    monkeypatch.setattr("asgmcli.synthetic.demo_segmentation.draw_preview", lambda path, _: path.write_bytes(b"drawn"))

    for number, name in enumerate(("cat", "dog")):
        for kind in ("things", "sounds"):
            (tmp_path / kind / name).mkdir(parents=True)
        for item in range(3):
            picture = np.zeros((20, 30, 4), np.uint8)
            picture[5:15, 5:25] = (200, 60 * item, 90 * number, 255)
            Image.fromarray(picture).save(tmp_path / "things" / name / f"{item}.png")
            with wave.open(str(tmp_path / "sounds" / name / f"{item}.wav"), "wb") as file:
                file.setparams((1, 2, 16_000, 0, "NONE", ""))
                tone = 9000 * np.sin(np.arange(8000) * (0.1 + 0.2 * number))
                file.writeframes(tone.astype("<i2").tobytes())
    out = tmp_path / "out"
    generate(out, train=1, val=1, test=1, workers=1, things=tmp_path / "things", sounds=tmp_path / "sounds")
    manifest = read_manifest(out)
    assert manifest.classes == ["cat", "dog"]
    split_of = {row.id: row.split for row in manifest.rows}
    assert set(split_of.values()) == {"train", "val", "test"}
    masks = [mask_array(out / frame.mask) for frame in read_frames(manifest)["train_00000"]]
    assert all(0.005 < mask.mean() < 0.2 for mask in masks)
    (tmp_path / "sounds" / "dog" / "2.wav").unlink()
    with pytest.raises(UsageError, match="dog: 3 pictures, 2 recordings"):
        generate(out, train=1, overwrite=True, things=tmp_path / "things", sounds=tmp_path / "sounds")
