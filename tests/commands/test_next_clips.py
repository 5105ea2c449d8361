"""`asgm next`: a page and a list of unlabelled clips, which `asgm prepare folder --more-labels` takes back."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgmcli.cli import main
from asgmcli.data.manifest import read_manifest


def call(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.fixture
def run(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose training clips have no label but for the first five."""
    monkeypatch.chdir(tmp_path)
    manifest = read_manifest(house / "data" / "demo")
    train = {row.id for row in manifest.of_split("train")[5:]}
    rows = [replace(row, label="") if row.id in train else row for row in manifest.rows]
    monkeypatch.setattr("asgmcli.runs.next_clips.open_manifest", lambda _: replace(manifest, rows=rows))
    return house / "runs" / "tiny" / "both" / "seed0"


def test_clips_are_listed_shown_and_taken_back(run: Path, house: Path) -> None:
    found = json.loads(call("next", run, "--count", 3, "--out", "list.csv", "--json").stdout)
    with Path("list.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == [clip["id"] for clip in found["clips"]]
    assert len({line["id"] for line in lines}) == 3
    assert all(line["label"] == "" and line["guess"] and Path(line["path"]).is_file() for line in lines)
    html = Path("list.html").read_text()
    assert html.count("<video ") == 3
    assert "asgm train CLIPS --more-labels list.csv" in html
    assert "Truth" not in html
    assert "is there already" in call("next", run, "--out", "list.csv", code=2).stderr
    clips = Path("own.csv")
    clips.write_text("path,label\n" + "".join(f"{line['path']},\n" for line in lines))
    text = Path("list.csv").read_text().replace(".mp4,,", ".mp4,new class,", 2)
    Path("list.csv").write_text(text)
    call("prepare", "folder", "--root", clips, "--out", "data/own", "--more-labels", "list.csv")
    assert sorted(row.label for row in read_manifest(Path("data/own")).rows) == ["", "new class", "new class"]


def test_without_unlabelled_clips_or_probabilities_there_is_nothing_to_choose(house: Path, run: Path) -> None:
    localizer = house / "runs" / "tiny_localizer" / "fnac" / "seed0"
    assert "do not tell a probability" in call("next", localizer, "--out", "x.csv", code=2).stderr
    shutil.copy(run / "model.safetensors", "alone.safetensors")
    assert "name the list with --out" in call("next", "alone.safetensors", code=2).stderr
    assert not Path("x.csv").exists()
    assert (
        "that is the page's name. Name the list, such as x.csv" in call("next", run, "--out", "x.html", code=2).stderr
    )


def test_a_run_with_labels_alone_has_none_next(house: Path, tmp_path: Path) -> None:
    told = call("next", house / "runs" / "tiny" / "both" / "seed0", "--out", tmp_path / "x.csv", code=3).stderr
    assert "no clip of split 'train' is unlabelled" in told
