"""Exact frames of a video file: the same pixels as a plain decode of the whole file, wherever the clip starts."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import av
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter

from asgmcli.errors import MediaError
from asgmcli.media.bounds import check_decoded, strict_options
from asgmcli.media.cutoff import SLACK_SECONDS, last_second
from asgmcli.media.extent import read_only, tick_of
from asgmcli.media.groups import STAMPED_CONTAINERS, frames_at, has_short_cut
from asgmcli.media.mpeg4_order import DoubtfulError
from asgmcli.media.opening import best_video_stream, open_media, read_media, reason_of
from asgmcli.media.probe import display_matrix, first_frame, mirrors, probe, swaps_sides

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Headers of AVI do count a frame or two too many.
SLACK_FRAMES = 2
SLACK_SHARE = 0.01

# Containers of which decord, read in order, returns every frame; it loses the first ones of a transport stream.
DECORD_CONTAINERS = STAMPED_CONTAINERS | {"avi"}


def read_clip(
    path: str | os.PathLike[str],
    indices: Sequence[int],
    *,
    short_side: int | None = None,
    backend: Literal["pyav", "decord"] = "pyav",
) -> np.ndarray:
    """Read the frames of the given indices.

    Args:
        path: a local video file.
        indices: positions in the order of showing, from 0; in any order, repeats allowed.
        short_side: the shorter side of the result in pixels, aspect kept; never enlarged. None: as stored. Resized by
            swscale's bicubic filter, as ffmpeg's scale filter does but for the quarter pixel by which some files place
            their colour samples to the left.
        backend: "pyav" (skips what need not be decoded, finds broken data) or "decord" (the same frames, read from the
            start; equal at their own size, while resized ones differ by rounding; broken data passes unseen).

    Returns:
        uint8 [T, H, W, 3] RGB, turned upright by the display matrix, pixels as stored (not stretched by their aspect).

    An index past the last frame that decodes gives that last frame where the container's header promised the index
    (headers of AVI and Matroska count a little too many); otherwise it is an error.

    Raises:
        MediaError: the file cannot be opened, a needed frame is broken, the file is cut off before an index, or an
            index is past the end.
        ValueError: no index, a negative one, or an unknown backend.
    """
    order = [int(index) for index in indices]
    if not order or min(order) < 0:
        raise ValueError(f"indices must be 0 or more, and at least one; got {order}")
    wanted = sorted(set(order))
    if backend == "pyav":
        frames = _read_pyav(path, wanted, short_side)
    elif backend == "decord":
        frames = _read_decord(path, wanted, short_side)
    else:
        raise ValueError(f"backend must be 'pyav' or 'decord', got {backend!r}")
    return np.stack([frames[index] for index in order])


def iterate_frames(
    path: str | os.PathLike[str], *, short_side: int | None = None
) -> Iterator[tuple[float, np.ndarray]]:
    """Decode the whole video, one frame in memory at a time.

    Yields:
        (seconds since the first frame, uint8 [H, W, 3]), in the order of showing, upright; `short_side` as `read_clip`.

    Raises:
        MediaError: the file cannot be opened, is broken anywhere, or ends before its header says; the frames before
            the damage have then been yielded.
    """
    with open_media(path) as container:
        stream = _video_stream(container, path)
        picture = _Picture(short_side)
        stamped = container.format.name != "avi"
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        begin: int | None = None
        for index, frame in enumerate(_count_frames(container, stream, path)):
            begin = frame.pts if begin is None else begin
            if stamped and frame.pts is not None and begin is not None:
                seconds = float((frame.pts - begin) * tick_of(stream))
            else:
                # AVI stamps are guessed from decoding order and go back and forth with B-frames.
                seconds = float(index / rate)
            yield seconds, picture.array(frame)
        if begin is None:
            raise MediaError(f"{path}: holds no video frame that can be decoded; is it whole?")


def decode_video(path: str | os.PathLike[str], *, short_side: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Decode the whole video into memory: (uint8 [F, H, W, 3], float64 [F] seconds since the first frame).

    Raises:
        MediaError: as `iterate_frames`.
    """
    times: list[float] = []
    frames: list[np.ndarray] = []
    promised = probe(path).frames
    for seconds, frame in iterate_frames(path, short_side=short_side):
        times.append(seconds)
        frames.append(frame)
        check_decoded(path, max(promised, len(frames)) * frame.nbytes)
    return np.stack(frames), np.array(times, dtype=np.float64)


