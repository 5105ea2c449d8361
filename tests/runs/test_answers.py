"""The file of a bulk prediction: it goes on after a kill, and shards are joined in the order of the clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from asgmcli.errors import DataError, UsageError
from asgmcli.prepare.single import MediaFile
from asgmcli.runs.answers import Answers, Form, key_of, part_of, parts_of, write_out
from asgmcli.runs.bulk import Told

FORM = Form(("label", "probability"), 1, lines=False)
LINES = Form(("label", "probability"), None, lines=True)
ABOUT = {"network": "abc", "top": 1}


@pytest.fixture
def clips(tmp_path: Path) -> list[MediaFile]:
    for number in range(5):
        (tmp_path / f"{number}.mp4").write_text(str(number))
    return [MediaFile(tmp_path / f"{number}.mp4") for number in range(5)]


def told(clip: MediaFile) -> Told:
    name = clip.path.stem
    if name == "3":
        return Told(clip, error=f"{clip.path}: broken")
    return Told(clip, [[f"class {name}", 0.75], ["other", 0.25]], {"best": f"class {name}"})


def answer(out: Path, clips: list[MediaFile], form: Form = FORM, shard: tuple[int, int] = (1, 1)) -> Path:
    part = part_of(out, shard)
    with Answers(part, ABOUT, form) as answers:
        for clip in clips[shard[0] - 1 :: shard[1]]:
            if key_of(clip) not in answers.known:
                answers.add(told(clip), key_of(clip))
    return part


def test_what_a_killed_run_answered_is_kept_and_its_torn_line_dropped(tmp_path: Path, clips: list[MediaFile]) -> None:
    out = tmp_path / "out.csv"
    part = answer(out, clips[:2])
    whole = part.read_bytes()
    part.write_bytes(whole + b'{"key": "half')
    with Answers(part, ABOUT, FORM) as answers:
        assert answers.known == {key_of(clip) for clip in clips[:2]}
        assert answers.resumed
    assert part.read_bytes() == whole
    clips[1].path.write_text("changed")
    assert key_of(clips[1]) not in answers.known
    answer(out, clips)
    failed = write_out(out, clips, [part], FORM)
    assert failed == [f"{clips[3].path}: broken"]
    assert out.read_text().splitlines() == [
        "path,label,probability",
        *(f"{clips[number].path},class {number},0.75" for number in (0, 1, 2, 4)),
    ]
    assert not part.exists()


def test_a_clip_whose_process_died_is_asked_again_a_broken_one_is_not(tmp_path: Path, clips: list[MediaFile]) -> None:
    part = part_of(tmp_path / "out.csv", (1, 1))
    with Answers(part, ABOUT, FORM) as answers:
        answers.add(Told(clips[0], error="the process reading it died", lasting=False), key_of(clips[0]))
        answers.add(told(clips[3]), key_of(clips[3]))
    with Answers(part, ABOUT, FORM) as answers:
        assert answers.known == {key_of(clips[3])}
        assert answers.failed == [f"{clips[3].path}: broken"]
    assert len(part.read_text().splitlines()) == 2


def test_shards_are_joined_in_the_order_of_the_clips(tmp_path: Path, clips: list[MediaFile]) -> None:
    out = tmp_path / "out.jsonl"
    answer(out, clips, LINES, (2, 2))
    with pytest.raises(DataError, match=r"missing of 2: 1\. Give --shard 1/2 first"):
        parts_of(out)
    answer(out, clips[:3], LINES, (1, 2))
    with pytest.raises(DataError, match=r"4\.mp4 was not answered yet"):
        write_out(out, clips, parts_of(out), LINES)
    answer(out, clips, LINES, (1, 2))
    write_out(out, clips, parts_of(out), LINES)
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert [entry["path"] for entry in found] == [str(clip.path) for clip in clips]
    assert found[0] == {"path": str(clips[0].path), "best": "class 0"}
    assert found[3] == {"path": str(clips[3].path), "error": f"{clips[3].path}: broken"}
    assert sorted(path.name for path in tmp_path.iterdir()) == [*(f"{number}.mp4" for number in range(5)), "out.jsonl"]


def test_a_part_of_another_network_is_refused(tmp_path: Path, clips: list[MediaFile]) -> None:
    part = answer(tmp_path / "out.csv", clips)
    with pytest.raises(UsageError, match="network was abc, now xyz"), Answers(part, {**ABOUT, "network": "xyz"}, FORM):
        pass
    with Answers(part, {**ABOUT, "network": "xyz"}, FORM, overwrite=True) as answers:
        assert not answers.known
