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
from asgmcli.commands.predict import command
from asgmcli.errors import MediaError
from asgmcli.prepare.single import MediaFile
from asgmcli.runs.asking import names_of
from asgmcli.tasks.recognition.load import TrainedRecognizer


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


def test_a_killed_command_goes_on_and_reads_no_finished_clip_again(
    house: Path, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = house / "runs" / "tiny" / "both" / "seed0"
    weights = house / "data" / "demo" / "clips" / "test"
    whole = predict(run, weights, "--out", "whole.csv", "--workers", 0)
    assert whole.exit_code == 0, whole.output
    read: list[str] = []
    straight = TrainedRecognizer.predict_many

    def counted(self: TrainedRecognizer, many: list[tuple[Path, Path | None]]) -> object:
        if len(read) > 4:
            raise KeyboardInterrupt
        read.extend(path.name for path, _ in many)
        return straight(self, many)

    monkeypatch.setattr(TrainedRecognizer, "predict_many", counted)
    arguments = (run, weights, "--out", "out.csv", "--workers", 0, "--together", 3)
    stopped = predict(*arguments)
    assert (stopped.exit_code, Path("out.csv").exists()) == (130, False)
    assert "the same command goes on" in stopped.output
    status = json.loads(Path("out.csv.status.json").read_text())
    assert (status["command"], status["state"], status["step"], status["of"]) == ("predict", "stopped", 6, 10)
    first = list(read)
    read.clear()
    again = predict(*arguments)
    assert again.exit_code == 0, again.output
    assert "6 of 10 clips were answered before" in again.output
    assert len(first) == 6
    assert not set(first) & set(read)
    assert len(set(first) | set(read)) == 10
    assert Path("out.csv").read_text().split("\n")[0] == "path,label,probability"
    answers = [list(csv.DictReader(io.StringIO(Path(name).read_text()))) for name in ("whole.csv", "out.csv")]
    for one, other in zip(*answers, strict=True):
        assert (one["path"], one["label"]) == (other["path"], other["label"])
        assert float(one["probability"]) == pytest.approx(float(other["probability"]), abs=2e-6)
    assert not list(Path().glob("*.part"))


def test_shards_answer_each_clip_once_and_are_joined(house: Path, clips: Path) -> None:
    run = house / "runs" / "tiny" / "both" / "seed0"
    (clips / "broken.mp4").write_bytes(b"this is no video")
    shards = [predict(run, "clips", "--out", "a.jsonl", "--shard", f"{number}/2") for number in (1, 2)]
    assert [shard.exit_code for shard in shards] == [3, 0], shards[1].output  # the first has the broken one
    merged = predict(run, "clips", "--out", "a.jsonl", "--merge")
    assert merged.exit_code == 3
    assert not list(Path().glob("a.jsonl.*-of-2.*"))
    lines = [json.loads(line) for line in Path("a.jsonl").read_text().splitlines()]
    assert [Path(line["path"]).name for line in lines] == ["broken.mp4", "test_00000.mp4", "test_00001.mp4"]
    assert "error" in lines[0]
    printed = [json.loads(line) for line in predict(run, "clips", "--json-lines").stdout.splitlines()]
    assert printed == lines
    refused = predict(run, "clips", "--shard", "1/2")
    assert "name that file" in refused.output


@pytest.mark.long
def test_processes_give_the_answers_of_this_one_in_their_order(house: Path, clips: Path) -> None:
    for run in ("tiny/both", "tiny_localizer/fnac"):
        network = load(house / "runs" / run / "seed0")
        paths = sorted((house / "data" / "demo" / "clips" / "test").glob("*.mp4"))[:5]
        single = [network.predict(path) for path in paths]
        many = list(network.stream([*paths, "gone.mp4"], workers=2, together=2, errors="return"))
        assert isinstance(many[5], MediaError)
        for one, other in zip(single, many, strict=False):
            if isinstance(one, list):
                assert [name for name, _ in one] == [name for name, _ in other]
                assert [share for _, share in one] == pytest.approx([share for _, share in other], abs=1e-6)
            else:
                assert one.maps.tolist() == other.maps.tolist()


def test_a_list_is_answered_in_its_order(house: Path, clips: Path) -> None:
    network = load(house / "runs" / "tiny" / "both" / "seed0")
    paths = sorted((house / "data" / "demo" / "clips" / "test").glob("*.mp4"))[:3]
    found = network.predict(paths)
    for path, answer in zip(paths, found, strict=True):
        assert [share for _, share in network.predict(path)] == pytest.approx([share for _, share in answer], abs=1e-6)
    stream = network.stream(iter([str(paths[0]), "gone.mp4", paths[1]]), together=1)
    assert next(stream)[0][0] == found[0][0][0]
    with pytest.raises(MediaError, match=r"gone\.mp4: no such file"):
        next(stream)
