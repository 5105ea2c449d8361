"""The folder of a generated data set: whose it is, and what happens where it cannot be written."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from asgmcli.errors import DataError, UsageError
from asgmcli.synthetic import demo
from asgmcli.synthetic.making import beside, claim


def test_a_folder_is_claimed_for_settings_and_other_ones_replace_only_what_was_made(tmp_path: Path) -> None:
    out, clip = tmp_path / "set", tmp_path / "set/clips/train.mp4"
    outputs = ("summary.json", "clips")
    assert not claim(out, {"seed": 0}, outputs, [clip], overwrite=False)
    clip.parent.mkdir()
    clip.write_text("a clip")
    assert not claim(out, {"seed": 0}, outputs, [clip], overwrite=False)  # begun, not done
    (out / "summary.json").write_text("{}")
    assert claim(out, {"seed": 0}, outputs, [clip], overwrite=False)
    with pytest.raises(UsageError, match=r"seed 0 there, 1 now.*--overwrite"):
        claim(out, {"seed": 1}, outputs, [clip], overwrite=False)
    assert clip.exists()
    (out / "notes.txt").write_text("mine")
    assert not claim(out, {"seed": 1}, outputs, [clip], overwrite=True)
    assert sorted(path.name for path in out.iterdir()) == ["notes.txt", "settings.json"]


def test_a_folder_with_another_data_set_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("id\n")
    with pytest.raises(UsageError, match="holds another data set"):
        demo.generate(tmp_path, train=1, val=0, test=0, workers=1)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.csv"]


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        demo.generate(tmp_path / "file" / "set", train=1, val=0, test=0, workers=1)


def test_work_beside_the_block_is_done_when_it_ends(tmp_path: Path) -> None:
    for workers in (None, 1, 2):
        path = tmp_path / f"made{workers}"
        with beside(partial(path.mkdir, parents=True), workers):
            if workers == 1:
                assert path.is_dir()  # before the block, in this process
        assert path.is_dir()


def test_what_work_beside_the_block_raises_is_raised(tmp_path: Path) -> None:
    for workers in (1, 2):
        with pytest.raises(FileExistsError), beside(tmp_path.mkdir, workers):
            pass


def test_a_killed_process_beside_the_block_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"was killed.*goes on where this one stopped"), beside(partial(os._exit, 1), 2):
        pass
