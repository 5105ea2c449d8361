from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asgmcli.data.manifest import Manifest, ManifestRow, write_manifest
from asgmcli.data.segments import (
    Span,
    grid_to_spans,
    labels_to_spans,
    read_segments,
    segments_csv,
    spans_to_grid,
    spans_to_labels,
    webvtt,
)
from asgmcli.errors import DataError

CLASSES = ["bell", "Male speech, man speaking", "background"]


def manifest_of(folder: Path, names: tuple[str, ...] = ("a", "b")) -> Manifest:
    rows = [
        ManifestRow(name, f"{name}.mp4", "bell", "train", 10.0, 25.0, 250, 64, 48, f"{name}.mp4", "") for name in names
    ]
    return write_manifest(folder, rows, CLASSES)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    events = {"b": [Span(2.5, 10, CLASSES[1]), Span(0, 2, "bell")], "a": [Span(0, 0, "bell")]}
    (tmp_path / "segments.csv").write_text(segments_csv(events, manifest.rows))
    assert (tmp_path / "segments.csv").read_text().splitlines() == [
        "id,start,end,label",
        'b,2.5,10,"Male speech, man speaking"',
        "b,0,2,bell",
    ]
    assert read_segments(manifest) == {"a": [], "b": [Span(0, 2, "bell"), Span(2.5, 10, CLASSES[1])]}


def test_modalities_and_probabilities(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    events = {"a": [Span(0, 10, "bell", modality="clip"), Span(1, 3, "bell", 0.25, "audio")]}
    text = segments_csv(events, manifest.rows, modality=True, probability=True)
    assert text.splitlines()[2] == "a,1,3,bell,audio,0.2500"
    (tmp_path / "segments.csv").write_text(text)
    assert [span.modality for span in read_segments(manifest)["a"]] == ["clip", "audio"]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("c,0,1,bell", "line 3: clip 'c' is not in the manifest"),
        ("a,0,1,horn", "line 3: label 'horn' is not in classes.txt"),
        ("a,2,1,bell", "line 3: an event from 2 to 1 s"),
        ("a,-1,1,bell", "line 3: an event from -1 to 1 s"),
        ("a,x,1,bell", "line 3: start 'x' and end '1' are not seconds"),
        ("a,0,nan,bell", "line 3: an event from 0 to nan s"),
        ("a,0,1", "line 3:"),
    ],
)
def test_faults_are_named_with_their_lines(tmp_path: Path, line: str, fault: str) -> None:
    manifest = manifest_of(tmp_path)
    (tmp_path / "segments.csv").write_text(f"id,start,end,label\na,0,1,bell\n{line}\n")
    with pytest.raises(DataError, match=fault):
        read_segments(manifest)


def test_other_files(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path)
    with pytest.raises(DataError, match="no events here"):
        read_segments(manifest)
    (tmp_path / "segments.csv").write_text("id,begin,label\n")
    with pytest.raises(DataError, match="no column end, start"):
        read_segments(manifest)
    (tmp_path / "segments.csv").write_text("id,start,end,label,modality\na,0,1,bell,smell\n")
    with pytest.raises(DataError, match="modality 'smell'"):
        read_segments(manifest)


def test_a_segment_belongs_to_what_covers_half_of_it() -> None:
    assert spans_to_labels([Span(1, 3, "bell")], CLASSES, 5).tolist() == [2, 0, 0, 2, 2]
    assert spans_to_labels([Span(1.5, 3.49, "bell")], CLASSES, 5).tolist() == [2, 0, 0, 2, 2]
    assert spans_to_labels([Span(1.51, 3.5, "bell")], CLASSES, 5).tolist() == [2, 2, 0, 0, 2]
    both = [Span(1.5, 3, CLASSES[1]), Span(0, 1.5, "bell")]  # each covers half of the second segment
    assert spans_to_labels(both, CLASSES, 3).tolist() == [0, 0, 1]
    assert spans_to_labels([Span(2.1, 2.6, "bell")], CLASSES, 4).tolist() == [2, 2, 0, 2]
    assert spans_to_labels([Span(0, 1, "bell")], CLASSES, 4, seconds=0.5).tolist() == [0, 0, 2, 2]


def test_labels_to_spans_joins_neighbours_and_leaves_the_background_out() -> None:
    labels = np.array([2, 0, 0, 1, 2, 0])
    spans = labels_to_spans(labels, np.array([0.9, 0.5, 0.7, 0.8, 0.9, 1.0]), CLASSES, end=5.5)
    assert spans == [Span(1, 3, "bell", pytest.approx(0.6)), Span(3, 4, CLASSES[1], 0.8), Span(5, 5.5, "bell", 1.0)]
    assert labels_to_spans(np.array([], np.int64), np.array([]), CLASSES) == []
    # A padded segment beyond the clip's end names nothing.
    assert labels_to_spans(np.array([2, 2, 0]), np.ones(3), CLASSES, end=2.0) == []


def test_labels_there_and_back() -> None:
    random = np.random.default_rng(0)
    for _ in range(50):
        labels = random.integers(0, 3, 12)
        spans = labels_to_spans(labels, np.ones(12), CLASSES)
        np.testing.assert_array_equal(spans_to_labels(spans, CLASSES, 12), labels)


def test_grids_there_and_back() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        grid = random.random((9, 3)) < 0.5
        spans = grid_to_spans(grid, None, CLASSES, modality="audio")
        assert all(span.modality == "audio" and span.probability == 1 for span in spans)
        assert [span.start for span in spans] == sorted(span.start for span in spans)
        np.testing.assert_array_equal(spans_to_grid(spans, CLASSES, 9), grid)


def test_a_span_of_a_grid_has_the_mean_probability() -> None:
    grid = np.array([[True], [True], [False], [True]])
    spans = grid_to_spans(grid, np.array([[0.2], [0.6], [0.9], [1.0]]), ["bell"], seconds=2.0)
    assert spans == [Span(0, 4, "bell", pytest.approx(0.4)), Span(6, 8, "bell", 1.0)]


def test_captions() -> None:
    spans = [Span(3661.5, 3662, "a <b> & c", 0.5), Span(0, 2, "bell", 0.876)]
    assert webvtt(spans).splitlines() == [
        *("WEBVTT", "", "00:00:00.000 --> 00:00:02.000", "bell 88%", ""),
        *("01:01:01.500 --> 01:01:02.000", "a &lt;b&gt; &amp; c 50%"),
    ]
