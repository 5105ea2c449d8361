"""Describe a media file from its headers and, if they leave something open, from its first frame."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

from asgmcli.errors import MediaError
from asgmcli.media.bounds import DECODER_LIMITS
from asgmcli.media.extent import Opener, read_only, start_seconds
from asgmcli.media.length import Length, sound_length, video_length
from asgmcli.media.mp4 import display_matrices
from asgmcli.media.opening import BELIEVING, best_audio_stream, best_video_stream, open_media, read_media, reason_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

UNNAMED_KINDS = 16  # of side data on one frame, at most: FFmpeg 8 has 35 kinds, PyAV names 28
# Of a decoded PNG, whose colour profile has a name: PyAV 18 frees names of side data twice.
PNG_FORMATS = frozenset(
    ["gray", "gray16be", "monob", "monow", "pal8", "rgb24", "rgb48be", "rgba", "rgba64be", "ya8", "ya16be", "argb"]
)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """The contents of a media file.

    `frames` is how many `read_clip` gives, from the header or by counting packets (0 without video); width and height
    are those of the frames as read, after rotation. Both start times are on the container's own clock: readers count
    from the first video frame. `note` says which stored frames are shown if not all are, `cut` what a cut-off file
    lacks; both are "" in most files.
    """

    path: Path
    kind: Literal["video", "audio", "image"]
    duration: float  # s, of the video stream where there is one
    fps: float  # average frames per second; 0 without video
    frames: int
    width: int
    height: int
    rotation: int  # degrees anticlockwise applied to the stored picture: 0, 90, 180 or 270
    audio_rate: int  # samples per second; 0 without audio
    audio_channels: int
    audio_start: float  # s
    video_start: float  # s, of the first frame shown
    note: str = ""
    cut: str = ""


def probe(path: str | os.PathLike[str]) -> MediaInfo:
    """Describe the media file at `path`: by its header if that is complete (mp4), else by decoding the first frame.

    Raises:
        MediaError: no such file, empty, not media, neither picture nor sound, or no first frame (in an mp4, no first
            packet; `prepare --verify` finds out if it can be decoded).
    """
    return read_media(path, lambda container: _described(container, path))


def _described(container: InputContainer, path: str | os.PathLike[str]) -> MediaInfo:
    video, audio = best_video_stream(container), best_audio_stream(container)
    sound: dict[str, Any] = {"audio_rate": 0, "audio_channels": 0, "audio_start": 0.0}
    if audio is not None:
        sound = {
            "audio_rate": audio.codec_context.sample_rate,
            "audio_channels": audio.codec_context.channels,
            "audio_start": start_seconds(audio),
        }
    if video is None:
        if audio is None:
            raise MediaError(f"{path}: holds neither video nor sound that can be read")
        duration, cut = _measured(path, lambda opener: sound_length(container, audio, path, opener))
        return MediaInfo(Path(path), "audio", duration, 0.0, 0, 0, 0, 0, video_start=0.0, cut=cut, **sound)
    image = container.format.name.endswith("_pipe")
    length, cut = Length(0.0, 0.0, 1, start_seconds(video)), ""
    if not image:
        length, cut = _measured(path, lambda opener: video_length(container, video, audio, path, opener))
    width, height, matrix = _shape(container, video, path)
    if matrix is not None and swaps_sides(matrix):
        width, height = height, width
    return MediaInfo(
        path=Path(path),
        kind="image" if image else "video",
        duration=length.seconds,
        fps=length.fps,
        frames=length.frames,
        width=width,
        height=height,
        rotation=0 if matrix is None else _degrees(matrix),
        video_start=length.start,
        note=length.note,
        cut=cut,
        **sound,
    )


def first_frame(container: InputContainer, stream: VideoStream, path: str | os.PathLike[str]) -> VideoFrame:
    """Decode the first av.VideoFrame of a container at its start; only decoded frames tell the display matrix.

    Its pixels differ from those of `read_clip`: the deblocking filter is skipped to save time.

    Raises:
        MediaError: no frame can be decoded.
    """
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {**DECODER_LIMITS, "skip_loop_filter": "all"}
    read_only(container, stream)
    try:
        for packet in container.demux(stream):
            frames = stream.codec_context.decode(packet)
            if packet.is_discard and not frames:
                continue  # hidden by an edit list: the next ones refer to it
            # Draining after each packet spares the decoder's reordering delay.
            frames = frames or stream.codec_context.decode(None)
            if frames:
                return frames[0]
            stream.codec_context.flush_buffers()
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: the first video frame cannot be decoded ({reason_of(error)})") from error
    raise MediaError(f"{path}: holds no video frame that can be decoded; is it whole?")


def _shape(
    container: InputContainer, stream: VideoStream, path: str | os.PathLike[str]
) -> tuple[int, int, np.ndarray | None]:
    """Return width and height of the stored pictures, and the display matrix.

    Taken from the header of an mp4 that describes itself fully (a first packet must exist), else from the first frame.

    Raises:
        MediaError: there is no first packet, or no frame of another file can be decoded.
    """
    if BELIEVING.items() - container.options.items():  # opened as ever
        frame = first_frame(container, stream, path)
        return frame.width, frame.height, display_matrix(frame)
    read_only(container, stream)
    try:
        packet = next(container.demux(stream))
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: the first video frame cannot be read ({reason_of(error)})") from error
    if not packet.size or packet.is_corrupt:
        raise MediaError(f"{path}: the first video frame is not there; is it whole?")
    with Path(path).open("rb") as file:
        turn = display_matrices(file).get(stream.id)
    matrix = None if turn is None else _quarter_turn(*turn.flatten())
    return stream.codec_context.width, stream.codec_context.height, matrix


def display_matrix(frame: VideoFrame) -> np.ndarray | None:
    """Return the upper left [2, 2] signs of a frame's display matrix, nearest quarter turn; None if it does not turn.

    The rows map stored (x, y) to shown (x, y): shown_x = m[0, 0] x + m[1, 0] y (FFmpeg, libavutil/display.h).
    """
    pieces = _side_data(frame)
    side_data = pieces.get("DISPLAYMATRIX") if pieces else None
    if side_data is None:
        return None
    a, b, _, c, d = np.frombuffer(side_data, dtype=np.int32)[:5].astype(np.float64)
    return _quarter_turn(a, b, c, d)


def _quarter_turn(a: float, b: float, c: float, d: float) -> np.ndarray | None:
    """Return the signs of the quarter turn nearest to a matrix, or None if it does not turn."""
    if abs(b) > abs(a):
        matrix = np.array([[0, np.sign(b)], [np.sign(c), 0]], dtype=np.int64)
    else:
        matrix = np.array([[np.sign(a), 0], [0, np.sign(d)]], dtype=np.int64)
    whole = np.abs(matrix).sum() == 2
    return matrix if whole and (matrix != np.eye(2)).any() else None


def _side_data(frame: VideoFrame) -> SideDataContainer | None:
    """Return a frame's side data by kind, without kinds PyAV cannot name (a photograph's EXIF)."""
    if frame.format.name in PNG_FORMATS:
        frame = _without(frame, "ICC_PROFILE")
    for _ in range(UNNAMED_KINDS):
        try:
            # Not `frame.side_data`: it makes a reference cycle, and only the garbage collector, which runs rarely,
            # would free the pixels.
            return SideDataContainer(frame)  # type: ignore[call-arg]
        except ValueError as error:
            # One such piece hides all others, and the error begins with its number.
            kind = str(error).partition(" ")[0]
            if not kind.isdigit():
                return None
            frame = _without(frame, kind)
    return None


def _without(frame: VideoFrame, kind: str) -> VideoFrame:
    """Return a frame without its side data of one kind, by FFmpeg's name or number."""
    graph = av.filter.Graph()
    tick = frame.time_base or Fraction(1)
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=tick)
    graph.link_nodes(source, graph.add("sidedata", f"mode=delete:type={kind}"), graph.add("buffersink")).configure()
    graph.vpush(frame)
    return graph.vpull()


def swaps_sides(matrix: np.ndarray) -> bool:
    """Return True if the display matrix turns the picture by 90 or 270 degrees."""
    return bool(matrix[0, 1])


def mirrors(matrix: np.ndarray) -> bool:
    """Return True if the display matrix mirrors the picture, turned or not."""
    return bool(matrix[0, 0] * matrix[1, 1] < matrix[0, 1] * matrix[1, 0])


def _measured(path: str | os.PathLike[str], measure: Callable[[Opener], Result]) -> Result:
    """Call `measure` with a function that opens the file anew; raise MediaError for what it cannot read."""
    try:
        return measure(lambda unedited: open_media(path, believing=True, unedited=unedited))
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: its packets cannot be read ({reason_of(error)}); is it whole?") from error


def _degrees(matrix: np.ndarray) -> int:
    """Return the display matrix's turn in degrees anticlockwise, ignoring a mirror flip."""
    if swaps_sides(matrix):
        return 270 if matrix[0, 1] > 0 else 90
    return 180 if matrix[0, 0] < 0 and matrix[1, 1] < 0 else 0
