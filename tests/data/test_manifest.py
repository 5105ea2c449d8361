from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from asgmcli.data.manifest import COLUMNS, ManifestRow, check_files, read_manifest, write_manifest
from asgmcli.errors import DataError


def row(name: str = "a", **changes: object) -> ManifestRow:
    values: dict[str, object] = {
        "id": name,
        "path": f"clips/{name}.mp4",
        "label": "dog",
        "split": "train",
        "duration": 10.0,
        "fps": 29.97,
        "frames": 300,
        "width": 340,
        "height": 256,
        "audio": f"clips/{name}.mp4",
        "note": "",
    }
    values.update(changes)
    return ManifestRow(**values)  # type: ignore[arg-type]


def write_text(folder: Path, *lines: str, classes: str | None = "dog\ncat\n") -> Path:
    (folder / "manifest.csv").write_text("\n".join((",".join(COLUMNS), *lines)) + "\n")
    if classes is not None:
        (folder / "classes.txt").write_text(classes)
    return folder / "manifest.csv"


GOOD = "a,a.mp4,dog,train,1.0,8.0,8,96,96,a.mp4,"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    rows = [
        row("a", label='dog, "barking"', note="two\nlines, and a comma"),
        row("b", path="/abs/b ü.mp4", audio="", label="", duration=1 / 3),
        row("c", audio="sounds/c.npy", split="test", label="cat"),
    ]
    written = write_manifest(tmp_path, rows, ["cat", 'dog, "barking"'])
    read = read_manifest(tmp_path)
    assert read == written == read_manifest(tmp_path / "manifest.csv")
    assert read.rows[0] == rows[0]
    assert read.rows[1].duration == 0.3333
    assert read.sha256 == hashlib.sha256((tmp_path / "manifest.csv").read_bytes()).hexdigest()
    assert [read.label_index(one) for one in read.rows] == [1, -1, 0]
    assert [read.resolve(one) for one in read.rows] == [
        tmp_path / "clips/a.mp4",
        Path("/abs/b ü.mp4"),
        tmp_path / "clips/c.mp4",
    ]
    assert [read.resolve_audio(one) for one in read.rows] == [tmp_path / "clips/a.mp4", None, tmp_path / "sounds/c.npy"]
    assert [one.id for one in read.of_split("train")] == ["a", "b"]
    assert read.of_split("val") == []
    with pytest.raises(DataError, match="validation"):
        read.of_split("validation")


def test_file_names_that_are_not_utf8_survive(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.mp4")
    written = write_manifest(tmp_path, [row("a", path=name)], ["dog"])
    assert os.fsencode(read_manifest(tmp_path).resolve(written.rows[0])).endswith(b"caf\xe9.mp4")


def test_columns_in_another_order_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    names = ["note", *COLUMNS[:-1], "extra"]
    (tmp_path / "manifest.csv").write_bytes(
        b"\xef\xbb\xbf" + ",".join(names).encode() + b"\r\nn,a,a.mp4,dog,train,1,8,8,96,96,,x\r\n\r\n"
    )
    read = read_manifest(tmp_path)
    assert read.rows == [
        row("a", path="a.mp4", duration=1.0, fps=8.0, frames=8, width=96, height=96, audio="", note="n")
    ]
    assert read.classes == ["dog"]


def test_all_faults_are_reported_together_with_their_lines(tmp_path: Path) -> None:
    write_text(
        tmp_path,
        GOOD,
        "b,,dog,te st,x,8.0,8.5,96,96,,",
        "a,a2.mp4,cow,val,1.0,8.0,8,96,96,,",
        "c,c.mp4,dog,train,nan,-1,8,96,96,,",
        "too,short",
    )
    with pytest.raises(DataError) as caught:
        read_manifest(tmp_path)
    message = caught.value.message
    for part in (
        "line 3: path is empty",
        "line 3: split 'te st' is no plain name such as train, val, test",
        "line 3: duration 'x'",
        "line 3: frames '8.5' is not a whole number",
        "line 4: id 'a' was already used in line 2",
        "line 4: label 'cow' is not in classes.txt",
        "line 5: duration 'nan'",
        "line 5: fps '-1'",
        "line 6: 2 columns where the header has 11",
        str(tmp_path / "manifest.csv"),
    ):
        assert part in message
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "the file is empty"),
        ("id,path\na,b\n", "missing column label, split"),
        (",".join(COLUMNS) + "\na,a\0.mp4,dog,train,1,8,8,96,96,,\n", "zero byte"),
        (",".join(COLUMNS) + "\na,a.mp4,dog,train,1e400,8,8,96,96,,\n", "duration '1e400'"),
    ],
)
def test_unusable_files_say_why(tmp_path: Path, text: str, part: str) -> None:
    (tmp_path / "manifest.csv").write_text(text)
    with pytest.raises(DataError, match=part):
        read_manifest(tmp_path)


def test_many_faults_are_counted_and_cut_short(tmp_path: Path) -> None:
    write_text(tmp_path, *[f"x{i},x.mp4,cow,train,1,8,8,96,96,," for i in range(50)])
    with pytest.raises(DataError, match="50 fault") as caught:
        read_manifest(tmp_path)
    assert "and 30 more" in caught.value.message
    assert caught.value.message.count("line ") == 20


def test_a_missing_manifest_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="asgm prepare"):
        read_manifest(tmp_path / "nothing")


def test_a_class_named_twice_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path, GOOD, classes="dog\ncat\ndog\n")
    with pytest.raises(DataError, match="dog"):
        read_manifest(tmp_path)


def test_bad_rows_leave_the_old_manifest_as_it_was(tmp_path: Path) -> None:
    write_manifest(tmp_path, [row("a")], ["dog"])
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(DataError, match="already used"):
        write_manifest(tmp_path, [row("a"), row("a")], ["dog"])
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_files_that_are_gone_are_counted_and_the_first_named(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    rows = [row(f"c{i}", audio="") for i in range(9)] + [row("s", audio="clips/s.wav")]
    for name in ("c0", "c1", "s"):
        (tmp_path / f"clips/{name}.mp4").touch()
    manifest = write_manifest(tmp_path, rows, ["dog"])
    check_files(manifest, manifest.rows[:2])
    with pytest.raises(DataError, match="8 of 10 clips") as caught:
        check_files(manifest, manifest.rows)
    assert "c2" in caught.value.message
    assert "and 3 more" in caught.value.message
    with pytest.raises(DataError, match=r"s\.wav"):
        check_files(manifest, manifest.rows[9:])


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="/dev/zero: not a regular file but a device"):
        read_manifest("/dev/zero")
    write_text(tmp_path, GOOD, classes=None)
    (tmp_path / "classes.txt").symlink_to("/dev/zero")
    with pytest.raises(DataError, match=r"classes\.txt: not a regular file but a device"):
        read_manifest(tmp_path)
