"""What ranks tell each other beside their numbers: notes of their ends, signs of life, counts over all of them."""

from __future__ import annotations

import io
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import pytest
import torch
from rich.console import Console

from asgmcli.commands.train import _train_all
from asgmcli.errors import DataError, Interrupted
from asgmcli.ranks import exchange as distributed
from asgmcli.ranks.exchange import Ranks
from asgmcli.ranks.launch import WATCHED, Launch
from asgmcli.runs.on_demo import RecipeFile
from asgmcli.runs.session import Session
from asgmcli.train import loop
from tests.tiny_training import tiny, trainer_of, write_recipe


@pytest.fixture
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Ranks]]:
    """Two ranks of one process, with notes but without exchanges."""
    monkeypatch.setattr(distributed, "PARTING_S", 0.0)
    monkeypatch.delenv(WATCHED, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    store = torch.distributed.HashStore()
    yield [Ranks(Launch(rank, 2, rank), store) for rank in range(2)]
    signal.signal(signal.SIGTERM, before)  # a rank that ends by an error leaves it ignored


def test_those_that_wait_for_a_first_rank_that_has_ended_end_with_its_code(pair: list[Ranks]) -> None:
    first, other = pair
    first.by_first(lambda: 7)
    with pytest.raises(DataError, match="gone"), first:
        raise DataError("this rank's disk is gone")
    assert other.by_first(lambda: 0) == 7  # it had answered before it ended
    with pytest.raises(click.exceptions.Exit) as ended:
        other.by_first(lambda: 0)
    assert ended.value.exit_code == 3


def test_a_rank_that_is_stopped_since_another_has_ended_says_nothing(pair: list[Ranks]) -> None:
    first, other = pair
    with pytest.raises(KeyError), first:
        raise KeyError("a mistake in the program")
    with pytest.raises(click.exceptions.Exit) as ended, other:
        raise KeyboardInterrupt
    assert ended.value.exit_code == 1


@pytest.mark.parametrize("alive", [True, False])
def test_a_first_rank_is_waited_for_as_long_as_it_gives_signs(
    pair: list[Ranks], monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """By a clock that goes on by 100 s at every look; the answer takes it 2000 s."""
    first, other = pair
    clock = [0.0]

    def sleep(_: float) -> None:
        clock[0] += 100
        if alive:
            other._store.add(distributed._SIGNS, 1)
        if clock[0] == 2000:
            first.by_first(lambda: 7)

    monkeypatch.setattr(distributed, "time", SimpleNamespace(monotonic=lambda: clock[0], sleep=sleep))
    if alive:
        assert other.by_first(lambda: 0) == 7
        return
    with pytest.raises(Interrupted, match=r"Another rank is gone .*the first gave no sign for 300 s"):
        other.by_first(lambda: 0)
    assert clock[0] < 2000


def test_a_first_rank_gives_signs_until_it_leaves(pair: list[Ranks], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranks, "agree", lambda self: [])
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: None)
    monkeypatch.setattr(distributed, "SIGN_S", 0.01)
    first, other = pair
    with first:
        while other._store.add(distributed._SIGNS, 0) < 3:
            time.sleep(0.01)
        assert not first._left.is_set()
    assert first._left.is_set()


def test_ranks_part_once_the_first_has_done_its_own_work(pair: list[Ranks], monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = pair
    parted: list[int] = []
    waiting = threading.Event()
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=lambda _: waiting.set())
    monkeypatch.setattr(distributed, "time", clock)
    monkeypatch.setattr(Ranks, "agree", lambda self: parted.append(self.rank))
    monkeypatch.setattr(distributed.dist, "destroy_process_group", lambda: None)

    def leave() -> None:
        with other:
            pass

    thread = threading.Thread(target=leave)
    with first:
        thread.start()
        assert waiting.wait(60)
        assert parted == []
    thread.join(60)
    assert sorted(parted) == [0, 1]


def test_clips_that_cannot_be_decoded_count_over_all_ranks(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(tiny(tmp_path, demo, data__max_failures=2), tmp_path / "runs")
    trainer.ranks = Ranks(Launch(0, 2, 0))
    others = ["b.mp4: no video"]
    monkeypatch.setattr(trainer.ranks, "agree", lambda *numbers: list(numbers))
    monkeypatch.setattr(loop, "joined", lambda streams: [*streams[0], *others])
    found = {"labeled": {"failures": ["a.mp4: no video"]}, "unlabeled": None}
    for _ in range(2):  # a clip that fails in every epoch is one clip
        trainer._note_failures(found)
    assert trainer.failures == ["a.mp4: no video", "b.mp4: no video"]
    others.append("c.mp4: no video")
    with pytest.raises(DataError, match=r"3 clips could not be decoded, more than data.max_failures \(2\)"):
        trainer._note_failures(found)


@pytest.mark.parametrize("several", [False, True])
def test_an_error_of_several_ranks_is_not_kept_waiting_by_the_table(
    demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise DataError("this rank's disk is gone")

    shown: list[Any] = []
    monkeypatch.setattr("asgmcli.commands.train._show_table", lambda *given: shown.append(given) or {})
    monkeypatch.setattr("asgmcli.runs.sweep.run_jobs", fail)
    file = RecipeFile(write_recipe(tmp_path, demo))
    ranks = Ranks(Launch(0, 2, 0)) if several else Ranks()
    session = Session(tmp_path / "runs", tmp_path, torch.device("cpu"), Console(file=io.StringIO()), ranks)
    monkeypatch.setattr(Session, "run", fail)
    with pytest.raises(DataError):
        _train_all(session, file, (), [file.load()], None, False)
    assert len(shown) == (0 if several else 1)
