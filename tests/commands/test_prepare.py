from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from asgmcli.commands.prepare import command
from asgmcli.data.manifest import read_manifest
from asgmcli.media.write import write_clip


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Small files: eight different ones with sound, one without, one silent, one cut short, one damaged."""
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    made: dict[str, bytes] = {}

    def make(name: str, sound: np.ndarray | None, frames: int = 16) -> None:
        pictures = rng.integers(0, 255, (1, 48, 64, 3), dtype=np.uint8).repeat(frames, axis=0)
        write_clip(folder / name, pictures, 8.0, sound)
        made[name] = (folder / name).read_bytes()

    tone = 0.1 * np.sin(np.arange(32_000) / 5).astype(np.float32)
    for number in range(8):
        make(f"good{number}", tone)
    make("mute", None)
    make("silent", tone * 1e-6)
    made["cut"] = made["good0"][: int(len(made["good0"]) * 0.6)]
    made["text"] = b"this is no video"
    made["empty"] = b""
    return made


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


def done(*arguments: object) -> dict[str, Any]:
    result = run(*arguments, "--json", "--workers", 1)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def quarantine(out: Path) -> dict[str, tuple[str, str]]:
    with (out / "quarantine.csv").open(newline="") as stream:
        return {row["id"]: (row["reason"], row["detail"]) for row in csv.DictReader(stream)}


def class_folders(root: Path, clips: dict[str, bytes], **places: str) -> None:
    for name, place in places.items():
        target = root / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(clips[name])


def test_class_folders_become_a_manifest_and_every_file_left_out_is_named(
    tmp_path: Path, clips: dict[str, bytes]
) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    places = {"good0": "dog/a.mp4", "good1": "dog/b.mp4", "good2": "cat, tabby/c.mp4", "good3": "loose.mp4"}
    broken = {"cut": "dog/cut.mp4", "text": "cat, tabby/text.mp4", "empty": "dog/empty.mp4"}
    class_folders(root, clips, mute="dog/m.mp4", **places, **broken)
    (root / "dog/readme.txt").write_text("notes")
    (root / "dog/.hidden.mp4").write_text("x")
    summary = done("folder", "--root", root, "--out", out, "--max-bad", 1, "--verify")
    manifest = read_manifest(out)
    assert manifest.classes == ["cat, tabby", "dog"]
    rows = {row.id: row for row in manifest.rows}
    assert set(rows) == {"dog/a.mp4", "dog/b.mp4", "cat, tabby/c.mp4", "loose.mp4", "dog/m.mp4"}
    assert rows["loose.mp4"].label == ""
    assert rows["loose.mp4"].split == "train"
    row = rows["dog/a.mp4"]
    assert (row.frames, row.fps, row.duration, row.width, row.height) == (16, 8.0, 2.0, 64, 48)
    assert manifest.resolve(row) == manifest.resolve_audio(row) == root / "dog/a.mp4"
    assert rows["dog/m.mp4"].audio == ""
    left = quarantine(out)
    assert {name: reason for name, (reason, _) in left.items()} == {
        "dog/cut.mp4": "truncated",
        "cat, tabby/text.mp4": "unreadable",
        "dog/empty.mp4": "empty",
        "dog/readme.txt": "not_a_video",
    }
    assert summary["clips"] == 5
    assert summary["broken"] == {"files": 3, "of": 8}
    assert summary["manifest_sha256"] == manifest.sha256
    assert summary == json.loads((out / "summary.json").read_text())


def test_files_that_are_cut_off_are_left_out_without_decoding(tmp_path: Path, clips: dict[str, bytes]) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    class_folders(root, clips, good0="dog/a.mp4", cut="dog/cut.mp4")
    done("folder", "--root", root, "--out", out, "--max-bad", "50%")
    assert [row.id for row in read_manifest(out).rows] == ["dog/a.mp4"]
    ((name, (reason, detail)),) = quarantine(out).items()
    assert (name, reason) == ("dog/cut.mp4", "truncated")
    assert f"of 16 stored frames are there: the file ends at byte {len(clips['cut'])}" in detail


def test_too_many_broken_files_fail_at_the_end_with_3_and_without_a_manifest(
    tmp_path: Path, clips: dict[str, bytes]
) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    class_folders(root, clips, good0="dog/a.mp4", good1="dog/b.mp4", empty="dog/empty.mp4", text="dog/text.mp4")
    result = run("folder", "--root", root, "--out", out, "--workers", 1)
    assert result.exit_code == 3
    assert "2 of 4 files are broken (50.0%" in result.output
    assert not (out / "manifest.csv").exists()
    assert set(quarantine(out)) == {"dog/empty.mp4", "dog/text.mp4"}
    assert done("folder", "--root", root, "--out", out, "--max-bad", 0.5)["clips"] == 2


def test_shares_that_cannot_be_are_refused_before_any_file_is_looked_at(
    tmp_path: Path, clips: dict[str, bytes]
) -> None:
    class_folders(tmp_path / "raw", clips, good0="dog/a.mp4")
    out = tmp_path / "out"
    result = run("folder", "--root", tmp_path / "raw", "--out", out, "--val-share", 0.5, "--test-share", "60%")
    assert result.exit_code == 2
    assert "train -0.1, val 0.5, test 0.6" in result.output
    assert not list(out.rglob("*.*"))


def test_48_clips_of_four_classes_are_split_near_the_shares_in_every_class(
    tmp_path: Path, clips: dict[str, bytes]
) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    for number in range(48):
        path = root / f"class{number % 4}/{number}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        # Different files: a box that players pass over stands at the end.
        path.write_bytes(clips["good0"] + (12).to_bytes(4, "big") + b"free" + number.to_bytes(4, "big"))
    (root / "alone").mkdir()
    (root / "alone/a.mp4").write_bytes(clips["good1"])
    summary = done("folder", "--root", root, "--out", out)
    for split, count in (("train", 9), ("val", 1), ("test", 2)):
        wanted = {f"class{number}": count for number in range(4)}
        assert summary["counts"][split] == wanted | ({"alone": 1} if split == "train" else {})
    assert "no test clip of class alone" in summary["notes"]
    rest = done("folder", "--root", root, "--out", out, "--val-share", 0.9, "--test-share", "10%", "--overwrite")
    assert not rest["counts"]["train"]


@pytest.mark.parametrize("share", ["0.5", "50%", "50 %", ".5"])
def test_a_share_may_be_a_percentage(tmp_path: Path, clips: dict[str, bytes], share: str) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    class_folders(root, clips, good0="dog/a.mp4", good1="dog/b.mp4", empty="dog/empty.mp4", text="dog/text.mp4")
    summary = done("folder", "--root", root, "--out", out, "--max-bad", share, "--test-share", "50%")
    assert summary["counts"] == {"train": {"dog": 1}, "val": {}, "test": {"dog": 1}}
    assert summary["settings"]["shares"]["test"] == 0.5


def test_another_data_set_is_not_overwritten(tmp_path: Path, clips: dict[str, bytes]) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    class_folders(root, clips, good0="dog/a.mp4", mute="dog/m.mp4")
    done("folder", "--root", root, "--out", out)
    before = (out / "manifest.csv").read_bytes()
    done("folder", "--root", root, "--out", out)
    assert (out / "manifest.csv").read_bytes() == before
    result = run("folder", "--root", root, "--out", out, "--drop-silent")
    assert result.exit_code == 2
    assert "drop_silent was False, now True" in result.output
    assert (out / "manifest.csv").read_bytes() == before
    assert done("folder", "--root", root, "--out", out, "--drop-silent", "--overwrite")["clips"] == 1


def test_a_hand_made_manifest_is_not_overwritten(tmp_path: Path, clips: dict[str, bytes]) -> None:
    class_folders(tmp_path, clips, good0="raw/dog/a.mp4")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/manifest.csv").write_text("mine")
    result = run("folder", "--root", tmp_path / "raw", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert (tmp_path / "out/manifest.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "part", "code"),
    [
        (["fodler"], "Did you mean folder?", 2),
        (["folder", "--root", "nowhere"], "one folder a class", 3),
        (["folder", "--companions", 0.7], "No such option '--companions'", 2),
        (["demo", "--root", "x"], "No such option '--root'", 2),
        (["ucf51", "--val-share", "0.1"], "No such option '--val-share'", 2),
        (["folder", "--list", "train"], "SPLIT=FILE", 2),
        (["folder", "--max-bad", "10"], "'10' is not from 0 to 1; for a percentage write 10%.", 2),
        (["folder", "--max-bad", "150%"], "'150%' is not from 0 to 1.", 2),
        (["folder", "--max-bad", "nan"], "'nan' is not from 0 to 1.", 2),
        (["folder", "--max-bad", "-0.1"], "'-0.1' is not from 0 to 1.", 2),
        (["folder", "--max-bad", "ten"], "'ten' is no share; write 0.1 or 10%", 2),
        (["folder", "--shard", "0/4"], "I from 1 to N", 2),
        (["folder", "--shard", "1/2", "--merge"], "without --shard", 2),
        (["folder", "--show-split", "--out", "nowhere"], "No manifest at", 3),
    ],
)
def test_mistakes_have_one_clear_line(arguments: list[object], part: str, code: int) -> None:
    result = run(*arguments)
    assert result.exit_code == code
    assert part in result.output
    assert "Traceback" not in result.output


def test_the_demo_is_generated_shown_and_split(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    sizes = ("--train", 20, "--val", 10, "--test", 10, "--size", 32, "--seconds", 0.5)
    summary = done("demo", "--out", out, *sizes)
    assert summary["clips"] == 40
    assert (out / "preview.png").exists()
    split = done("demo", "--out", out, "--show-split", "--labels", 2)
    assert (split["classes"], split["labeled"], split["unlabeled"], split["test"]) == (10, 20, 0, 10)
    result = run("demo", "--out", out, "--show-split", "--labels", 3)
    assert result.exit_code == 3
    assert "has 2" in result.output
    text = run("demo", "--out", out, *sizes)
    assert "preview.png" in text.output


def test_a_demo_with_companions_has_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sizes = ["--train", 10, "--val", 5, "--test", 3, "--unbiased", 4, "--size", 32, "--workers", 1]
    summary = done("demo", "--companions", "70%", "--seed", 3, *sizes)
    assert summary["settings"]["companions"] == 0.7
    counts = {split: sum(of_class.values()) for split, of_class in summary["counts"].items()}
    assert counts == {"train": 10, "val": 5, "test": 3, "test_shuffled": 3, "val_shuffled": 5, "unbiased": 4}
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["demo_companions0.7_seed3"]
    assert run("demo", "--companions", 1.5, *sizes).exit_code == 2


def test_silent_clips_are_dropped_with_their_figure(tmp_path: Path, clips: dict[str, bytes]) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    class_folders(root, clips, good0="dog/a.mp4", mute="dog/m.mp4", silent="dog/s.mp4")
    summary = done("folder", "--root", root, "--out", out, "--drop-silent")
    assert summary["left_out"] == {"no_audio": 1, "silent": 1}
    left = quarantine(out)
    assert left["dog/m.mp4"] == ("no_audio", "the file has no audio stream")
    reason, detail = left["dog/s.mp4"]
    assert reason == "silent"
    assert "dBFS, under -60 dBFS" in detail
    kept = done("folder", "--root", root, "--out", out, "--drop-silent", "--silence-threshold", -200, "--overwrite")
    assert kept["clips"] == 2


def test_list_files_are_written_and_read_back(tmp_path: Path, clips: dict[str, bytes]) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    class_folders(root, clips, good0="train/dog/a.mp4", good1="train/dog/b.mp4", good2="train/cat/c.mp4")
    class_folders(root, clips, good3="test/cat/d.mp4", good4="test/dog/e.mp4")
    done("folder", "--root", root, "--out", out, "--write-lists", "--labels", 1)
    assert len((out / "train_labeled.txt").read_text().splitlines()) == 2
    lists = ("--list", f"train={out / 'train.txt'}", "--list", f"test={out / 'test.txt'}")
    names = ("--classes", out / "classes.txt")
    summary = done("folder", *lists, *names, "--out", tmp_path / "again")
    assert summary["counts"] == {"train": {"cat": 1, "dog": 2}, "val": {}, "test": {"cat": 1, "dog": 1}}
    assert summary["notes"] == []


def test_the_same_file_in_train_and_test_stays_in_test_only(tmp_path: Path, clips: dict[str, bytes]) -> None:
    root, out = tmp_path / "raw", tmp_path / "out"
    class_folders(root, clips, good0="train/dog/a.mp4", good1="test/dog/b.mp4", good2="train/cat/c.mp4")
    (root / "train/dog/copy.mp4").write_bytes(clips["good1"])
    summary = done("folder", "--root", root, "--out", out)
    assert quarantine(out)["train/dog/copy.mp4"] == ("duplicate_file", "the same file as test/dog/b.mp4 in test")
    assert summary["broken"]["files"] == 0
    assert summary["notes"] == ["no test clip of class cat"]
    split = done("folder", "--out", out, "--show-split")
    assert split["clips"] == {"cat": ["train/cat/c.mp4"], "dog": ["train/dog/a.mp4"]}
    test = {row.id for row in read_manifest(out).of_split("test")}
    assert not test & {name for names in split["clips"].values() for name in names}


def test_official_lists_tell_the_coverage(tmp_path: Path, clips: dict[str, bytes]) -> None:
    root, out = tmp_path / "vgg", tmp_path / "out"
    class_folders(root, clips, good0="video/aaaaaaaaaaa_000010.mp4", good1="video/bbbbbbbbbbb_000000.mp4")
    (root / "vggsound.csv").write_text(
        'aaaaaaaaaaa,10,"dog, barking",train\nccccccccccc,10,"dog, barking",train\nbbbbbbbbbbb,0,cat purring,test\n'
    )
    summary = done("vggsound", "--root", root, "--out", out)
    assert summary["coverage"]["train"] == {"official": 2, "kept": 1, "classes": {"dog, barking": [1, 2]}}
    assert quarantine(out)["ccccccccccc_000010"] == ("missing", "train, dog, barking")
    assert (out / "classes.txt").read_text() == "cat purring\ndog, barking\n"
    text = run("vggsound", "--root", root, "--out", out).output
    assert "1 of 2 official clips (50.0%)" in " ".join(text.split())


def test_test_clips_without_sound_are_never_left_out_in_silence(tmp_path: Path, clips: dict[str, bytes]) -> None:
    """UCF-51 with a silent clip in each split: by default, with `all` (also by the bare option), and with `train`."""
    root = tmp_path / "UCF101"
    files = {"good0": ("g08_c01", "train"), "mute": ("g08_c02", "train"), "good1": ("g01_c01", "test")}
    files |= {"silent": ("g01_c02", "test")}
    lists: dict[str, list[str]] = {"train": [], "test": []}
    for name, (stem, split) in files.items():
        path = root / "UCF-101" / "Archery" / f"v_Archery_{stem}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(clips[name])
        lists[split].append(f"Archery/{path.name} 1\n")
    (root / "classInd.txt").write_text("1 Archery\n")
    for split, lines in lists.items():
        (root / f"{split}list01.txt").write_text("".join(lines))
    told = "test: 1 of 2 clips have no sound and are left out, so that accuracies are of 1"
    cases: list[tuple[list[str], bool | str, int, int]] = [
        ([], False, 2, 2),
        (["--drop-silent"], True, 1, 1),
        (["--drop-silent=all"], True, 1, 1),
        (["--drop-silent=train"], "train", 1, 2),
    ]
    for number, (options, setting, train, test) in enumerate(cases):
        summary = done("ucf51", "--root", root, "--out", tmp_path / str(number), *options)
        counts = [sum(summary["counts"][split].values()) for split in ("train", "test")]
        assert (summary["settings"]["drop_silent"], *counts) == (setting, train, test), options
        assert any(note.startswith(told) for note in summary["notes"]) == (test == 1)
        assert any(note.startswith("2 official test clips are of these classes") for note in summary["notes"])
    assert run("ucf51", "--root", root, "--drop-silent=test").exit_code == 2


def test_the_tables_label_lists_are_written_by_one_command(
    tmp_path: Path, clips: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("tables").exit_code == 2
    nothing = run("tables", "--show-split")
    assert nothing.exit_code == 3
    assert nothing.output.count("No manifest at data/") == 3
    for number in range(8):
        class_folders(Path("raw"), clips, **{f"good{number}": f"{'dog' if number % 2 else 'cat'}/{number}.mp4"})
    done("folder", "--root", "raw", "--out", "data/ucf51", "--test-share", 0, "--val-share", 0)
    result = run("tables", "--show-split", "--seeds", 2, "--out", "labels", "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    assert [(each["recipe"], each["seed"]) for each in answer["lists"]] == [
        ("table1_ucf51_1shot", 0),
        ("table1_ucf51_1shot", 1),
    ]
    # Five a class are more than there are, the other data sets are not there.
    assert [text.partition(" ")[0] for text in answer["missing"]] == ["No", "data.labeled_per_class", "No"]
    split = done("folder", "--out", "data/ucf51", "--show-split", "--seed", 1)
    for each in answer["lists"]:
        lines = Path(each["path"]).read_text().splitlines()
        assert lines == [f"{clip} {label}" for clip, label in each["clips"]]
        assert len(lines) == 2
    assert dict(reversed(line.split()) for line in lines) == {k: v for k, (v,) in split["clips"].items()}


def test_the_published_lists_are_of_51_classes_and_the_smaller_lies_in_the_larger() -> None:
    folder = Path(__file__).parents[2] / "docs" / "labels"
    for seed in range(3):
        one, five = ((folder / f"table1_ucf51_{count}shot_seed{seed}.txt").read_text().splitlines() for count in (1, 5))
        assert (len(one), len(five)) == (51, 255)
        assert set(one) < set(five)
        for line in five:
            clip, label = line.split()
            assert clip.lower().startswith(f"v_{label}_g".lower())
            assert int(clip[-6:-4]) > 7  # groups 1 to 7 are the test clips of split 1
        assert len({line.split()[1] for line in one}) == 51
