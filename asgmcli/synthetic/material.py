"""Photographs and recordings of one's own in the place of glyphs, timbres and textures.

Pictures, recordings and grounds of a class are divided among the splits, so that what is judged was never trained on;
of recordings whose names differ in a last letter alone (parts of one source) all are in one split.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from asgmcli.data.frames import read_picture
from asgmcli.data.manifest import SPLITS
from asgmcli.data.split import hashed
from asgmcli.errors import DataError, MediaError, UsageError
from asgmcli.media.audio import read_audio
from asgmcli.synthetic.kinds import KINDS, TIMBRES, Kind
from asgmcli.synthetic.sounds import AUDIO_RATE, QUIET
from asgmcli.synthetic.sounds import TIMBRES as VOICES

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp"))
SOUNDS = frozenset((".wav", ".ogg", ".flac", ".mp3", ".m4a"))
_SHARES = (("test", 0.25), ("val", 0.15))
_LEAST = 3  # files of a class: one a split
MOST_LONG = 16
"""Times as long as wide a picture may be: a longer one is thinner than a pixel in a small clip."""
_FEWEST = 4  # kinds, where two share a timbre


@dataclass(frozen=True)
class Photos:
    """Cut-outs and recordings by class, and grounds, each by split.

    Attributes:
        things: class -> split -> picture files with transparency.
        sounds: class -> split -> recordings.
        grounds: split -> picture files; empty: grounds are generated.
    """

    things: dict[str, dict[str, tuple[Path, ...]]]
    sounds: dict[str, dict[str, tuple[Path, ...]]]
    grounds: dict[str, tuple[Path, ...]]

    @property
    def parts(self) -> tuple[dict[str, dict[str, tuple[Path, ...]]], dict[str, dict[str, tuple[Path, ...]]]]:
        """Return things and sounds."""
        return self.things, self.sounds

    @property
    def classes(self) -> list[str]:
        """Return the names of the classes, sorted."""
        return sorted(self.things)


def find_photos(things: Path, sounds: Path, grounds: Path | None, seed: int) -> Photos:
    """Find the classes that have pictures and recordings enough, and divide these among the splits.

    Raises:
        UsageError: fewer than two classes of three pictures and three recordings, or too few grounds; what is missing
            is told.
    """
    pictures, recordings = _by_class(things, PICTURES), _by_class(sounds, SOUNDS)
    both = sorted(pictures.keys() & recordings.keys())
    good = [name for name in both if len(pictures[name]) >= _LEAST and len(_sources(recordings[name])) >= _LEAST]
    if len(good) < 2:
        told = [f"{name}: {len(pictures[name])} pictures, {len(recordings[name])} recordings" for name in both]
        raise UsageError(
            f"--things {things} --sounds {sounds}: {len(good)} classes have {_LEAST} pictures and {_LEAST} recordings, "
            f"two are needed ({'; '.join(told[:8]) or 'no folder has one name in both'}). Each holds folders by class."
        )
    return Photos(
        {name: _divided([[path] for path in pictures[name]], seed) for name in good},
        {name: _divided(_sources(recordings[name]), seed) for name in good},
        _grounds(grounds, seed),
    )


@dataclass(frozen=True)
class Files:
    """The files of one split: pictures by kind, recordings by voice, grounds; what has none is generated."""

    pictures: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    recordings: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    grounds: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Kit:
    """The kinds of things of a data set, and the files that they are made of where they are not generated."""

    kinds: tuple[Kind, ...] = KINDS
    photos: Photos = field(default_factory=lambda: Photos({}, {}, {}))

    def of(self, split: str) -> Files:
        """Return the files of a split, one of train, val and test."""
        things, sounds = ({name: files[split] for name, files in part.items()} for part in self.photos.parts)
        return Files(things, sounds, self.photos.grounds.get(split, ()))


def find_kit(things: Path | None, sounds: Path | None, grounds: Path | None, seed: int) -> Kit:
    """Return the kinds that one's own folders give.

    With pictures and recordings a kind is a folder name of both, with a voice of its own. With pictures alone two kinds
    share each generated timbre; with recordings alone the twins among the glyphs share the recordings of a folder.

    Raises:
        UsageError: folders are missing or hold too little.
    """
    if things is not None and sounds is not None:
        photos = find_photos(things, sounds, grounds, seed)
        return Kit(tuple(Kind(name, "", name) for name in photos.classes), photos)
    if things is not None:
        pictures = {name: [[path] for path in paths] for name, paths in _by_class(things, PICTURES).items()}
        found = _enough("--things", things, pictures, _FEWEST, seed)
        voices = list(VOICES)[: len(TIMBRES) * 2]
        last = len(found) // 2 - 1
        kinds = tuple(Kind(name, "", voices[min(n // 2, last) % len(voices)]) for n, name in enumerate(found))
        return Kit(kinds, Photos(found, {}, _grounds(grounds, seed)))
    if sounds is not None:
        recordings = {name: _sources(paths) for name, paths in _by_class(sounds, SOUNDS).items()}
        found = _enough("--sounds", sounds, recordings, len(TIMBRES), seed)
        voice = dict(zip(TIMBRES, found, strict=False))
        kinds = tuple(replace(kind, timbre=voice[kind.timbre]) for kind in KINDS)
        return Kit(kinds, Photos({}, {name: found[name] for name in voice.values()}, _grounds(grounds, seed)))
    return Kit(photos=Photos({}, {}, _grounds(grounds, seed)))


def _enough(
    option: str, folder: Path, files: Mapping[str, list[list[Path]]], fewest: int, seed: int
) -> dict[str, dict[str, tuple[Path, ...]]]:
    """Return by kind, sorted, and split the files of the folders that have enough."""
    good = sorted(name for name, groups in files.items() if len(groups) >= _LEAST)
    if len(good) < fewest:
        told = "; ".join(f"{name}: {len(groups)}" for name, groups in sorted(files.items())[:8])
        raise UsageError(
            f"{option} {folder}: {len(good)} folders have {_LEAST} files of different sources, {fewest} are needed "
            f"({told or 'there is none'}). It holds a folder a kind."
        )
    return {name: _divided(files[name], seed) for name in good}


def _grounds(folder: Path | None, seed: int) -> dict[str, tuple[Path, ...]]:
    """Return the grounds by split; none where no folder is given."""
    if folder is None:
        return {}
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder.")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    if len(found) < _LEAST:
        raise UsageError(f"--grounds {folder}: {len(found)} pictures, {_LEAST} are needed, one a split.")
    return _divided([[path] for path in found], seed)


def _by_class(folder: Path, suffixes: frozenset[str]) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder.")
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.parent != folder:
            found.setdefault(path.relative_to(folder).parts[0], []).append(path)
    return found


def _sources(files: list[Path]) -> list[list[Path]]:
    """Return files by their source: names that differ in a last `-A`, `-B` alone are parts of one."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(re.sub(r"-[A-Z]$", "", path.stem), []).append(path)
    return list(groups.values())


