"""A clip with its heat map over it, as an mp4 that keeps the sound; written frame by frame."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from asgmcli.errors import MediaError
from asgmcli.files import replacing
from asgmcli.localize.clip_maps import Sound
from asgmcli.media.probe import reason_of
from asgmcli.media.write import AAC_RATES, write_clip

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

_OTHER_RATE = 48_000
_BIT_RATE = 128_000


def write_with_sound(path: Path, frames: Iterable[NDArray[np.uint8]], fps: float, sound: Sound) -> None:
    """Write frames [H,W,3] at `fps` to `path` as mp4 with the sound atomically.

    Frames are taken one at a time and the sound is read in pieces, so that an hour takes no more memory than a
    minute. The sound becomes mono, at its own rate where aac knows that; without sound the mp4 has none.

    Args:
        path: the target.
        frames: uint8 [H,W,3] of one size.
        fps: frames a second.
        sound: what is heard from the first frame on.

    Raises:
        MediaError: the sound cannot be read, or the mp4 cannot be written.
    """
    with replacing(path) as temporary:
        if not sound.rate:
            write_clip(temporary, frames, fps)
            return
        with tempfile.TemporaryDirectory(dir=temporary.parent, prefix=f".{path.stem}.") as folder:
            silent = Path(folder) / "silent.mp4"
            write_clip(silent, frames, fps)
            _join(temporary, silent, sound)


def _join(target: Path, silent: Path, sound: Sound) -> None:
    """Copy the video of `silent` and encode as much sound beside it as the picture lasts."""
    rate = sound.rate if sound.rate in AAC_RATES else _OTHER_RATE
    options = {"movflags": "+faststart"}
    try:
        with av.open(str(silent)) as pictures, av.open(str(target), "w", format="mp4", options=options) as container:
            video_in = pictures.streams.video[0]
            video_out = container.add_stream_from_template(video_in)
            stream = container.add_stream("aac", rate=rate, layout="mono")
            stream.codec_context.bit_rate = _BIT_RATE
            done = 0
            for packet in pictures.demux(video_in):
                if packet.pts is None or packet.duration is None:
                    continue
                # The sound goes in beside the picture it belongs to, and ends with it.
                due = round((packet.pts + packet.duration) * video_in.time_base * rate)
                if due > done:
                    _encode(container, stream, sound.samples(rate, done, due - done), done, rate)
                    done = due
                packet.stream = video_out
                container.mux(packet)
            container.mux(stream.encode(None))
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{target}: the sound cannot be written ({reason_of(error)}). Is there room?") from error


def _encode(container: OutputContainer, stream: AudioStream, wave: NDArray[np.float32], start: int, rate: int) -> None:
    """Encode samples that begin at `start`."""
    samples = np.clip(wave, -1, 1).astype(np.float32)[None]
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
    frame.sample_rate = rate
    frame.pts = start
    frame.time_base = Fraction(1, rate)
    container.mux(stream.encode(frame))
