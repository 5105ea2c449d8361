"""Files without a manifest, for prediction: find them, and make a manifest of one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from asgmcli.data.manifest import MANIFEST_NAME, Manifest, ManifestRow, read_manifest
from asgmcli.errors import DataError, MediaError
from asgmcli.prepare.datasets.listing import VIDEO_SUFFIXES, walk_files
from asgmcli.prepare.verify import Fault, FileCheck, examine


@dataclass(frozen=True)
class MediaFile:
    """A clip; `audio` is the file of its sound if that is a separate one."""

    path: Path
    audio: Path | None = None


def find_files(paths: Sequence[Path]) -> list[MediaFile]:
    """Return the clips that `paths` name: files, folders of videos, manifests; each clip once, in their order.

    Raises:
        DataError: a folder without a video, or a manifest that cannot be read.
    """
    return list(dict.fromkeys(file for path in paths for file in _files(path)))


def _files(path: Path) -> Iterator[MediaFile]:
    if path.suffix.lower() == ".csv" or (path / MANIFEST_NAME).is_file():
        manifest = read_manifest(path)
        for row in manifest.rows:
            apart = row.audio not in ("", row.path)
            yield MediaFile(manifest.resolve(row), manifest.resolve_audio(row) if apart else None)
    elif path.is_dir():
        videos = [file for file in walk_files(path) if file.suffix.lower() in VIDEO_SUFFIXES]
        if not videos:
            raise DataError(f"No video under {path}; a video ends in {', '.join(sorted(VIDEO_SUFFIXES))}.")
        yield from (MediaFile(file) for file in videos)
    else:
        yield MediaFile(path)


def manifest_of(path: Path, audio: Path | None = None) -> Manifest:
    """Return the manifest that `asgm prepare` would write of this file alone, in split `test` and without a label.

    Args:
        path: the clip.
        audio: the file of its sound, if that is a separate one.

    Raises:
        MediaError: the file is missing, broken, or holds no picture.
    """
    file = path.absolute()
    if not file.is_file():
        raise MediaError(f"{path}: no such file; is the path right?")
    apart = "" if audio is None else str(audio.absolute())
    facts = examine(FileCheck(file.name, str(file), apart, listen=False, decode=False))
    if isinstance(facts, Fault):
        raise MediaError(f"{path}: {facts.detail}")
    sound = (apart or str(file)) if facts.sound else ""
    size = (facts.width, facts.height)
    row = ManifestRow(file.name, str(file), "", "test", facts.duration, facts.fps, facts.frames, *size, sound, "")
    return Manifest(file.parent, [row], [], file, "")
