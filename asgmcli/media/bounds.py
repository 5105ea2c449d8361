"""Limits on what a media file may claim, checked before memory is allocated for it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import av

from asgmcli.errors import MediaError
from asgmcli.media.mp4 import claimed_samples

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

MAX_BYTES = 64 * 2**30
MAX_STREAMS = 64
MAX_SECONDS = 6 * 3600.0
MAX_PIXELS = 2**26  # of a frame: 8192 x 8192, the largest that is filmed
MAX_FPS = 100_000.0
MAX_RATE = 768_000  # samples a second
MAX_CHANNELS = 64
MAX_FRAME_SAMPLES = 2**24  # of a decoded audio frame, a channel
MAX_SAMPLES_A_BYTE = 64  # QuickTime counts the samples of compressed sound; of packets there is one at most
MAX_DECODED_BYTES = 8 * 2**30  # of a video held in memory

# FFmpeg's own limits, which also hold if the data contradict the header.
CONTAINER_LIMITS = {"max_streams": str(MAX_STREAMS + 1)}  # one more than allowed, so that the excess is detected
DECODER_LIMITS = {"max_pixels": str(MAX_PIXELS), "max_samples": str(MAX_FRAME_SAMPLES)}


def strict_options(stream: Stream) -> dict[str, str]:
    """Return a video decoder's options: the limits, and to stop at broken data instead of painting over it.

    TIFF is not decoded strictly: FFmpeg calls any tag it does not know (a camera's, an editor's) broken.
    """
    return DECODER_LIMITS if stream.codec_context.name == "tiff" else {**DECODER_LIMITS, "err_detect": "explode"}


def check_file(path: str | os.PathLike[str]) -> None:
    """Check that a file's size, and the samples that its index claims, are within the limits for a clip.

    Raises:
        MediaError: empty, over 64 GiB, or more samples claimed than the file has room for.
        OSError: it cannot be read.
    """
    with Path(path).open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise MediaError(f"{path}: the file is empty (0 bytes); fetch it again")
        _within(path, "bytes", size, MAX_BYTES)
        samples = claimed_samples(file)
        if samples > MAX_SAMPLES_A_BYTE * size:
            raise MediaError(f"{path}: claims {samples} samples in {size} bytes; is it whole?")


def check_claims(path: str | os.PathLike[str], container: InputContainer) -> None:
    """Check what the headers of an open container claim against the limits, and limit its decoders.

    Raises:
        MediaError: too long, too large or too many streams; the message names the limit.
    """
    _within(path, "streams", len(container.streams), MAX_STREAMS)
    seconds = (container.duration or 0) / av.time_base
    _within(path, "seconds", seconds, MAX_SECONDS)
    for stream in (*container.streams.video, *container.streams.audio):
        if stream.codec_context is None:
            continue
        own = stream.duration * stream.time_base if stream.duration and stream.time_base else 0
        _within(path, "seconds", float(own), MAX_SECONDS)
        if isinstance(stream, av.VideoStream):
            _within(path, "pixels a frame", stream.codec_context.width * stream.codec_context.height, MAX_PIXELS)
            _within(path, "frames a second", float(stream.average_rate or stream.guessed_rate or 0), MAX_FPS)
            _within(path, "frames", stream.frames, MAX_FPS * max(seconds, own, 1))
        elif isinstance(stream, av.AudioStream):
            _within(path, "samples a second", stream.codec_context.sample_rate, MAX_RATE)
            _within(path, "channels", stream.codec_context.channels, MAX_CHANNELS)
        stream.codec_context.options = dict(DECODER_LIMITS)


def check_decoded(path: str | os.PathLike[str], size: float) -> None:
    """Check that a video whose frames take `size` bytes fits in memory.

    Raises:
        MediaError: more than 8 GiB.
    """
    if size > MAX_DECODED_BYTES:
        raise MediaError(
            f"{path}: its frames take {size / 2**30:.1f} GiB in memory, more than {MAX_DECODED_BYTES >> 30}; "
            "set data.keep_decoded to false, or cut the clip"
        )


def _within(path: str | os.PathLike[str], what: str, value: float, most: float) -> None:
    if not 0 <= value <= most:
        raise MediaError(f"{path}: claims {value:g} {what}, where a clip has 0 to {most:g}; is it whole?")
