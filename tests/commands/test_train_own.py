"""`asgm train CLIPS`: from a folder of clips to a recipe, runs, a verdict in words, and a page."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from asgmcli.commands.train_own import Budget, name_of
from asgmcli.media.write import write_clip
from tests.calling import asgm


@pytest.fixture
def clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Class folders with six clips each, dark and low, bright and high, and four dark ones without a label."""
    monkeypatch.chdir(tmp_path)
    time = np.arange(16_000) / 16_000
    for label, shade, tone in (("dark", 40, 300), ("bright", 210, 1500), ("", 50, 360)):
        folder = tmp_path / "my clips" / label
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(6 if label else 4):
            frames = np.full((10, 48, 48, 3), shade, dtype=np.uint8)
            frames[::2, 10 + number : 20 + number, 10:20] = 255 - shade
            wave = 0.3 * np.sin(2 * np.pi * (tone + 10 * number) * time) * (np.sin(2 * np.pi * 5 * time) > 0)
            write_clip(folder / f"clip {number}.mp4", frames, 10.0, wave.astype(np.float32))
    return tmp_path / "my clips"


def test_a_name_and_a_budget_are_read_as_people_write_them() -> None:
    assert [name_of(Path(text)) for text in ("my clips", "/a/letters.csv", "-x/.hidden")] == [
        "my_clips",
        "letters",
        "hidden",
    ]
    kind = Budget()
    assert [kind.convert(text, None, None) for text in ("30m", "2h", "90s", "1.5", "1d")] == [
        1800.0,
        7200.0,
        90.0,
        90.0,
        86400.0,
    ]


def test_what_is_no_use_is_told_before_anything_is_trained(clips: Path) -> None:
    assert "is for clips of your own" in asgm("train", "demo", "--size", "tiny", code=2).stderr
    assert "neither --row" in asgm("train", clips, "--row", "own", code=2).stderr
    assert "write a time such as 30m" in asgm("train", clips, "--budget", "soon", code=2).stderr
    Path("one.csv").write_text("path,label\n" + "".join(f"my clips/dark/clip {n}.mp4,dark\n" for n in range(6)))
    assert "labelled training clips of 1 class(es)" in asgm("train", "one.csv", code=3).stderr


def test_more_labels_join_their_clips(clips: Path) -> None:
    Path("more.csv").write_text("path,label,guess,id\nmy clips/clip 1.mp4,bright,dark,clip 1.mp4\nx,,dark,clip 2.mp4\n")
    asgm("prepare", "folder", "--root", clips, "--out", "data/mine", "--more-labels", "more.csv")
    with Path("data/mine/manifest.csv").open(newline="") as file:
        labels = {row["id"]: (row["label"], row["split"]) for row in csv.DictReader(file)}
    assert labels["clip 1.mp4"] == ("bright", "train")
    assert labels["clip 2.mp4"] == ("", "train")
    Path("more.csv").write_text("id,label\ndark/clip 0.mp4,bright\n")
    told = asgm("prepare", "folder", "--root", clips, "--out", "data/x", "--more-labels", "more.csv", code=3).stderr
    assert "line 2: dark/clip 0.mp4 has the label dark already, not bright" in told


@pytest.mark.long
def test_a_folder_of_clips_is_trained_on_judged_and_reported(clips: Path) -> None:
    said = asgm("train", clips, "--start", "none", "--dry-run").stderr.splitlines()
    begin = next(number for number, line in enumerate(said) if line.startswith("Found: "))
    end = next(number for number, line in enumerate(said) if line.startswith("Recipe: "))
    assert " of 2 classes " in said[begin]
    assert "and 4 without a label" in said[begin]
    assert end - begin < 15
    for more in ((), ("--dry-run",)):
        assert "is there already. Say --resume" in asgm("train", clips, *more, code=2).stderr
    recipe = Path("runs/my_clips/recipe.yaml")
    values = yaml.safe_load(recipe.read_text())
    values["train"] |= {"epochs": 3, "supervised_epochs": 1}
    recipe.write_text(yaml.safe_dump(values))
    found = json.loads(asgm("train", clips, "--resume", "--jobs", 1, "--json").stdout)
    questions = [entry["question"] for entry in found["verdict"]]
    assert questions == [
        "Did the unlabelled clips help?",
        "Is the sound used?",
        "Is the picture used?",
        "Does the mask follow the source?",
        "Is the test large enough?",
    ]
    page = Path(found["report"]).read_text()
    assert "Verdict" in page
    assert all(question in page for question in questions)
    again = json.loads(asgm("train", clips, "--resume", "--json").stdout)
    assert again["verdict"] == found["verdict"]
    assert "Run:" in asgm("train", recipe, "--row", "labels_alone", "--resume").stderr
