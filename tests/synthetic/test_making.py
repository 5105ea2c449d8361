"""The folder of a generated data set: whose it is, and what happens where it cannot be written."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from asgmcli.errors import DataError, UsageError
from asgmcli.synthetic import demo, demo_segmentation
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


def note(path: Path) -> None:
    path.write_text(str(os.getpid()))


def sleep_long(path: Path) -> None:
    path.write_text("begun")
    time.sleep(60)


def test_work_beside_the_block_is_done_in_another_process_when_it_ends(tmp_path: Path) -> None:
    for workers, alone in ((0, True), (1, True), (2, False), (None, os.cpu_count() == 1)):
        path = tmp_path / f"made{workers}"
        with beside(partial(note, path), workers):
            assert path.exists() or not alone  # alone: before the block
        assert (path.read_text() == str(os.getpid())) is alone


def test_what_work_beside_the_block_raises_is_raised(tmp_path: Path) -> None:
    for workers in (1, 2):
        with pytest.raises(FileExistsError), beside(tmp_path.mkdir, workers):
            pass


def test_a_killed_process_beside_the_block_is_told() -> None:
    told = pytest.raises(DataError, match=r"was killed.*goes on where this one stopped")
    with told, beside(partial(os._exit, 1), 2):
        pass


def test_a_block_that_fails_breaks_off_the_work_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "begun"

    def fail() -> None:
        while not path.exists():
            time.sleep(0.01)
        raise ZeroDivisionError

    began = time.monotonic()
    with pytest.raises(ZeroDivisionError), beside(partial(sleep_long, path), 2):
        fail()
    assert time.monotonic() - began < 50


def test_features_of_clips_that_are_replaced_go_with_them(tmp_path: Path) -> None:
    store = tmp_path / "set/features/audio_ear.json"
    demo_segmentation.generate(tmp_path / "set", train=1, val=0, test=0, workers=1)
    store.parent.mkdir()
    store.write_text("{}")
    demo_segmentation.generate(tmp_path / "set", train=1, val=0, test=0, workers=1)
    assert store.exists()
    demo_segmentation.generate(tmp_path / "set", train=1, val=0, test=0, workers=1, overwrite=True)
    assert not store.exists()
