"""A verdict in words: what the figures of two networks on the same clips allow to say."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

import pytest

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.report.table import Table
from asgmcli.runs import verdict
from asgmcli.runs.verdict import exchanged, helped, large_enough, quality_of, used


def row(number: int, label: str, split: str = "test") -> ManifestRow:
    name = f"{label}{number}.mp4"
    return ManifestRow(f"{label}{number}", name, label, split, 1.0 + number, 25.0, 25, 64, 48, name, "")


@pytest.fixture
def manifest() -> Manifest:
    rows = [row(number, label) for label in "abc" for number in range(3)]
    return Manifest(Path("x"), [*rows, row(9, "a", "train")], ["a", "b", "c"], Path("x/manifest.csv"), "")


def test_the_quality_of_a_clip_is_read_off_the_lines_of_any_task() -> None:
    named = Table("", ["id", "label", "predicted", "confidence"], [["x", "a", "a", 0.4], ["y", "a", "b", 0.9]])
    assert quality_of(named) == {"x": 100.0, "y": 0.0}
    seconds = Table(
        "", ["id", "second", "event", "predicted", "probability"], [["x", 0, "a", "a", 1], ["x", 1, "a", "b", 1]]
    )
    assert quality_of(seconds) == {"x": 50.0}
    assert quality_of(Table("", ["id", "iou"], [["x", 61.5]])) == {"x": 61.5}
    assert quality_of(Table("", ["id", "start", "end"], [["x", 0.0, 1.0]])) == {}


def test_sound_and_picture_are_exchanged_between_classes(manifest: Manifest) -> None:
    before = {clip.id: clip for clip in manifest.rows}
    for what in ("sound", "picture"):
        mixed = exchanged(manifest, "test", what).rows
        assert sorted(clip.id for clip in mixed) == sorted(before)
        assert sorted(clip.audio if what == "sound" else clip.path for clip in mixed) == sorted(
            clip.path for clip in manifest.rows
        )
        for clip in mixed:
            kept = clip.path if what == "sound" else clip.audio
            other = clip.audio if what == "sound" else clip.path
            assert (clip.label, kept) == (before[clip.id].label, before[clip.id].path)
            assert clip.split == "train" or other[0] != clip.label
            assert what == "sound" or clip.duration == 1.0 + int(Path(other).stem[1:])


@pytest.mark.parametrize(
    ("own", "without", "said"),
    [
        ([100.0] * 9 + [0.0], [0.0] * 10, "Yes, the start helped: +90.0 points [+67.4, +112.6] over 10 clips"),
        ([0.0] * 10, [100.0] * 9 + [0.0], "No, the start harmed: -90.0"),
        ([100.0, 0.0, 0.0, 100.0], [0.0, 100.0, 0.0, 100.0], "That the start helped cannot be told: +0.0"),
    ],
)
def test_a_difference_is_said_as_its_interval_allows(own: list[float], without: list[float], said: str) -> None:
    found = helped(dict(zip("abcdefghij", own)), dict(zip("abcdefghij", without)), "the start")  # noqa: B905
    assert found is not None
    assert found.answer.startswith(said)
    assert found.answer.endswith("The interval is over clips, of one seed: another may differ by more.")
    assert helped({}, {"a": 1.0}, "the start") is None


def test_a_test_that_is_too_small_is_called_so() -> None:
    small = {str(number): 100.0 * (number % 2) for number in range(20)}
    found = large_enough(small, [])
    assert found is not None
    assert found.answer.startswith("No, it is small. 20 clips: 50.0 is known to ±22.5;")
    large = {str(number): 100.0 * (number % 2) for number in range(20_000)}
    assert str(large_enough(large, [])).count("Yes.") == 1
    assert large_enough({"a": 1.0}, []) is None


def test_a_few_clips_that_agree_prove_nothing() -> None:
    """Of five clips or fewer a coin, too, gives the same side five times in one of 16."""
    right = {str(number): 100.0 for number in range(5)}
    wrong = dict.fromkeys(right, 0.0)
    found = helped(right, wrong, "the start")
    assert found is not None
    assert found.answer.startswith("That the start helped cannot be told: +100.0")
    found = helped(right | {"5": 100.0}, wrong | {"5": 0.0}, "the start")
    assert found is not None
    assert found.answer.startswith("Yes, the start helped: +100.0")
    size = large_enough(right, [right])
    assert size is not None
    assert size.answer.startswith("No, it is small. 5 clips: 100.0 is known to ±60.0;")
    assert size.answer.endswith("from about 100.0 points on.")
    one = helped({"a": 100.0}, {"a": 0.0}, "the start")
    assert one is not None
    assert one.answer == "That the start helped cannot be told: +100.0 points over 1 clips, paired."
    assert json.dumps(one.data(), allow_nan=False)


@pytest.mark.parametrize(
    ("clips", "said"), [(9, "Whether the sound is used cannot be told."), (90, "The sound is hardly")]
)
def test_that_nothing_changed_tells_little_of_few_clips(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, clips: int, said: str
) -> None:
    own = {str(number): 100.0 for number in range(clips)}
    monkeypatch.setattr(verdict, "examined", lambda *_: own)
    trained = SimpleNamespace(data=SimpleNamespace(eval_split="test"))
    found = used(trained, manifest, own, "sound")  # type: ignore[arg-type]
    assert found is not None
    assert found.answer.startswith(said)


@pytest.mark.parametrize(
    ("cost", "clips", "said"),
    [
        (50.0, 9, "Yes, the sound is used. Exchanged between clips it costs +50.0 points"),
        (-50.0, 9, "No, the sound misleads. Exchanged between clips it costs -50.0 points"),
        (0.0, 9, "The sound is hardly used. Exchanged between clips it costs +0.0 points"),
        (20.0, 2, "Whether the sound is used cannot be told. Exchanged between clips it costs +20.0 points"),
    ],
)
def test_what_exchanging_costs_tells_whether_a_part_is_used(
    manifest: Manifest, monkeypatch: pytest.MonkeyPatch, cost: float, clips: int, said: str
) -> None:
    ids = [clip.id for clip in manifest.of_split("test")][:clips]
    noise = {name: (place % 2) * (0.5 if clips > 2 else 60.0) for place, name in enumerate(ids)}
    shift = fmean(noise.values())
    monkeypatch.setattr(verdict, "examined", lambda *_: dict.fromkeys(ids, 50.0 - cost + shift))
    trained = SimpleNamespace(data=SimpleNamespace(eval_split="test"))
    found = used(trained, manifest, {name: 50.0 + noise[name] for name in ids}, "sound")  # type: ignore[arg-type]
    assert found is not None
    assert found.answer.startswith(said)
    assert f"over {clips} clips, paired." in found.answer
