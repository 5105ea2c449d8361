"""Check the machine: write and read back a clip, write to folders, room on the disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from asgmcli.doctor.findings import Finding
from asgmcli.loading import reason

MEDIA, FOLDERS = "media", "folders"
GIB = 2**30
ROOM = 2 * GIB  # the demo's clips and one run of its rows take about a fifth of it
FRAMES, FPS, SIDE, RATE = 8, 8, 64, 16_000
HERTZ = 440.0
SHADES = 12.0  # how far a frame may be off on average: h264 at its usual quality is within 3 of 255
REINSTALL = "pip install --force-reinstall av"


def look_at_media() -> list[Finding]:
    """Write a second of brightening frames and a 440 Hz tone, and read both back."""
    try:
        with tempfile.TemporaryDirectory(prefix="asgm-doctor-") as folder:
            return _clip(Path(folder) / "clip.mp4")
    except Exception as error:  # whatever the codecs, the disk or a broken package give
        return [Finding(MEDIA, "clip", f"cannot be made: {reason(error)}", f"{REINSTALL}, and see the folders below")]


def _clip(path: Path) -> list[Finding]:
    import numpy as np

    from asgmcli.media.write import write_clip

    shades = np.linspace(30, 220, FRAMES).astype(np.uint8)
    frames = np.broadcast_to(shades[:, None, None, None], (FRAMES, SIDE, SIDE, 3))
    tone = 0.5 * np.sin(2 * np.pi * HERTZ * np.arange(RATE) / RATE)
    write_clip(path, frames, FPS, tone, RATE)
    return [_frames(path, frames), _sound(path)]


def _frames(path: Path, written: object) -> Finding:
    import numpy as np

    from asgmcli.media.video import read_clip

    try:
        read = np.asarray(read_clip(path, list(range(FRAMES))))
        off = float(np.abs(read.astype(float) - np.asarray(written, dtype=float)).mean())
    except Exception as error:
        return Finding(MEDIA, "frames", f"cannot be read: {reason(error)}", REINSTALL)
    if off > SHADES:
        return Finding(MEDIA, "frames", f"read back {off:.0f} of 255 shades off what was written", REINSTALL)
    return Finding(MEDIA, "frames", f"{FRAMES} frames of h264, read back within {off:.1f} of 255 shades")


def _sound(path: Path) -> Finding:
    import numpy as np

    from asgmcli.media.audio import read_audio

    try:
        sound = np.asarray(read_audio(path, RATE, 0.0, 1.0), dtype=float)
        heard = float(np.abs(np.fft.rfft(sound)).argmax()) * RATE / len(sound)
    except Exception as error:
        return Finding(MEDIA, "sound", f"cannot be read: {reason(error)}", REINSTALL)
    if abs(heard - HERTZ) > 2:
        return Finding(MEDIA, "sound", f"a tone of {HERTZ:.0f} Hz came back as {heard:.0f} Hz", REINSTALL)
    return Finding(MEDIA, "sound", f"a second of aac, its tone read back at {heard:.0f} Hz")


def look_at_folders(folders: Iterable[Path]) -> list[Finding]:
    """Check that each folder, or the place where it would be made, can be written and has room."""
    return [_folder(path) for path in folders]


def _folder(path: Path) -> Finding:
    there = path.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    made = "" if there == path.absolute() else f" (is made in {there})"
    if not there.is_dir():
        return Finding(FOLDERS, str(path), f"{there} is a file", f"move {there} away, or name another folder")
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        elsewhere = "work in another folder, or name another with --runs"
        return Finding(
            FOLDERS, str(path), f"cannot be written{made}: {error.strerror}", f"chmod u+w {there}; else {elsewhere}"
        )
    found = f"can be written{made}, {free / GIB:.1f} GiB free"
    if free < ROOM:
        mend = f"free some: the demo and its runs ask for about {ROOM // GIB} GiB on {os.path.realpath(there)}"
        return Finding(FOLDERS, str(path), found, mend)
    return Finding(FOLDERS, str(path), found)
