"""`asgm bench predict`: the same clips one by one and together, and what cores make of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from asgmcli.bench import predict
from asgmcli.errors import DataError, MediaError
from asgmcli.prepare.single import MediaFile
from asgmcli.report.timing import Timing
from asgmcli.train.task import Prediction


@dataclass
class Network:
    columns: tuple[str, ...] = ("name",)
    asked: list[list[str]] = field(default_factory=list)
    together: int = 5

    def predict(self, path: Path, audio: Path | None = None) -> Prediction:
        raise NotImplementedError

    def predict_many(self, clips: Sequence[tuple[Path, Path | None]]) -> list[Prediction | MediaError]:
        self.asked.append([path.stem for path, _ in clips])
        broken = MediaError("it is broken")
        return [broken if path.stem == "broken" else Prediction(path.stem, [[path.stem]], {}) for path, _ in clips]


def test_each_round_asks_about_the_same_clips_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()
    monkeypatch.setattr(predict, "trained_of", lambda _: (network, None))
    clips = [MediaFile(Path(f"{number}.mp4")) for number in range(15)]
    timings = predict.measure(Path("run"), "cpu", clips, 2)
    assert [one.name for one in timings] == ["one by one", "5 at once"]
    assert [len(one.milliseconds) for one in timings] == [2, 2]
    rounds = [network.asked[first : first + 6] for first in range(0, len(network.asked), 6)]
    assert len(rounds) == 3
    for apart in rounds:
        assert [name for (name,) in apart[:5]] == apart[5]
    assert rounds[1][5] != rounds[2][5]
    with pytest.raises(DataError, match="it is broken"):
        predict.measure(Path("run"), "cpu", [MediaFile(Path("broken.mp4"))], 1)


def test_the_table_by_hand() -> None:
    found = predict.table([Timing("one by one", [8.0, 9.0, 10.0]), Timing("8 at once", [6.0])], 2)
    assert [row[1:] for row in found.rows] == [
        [9.0, pytest.approx(1000 / 9), 1.0],
        [6.0, pytest.approx(1000 / 6), pytest.approx(1.5)],
        [6.0, pytest.approx(2000 / 6), pytest.approx(3.0)],
    ]