class _Picture:
    """Convert decoded frames to upright RGB arrays of one size, that of the first one fitted to `short_side`."""

    def __init__(self, short_side: int | None) -> None:
        self.short_side = short_side
        self.size: tuple[int, int] | None = None
        self.reformatter = VideoReformatter()  # one for all frames: setting up a scaler costs more than a frame

    def view(self, frame: VideoFrame) -> np.ndarray:
        """Return a decoded av.VideoFrame as uint8 [H, W, 3] in the scaler's own buffer; copy it to keep it."""
        if self.size is None:
            self.size = fitted_size(frame.width, frame.height, self.short_side)
        width, height = self.size
        rgb = self.reformatter.reformat(frame, width, height, "rgb24", interpolation=Interpolation.BICUBIC, threads=1)
        plane = rgb.planes[0]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[:height, : 3 * width]
        matrix = display_matrix(frame)
        array = rows.reshape(height, width, 3)
        return array if matrix is None else _turned(array, matrix)

    def array(self, frame: VideoFrame) -> np.ndarray:
        """Return a decoded av.VideoFrame as uint8 [H, W, 3] of its own."""
        return np.ascontiguousarray(self.view(frame))


def fitted_size(width: int, height: int, short_side: int | None) -> tuple[int, int]:
    """Return (width, height) with the shorter side reduced to `short_side`, aspect kept; never enlarged."""
    shorter = min(width, height)
    if short_side is None or short_side >= shorter:
        return width, height
    if short_side < 1:
        raise ValueError(f"short_side must be positive, got {short_side}")
    return round(width * short_side / shorter), round(height * short_side / shorter)


