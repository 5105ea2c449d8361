"""One's own videos with a list of events."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from asgmcli.cli import main
from asgmcli.data.manifest import read_manifest
from asgmcli.data.segments import read_segments
from asgmcli.media.write import write_clip
from tests.prepare.prepare_files import TONE, distinct, pictures

HEAD = "path,label,start,end,split\n"
LIST = (
    HEAD + "a.mp4,bell,0,1.5,train\na.mp4,dog,2,4,train\nb.mp4,bell,1,2,test\nc.mp4,,,,val\nsub/d.mp4,dog,0,4,train\n"
)


def videos(root: Path) -> Path:
    (root / "sub").mkdir(parents=True)
    write_clip(root / "clip.mp4", pictures(16), 4.0, np.tile(TONE, 2))
    content = (root / "clip.mp4").read_bytes()
    (root / "clip.mp4").unlink()
    for number, name in enumerate(("a", "b", "c", "sub/d")):
        (root / f"{name}.mp4").write_bytes(distinct(content, number))
    return root


def run(root: Path, text: str, *options: str) -> tuple[int, str, Path]:
    (root / "list.csv").write_text(text)
    out = root.parent / "out"
    command = ["prepare", "events", "--root", str(root), "--list", str(root / "list.csv"), "--out", str(out)]
    done = CliRunner().invoke(main, [*command, "--workers", "1", *options])
    return done.exit_code, " ".join(done.output.split()), out


def test_a_row_an_event_and_one_without(tmp_path: Path) -> None:
    code, text, out = run(videos(tmp_path / "raw"), LIST, "--seconds", "4")
    assert code == 0, text
    manifest = read_manifest(out)
    assert [(row.id, row.label, row.split) for row in manifest.rows] == [
        ("a.mp4", "", "train"),  # two classes
        ("sub/d.mp4", "dog", "train"),
        ("c.mp4", "", "val"),
        ("b.mp4", "bell", "test"),
    ]
    assert manifest.classes == ["bell", "dog", "background"]
    found = {
        clip: [(span.start, span.end, span.label) for span in spans] for clip, spans in read_segments(manifest).items()
    }
    assert found["a.mp4"] == [(0, 1.5, "bell"), (2, 4, "dog")]
    assert found["c.mp4"] == []
    assert '"seconds": 4' in (out / "summary.json").read_text()


def test_classes_that_a_split_lacks_are_told_by_its_events_not_by_labels(tmp_path: Path) -> None:
    """A clip of two classes has both, and background is no class to ask for."""
    _, text, out = run(videos(tmp_path / "raw"), LIST, "--seconds", "4")
    assert json.loads((out / "summary.json").read_text())["notes"] == ["no test clip of class dog"], text


def test_splits_are_drawn_where_none_is_given(tmp_path: Path) -> None:
    text = "path,label,start,end\n" + "".join(f"{name}.mp4,bell,0,1\n" for name in ("a", "b", "c", "sub/d"))
    code, told, out = run(videos(tmp_path / "raw"), text, "--val-share", "0.25", "--test-share", "0.25")
    assert code == 0, told
    assert sorted(row.split for row in read_manifest(out).rows) == ["test", "train", "train", "val"]


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        ("a.mp4,bell,0,2,train\na.mp4,dog,1,3,train\n", "line 3: a.mp4: dog from 1 s overlaps line 2, bell to 2 s"),
        ("a.mp4,bell,3,2,train\n", "line 2: an event from 3 to 2 s"),
        ("a.mp4,bell,x,2,train\n", "line 2: start 'x' and end '2' are not seconds"),
        ("a.mp4,,1,2,train\n", "line 2: the label is empty"),
        ("a.mp4,Background,1,2,train\n", "line 2: 'Background' is what has no event"),
        (
            "a.mp4,bell,0,1,train\na.mp4,bell,2,3,test\n",
            "line 3: a.mp4 is in split 'test' here and in 'train'",
        ),
        ("a.mp4,bell,0,1,later\n", "line 2: split 'later' is none of"),
        ("a.mp4,bell,0,9,train\n", "line 2: bell ends at 9 s, a.mp4 at 4.00 s"),
        (",bell,0,1,train\n", "line 2: the path is empty"),
        ("gone.mp4,bell,0,1,train\n", "None of the 1 videos"),
    ],
)
def test_what_is_refused(tmp_path: Path, lines: str, fault: str) -> None:
    code, text, out = run(videos(tmp_path / "raw"), HEAD + lines)
    assert code == 3
    assert fault in text
    assert not (out / "manifest.csv").exists()


def test_columns_and_the_list_itself(tmp_path: Path) -> None:
    root = videos(tmp_path / "raw")
    assert "no column label, end" in run(root, "path,start\n")[1]
    done = CliRunner().invoke(main, ["prepare", "events", "--root", str(root), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert "--list FILE.csv is needed" in done.output


def test_a_video_without_sound_is_left_out(tmp_path: Path) -> None:
    root = videos(tmp_path / "raw")
    write_clip(root / "b.mp4", pictures(16), 4.0, None)
    code, text, out = run(root, LIST, "--seconds", "4")
    assert code == 0, text
    assert "b.mp4" not in {row.id for row in read_manifest(out).rows}
    assert "no_audio" in (out / "quarantine.csv").read_text()


@pytest.mark.long
def test_frames_are_cached_as_jpegs(tmp_path: Path) -> None:
    from asgmcli.data.frame_cache import INDEX_NAME, FrameReader, cached_file
    from asgmcli.data.windows import windows_of
    from asgmcli.recipe.events import FrameInput

    cache = tmp_path / "cache"
    code, text, out = run(videos(tmp_path / "raw"), LIST, "--seconds", "4", "--cache", str(cache))
    assert code == 0, text
    manifest = read_manifest(out)
    assert (out / INDEX_NAME).exists()
    row = manifest.rows[0]
    assert Path(row.path).suffix == ".mp4"
    assert cached_file(cache, row).exists()
    (window,) = windows_of(row, 4)
    draws = [0, 5, 8, 15]
    cached = FrameReader(manifest, FrameInput()).read(window, draws)
    several = FrameReader(manifest, FrameInput()).read_draws(window, draws)
    assert torch.equal(several[[0, 1, 2, 3], [0, 1, 2, 3]], cached)
    (out / INDEX_NAME).unlink()
    decoded = FrameReader(manifest, FrameInput()).read(window, draws)
    assert cached.shape == decoded.shape == (4, 3, 256, 256)
    assert float((cached.float() - decoded.float()).abs().mean()) < 3
