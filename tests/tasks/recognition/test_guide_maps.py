"""Maps made beforehand: read at any frame, and staying on what they show through crop, flip and colour operations."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from asgmcli.data.augment import Geometry, apply_geometry, apply_geometry_to_maps, draw_geometry, rand_augment
from asgmcli.data.guides import RecordedMaps
from asgmcli.data.manifest import Manifest, ManifestRow, write_manifest
from asgmcli.data.maps import MapReader, maps_at
from asgmcli.data.plan import SampleKey
from asgmcli.data.rand_augment import GEOMETRIC, ColourOperations
from asgmcli.data.reader import ClipReader
from asgmcli.errors import DataError, MediaError
from asgmcli.localize.outputs import ClipFiles, MapSettings, localize
from asgmcli.media.write import write_clip
from asgmcli.recipe.clips import Audio, Augment, Clip
from asgmcli.tasks.recognition.views import TrainViews

GRID = (14, 14)


def centre(picture: Tensor) -> Tensor:
    """Centre (x, y) of what is brighter than half, in fractions; picture [H, W]."""
    hot = (picture > (picture.min() + picture.max()) / 2).float()
    y, x = torch.meshgrid(*(((torch.arange(n) + 0.5) / n) for n in picture.shape), indexing="ij")
    return torch.stack([(x * hot).sum(), (y * hot).sum()]) / hot.sum()


def square(top: int, left: int, height: int = 112, width: int = 168, side: int = 32) -> Tensor:
    """uint8 [1, H, W, 3]: a bright square on dark ground."""
    frames = torch.full((1, height, width, 3), 20, dtype=torch.uint8)
    frames[:, top : top + side, left : left + side] = 230
    return frames


def map_of(frames: Tensor) -> Tensor:
    """float [T, 14, 14]: the mean brightness of each cell."""
    return F.adaptive_avg_pool2d(frames.float().mean(-1)[:, None] / 255, GRID)[:, 0]


def test_a_map_follows_the_frames_crop_and_flip() -> None:
    rng = np.random.default_rng(0)
    flips = 0
    for _ in range(60):
        frames = square(int(rng.integers(16, 64)), int(rng.integers(30, 100)))
        geometry = draw_geometry(rng, 112, 168, 48, (50, 64), 0.5)
        view = apply_geometry(frames, geometry, 48)[0].float().mean(0)
        seen = apply_geometry_to_maps(map_of(frames), geometry, (112, 168))
        assert seen.shape == (1, *GRID)
        fine = F.interpolate(seen[None], (48, 48), mode="bilinear", align_corners=False)[0, 0]
        shown = (view > 125).float()
        if shown.sum() < 80:  # cut off
            continue
        flips += geometry.flip
        assert torch.allclose(centre(view), centre(fine), atol=0.05), geometry
        # The map's heat is where the square is.
        assert float((fine * shown).sum() / shown.sum()) > 2 * float(fine.mean())
    assert flips > 10


def test_a_whole_square_frame_keeps_its_map_and_a_flip_turns_it() -> None:
    maps = torch.rand(3, 14, 14, generator=torch.Generator().manual_seed(0))
    whole = Geometry(0, 0, 70, 70, flip=False)
    torch.testing.assert_close(apply_geometry_to_maps(maps, whole, (70, 70)), maps)
    turned = apply_geometry_to_maps(maps, replace(whole, flip=True), (70, 70))
    torch.testing.assert_close(turned, maps.flip(-1))
    # The upper left quarter: each cell a quarter of one, the corner holds its value.
    quarter = apply_geometry_to_maps(maps, Geometry(0, 0, 35, 35, flip=False), (70, 70))
    torch.testing.assert_close(quarter[:, 0, 0], maps[:, 0, 0])
    expected = 0.75 * maps[:, 0, 0] + 0.25 * maps[:, 0, 1]
    torch.testing.assert_close(quarter[:, 0, 1], expected)


def test_colour_operations_leave_everything_in_its_place() -> None:
    view = square(24, 20, 64, 64, 16).permute(0, 3, 1, 2).contiguous()
    view[:, :, :, 60:] = 120
    moved = {True: 0, False: 0}
    for geometric in moved:
        for seed in range(40):
            seen = rand_augment(view, np.random.default_rng(seed), 2, 15, geometric=geometric)[0].float().mean(0)
            inside, outside = seen[27:37, 23:33], seen[2:20, 2:50]
            moved[geometric] += bool(inside.std() > 1 or outside.std() > 1)
    assert moved[False] == 0
    assert moved[True] > 5
    assert set(v2.RandAugment._AUGMENTATION_SPACE) > GEOMETRIC
    assert len(ColourOperations._AUGMENTATION_SPACE) == 9


def test_maps_between_times() -> None:
    maps = np.stack([np.full((1, 2), value, np.float16) for value in (0, 1, 3)])
    found = maps_at(maps, [1.0, 2.0, 4.0], [0.0, 1.0, 1.25, 2.0, 3.0, 9.0])
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 0, 1], [0, 0, 0.25, 1, 2, 3])
    assert maps_at(maps[:1], [0.5], [0.0, 7.0]).tolist() == [[[0, 0]], [[0, 0]]]


@pytest.fixture
def clip(tmp_path: Path) -> Manifest:
    """One clip of a bright square that jumps from cell to cell, and its own brightness as map of every other frame."""
    folder = tmp_path / "data"
    folder.mkdir()
    places = [(12 + 4 * t, 60 - 4 * t) for t in range(12)]
    frames = torch.cat([square(top, left, 112, 112, 24) for top, left in places])
    write_clip(folder / "a.mp4", frames.numpy(), 8.0, np.zeros(24000, np.float32))
    manifest = write_manifest(
        folder, [ManifestRow("a", "a.mp4", "", "train", 1.5, 8.0, 12, 112, 112, "a.mp4", "")], ["dog"]
    )
    save(manifest, map_of(frames)[::2].numpy(), np.arange(0, 12, 2) / 8)
    return manifest


def save(manifest: Manifest, maps: np.ndarray, times: np.ndarray, localizer: str = "motion") -> Path:
    path = manifest.folder / "motion_maps" / "a_maps.npz"
    path.parent.mkdir(exist_ok=True)
    np.savez_compressed(path, maps=maps.astype(np.float16), times=times, localizer=np.array(localizer))
    return path


def views_of(manifest: Manifest, **changes: object) -> TrainViews:
    sizes = Clip(frames=4, stride=2, size=56, short_side=(60, 80))
    settings = Augment(**changes)  # type: ignore[arg-type]
    reader = ClipReader(manifest, sizes, Audio(), keep=True)
    maps = RecordedMaps(manifest, keep=True)
    return TrainViews(reader, [], manifest.rows, {"a": -1}, sizes, settings, None, None, seed=3, maps=maps)


def test_a_samples_map_lies_on_its_strong_view(clip: Manifest) -> None:
    views = views_of(clip, operations=0)
    seen = 0
    for occurrence in range(25):
        sample = views[SampleKey("unlabeled", 0, 0, occurrence)]
        assert sample.maps.shape == (4, *GRID)
        assert sample.maps.dtype == torch.float32
        assert sample.wave is None
        for frame, heat in zip(sample.strong.float().mean(1), sample.maps, strict=True):
            if int((frame > 125).sum()) < 150:
                continue
            fine = F.interpolate(heat[None, None], (56, 56), mode="bilinear", align_corners=False)[0, 0]
            assert torch.allclose(centre(frame), centre(fine), atol=0.06)
            seen += 1
    assert seen > 50


def test_the_strong_view_of_a_moved_guide_is_not_sheared(clip: Manifest, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def noted(view: Tensor, *_: object, geometric: bool) -> Tensor:
        asked.append(geometric)
        return view

    monkeypatch.setattr("asgmcli.data.augment.rand_augment", noted)
    views_of(clip)[SampleKey("unlabeled", 0, 0, 0)]
    bare = views_of(clip)
    bare.maps = None
    assert bare[SampleKey("unlabeled", 0, 0, 0)].maps is None
    assert asked == [False, True]


@pytest.mark.parametrize("how", ["older", "as old", "newer", "gone"])
def test_maps_of_a_clip_that_was_replaced_are_made_anew(clip: Manifest, how: str) -> None:
    video, (row,) = clip.folder / "a.mp4", clip.rows
    reader = MapReader(clip)
    localize(ClipFiles("a", video, video, reader.stem(row)), MapSettings("motion", write=("maps",)))
    assert not reader.missing([row])
    since = video.stat().st_mtime_ns
    if how == "gone":
        video.unlink()
    else:
        video.write_bytes(video.read_bytes() + b"\0" * (how == "as old"))
        time = since + {"older": -(10**12), "as old": 0, "newer": 1}[how]
        os.utime(video, ns=(time, time))
    assert reader.missing([row]) == [row]


def test_what_is_missing_old_or_broken(clip: Manifest) -> None:
    reader = MapReader(clip)
    (row,) = clip.rows
    path = clip.folder / "motion_maps" / "a_maps.npz"
    assert not reader.missing([row])
    os.utime(clip.folder / "a.mp4", ns=(path.stat().st_mtime_ns + 1, path.stat().st_mtime_ns + 1))
    assert reader.missing([row]) == [row]
    save(clip, np.full((2, 2, 2), np.nan), np.arange(2))
    assert not reader.missing([row])
    with pytest.raises(MediaError, match="not the maps of a clip"):
        reader.maps(row, [0])
    save(clip, np.ones((2, 2, 2)), np.arange(2), "fnac")
    with pytest.raises(MediaError, match="made by the localizer fnac"):
        reader.maps(row, [0])
    path.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(MediaError, match="not the maps of a clip"):
        reader.maps(row, [0])
    path.unlink()
    with pytest.raises(MediaError, match=r"asgm localize .*manifest\.csv --localizer motion --write maps --out"):
        reader.maps(row, [0])
    assert reader.missing([row]) == [row]
    with pytest.raises(DataError, match="lead out of"):
        reader.missing([replace(row, id="../a")])
