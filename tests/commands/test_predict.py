"""`asgm predict`: a recognizer and a localizer asked about clips, folders and manifests."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgmcli import load
from asgmcli.commands.predict import command, names_of
from asgmcli.prepare.single import MediaFile


@pytest.fixture
def clips(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two clips of the demo and a file that is no video; the current folder is above it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "clips" / "inner"
    folder.mkdir(parents=True)
    for number in (0, 1):
        shutil.copy(house / "data" / "demo" / "clips" / "test" / f"test_{number:05d}.mp4", folder)
    (folder / "notes.txt").write_text("no clip")
    return folder.parent


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def lines(result: Result) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_a_recognizer_names_what_happens_in_each_clip(house: Path, clips: Path) -> None:
    run = house / "runs" / "tiny" / "both" / "seed0"
    result = predict(run, "clips")
    assert result.exit_code == 0, result.output
    found = lines(result)
    paths = [f"clips/inner/test_{number:05d}.mp4" for number in (0, 1)]
    assert [line["path"] for line in found] == [path for path in paths for _ in range(5)]
    answer = load(run).predict(paths[0])
    assert [(line["label"], float(line["probability"])) for line in found[:5]] == [
        (name, pytest.approx(share, abs=1e-6)) for name, share in answer[:5]
    ]
    top = predict(run, *paths, paths[0], "--top", 1, "--out", "out/answers.csv")
    assert top.exit_code == 0, top.output
    assert top.stdout == ""
    with Path("out/answers.csv").open(newline="") as file:
        assert [line["label"] for line in csv.DictReader(file)] == [found[0]["label"], found[5]["label"]]
    again = predict(run, "clips", "--out", "out/answers.csv")
    assert again.exit_code == 2
    assert "is there already. Say --overwrite" in again.output


def test_whole_answers_as_json_of_a_manifest_and_a_weight_file(house: Path, clips: Path) -> None:
    weights = house / "runs" / "tiny" / "both" / "seed0" / "model.safetensors"
    result = predict(weights, house / "data" / "demo" / "manifest.csv", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert (answer["task"], answer["failed"]) == ("recognition", [])
    assert len(answer["clips"]) == 40
    assert sum(answer["clips"][0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert len(answer["clips"][0]["probabilities"]) == 10


def test_a_localizer_tells_where_the_sound_comes_from(house: Path, clips: Path) -> None:
    run = house / "runs" / "tiny_localizer" / "fnac" / "seed0"
    found = lines(predict(run, "clips/inner/test_00000.mp4"))
    assert [float(line["time"]) for line in found] == sorted(float(line["time"]) for line in found)
    assert len(found) > 2
    assert all(0 < float(line["x"]) < 1 and 0 < float(line["y"]) < 1 for line in found)
    maps = load(run).predict("clips/inner/test_00000.mp4").maps
    row, column = divmod(int(maps[1].argmax()), maps.shape[2])
    assert float(found[1]["x"]) == pytest.approx((column + 0.5) / maps.shape[2], abs=1e-4)
    assert float(found[1]["y"]) == pytest.approx((row + 0.5) / maps.shape[1], abs=1e-4)


def test_a_clip_that_cannot_be_read_is_named_and_the_others_answered(house: Path, clips: Path) -> None:
    run = house / "runs" / "tiny" / "both" / "seed0"
    (clips / "broken.mp4").write_bytes(b"this is no video")
    result = predict(run, "clips", "gone.mp4", "--json")
    assert result.exit_code == 3
    answer = json.loads(result.stdout)
    assert [Path(clip["path"]).name for clip in answer["clips"]] == ["test_00000.mp4", "test_00001.mp4"]
    assert [Path(clip["path"]).name for clip in answer["failed"]] == ["broken.mp4", "gone.mp4"]
    assert "Error: 2 of 4 clips could not be read, the first: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nowhere", "clips"), 3, "there is no such run"),
        (("RUN", "empty"), 3, "No video under empty"),
        (("RUN", "clips", "--json", "--out", "x.csv"), 2, "give one of them"),
        (("RUN",), 2, "Missing argument 'PATH...'"),
    ],
)
def test_what_cannot_be_asked_is_told(
    house: Path, clips: Path, arguments: tuple[str, ...], code: int, said: str
) -> None:
    Path("empty").mkdir()
    run = str(house / "runs" / "tiny" / "both" / "seed0")
    result = predict(*(run if text == "RUN" else text for text in arguments))
    assert result.exit_code == code
    assert said in result.output
    assert not Path("x.csv").exists()


def test_clips_of_one_name_get_files_of_their_own() -> None:
    clips = [MediaFile(Path(name)) for name in ("a/x.mp4", "b/x.mp4", "b/x.mkv", "b/y.mp4")]
    assert list(names_of(clips).values()) == ["x.mp4", "x.mp4_2", "x.mkv", "y"]


def test_a_recognizer_has_no_files(house: Path, clips: Path) -> None:
    refused = predict(house / "runs" / "tiny" / "both" / "seed0", "clips", "--files", "told")
    assert (refused.exit_code, Path("told").exists()) == (2, False)
    assert "answers of this task have no files" in refused.output
