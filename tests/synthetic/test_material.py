"""Photographs and recordings: divided among splits without a file in two, broken ones told, drawn where they should."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from asgmcli.data.manifest import SPLITS
from asgmcli.errors import DataError, UsageError
from asgmcli.synthetic import cutouts
from asgmcli.synthetic.casts import SHUFFLED, UNBIASED
from asgmcli.synthetic.cutouts import cut_picture
from asgmcli.synthetic.demo import FILES_OF, DemoSettings, clip_sound, clip_stage, source_boxes
from asgmcli.synthetic.kinds import KINDS, companion, groups_of
from asgmcli.synthetic.material import Files, Kit, Photos, check_photos, find_kit, find_photos, read_cutout
from asgmcli.synthetic.motions import pose_of
from asgmcli.synthetic.sounds import TIMBRES
from asgmcli.synthetic.sprites import paint_layer
from asgmcli.synthetic.things import render_frames


def folders(root: Path, classes: dict[str, tuple[int, list[str]]]) -> tuple[Path, Path]:
    for name, (pictures, sounds) in classes.items():
        (root / "things" / name).mkdir(parents=True)
        (root / "sounds" / name).mkdir(parents=True)
        for number in range(pictures):
            Image.fromarray(np.full((4, 4, 4), 255, np.uint8)).save(root / "things" / name / f"{number}.png")
        for sound in sounds:
            (root / "sounds" / name / f"{sound}.wav").write_bytes(b"not sound")
    return root / "things", root / "sounds"


def test_no_file_and_no_source_is_in_two_splits(tmp_path: Path) -> None:
    sounds = [f"1-{number}-{part}" for number in range(6) for part in "AB"]
    things, recordings = folders(tmp_path, {"a": (8, sounds), "b": (3, ["x", "y", "z"]), "c": (2, sounds)})
    photos = find_photos(things, recordings, None, seed=0)
    assert photos.classes == ["a", "b"]
    for table in (photos.things, photos.sounds):
        for by_split in table.values():
            parts = [set(by_split[split]) for split in ("train", "val", "test")]
            assert all(parts)
            assert not (parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2])
    sources = [{path.stem[:-2] for path in paths} for paths in photos.sounds["a"].values()]
    assert sum(len(part) for part in sources) == 6
    assert sum(len(paths) for paths in photos.sounds["a"].values()) == 12


def test_what_is_missing_or_broken_is_told(tmp_path: Path) -> None:
    things, recordings = folders(tmp_path, {"a": (3, ["x", "y", "z"]), "b": (3, ["x", "y", "z"])})
    photos = find_photos(things, recordings, None, seed=0)
    with pytest.raises(DataError, match="6 files cannot be used"):
        check_photos(photos)
    with pytest.raises(UsageError, match="no such folder"):
        find_photos(tmp_path / "none", recordings, None, seed=0)
    (tmp_path / "grounds").mkdir()
    with pytest.raises(UsageError, match="0 pictures, 3 are needed"):
        find_photos(things, recordings, tmp_path / "grounds", seed=0)


def test_a_picture_too_thin_to_be_seen_and_a_broken_ground_are_told(tmp_path: Path) -> None:
    for number in range(3):
        thin = np.zeros((40, 70, 4), np.uint8)
        thin[20:23, : 48 + number] = 255
        (tmp_path / "things" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(thin).save(tmp_path / "things" / "a" / f"{number}.png")
    (tmp_path / "ground.png").write_bytes(b"no picture")
    paths = {split: (tmp_path / "things" / "a" / f"{number}.png",) for number, split in enumerate(SPLITS)}
    photos = Photos({"a": paths}, {}, dict.fromkeys(SPLITS, (tmp_path / "ground.png",)))
    with pytest.raises(
        DataError, match=r"^5 files cannot be used: .*1\.png: .* more than 16 times as long as wide"
    ) as told:
        check_photos(photos)
    assert "0.png" not in told.value.message  # 48 by 3
    assert "ground.png" in told.value.message


def kit_of(root: Path, things: int, sounds: int) -> Kit:
    """The kit of so many folders of pictures and of recordings; none is given where there is no folder."""
    for number, name in enumerate(f"{name}{number}" for number in range(3) for name in "ab"):
        folder(root, "things" if number < things else "else", name)
        folder(root, "sounds" if number < sounds else "else", name, ".wav")
    return find_kit(root / "things" if things else None, root / "sounds" if sounds else None, None, seed=0)


def folder(root: Path, part: str, name: str, suffix: str = ".png") -> None:
    (root / part / name).mkdir(parents=True, exist_ok=True)
    for number in range(4):
        (root / part / name / f"{number}{suffix}").write_bytes(b"")


def test_nothing_given_is_the_generated_world() -> None:
    kit = find_kit(None, None, None, seed=0)
    assert kit == Kit()
    assert kit.kinds == KINDS
    assert kit.of("train") == Files()


def test_pictures_alone_share_generated_timbres_in_pairs(tmp_path: Path) -> None:
    kit = kit_of(tmp_path, 5, 0)
    assert [(kind.name, kind.timbre) for kind in kit.kinds] == [
        ("a0", "bell"), ("a1", "bell"), ("a2", "organ"), ("b0", "organ"), ("b1", "organ"),
    ]  # fmt: skip
    assert all(timbre in TIMBRES for timbre in {kind.timbre for kind in kit.kinds})
    files = {split: kit.of(split) for split in SPLITS}
    assert all(set(one.pictures) == {"a0", "a1", "a2", "b0", "b1"} for one in files.values())
    assert len({path for one in files.values() for paths in one.pictures.values() for path in paths}) == 20
    assert not files["train"].recordings


def test_recordings_alone_are_shared_by_twins(tmp_path: Path) -> None:
    kit = kit_of(tmp_path, 0, 6)
    assert [kind.name for kind in kit.kinds] == [kind.name for kind in KINDS]
    assert [kind.timbre for kind in kit.kinds] == ["a0", "a0", "a1", "a1", "a2", "a2", "b0", "b0", "b1", "b1"]
    assert set(kit.of("val").recordings) == {"a0", "a1", "a2", "b0", "b1"}


def test_both_are_kinds_with_a_voice_of_their_own(tmp_path: Path) -> None:
    kit = kit_of(tmp_path, 4, 5)
    assert [(kind.name, kind.timbre) for kind in kit.kinds] == [(name, name) for name in ("a0", "a1", "b0", "b1")]
    assert groups_of(kit.kinds) == ((0,), (1,), (2,), (3,))
    assert [companion(number, kit.kinds) for number in range(4)] == [1, 2, 3, 0]


def test_too_few_folders_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--things .*things: 3 folders have 3 files.*4 are needed \(a0: 4"):
        kit_of(tmp_path / "one", 3, 0)
    with pytest.raises(UsageError, match=r"--sounds .*sounds: 4 folders .* 5 are needed"):
        kit_of(tmp_path / "two", 0, 4)
    with pytest.raises(UsageError, match="no such folder"):
        find_kit(None, None, tmp_path / "none", seed=0)


def test_a_picture_without_anything_in_it_is_told(tmp_path: Path) -> None:
    path = tmp_path / "empty.png"
    Image.fromarray(np.zeros((4, 4, 4), np.uint8)).save(path)
    photos = Photos({"a": {"train": (path,), "val": (), "test": ()}}, {}, {})
    with pytest.raises(DataError, match="all transparent"):
        check_photos(photos)


def test_a_cut_out_is_drawn_where_its_pose_says(tmp_path: Path) -> None:
    """Half red, half blue, with an empty margin: 40 x 20 pixels of it are the thing."""
    picture = np.zeros((60, 60, 4), np.uint8)
    picture[10:30, 15:35] = (255, 0, 0, 255)
    picture[10:30, 35:55] = (0, 0, 255, 255)
    Image.fromarray(picture).save(tmp_path / "thing.png")

    def drawn(**pose: float) -> tuple[np.ndarray, np.ndarray]:
        layer = cut_picture(tmp_path / "thing.png", pose_of(np.zeros(1), **pose), 0.25, 80)  # type: ignore[arg-type]
        canvas = np.zeros((1, 80, 80, 3), np.float32)
        paint_layer(canvas, layer)
        return canvas[0], layer.boxes(80)[0]

    still, box = drawn(x=0.5, y=0.5)
    np.testing.assert_allclose(box, (20, 30, 60, 50), atol=1)
    np.testing.assert_allclose(still[40, 25], (1, 0, 0), atol=0.02)
    np.testing.assert_allclose(still[40, 55], (0, 0, 1), atol=0.02)
    turned, box = drawn(x=0.4, y=0.5, angle=np.pi / 2)  # clockwise on the screen: what was left is above
    np.testing.assert_allclose(box, (22, 20, 42, 60), atol=1)
    np.testing.assert_allclose(turned[25, 32], (1, 0, 0), atol=0.02)
    np.testing.assert_allclose(turned[55, 32], (0, 0, 1), atol=0.02)
    _, box = drawn(x=0.5, y=0.5, scale_x=0.5)
    np.testing.assert_allclose(box, (30, 30, 50, 50), atol=1)
    Image.fromarray(np.full((20, 20, 4), 255, np.uint8)).save(tmp_path / "thing.png")
    cutouts._trimmed.cache_clear()
    read_cutout.cache_clear()
    square, box = drawn(x=0.5, y=0.5, angle=np.pi / 4)
    np.testing.assert_allclose(box, (12, 12, 68, 68), atol=2)
    assert square[..., 0].sum() == pytest.approx(40 * 40, rel=0.03)


HERTZ = (500, 1000, 2000, 4000)


def test_clips_of_photographs_and_recordings_keep_to_their_split(tmp_path: Path) -> None:
    """Every recording has a pitch of its own, every ground a brightness, and things are white."""
    shade = {}
    for name in ("a", "b", "c"):
        for part in ("things", "sounds"):
            (tmp_path / part / name).mkdir(parents=True)
    (tmp_path / "grounds").mkdir()
    for number in range(4):
        for name in ("a", "b", "c"):
            Image.fromarray(np.full((9, 9, 4), 255, np.uint8)).save(tmp_path / "things" / name / f"{number}.png")
            with wave.open(str(tmp_path / "sounds" / name / f"{number}.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(16_000)
                tone = 9000 * np.sin(2 * np.pi * HERTZ[number] * np.arange(8000) / 16_000)
                file.writeframes(tone.astype("<i2").tobytes())
        Image.fromarray(np.full((9, 9, 3), 50 * number, np.uint8)).save(tmp_path / "grounds" / f"{number}.png")
        shade[f"{number}.png"] = 50 * number
    kit = find_kit(*(tmp_path / name for name in ("things", "sounds", "grounds")), seed=0)
    check_photos(kit.photos)
    settings = DemoSettings()
    for split in ("train", "val", "test", SHUFFLED, UNBIASED):
        files = kit.of(FILES_OF.get(split, split))
        for index in range(3):
            stage = clip_stage(settings, split, index, kit)
            assert stage.photograph in files.grounds
            for thing, player in zip(stage.clip.things, stage.players, strict=True):
                assert player.picture in files.pictures[thing.kind]
                assert player.recording in files.recordings[thing.kind]
            frames = render_frames(stage, settings.times[:2], 32)
            assert (frames == shade[str(stage.photograph.name)]).all(axis=3).any()  # type: ignore[union-attr]
            (source,) = stage.clip.sources()
            x1, y1, x2, y2 = source_boxes(stage, replace(settings, size=32))[0]
            middle = frames[0, (y1 + y2) // 2, (x1 + x2) // 2]
            assert middle.min() >= 250 or len(stage.clip.things) > 2
            assert stage.clip.things[source].kind == stage.clip.things[source].timbre
            sound = clip_sound(settings, split, index, stage)
            spectrum = np.abs(np.fft.rfft(sound))
            hertz = HERTZ[int(stage.players[source].recording.stem)]  # type: ignore[union-attr]
            assert spectrum.argmax() / 2 == pytest.approx(hertz, rel=0.01)