def _turned(array: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return [H, W, 3] as the display matrix shows it: shown_x = m00 x + m10 y, shown_y = m01 x + m11 y, signs only."""
    if swaps_sides(matrix):
        array, across, down = array.transpose(1, 0, 2), matrix[1, 0], matrix[0, 1]
    else:
        across, down = matrix[0, 0], matrix[1, 1]
    return array[:: int(down), :: int(across)]


def _video_stream(container: InputContainer, path: str | os.PathLike[str]) -> VideoStream:
    """Return the stream to read, its decoder set to one thread and to stop at broken data instead of concealing it."""
    stream = best_video_stream(container)
    if stream is None:
        raise MediaError(f"{path}: holds no video")
    stream.codec_context.thread_count = 1  # the loader's workers are the parallelism; skipping needs it too
    stream.codec_context.options = strict_options(stream)
    read_only(container, stream)
    return stream


def _read_pyav(path: str | os.PathLike[str], wanted: list[int], short_side: int | None) -> dict[int, np.ndarray]:
    """Read the frames of strictly ascending indices, by the short cut if it is exact, else by counting."""
    picture = _Picture(short_side)

    def short_cut(container: InputContainer) -> dict[int, np.ndarray]:
        stream = _video_stream(container, path)
        if not has_short_cut(container, stream):
            return {}
        return {index: picture.view(frame) for index, frame in frames_at(container, stream, wanted)}

    for believing in (True, False):  # a decoder that the header told too little loses frames: then with all it can know
        try:
            frames = read_media(path, short_cut, best_video_stream, believing=believing)
        except (DoubtfulError, av.FFmpegError):
            # Broken data, or a group that does not stand alone: counting from the start tells which.
            continue
        if len(frames) == len(wanted):
            return frames
        break
    with open_media(path) as container:
        return _read_counting(container, _video_stream(container, path), path, wanted, picture.view)


def _read_counting(
    container: InputContainer,
    stream: VideoStream,
    path: str | os.PathLike[str],
    wanted: list[int],
    convert: Callable[[VideoFrame], np.ndarray],
) -> dict[int, np.ndarray]:
    """Read the frames of strictly ascending indices by decoding from the start; past the end as `read_clip` says."""
    frames: dict[int, np.ndarray] = {}
    pending = iter(wanted)
    target: int | None = next(pending)
    count, last = 0, None
    for index, frame in enumerate(_count_frames(container, stream, path)):
        if index == target:
            frames[index] = convert(frame)
            target = next(pending, None)
            if target is None:
                return frames
        count, last = index + 1, frame
    if last is None:
        raise MediaError(f"{path}: holds no video frame that can be decoded; is it whole?")
    return frames | _past_the_end(path, [index for index in wanted if index >= count], count, convert(last))


def _past_the_end(
    path: str | os.PathLike[str], beyond: list[int], count: int, last: np.ndarray
) -> dict[int, np.ndarray]:
    """Return the last frame for every index that the header promised; raise for one that it did not."""
    promised = probe(path).frames
    if beyond[-1] >= max(promised, count):
        raise MediaError(f"{path}: frame {beyond[-1]} is past the end; the video has {count} frames")
    return dict.fromkeys(beyond, last)


def _count_frames(container: InputContainer, stream: VideoStream, path: str | os.PathLike[str]) -> Iterator[VideoFrame]:
    """Yield every frame in display order, decoded plainly; stop at broken data and at a file that is cut off."""
    packets, frames, end, partial = 0, 0, 0, False
    try:
        for packet in container.demux(stream):
            packets, partial = packets + (packet.size > 0), packet.is_corrupt
            if packet.pts is not None:
                end = max(end, packet.pts + (packet.duration or 0))
            for frame in _decoded(packet, frames):
                if frame.is_corrupt:
                    raise MediaError(f"{path}: frame {frames} is broken; fetch the file again or leave it out")
                yield frame
                frames += 1
    except (av.FFmpegError, OSError) as error:
        what = "cut off" if partial else "broken"
        raise MediaError(
            f"{path}: {what} at frame {frames} ({reason_of(error)}); fetch the file again or leave it out"
        ) from error
    _check_whole(container, stream, path, packets, float(end * tick_of(stream)))


def _decoded(packet: Packet[VideoStream], frames: int) -> Sequence[VideoFrame]:
    """Return the frames a packet yields, skipping those before the first decodable frame, as players do."""
    try:
        return list(packet.decode())
    except av.error.InvalidDataError:
        if frames:
            raise
        return []


def _check_whole(
    container: InputContainer, stream: VideoStream, path: str | os.PathLike[str], packets: int, end: float
) -> None:
    """Raise MediaError if the file holds less than its header says: nothing else reveals a truncated file."""
    name = container.format.name
    promised = 0
    if name.startswith("mov") or name == "avi":
        promised = sum(entry.size > 0 for entry in stream.index_entries)
    if name == "avi":  # a cut AVI has lost its index, which comes last
        promised = max(promised, stream.frames - max(SLACK_FRAMES, round(SLACK_SHARE * stream.frames)))
    if packets < promised:
        raise MediaError(f"{path}: cut off: {packets} of {stream.frames} frames are there; fetch the file again")
    if name == "matroska,webm" and container.duration:
        whole = container.duration / av.time_base
        if end < whole - SLACK_SECONDS and (end := max(end, _last_time(path))) < whole - SLACK_SECONDS:
            raise MediaError(f"{path}: cut off: ends at {end:.1f} s of {whole:.1f} s; fetch the file again")


def _last_time(path: str | os.PathLike[str]) -> float:
    with open_media(path) as container:
        return last_second(container)


def _read_decord(path: str | os.PathLike[str], wanted: list[int], short_side: int | None) -> dict[int, np.ndarray]:
    """Read like `_read_pyav`, by decord, in order: its jumps give wrong frames in open groups and AVI with B-frames."""
    try:
        import decord
    except ImportError as error:
        raise MediaError("decord is not installed here; use backend 'pyav'") from error
    _check_decord_reads(path)
    frames: dict[int, np.ndarray] = {}
    count, last = 0, None
    try:
        for index, frame in enumerate(decord.VideoReader(str(Path(path).absolute()), num_threads=1)):
            count, last = index + 1, frame
            if index in wanted:
                frames[index] = _resized(frame.asnumpy(), short_side)
            if len(frames) == len(wanted):
                break
    except (decord.DECORDError, RuntimeError) as error:
        raise MediaError(f"{path}: decord cannot read it ({str(error).splitlines()[0]})") from error
    if last is None:
        raise MediaError(f"{path}: holds no video frame that can be decoded; is it whole?")
    if len(frames) < len(wanted):
        end = _resized(last.asnumpy(), short_side)
        frames |= _past_the_end(path, [index for index in wanted if index >= count], count, end)
    return frames


def _check_decord_reads(path: str | os.PathLike[str]) -> None:
    """Refuse a file of which decord would show other frames than PyAV."""
    with open_media(path) as container:
        stream = _video_stream(container, path)
        if container.format.name not in DECORD_CONTAINERS:
            raise MediaError(f"{path}: decord misses frames of this container; use backend 'pyav'")
        other = container.streams.best("video")
        if other is None or other.index != stream.index:
            raise MediaError(f"{path}: decord would read another video stream; use backend 'pyav'")
        matrix = display_matrix(first_frame(container, stream, path))
        if matrix is not None and mirrors(matrix):
            raise MediaError(f"{path}: decord does not mirror what the file wants mirrored; use backend 'pyav'")


def _resized(rgb: np.ndarray, short_side: int | None) -> np.ndarray:
    """Return uint8 [H, W, 3] with its shorter side reduced (bicubic); None leaves it as it is."""
    if short_side is None:
        return rgb
    width, height = fitted_size(rgb.shape[1], rgb.shape[0], short_side)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
    small: np.ndarray = frame.reformat(width, height, interpolation=Interpolation.BICUBIC).to_ndarray()
    return small
