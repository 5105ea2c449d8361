from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from asgmcli.errors import DataError
from asgmcli.nn.state import read_checkpoint, read_metadata, write_safetensors


def test_equal_weights_are_equal_bytes_however_often_they_are_written(tmp_path: Path) -> None:
    """The library orders metadata anew at every write: of 6! orders ten writes would hardly meet one alone."""
    tensors = {"b": torch.arange(3.0), "a": torch.ones(2, dtype=torch.int64)}
    metadata = {key: f"value of {key}" for key in "feadcb"} | {"odd": 'é ☃ 😀 "\\/\x00\x1f\x7f\n\t\b\f\u2028'}
    for number in range(10):
        shuffled = dict(sorted(metadata.items(), key=lambda item: hash((item[0], number))))
        write_safetensors(tmp_path / f"{number}.safetensors", tensors, shuffled)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1
    path = tmp_path / "0.safetensors"
    assert read_metadata(path) == metadata
    assert all(torch.equal(load_file(path)[name], value) for name, value in tensors.items())
    with safe_open(path, framework="pt") as file:
        assert sorted(file.keys()) == ["a", "b"]


def test_weights_without_metadata_can_be_written_and_read(tmp_path: Path) -> None:
    path = write_safetensors(tmp_path / "plain.safetensors", {"a": torch.ones(2)}, {})
    assert read_metadata(path) == {}
    assert torch.equal(load_file(path)["a"], torch.ones(2))


def test_files_of_anything_are_refused_in_words(tmp_path: Path) -> None:
    """torch's reader raises an error of nearly every class: texts spell pickles."""
    rng = random.Random(0)
    made = [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 40))) for _ in range(300)]
    for content in (b"hello", b"a", b"<html>", b"id,path\n", *made):
        path = tmp_path / "x.pt"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"weight|tensors"):
            read_checkpoint(path)
