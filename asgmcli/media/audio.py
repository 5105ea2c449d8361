"""Sound of a media file on the clock of its pictures, and its log-mel image."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from asgmcli.errors import MediaError
from asgmcli.media.bounds import MAX_SECONDS
from asgmcli.media.extent import first_shown, may_begin_late, read_only, tick_of
from asgmcli.media.opening import best_audio_stream, best_video_stream, open_media, read_media, reason_of

if TYPE_CHECKING:
    import torch
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.filter import Graph

CACHE_RATE = 16_000  # samples per second of an int16 .npy cache
SILENCE_DBFS = -120.0  # what digital silence is called; below the noise of 16 bits (-96)
FRAME_MS, HOP_MS = 25.0, 10.0  # docs/METHOD.md, "Sound"
LENGTH_MULTIPLE = 16  # time steps: the patch of the audio transformer
BLOCK = 1 << 20  # samples the resampler gives at once; block by block it takes 30% longer

# Samples beyond a span that the resampler needs to have seen: its filter is 32 taps at the lower rate.
FILTER_SECONDS = 0.05
# A lossy decoder needs what precedes: aac one frame (overlap), mp3 up to 511 bytes of earlier frames.
PREROLL_SECONDS = 0.5
# Seeking pays beyond this; below, decoding from the start is as fast.
SEEK_AFTER_SECONDS = 2.0
# Containers with an index of every packet, and those whose time stamps count samples: a sample's place is known after
# a seek. In the others (Matroska's stamps are milliseconds, AVI's are guessed) sound is decoded from the start.
INDEXED_CONTAINERS = frozenset({"mov,mp4,m4a,3gp,3g2,mj2"})
COUNTING_CONTAINERS = frozenset({"wav", "w64", "flac"})
# A hole (or overlap) of the time stamps larger than this is real, smaller ones are rounding or jitter.
HOLE_SECONDS = 0.05


def read_audio(
    path: str | os.PathLike[str], rate: int = 16_000, start: float = 0.0, seconds: float | None = None
) -> np.ndarray:
    """Read a span of sound as mono, on the video's clock.

    Args:
        path: a video or sound file, or a one-dimensional int16 `.npy` of 16 kHz that begins at the clock's zero.
        rate: samples per second of the result.
        start: where the span begins, in seconds from the first video frame (in a file without video, from the first
            sound); may be negative.
        seconds: how long the span is; None: to the end of the sound.

    Returns:
        float32 [S], S = round(seconds * rate); full scale is 1, which lossy codecs may overshoot; channels averaged.
        Silence (zeros) where there is no sound: before late sound, after its end, in holes. The samples of a span are
        those of the whole at the same place; only the noise that aac may substitute, and its decoder invents, differs.

    Raises:
        MediaError: no such file, no sound in it, or broken sound; a broken first or last packet, common where a file
            was cut out of a longer one, counts as silence.
        ValueError: a rate or length that is not positive.
    """
    if rate < 1 or (seconds is not None and seconds < 0):
        raise ValueError(f"rate must be positive and seconds 0 or more, got {rate} and {seconds}")
    begin = round(start * rate)
    end = None if seconds is None else begin + round(seconds * rate)
    if Path(path).suffix == ".npy":
        return _read_cache(path, rate, begin, end)

    def read(container: InputContainer) -> list[tuple[int, np.ndarray]]:
        stream = best_audio_stream(container)
        if stream is None:
            raise MediaError(f"{path}: holds no sound")
        return list(_pieces(container, stream, path, rate, begin, end))

    pieces = read_media(path, read, best_audio_stream)
    if end is None:
        end = max([begin, *(first + len(samples) for first, samples in pieces)])
    result = np.zeros(end - begin, dtype=np.float32)
    for first, samples in pieces:
        low, high = max(first, begin), min(first + len(samples), end)
        if low < high:
            result[low - begin : high - begin] = samples[low - first : high - first]
    return result


def log_mel(
    wave: np.ndarray | torch.Tensor, *, rate: int = 16_000, mels: int = 128, length: int | None = None
) -> torch.Tensor:
    """Return the log-mel filter bank of docs/METHOD.md (the AST convention, Gong et al. 2021; not yet normalised).

    Kaldi's filter bank: 25 ms Hann window, 10 ms hop, no dither, no energy. The sound is padded with
    silence, not the image with zeros, so that the added steps look like silence.

    Args:
        wave: float [S], or [B, S] for a batch (the same values, one call).
        rate: samples per second.
        mels: M, mel bins.
        length: L, time steps; sound that is longer is cut. None: the hops in the sound rounded up to a multiple of 16.

    Returns:
        float32 [L, M], or [B, L, M]; 4 s at 16 kHz give L = 400.

    Raises:
        ValueError: a length that is not a multiple of 16, or sound of another shape.
    """
    import torch

    from asgmcli.media.mel import filter_bank

    sound = torch.as_tensor(wave).to(torch.float32)
    if sound.ndim not in (1, 2):
        raise ValueError(f"wave must be [S] or [B, S], got {list(sound.shape)}")
    batch = sound.reshape(-1, sound.shape[-1])
    hop, window = round(rate * HOP_MS / 1000), round(rate * FRAME_MS / 1000)
    if length is None:
        length = max(math.ceil(batch.shape[1] / hop / LENGTH_MULTIPLE), 1) * LENGTH_MULTIPLE
    elif length < 1 or length % LENGTH_MULTIPLE:
        raise ValueError(f"length must be a multiple of {LENGTH_MULTIPLE}, got {length}")
    samples = min(batch.shape[1], (length - 1) * hop + window)
    padded = torch.zeros(len(batch), (length - 1) * hop + window, dtype=torch.float32)
    padded[:, :samples] = batch[:, :samples]
    bank = filter_bank(padded, rate=rate, window=window, hop=hop, mels=mels)
    return bank[0] if sound.ndim == 1 else bank


def _read_cache(path: str | os.PathLike[str], rate: int, begin: int, end: int | None) -> np.ndarray:
    """Read a span of an int16 16 kHz cache; only the needed part is read from disk."""
    try:
        cache = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise MediaError(f"{path}: not a readable .npy file ({reason_of(error)})") from error
    if cache.dtype != np.int16 or cache.ndim != 1:
        raise MediaError(f"{path}: a sound cache is int16 [S] at 16 kHz; this is {cache.dtype} {list(cache.shape)}")
    if rate != CACHE_RATE:
        raise MediaError(f"{path}: a sound cache has 16000 samples a second; {rate} were asked for")
    end = max(begin, len(cache)) if end is None else end
    result = np.zeros(end - begin, dtype=np.float32)
    low, high = min(max(begin, 0), end), min(len(cache), end)
    if low < high:
        result[low - begin : high - begin] = cache[low:high].astype(np.float32) / 32768
    return result


@dataclass(slots=True)
class _Stretch:
    """Sound without a hole: source samples from `first` on (counted from the clock's zero), resampled as they come."""

    first: int
    rate: int  # of the result
    template: AudioFrame  # format, layout and rate of the source
    outputs: list[np.ndarray] = field(default_factory=list)
    graph: Graph | None = None
    origin: int = 0  # output sample of the first one that comes out
    waiting: int = 0  # source samples pushed since the last pull

    def push(self, frame: AudioFrame) -> None:
        """Resample one more decoded frame."""
        graph = self._begin(frame) if self.graph is None else self.graph
        frame.pts = None  # samples are counted; jitter of the stamps must not reach the resampler
        graph.push(frame)
        self.waiting += frame.samples
        # Nothing comes out before a block is full, and asking costs more than decoding the frame.
        if self.waiting >= BLOCK:
            self._pull(graph)

    def close(self) -> tuple[int, np.ndarray]:
        """Return (first output sample from the clock's zero, float32 [S])."""
        if self.graph is not None:
            self.graph.push(None)
            self._pull(self.graph)
        return self.origin, np.concatenate(self.outputs) if self.outputs else np.zeros(0, np.float32)

    def fits(self, frame: AudioFrame) -> bool:
        """Return True if the resampler can go on with this frame."""
        mine = self.template
        # Layouts are compared as they are: to put one in words costs more than the rest of this.
        return bool(
            frame.sample_rate == mine.sample_rate
            and frame.layout == mine.layout
            and frame.format.name == mine.format.name
        )

    def _begin(self, frame: AudioFrame) -> Graph:
        """Start on the grid of output samples: silence fills the source back to the last sample both rates share.

        So every stretch gives output samples at the same instants, n / rate from the clock's zero.
        """
        self.graph = graph = _resampler(frame, self.rate)
        period = frame.sample_rate // math.gcd(frame.sample_rate, self.rate)
        missing = self.first % period
        self.origin = (self.first - missing) * self.rate // frame.sample_rate
        if missing:
            silence = av.AudioFrame(format=frame.format.name, layout=frame.layout.name, samples=missing)
            quiet = 0x80 if frame.format.name.startswith("u8") else 0
            for plane in silence.planes:
                plane.update(bytes([quiet]) * plane.buffer_size)
            silence.sample_rate = frame.sample_rate
            silence.time_base = frame.time_base
            graph.push(silence)
        return graph

    def _pull(self, graph: Graph) -> None:
        self.waiting = 0
        while True:
            try:
                self.outputs.append(graph.pull().to_ndarray()[0])
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def _resampler(frame: AudioFrame, rate: int) -> Graph:
    """Return a filter graph from frames of this kind to mono float at `rate`.

    PyAV's own AudioResampler adds channels up without dividing: stereo would come out louder than mono, beyond 1.
    """
    graph = av.filter.Graph()
    graph.threads = 1  # a thread a core is started otherwise, for each sound that is read
    nodes = (
        graph.add_abuffer(
            sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
        ),
        graph.add("aresample", f"{rate}:rematrix_maxval=1.0"),
        graph.add("aformat", f"sample_rates={rate}:sample_fmts=flt:channel_layouts=mono"),
        graph.add("abuffersink"),
    )
    graph.link_nodes(*nodes).configure()
    graph.set_audio_frame_size(BLOCK)
    return graph


@dataclass(frozen=True, slots=True)
class _SampleClock:
    """Turns time stamps of the sound into source samples from the clock's zero."""

    tick: tuple[int, int]  # source samples in a unit of the time stamps, as a fraction
    zero: int  # source sample, on the container's clock, at the first video frame (without video, the first sound)

    @classmethod
    def of(cls, container: InputContainer, stream: AudioStream, path: str | os.PathLike[str]) -> _SampleClock:
        source = stream.codec_context.sample_rate
        video = best_video_stream(container)
        reference = video or stream
        zero = reference.start_time or 0
        if video is not None and may_begin_late(container, video):
            try:
                shown = first_shown(lambda unedited: open_media(path, believing=True, unedited=unedited), video.index)
            except (av.FFmpegError, OSError):
                shown = None  # the sound may be whole; the pictures' readers tell of theirs
            zero = zero if shown is None else shown
        tick = (tick_of(stream) * source).as_integer_ratio()
        return cls(tick, round(zero * tick_of(reference) * source))

    def sample(self, pts: int) -> int:
        """Return the source sample, from the clock's zero, that a time stamp names."""
        up, down = self.tick
        # round(pts * up / down) in integers: called for every frame, and fractions are slow.
        whole, rest = divmod(pts * up, down)
        sample = whole + (2 * rest > down or (2 * rest == down and whole % 2 == 1)) - self.zero
        # Within the stamps' resolution of zero counts as zero.
        return 0 if up > down and abs(sample) * down <= up else sample


def _pieces(
    container: InputContainer, stream: AudioStream, path: str | os.PathLike[str], rate: int, begin: int, end: int | None
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first output sample, float32 [S]) of each stretch of sound without a hole that touches the span."""
    low = Fraction(begin, rate) - Fraction(FILTER_SECONDS)
    high = None if end is None else Fraction(end, rate) + Fraction(FILTER_SECONDS)
    run: _Stretch | None = None
    clock = _SampleClock.of(container, stream, path)
    places = _seek(container, stream, clock, low)
    position: int | None = None  # source sample, from the clock's zero, at which the next frame begins
    source, before, behind = 0, 0, 0  # of the frame: its rate, and the span's bounds in its samples
    for frame in _audio_frames(container, stream, path):
        if frame.sample_rate != source:
            source = frame.sample_rate
            before, behind = math.floor(low * source), 0 if high is None else math.ceil(high * source)
        known = places if position is None else {}
        stamp = None if frame.pts is None else known.get(frame.pts, clock.sample(frame.pts))
        if position is None or (stamp is not None and abs(stamp - position) > HOLE_SECONDS * source):
            position = stamp or 0
            if run is not None:
                yield run.close()
                run = None
        if high is not None and position >= behind:
            break
        _check_reach(path, position, source)
        after = position + frame.samples
        if after > before:
            if run is not None and not run.fits(frame):
                yield run.close()
                run = None
            if run is None:
                run = _Stretch(position, rate, frame)
            run.push(frame)
        position = after
    if run is not None:
        yield run.close()


def _check_reach(path: str | os.PathLike[str], position: int, rate: int) -> None:
    """Refuse sound at a time that no clip reaches: a stamp may say anything, and silence up to it fill the memory."""
    if position > MAX_SECONDS * rate:
        raise MediaError(f"{path}: sound at {position / rate:.0f} s, after all that a clip may last; is it whole?")


def _seek(container: InputContainer, stream: AudioStream, clock: _SampleClock, low: Fraction) -> dict[int, int]:
    """Go to a little before `low` (s, the video's clock) where that is exact; else stay at the start.

    Returns:
        Where it went: source sample by time stamp, as decoding from the start would have counted them. Stamps jitter
        in files that came from coarser containers, so they alone would be off by some samples. Empty: the stamps count
        samples as they are, or nothing was sought.
    """
    source = stream.codec_context.sample_rate
    if low <= SEEK_AFTER_SECONDS or clock.tick != (1, 1):
        return {}
    entries, size = stream.index_entries, stream.codec_context.frame_size
    places: dict[int, int] = {}
    if container.format.name in INDEXED_CONTAINERS and len(entries) and size > 1:
        position: int | None = None
        for entry in entries:
            stamp = entry.timestamp - clock.zero
            if position is None or abs(stamp - position) > HOLE_SECONDS * source:
                position = stamp
            places[entry.timestamp] = position
            position += size
    elif container.format.name not in COUNTING_CONTAINERS:
        return {}
    container.seek(int((low - Fraction(PREROLL_SECONDS)) * source) + clock.zero, stream=stream)
    return places


def _audio_frames(container: InputContainer, stream: AudioStream, path: str | os.PathLike[str]) -> Iterator[AudioFrame]:
    """Yield decoded frames from the container's position on, skipping a broken first or last packet."""
    stream.codec_context.thread_count = 1
    read_only(container, stream)
    decoded, broken = False, ""
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.error.InvalidDataError as error:
                broken = reason_of(error) if decoded else ""
                continue
            if frames and broken:
                raise MediaError(f"{path}: broken sound ({broken}); fetch the file again or leave it out")
            decoded = decoded or bool(frames)
            yield from frames
    except (av.FFmpegError, OSError) as error:
        raise MediaError(f"{path}: broken sound ({reason_of(error)}); fetch the file again or leave it out") from error
