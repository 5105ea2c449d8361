"""The mel bank is torchaudio's, and the same where torchaudio does not load."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.media import mel
from asgmcli.media.audio import log_mel

GOLDEN = Path(__file__).parents[1] / "golden" / "mel_banks.npz"
LINKER = "libtorchaudio.so: undefined symbol: torch_exception_get_what_without_backtrace"


def test_triangles_are_those_that_torchaudio_computed() -> None:
    """Of torchaudio 2.11.1: get_mel_banks(mels, size, rate, 20, 0, 100, -500, 1)."""
    with np.load(GOLDEN) as golden:
        assert set(golden) == {"128_512_16000", "16_512_16000", "40_1024_22050", "23_256_8000"}
        for name, bank in golden.items():
            mels, size, rate = map(int, name.split("_"))
            found = mel.triangles(mels, size, rate)
            assert found.shape == (mels, size // 2)
            # The mel of a frequency is a float32 near 1000, its rounding divided by a band's width near 20.
            np.testing.assert_allclose(found, bank, atol=2e-5, rtol=0, err_msg=name)


def test_triangles_by_hand() -> None:
    """One band from 20 Hz to 8000: its peak is in the middle, in mel; four frequencies of a transform of 8 samples."""
    bank = mel.triangles(1, 8, 16_000)
    mels = [1127 * np.log(1 + hertz / 700) for hertz in (20, 2000, 4000, 6000, 8000)]
    middle = (mels[0] + mels[4]) / 2
    assert mels[0] < middle < mels[1]
    expected = [0.0, *((mels[4] - other) / (mels[4] - middle) for other in mels[1:4])]
    assert bank[0].tolist() == pytest.approx(expected, abs=1e-5)


def test_triangles_are_torchaudios_bit_for_bit_where_it_loads() -> None:
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi", exc_type=(ImportError, OSError, RuntimeError))
    for mels, size, rate in ((128, 512, 16_000), (64, 512, 16_000), (80, 2048, 44_100)):
        bank, _ = kaldi.get_mel_banks(mels, size, float(rate), 20.0, 0.0, 100.0, -500.0, 1.0)
        assert torch.equal(mel.triangles(mels, size, rate), bank)


@pytest.mark.parametrize("error", ["OSError", "ImportError", "RuntimeError"])
def test_sound_is_heard_where_torchaudio_does_not_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    wave = np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    before = log_mel(wave)
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(f"raise {error}({LINKER!r})\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    mel.mel_bank.cache_clear()
    try:
        assert torch.equal(log_mel(wave), before)
        assert "torchaudio" not in sys.modules
    finally:
        mel.mel_bank.cache_clear()
