"""Sound on the pictures' clock, sample by sample, and its log-mel image."""

from __future__ import annotations

import math
import shutil
import subprocess
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from asgmcli.errors import MediaError
from asgmcli.media.audio import log_mel, read_audio
from asgmcli.media.write import write_clip
from tests.media import media_files as mf

RATE = 16_000
NO_PNS = {"aac_pns": "0"}  # without invented noise, which no two decodings share
needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="the ffmpeg command is not installed")
needs_clips = pytest.mark.skipif(not mf.SHARED_CLIPS.is_dir(), reason="the shared real clips are not here")

SOUNDS = {
    "aac44.mp4": {"sound_rate": 44_100, "sound_options": NO_PNS},
    "aac48.mkv": {"sound_rate": 48_000, "sound_options": NO_PNS},
    "opus.mkv": {"sound_rate": 48_000, "sound_codec": "libopus", "sound_format": "flt"},
    "mp3.avi": {"sound_rate": 44_100, "sound_codec": "libmp3lame"},
    "mp3.mp4": {"sound_rate": 22_050, "sound_codec": "libmp3lame"},
    "pcm.mov": {"sound_rate": 32_000, "sound_codec": "pcm_s16le", "sound_format": "s16"},
    "pcm8.wav": {"sound_rate": 8_000, "sound_codec": "pcm_u8", "sound_format": "u8"},
    "pcm16.wav": {"sound_rate": 44_100, "sound_codec": "pcm_s16le", "sound_format": "s16"},
    "pcm32.wav": {"sound_rate": 96_000, "sound_codec": "pcm_s32le", "sound_format": "s32"},
    "float.wav": {"sound_rate": 16_000, "sound_codec": "pcm_f32le", "sound_format": "flt"},
    "odd_rate.wav": {"sound_rate": 15_999, "sound_codec": "pcm_s16le", "sound_format": "s16"},
    "lossless.flac": {"sound_rate": 48_000, "sound_codec": "flac", "sound_format": "s16"},
    "opus.ogg": {"sound_rate": 48_000, "sound_codec": "libopus", "sound_format": "flt"},
}


