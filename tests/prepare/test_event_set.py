from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.data.manifest import read_manifest
from asgmcli.errors import DataError
from asgmcli.prepare.event_set import drawn, event_set, open_events
from asgmcli.recipe.events import EventData


@pytest.mark.long
def test_windows_and_labels_of_a_data_set(demo_events: Path) -> None:
    found = event_set(read_manifest(demo_events), 10)
    assert len(found.windows) == 15
    assert found.labels.shape == (15, 10)
    assert found.classes[-1] == "background"
    assert [len(found.of_split(split)) for split in ("train", "val", "test")] == [8, 3, 4]
    background = len(found.classes) - 1
    for number, window in enumerate(found.windows):
        spans = found.source.segments[window.row.id]
        seconds = sum(span.end - span.start for span in spans)
        assert (found.labels[number] != background).sum() == seconds
    # Cut finer, the same seconds.
    halves = event_set(read_manifest(demo_events), 5)
    np.testing.assert_array_equal(halves.labels.reshape(15, 10), found.labels)
    assert halves.first[found.windows[3].row.id] == 6


def test_a_data_set_without_events(demo: Path, tmp_path: Path, demo_events: Path) -> None:
    (tmp_path / "manifest.csv").write_bytes((demo / "manifest.csv").read_bytes())
    with pytest.raises(DataError, match="no events here"):
        event_set(read_manifest(tmp_path), 10)
    for name in ("manifest.csv", "segments.csv"):
        (tmp_path / name).write_bytes((demo_events / name).read_bytes())
    classes = (demo_events / "classes.txt").read_text().split("\n")
    (tmp_path / "classes.txt").write_text("\n".join(["background", *classes[:-2], ""]))
    with pytest.raises(DataError, match="do not end with 'background'"):
        event_set(read_manifest(tmp_path), 10)


def test_an_empty_split(demo_events: Path) -> None:
    data = EventData(dataset="demo_events", manifest=str(demo_events / "manifest.csv"), eval_split="val")
    assert len(open_events(data, 10).of_split("val")) == 3
    with pytest.raises(DataError, match="no split 'later'"):
        open_events(data.model_copy(update={"eval_split": "later"}), 10)


def test_labelled_clips_are_those_of_the_smallest_hash(demo_events: Path) -> None:
    rows = read_manifest(demo_events).of_split("train")
    few, more = drawn(rows, 3, 0), drawn(rows, 5, 0)
    assert len(few) == 3
    assert {row.id for row in few} < {row.id for row in more}
    assert drawn(rows[::-1], 3, 0)[::-1] == few
    assert drawn(rows, None, 0) == rows
    assert {row.id for row in drawn(rows, 3, 1)} != {row.id for row in few}
    with pytest.raises(DataError, match="asks for 9 labelled clips, there are 8"):
        drawn(rows, 9, 0)