def _divided(groups: list[list[Path]], seed: int) -> dict[str, tuple[Path, ...]]:
    """Return groups of files by split, a group in one; a seeded hash of their names decides."""
    order = sorted(groups, key=lambda group: hashed(seed, group[0].name))
    found: dict[str, tuple[Path, ...]] = {}
    for split, share in _SHARES:
        count = max(1, round(share * len(groups)))
        found[split] = tuple(path for group in order[:count] for path in group)
        order = order[count:]
    return {"train": tuple(path for group in order for path in group), **found}


def check_photos(photos: Photos) -> None:
    """Read every file once, so that a broken one is told before hours go into clips.

    Raises:
        DataError: some cannot be read; the first are named.
    """
    faults = []
    files = [(path, "RGBA") for by_split in photos.things.values() for split in SPLITS for path in by_split[split]]
    files += [(path, "RGB") for paths in photos.grounds.values() for path in paths]
    files += [(path, "") for by_split in photos.sounds.values() for split in SPLITS for path in by_split[split]]
    for path, mode in files:
        try:
            if mode:
                _seen(path, mode)
            else:
                read_recording(path)
        except MediaError as error:
            faults.append(error.message)
    if faults:
        raise DataError(f"{len(faults)} files cannot be used: {'; '.join(faults[:5])}. Mend or remove them.")


def _seen(path: Path, mode: str) -> None:
    picture = read_cutout(path, mode)
    if mode != "RGBA":
        return
    rows, columns = (np.flatnonzero(picture[..., 3].any(axis)) for axis in (1, 0))
    if not len(rows):
        raise MediaError(f"{path}: a picture that is all transparent")
    sides = sorted((int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1))
    if sides[1] > MOST_LONG * sides[0]:
        raise MediaError(f"{path}: what is not transparent is more than {MOST_LONG} times as long as wide")


@lru_cache(maxsize=512)
def read_recording(path: Path) -> np.ndarray:
    """Return a recording at 16 kHz without its silent ends.

    Raises:
        MediaError: it cannot be read, or is silent.
    """
    wave = read_audio(path, AUDIO_RATE)
    loud = np.flatnonzero(np.abs(wave) > QUIET)
    if not len(loud):
        raise MediaError(f"{path}: a silent recording; take it out of --sounds")
    return wave[loud[0] : loud[-1] + 1]


@lru_cache(maxsize=512)
def read_cutout(path: Path, mode: str) -> np.ndarray:
    """Return a picture, uint8 [H, W, channels] by PIL's `mode`.

    Raises:
        MediaError: it cannot be read.
    """
    return read_picture(path, mode)