@pytest.fixture(scope="module", params=SOUNDS)
def clip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of known sound, with pictures where the container takes them."""
    name, settings = request.param, SOUNDS[request.param]
    path = tmp_path_factory.mktemp("sounds") / name
    picture = None if path.suffix in (".wav", ".flac", ".ogg") else mf.moving_frames(100, 32, 32)
    codec = {"codec": "mpeg4", "tag": "xvid"} if path.suffix == ".avi" else {}
    return mf.encode(path, picture, sound=mf.chirp(10.0, settings["sound_rate"]), **codec, **settings)


def expected(settings: dict[str, object]) -> np.ndarray:
    """The sound that was encoded, at 16 kHz: its spectrum cut or extended, which for band-limited sound is exact."""
    wave = mf.chirp(10.0, settings["sound_rate"])
    spectrum = np.fft.rfft(wave)
    size = round(len(wave) * RATE / settings["sound_rate"])
    bins = np.zeros(size // 2 + 1, complex)
    shared = min(len(bins), len(spectrum))
    bins[:shared] = spectrum[:shared]
    return np.fft.irfft(bins, size) * size / len(wave)


def ffmpeg_sound(path: Path, *options: str) -> np.ndarray:
    command = ["ffmpeg", "-v", "error", "-i", str(path), *options, "-vn", "-ac", "1", "-ar", str(RATE)]
    raw = subprocess.run([*command, "-f", "s16le", "-"], capture_output=True, check=True).stdout
    return np.frombuffer(raw, np.int16).astype(np.float32) / 32768


def test_every_format_and_rate_comes_back_without_lag(clip: Path) -> None:
    heard = read_audio(clip, RATE, 0.0, 10.0)
    assert (heard.shape, heard.dtype) == ((160_000,), np.float32)
    wanted = expected(SOUNDS[clip.name])
    # libmp3lame in AVI cannot say its delay of 1105 samples; there it is the file that lags
    lag = round(1105 * RATE / 44_100) if clip.name == "mp3.avi" else 0
    assert abs(mf.lag(wanted, heard) - lag) <= (1 if lag else 0)
    if not lag:
        inside = slice(1600, -1600)
        assert np.corrcoef(wanted[inside], heard[inside])[0, 1] > (0.98 if "pcm8" in clip.name else 0.99)


def test_a_span_is_the_same_samples_as_the_whole(clip: Path) -> None:
    whole = read_audio(clip)
    padded = np.concatenate([np.zeros(RATE, np.float32), whole, np.zeros(4 * RATE, np.float32)])
    for start, seconds in ((0.0, 1.0), (0.37, 2.0), (3.2101, 4.0), (5.55555, 1.3), (8.9, 3.0), (-0.75, 1.5)):
        span = read_audio(clip, RATE, start, seconds)
        assert len(span) == round(seconds * RATE)
        begin = round(start * RATE) + RATE
        np.testing.assert_allclose(span, padded[begin : begin + len(span)], atol=1e-6, err_msg=f"{start} + {seconds}")


@needs_ffmpeg
def test_the_whole_equals_ffmpegs(clip: Path) -> None:
    if clip.name == "aac48.mkv":
        pytest.skip("ffmpeg 5 plays aac's delay in Matroska; ours is compared with the sound that was encoded")
    ours, theirs = read_audio(clip), ffmpeg_sound(clip)
    shared = min(len(ours), len(theirs))
    assert abs(len(ours) - len(theirs)) <= 2
    assert mf.lag(theirs[:shared], ours[:shared]) == 0
    tolerance = 0.02 if clip.name == "odd_rate.wav" else 1e-4
    np.testing.assert_allclose(ours[:shared], theirs[:shared], atol=tolerance)


@needs_clips
@needs_ffmpeg
@pytest.mark.parametrize("name", ["llp_barking_dog.mp4", "flipping_pancake.mkv", "nasa_multistream.mp4"])
def test_real_clips_equal_ffmpeg_with_no_lag(name: str) -> None:
    path = mf.SHARED_CLIPS / name
    ours, theirs = read_audio(path), ffmpeg_sound(path)
    assert len(ours) == len(theirs)
    assert mf.lag(theirs, ours) == 0
    np.testing.assert_allclose(np.clip(ours, -1, 1), theirs, atol=1e-4)
    # in far spans aac's substituted noise may differ, nothing else
    for start in (0.5, 3.21, 7.7):
        span = read_audio(path, RATE, start, 2.0)
        begin = round(start * RATE)
        np.testing.assert_allclose(span, ours[begin : begin + 2 * RATE], atol=2e-3)


@pytest.mark.parametrize("name", ["late.mp4", "late.mkv"])
def test_late_sound_is_padded_and_early_sound_cut(tmp_path: Path, name: str) -> None:
    sound, frames = mf.chirp(2.0), mf.moving_frames(30, 32, 32)
    late = mf.encode(tmp_path / name, frames, sound=sound, sound_start=0.5, sound_options=NO_PNS)
    heard = read_audio(late, RATE, 0.0, 3.0)
    # aac writes its 1024 samples of delay before the sound; they are silence
    assert np.abs(heard[: RATE // 2 - 1100]).max() == 0
    wanted = np.concatenate([np.zeros(RATE // 2), sound, np.zeros(RATE // 2)])
    assert mf.lag(wanted, heard) == 0
    assert np.corrcoef(wanted, heard)[0, 1] > 0.99
    np.testing.assert_array_equal(read_audio(late, RATE, 1.0, 0.5), heard[RATE : RATE * 3 // 2])
    # the pictures begin at 0.7 s of the container's clock: the sound of the first 0.7 s lies before the zero
    times = (0.7 + np.arange(20) / 10).tolist()
    early = mf.encode(tmp_path / f"early_{name}", frames[:20], times=times, sound=sound, sound_options=NO_PNS)
    heard = read_audio(early, RATE, -0.7, 2.0)
    assert mf.lag(sound, heard) == 0
    np.testing.assert_array_equal(read_audio(early, RATE, 0.0, 1.3), heard[round(0.7 * RATE) :])


def test_stamps_that_jitter_do_not_move_the_samples(tmp_path: Path) -> None:
    """As in an mp4 that came from a container with milliseconds: a far span lies where the whole has it."""
    path = tmp_path / "jitter.mp4"
    sound = mf.chirp(10.0, 44_100)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("aac", rate=44_100, layout="mono", options=NO_PNS)
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 44_100, 0, Fraction(1, 44_100)
        rng = np.random.default_rng(0)
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            packet.pts = packet.dts = packet.pts + int(rng.integers(0, 44))
            output.mux(packet)
    whole = read_audio(path)
    for start in (2.5, 5.125, 8.0):
        begin = round(start * RATE)
        np.testing.assert_allclose(read_audio(path, RATE, start, 1.0), whole[begin : begin + RATE], atol=1e-6)


def test_a_hole_in_the_sound_is_silence(tmp_path: Path) -> None:
    sound = mf.chirp(4.0)
    path = tmp_path / "hole.mkv"
    with av.open(str(path), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for begin, end, at in ((0, RATE, 0.0), (RATE, 4 * RATE, 2.0)):
            block = np.round(sound[begin:end] * 32768).astype(np.int16)
            for first in range(0, len(block), 1600):
                frame = av.AudioFrame.from_ndarray(block[None, first : first + 1600], format="s16", layout="mono")
                frame.sample_rate, frame.pts = RATE, round(at * RATE) + first
                for packet in stream.encode(frame):
                    output.mux(packet)
    heard = read_audio(path, RATE, 0.0, 5.0)
    wanted = np.concatenate([sound[:RATE], np.zeros(RATE), sound[RATE:]])
    np.testing.assert_allclose(heard, wanted, atol=1e-4)


@pytest.mark.parametrize("layout", ["stereo", "5.1", "quad"])
def test_channels_are_averaged(tmp_path: Path, layout: str) -> None:
    count = {"stereo": 2, "5.1": 6, "quad": 4}[layout]
    sound = mf.chirp(1.0)
    kind = {"sound_codec": "pcm_s16le", "sound_format": "s16", "sound_layout": layout}
    path = mf.encode(tmp_path / "many.wav", None, sound=np.stack([sound] * count), **kind)
    heard = read_audio(path)
    np.testing.assert_allclose(heard / np.abs(heard).max(), sound / np.abs(sound).max(), atol=2e-3)
    if layout == "stereo":
        np.testing.assert_allclose(heard, sound, atol=1e-4)
        apart = mf.encode(tmp_path / "apart.wav", None, sound=np.stack([sound, np.zeros_like(sound)]), **kind)
        np.testing.assert_allclose(read_audio(apart), sound / 2, atol=1e-4)


def test_channels_without_names_are_read(tmp_path: Path) -> None:
    sound = np.round(mf.chirp(0.5) * 20_000).astype("<i2")
    data = np.stack([sound] * 3, axis=1).tobytes()
    head = b"fmt " + (16).to_bytes(4, "little") + np.array([1, 3], "<u2").tobytes()
    head += np.array([RATE, RATE * 6], "<u4").tobytes() + np.array([6, 16], "<u2").tobytes()
    body = b"WAVE" + head + b"data" + len(data).to_bytes(4, "little") + data
    path = tmp_path / "three.wav"
    path.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
    heard = read_audio(path)
    assert len(heard) == len(sound)
    assert np.corrcoef(heard, sound)[0, 1] > 0.999


def test_a_cache_is_the_same_sound(tmp_path: Path) -> None:
    sound = np.round(mf.chirp(3.0) * 32767).astype(np.int16)
    np.save(tmp_path / "sound.npy", sound)
    heard = read_audio(tmp_path / "sound.npy")
    np.testing.assert_array_equal(heard, sound.astype(np.float32) / 32768)
    span = read_audio(tmp_path / "sound.npy", RATE, -0.5, 1.0)
    np.testing.assert_array_equal(span, np.concatenate([np.zeros(8000, np.float32), heard[:8000]]))
    end = read_audio(tmp_path / "sound.npy", RATE, 2.75, 1.0)
    np.testing.assert_array_equal(end, np.concatenate([heard[44_000:], np.zeros(12_000, np.float32)]))
    assert not read_audio(tmp_path / "sound.npy", RATE, 9.0, 1.0).any()
    with pytest.raises(MediaError, match="16000 samples a second"):
        read_audio(tmp_path / "sound.npy", 8000)
    np.save(tmp_path / "float.npy", sound.astype(np.float32))
    with pytest.raises(MediaError, match=r"float\.npy: a sound cache is int16"):
        read_audio(tmp_path / "float.npy")
    (tmp_path / "text.npy").write_text("nothing")
    with pytest.raises(MediaError, match=r"text\.npy"):
        read_audio(tmp_path / "text.npy")
    with pytest.raises(MediaError, match=r"none\.npy"):
        read_audio(tmp_path / "none.npy")


def test_any_rate_is_given(tmp_path: Path) -> None:
    write_clip(tmp_path / "clip.mp4", mf.moving_frames(10, 32, 32), 10, mf.chirp(1.0))
    for rate in (8000, 22_050, 48_000):
        heard = read_audio(tmp_path / "clip.mp4", rate, 0.1, 0.5)
        assert len(heard) == round(0.5 * rate)
        assert mf.lag(mf.chirp(1.0, RATE)[1600:9600], read_audio(tmp_path / "clip.mp4", RATE, 0.1, 0.5)) == 0


def test_no_sound_no_file_and_wrong_numbers_are_refused(tmp_path: Path) -> None:
    silent = mf.encode(tmp_path / "silent.mp4", mf.moving_frames(3))
    with pytest.raises(MediaError, match=r"silent\.mp4: holds no sound"):
        read_audio(silent)
    with pytest.raises(MediaError, match="no such file"):
        read_audio(tmp_path / "none.wav")
    with pytest.raises(ValueError, match="rate"):
        read_audio(silent, 0)
    with pytest.raises(ValueError, match="seconds"):
        read_audio(silent, RATE, 0.0, -1.0)


def test_broken_sound_is_refused_in_the_middle(tmp_path: Path) -> None:
    path = mf.encode(tmp_path / "a.m4a", None, sound=mf.chirp(6.0), container={"movflags": "+faststart"})
    data = bytearray(path.read_bytes())
    middle = (data.index(b"mdat") + len(data)) // 2
    data[middle : middle + 3000] = b"\xff" * 3000
    path.write_bytes(bytes(data))
    with pytest.raises(MediaError, match=r"a\.m4a: broken sound"):
        read_audio(path)
    assert len(read_audio(path, RATE, 0.0, 1.0)) == RATE


def slow_log_mel(wave: np.ndarray, mels: int, length: int) -> np.ndarray:
    """Kaldi's filter bank from its definition: frames, mean off, pre-emphasis, Hann, power, mel triangles, log."""
    size, hop, bins = 400, 160, 512
    padded = np.zeros((length - 1) * hop + size)
    kept = wave[: len(padded)]
    padded[: len(kept)] = kept
    mel = lambda frequency: 1127.0 * np.log1p(frequency / 700.0)  # noqa: E731
    edges = np.linspace(mel(20.0), mel(RATE / 2), mels + 2)
    frequency = mel(np.arange(bins // 2) * RATE / bins)
    rise = (frequency - edges[:-2, None]) / np.diff(edges)[:-1, None]
    fall = (edges[2:, None] - frequency) / np.diff(edges)[1:, None]
    bank = np.maximum(0, np.minimum(rise, fall))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / (size - 1))
    rows = []
    for step in range(length):
        frame = padded[step * hop : step * hop + size]
        frame = frame - frame.mean()
        frame = frame - 0.97 * np.concatenate([frame[:1], frame[:-1]])
        power = np.abs(np.fft.rfft(frame * window, bins))[: bins // 2] ** 2
        rows.append(np.log(np.maximum(bank @ power, np.finfo(np.float32).eps)))
    return np.array(rows)


def test_log_mel_against_its_definition() -> None:
    wave = mf.chirp(1.0)
    for mels, length in ((128, 112), (64, 48)):
        image = log_mel(wave, mels=mels, length=length).numpy()
        reference = slow_log_mel(wave.astype(np.float64), mels, length)
        assert image.shape == (length, mels)
        heard = reference > -8  # below, 32-bit rounding speaks
        np.testing.assert_allclose(image[heard], reference[heard], atol=2e-3)
        assert (image[~heard] < -6).all()


def test_log_mel_length_and_silence() -> None:
    assert log_mel(mf.chirp(4.0)).shape == (400, 128)
    assert log_mel(mf.chirp(4.001)).shape == (416, 128)
    assert log_mel(np.zeros(10, np.float32)).shape == (16, 128)
    silence = math.log(np.finfo(np.float32).eps)
    assert log_mel(np.zeros(RATE, np.float32), length=96).numpy() == pytest.approx(silence, abs=1e-4)
    image = log_mel(mf.chirp(0.5), length=96).numpy()
    assert image[50:] == pytest.approx(silence, abs=1e-4)  # step 50 begins with sample 8000, the first of silence
    assert image[:49].max() > -5
    with pytest.raises(ValueError, match="multiple of 16"):
        log_mel(mf.chirp(0.5), length=100)
    with pytest.raises(ValueError, match=r"\[S\] or \[B, S\]"):
        log_mel(np.zeros((1, 2, 100), np.float32))


def test_log_mel_of_a_batch_and_of_a_tensor_is_the_same() -> None:
    import torch

    waves = np.stack([mf.chirp(1.3, seed=seed) for seed in range(4)])
    batch = log_mel(torch.from_numpy(waves))
    assert batch.shape == (4, 144, 128)
    for wave, image in zip(waves, batch, strict=True):
        torch.testing.assert_close(image, log_mel(wave), atol=1e-5, rtol=0)
    assert torch.equal(log_mel(waves), batch)
    cut = log_mel(torch.from_numpy(waves), length=64)
    torch.testing.assert_close(cut[2], log_mel(waves[2], length=64), atol=1e-5, rtol=0)


def test_log_mel_is_torchaudios_with_the_ast_settings() -> None:
    import torch

    # Where torchaudio does not load, test_mel.py holds the numbers that it computed.
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi", exc_type=(ImportError, OSError, RuntimeError))
    wave = torch.from_numpy(mf.chirp(4.0))
    reference = kaldi.fbank(
        wave[None],
        htk_compat=True,
        sample_frequency=16_000,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    )
    assert reference.shape == (398, 128)
    # As energies: of a chirp's silent bands both hold the rounding of its loud ones.
    mine, theirs = log_mel(wave)[:398].exp(), reference.exp()
    torch.testing.assert_close(mine, theirs, atol=1e-7 * float(theirs.max()), rtol=1e-5)
