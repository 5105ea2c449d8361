"""What is done to each damaged media file, in a process of its own."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asgmcli.data.manifest import ManifestRow
from asgmcli.errors import MediaError
from asgmcli.media.audio import read_audio
from asgmcli.media.probe import probe
from asgmcli.media.video import decode_video, read_clip

sys.path.append(str(Path(__file__).parents[2]))
from tests.media import media_files as mf  # of a neighbouring folder, also in processes that pytest does not start

FRAMES = 24


@dataclass(frozen=True)
class Seen:
    """What came of a file: by step whether it was read (else refused), memory at its highest, and seconds."""

    outcomes: dict[str, bool]
    memory_gb: float
    seconds: float


def sources(folder: Path) -> dict[str, bytes]:
    """Whole files by name, as the containers and codecs of real data sets."""
    folder.mkdir(parents=True)
    frames, sound = mf.moving_frames(FRAMES, 64, 96), mf.chirp(2.4, 44_100)
    common = {"sound": sound, "sound_rate": 44_100}
    mp3 = {"sound_codec": "libmp3lame", "sound_format": "fltp"}
    made = {
        "a.mp4": mf.encode(folder / "a.mp4", frames, bframes=2, gop=8, **common),  # type: ignore[arg-type]
        "b.mp4": mf.encode(
            folder / "b.mp4",
            frames,
            rotation=90,
            container={"movflags": "frag_keyframe+empty_moov"},
            gop=8,
            **common,  # type: ignore[arg-type]
        ),
        "c.avi": mf.encode(folder / "c.avi", frames, codec="mpeg4", tag="XVID", bframes=2, **common, **mp3),  # type: ignore[arg-type]
        "d.mkv": mf.encode(folder / "d.mkv", frames, bframes=2, gop=8, **common, **mp3),  # type: ignore[arg-type]
    }
    made["e.mp4"] = mf.cut(made["a.mp4"], folder / "e.mp4", 1.13)
    made["f.webm"] = mf.live_webm(folder / "f.webm", frames, sound=mf.chirp(2.4, 48_000))
    return {name: path.read_bytes() for name, path in made.items()}


def use(path: str) -> Seen:
    """Probe, decode and listen to a file, all ways that training has; anything but a MediaError is raised."""
    begin = time.monotonic()
    outcomes: dict[str, bool] = {}

    def attempt(name: str, action: Callable[[], object]) -> None:
        try:
            action()
            outcomes[name] = True
        except MediaError as error:
            outcomes[name] = False
            if "\n" in error.message or Path(path).name not in error.message:
                raise AssertionError(f"no good message: {error.message!r}") from error

    attempt("probe", lambda: probe(path))
    attempt("decode", lambda: decode_video(path, short_side=32))
    for index in (0, FRAMES // 2, FRAMES - 1, 10**6):
        attempt(f"frame {index}", lambda index=index: read_clip(path, [index]))  # type: ignore[misc]
    attempt("decord", lambda: read_clip(path, [0, FRAMES // 2], backend="decord"))
    attempt("sound", lambda: read_audio(path))
    attempt("span", lambda: read_audio(path, 16_000, 1.0, 0.5))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Seen(outcomes, memory, time.monotonic() - begin)


def train_on(folder: Path, row: ManifestRow) -> None:
    """Read what training reads of a manifest's row.

    Raises:
        MediaError: it cannot be read.
    """
    indices = np.linspace(0, row.frames - 1, 4).astype(int).tolist()
    assert len(read_clip(folder / row.path, indices)) == 4
    if row.audio:
        assert np.isfinite(read_audio(folder / row.audio, 16_000, 0.0, 1.0)).all()
