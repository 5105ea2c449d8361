"""infer.py beside an exported network: torch's answers on clips, in a process that has no torch."""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import asgmcli
from asgmcli.data.augment import crops
from asgmcli.media.audio import read_audio
from asgmcli.media.video import decode_video
from asgmcli.tasks.recognition import infer
from tests.commands.test_export import run, write_weights
from tests.media.media_files import chirp, encode, moving_frames

pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
REAL = Path(__file__).parents[4] / "shared" / "clips"
HIDDEN = ("torch", "torchvision", "torchaudio", "asgmcli", "timm")


def clips(folder: Path) -> list[Path]:
    """Clips whose sound is stereo, late, or not there; one turned, one shorter than what is seen of it."""
    stereo = np.stack([chirp(4.0, 44_100), chirp(4.0, 44_100, seed=1)])
    encode(folder / "stereo.mp4", moving_frames(40), sound=stereo, sound_rate=44_100, sound_layout="stereo")
    late = chirp(2.0, 22_050)
    encode(folder / "late.mp4", moving_frames(30, 80, 60), sound=late, sound_rate=22_050, sound_start=0.3, rotation=90)
    encode(folder / "short.mp4", moving_frames(3, 50, 90))
    found = [folder / name for name in ("stereo.mp4", "late.mp4", "short.mp4")]
    return found + (sorted(REAL.glob("*.m[pk][4v]")) if REAL.exists() else [])


@pytest.mark.long
@pytest.mark.parametrize("inside", [False, True])
def test_it_answers_as_torch_does_where_there_is_no_torch(tmp_path: Path, inside: bool) -> None:
    weights = write_weights(tmp_path, "full", audio__inside=inside)
    assert run(weights).exit_code == 0
    (tmp_path / "hidden").mkdir()
    for name in HIDDEN:
        (tmp_path / "hidden" / f"{name}.py").write_text("raise ImportError('hidden')")
    names = clips(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "hidden")}
    for name in HIDDEN:
        hidden = [sys.executable, "-c", f"import {name}"]
        assert subprocess.run(hidden, env=environment, cwd=tmp_path, check=False).returncode == 1
    command = [sys.executable, "infer.py", "model.onnx", *map(str, names)]
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    network = asgmcli.load(weights, device="cpu")
    answers = [dict(network.predict(path)) for path in names]
    for path, answer in zip(names, answers, strict=True):
        assert list(found[str(path)]) == list(answer), path
        for name, probability in found[str(path)].items():
            assert probability == pytest.approx(answer[name], abs=1e-4), (path, name)
    spread = np.array([[answer[name] for name in answers[0]] for answer in answers]).std(axis=0).max()
    assert spread > 1e-3  # the clips' answers differ, so that the comparison says something


def test_frames_sound_and_resizing_are_those_of_training(tmp_path: Path) -> None:
    for path in clips(tmp_path)[:3]:
        frames, rate = infer.see(str(path), 60)
        expected, _ = decode_video(path, short_side=60)
        assert rate == pytest.approx(10.0)
        assert np.array_equal(np.stack(frames), expected)
        heard = infer.hear(str(path), 16_000)
        assert np.array_equal(heard, [] if path.name == "short.mp4" else read_audio(path, 16_000))
    clip = np.random.default_rng(0).integers(0, 256, (2, 57, 83, 3), dtype=np.uint8)
    for size in (24, 57, 112):
        width = max(round(83 * (size / 57)), size)
        found = infer.resize(infer.resize(clip, 2, width), 1, size).transpose(0, 3, 1, 2)
        left = round((width - size) * 0.5)
        expected = crops(torch.from_numpy(clip), size, 1)[0].numpy()
        difference = np.abs(found[..., left : left + size].astype(int) - expected)
        assert difference.max() <= 1  # none where torch has whole-number kernels for the processor
        assert (difference > 0).mean() < 0.01


def test_it_is_short_and_needs_three_packages() -> None:
    text = inspect.getsource(infer)
    assert len(text.splitlines()) < 100
    imported = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imported == {"json", "math", "sys", "contextlib", "typing", "av", "numpy", "onnxruntime"}
