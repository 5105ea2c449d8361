"""Pickled log-mels: AVSBench's are read, hostile ones are refused unrun."""

from __future__ import annotations

import pickle
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.data.pickled import BadLogMel, RefusedPickle, read_logmel
from asgmcli.errors import DataError
from tests.avs_golden import golden


def written(folder: Path, name: str, content: bytes) -> Path:
    (folder / name).write_bytes(content)
    return folder / name


def test_avsbenchs_own_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, "good.pkl", golden("files")["pickle"].tobytes())
    found = read_logmel(path)
    assert found.dtype == torch.float32
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), golden("files")["pickle_values"])


def test_a_hostile_one_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = written(tmp_path, "bad.pkl", golden("files")["pickle_bad"].tobytes())
    with pytest.raises(RefusedPickle, match="system"):
        read_logmel(path)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.pkl"]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (torch.zeros(4, 1, 96, 64), r"\[4, 1, 96, 64\]"),
        (torch.full((5, 1, 96, 64), float("nan")), "not finite"),
    ],
)
def test_other_tensors_are_told(tmp_path: Path, value: torch.Tensor, said: str) -> None:
    path = tmp_path / "other.pkl"
    with path.open("wb") as file:
        pickle.dump(value, file)
    with pytest.raises(BadLogMel, match=said):
        read_logmel(path)


def test_what_is_no_pickle_and_what_is_not_there(tmp_path: Path) -> None:
    for content in (b"", b"no pickle", golden("files")["pickle"].tobytes()[:500]):
        with pytest.raises(BadLogMel, match=r"broken.pkl"):
            read_logmel(written(tmp_path, "broken.pkl", content))
    with pytest.raises(DataError, match="no such"):
        read_logmel(tmp_path / "none.pkl")
