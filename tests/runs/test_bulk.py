"""A network asked about many clips: in order, several at once, and whatever a clip does to its process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from asgmcli.errors import DataError, MediaError
from asgmcli.prepare.single import MediaFile
from asgmcli.runs import bulk
from asgmcli.runs.bulk import Asked, Bulk, Piece
from asgmcli.train.task import Prediction


@dataclass(frozen=True)
class Speller:
    """Answers with a clip's name; one is broken, one ends the process."""

    asked: list[int]

    @property
    def columns(self) -> tuple[str, ...]:
        return ("name",)

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        if path.stem == "broken":
            raise MediaError(f"{path}: broken")
        if path.stem == "none":
            raise DataError("its weights are gone")
        if path.stem == "killer":
            os._exit(9)
        return Prediction(path.stem, [[path.stem]], {"name": path.stem, "threads": torch.get_num_threads()})


class Together(Speller):
    together = 3

    def predict_many(self, clips: Sequence[tuple[Path, Path | None]]) -> list[Prediction | MediaError]:
        self.asked.append(len(clips))
        return [self.predict(path) if path.stem != "broken" else MediaError("broken") for path, _ in clips]


def clips(*names: str) -> list[MediaFile]:
    return [MediaFile(Path(f"{name}.mp4")) for name in names]


def test_clips_are_taken_as_they_are_needed_and_answered_together() -> None:
    speller, taken = Together([]), []

    def named() -> Iterator[MediaFile]:
        for clip in clips("a", "b", "broken", "c", "d"):
            taken.append(clip)
            yield clip

    told = Bulk(Asked(Path()), 0, 2, whole=True).ask(named(), speller)  # type: ignore[arg-type]
    assert (next(told).answer, len(taken)) == ("a", 2)
    rest = list(told)
    assert [one.answer or one.error for one in rest] == ["b", "broken", "c", "d"]
    assert speller.asked == [2, 2, 1]
    list(Bulk(Asked(Path()), 0).ask(clips(*"abcd"), speller))  # type: ignore[arg-type]
    assert speller.asked[3:] == [3, 1], "not as many as the network says"


def test_what_is_no_clip_s_fault_ends_the_work() -> None:
    with pytest.raises(DataError, match="its weights are gone"):
        list(Bulk(Asked(Path()), 0).ask(clips("a", "none"), Speller([])))  # type: ignore[arg-type]


def spelled(piece: Piece) -> object:
    """Stands for `answer_piece` in a process, where nothing that a test has changed is known."""
    return bulk.told_by(Speller([]), piece)  # type: ignore[arg-type]


@pytest.mark.long
def test_a_clip_that_ends_its_process_is_named_and_its_neighbours_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "answer_piece", spelled)
    found = list(Bulk(Asked(Path()), 1, 4, limit_s=60.0).ask(clips("a", "killer", "b", "broken", "c")))
    assert [one.data.get("name", one.lasting) for one in found] == ["a", False, "b", True, "c"]
    assert "killer.mp4: the process reading it died (exit code 9)" in found[1].error
