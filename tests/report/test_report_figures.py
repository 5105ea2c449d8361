from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from PIL import Image

from asgmcli.errors import DataError, UsageError
from asgmcli.files import replacing, write_text
from asgmcli.localize.overlay import overlay
from asgmcli.report.comparison import MeasuredRow, row_comparison
from asgmcli.report.curves import running_mean, training_curves
from asgmcli.tasks.masks.masks_figure import masked
from asgmcli.tasks.masks.mix_figure import mix_frames
from asgmcli.tasks.recognition.confusion import confusion_matrix, worst_confusions


def test_worst_confusions_in_percent_of_the_true_class() -> None:
    counts = np.array([[8.0, 2.0, 0.0], [5.0, 5.0, 0.0], [0.0, 0.0, 0.0]])
    assert worst_confusions(counts, 3) == [(1, 0, 50.0), (0, 1, 20.0)]
    assert counts[0, 0] == 8


@pytest.mark.parametrize("classes", [3, 20, 70])
def test_confusion_matrix_of_any_size(tmp_path: Path, classes: int) -> None:
    counts = np.eye(classes) * 4
    counts[1] = 0
    path = confusion_matrix(counts, [f"class {index}" for index in range(classes)], tmp_path / "matrix.png")
    with Image.open(path) as image:
        assert image.width > 500
        blue = np.asarray(image.convert("RGB")).astype(int)
    assert ((blue[..., 2] - blue[..., 0]) > 60).any()


def test_confusion_matrix_with_other_class_count(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="2 classes"):
        confusion_matrix(np.eye(3), ["a", "b"], tmp_path / "matrix.png")


def test_running_mean_against_a_slow_reference() -> None:
    values = np.random.default_rng(0).normal(size=31)
    slow = [values[max(0, i - 3) : i + 4].mean() for i in range(31)]
    assert np.allclose(running_mean(values, 7), slow)


def test_training_curves_of_mixed_rows(tmp_path: Path) -> None:
    rows = [{"step": i, "loss": 1 / (i + 1), "kind": "train", "used": float("nan")} for i in range(80)]
    rows.append({"step": 80, "top1": 40.0})
    assert training_curves(rows, tmp_path / "curves.png").stat().st_size > 5000
    with pytest.raises(DataError, match="no number"):
        training_curves([{"kind": "train"}], tmp_path / "none.png")
    assert not (tmp_path / "none.png").exists()


@pytest.mark.parametrize(("suffix", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")])
def test_comparison_in_every_format_and_the_same_every_time(tmp_path: Path, suffix: str, start: bytes) -> None:
    rows = [
        MeasuredRow("tube", 77.4, 76.0, 78.8, values=[77.0, 77.8], paper=75.0),
        MeasuredRow("guided", 78.6, values=[78.6], main=True),
    ]
    before = dict(rcParams)
    first = row_comparison(rows, tmp_path / f"a.{suffix}").read_bytes()
    assert first.startswith(start)
    assert first == row_comparison(rows, tmp_path / f"b.{suffix}").read_bytes()
    assert dict(rcParams) == before


def test_a_long_title_widens_no_comparison(tmp_path: Path) -> None:
    rows = [MeasuredRow("ASGM-Former (guided mask, contrastive)", 47.3, 19.5, 75.2, [48.4, 35.6, 58.0], main=True)]
    short = row_comparison(rows, tmp_path / "short.png", title="Table 2")
    long = row_comparison(rows, tmp_path / "long.png", title=10 * "what the parts add ")
    assert Image.open(long).width == Image.open(short).width


def test_comparison_without_rows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no measured row"):
        row_comparison([], tmp_path / "none.png")


def test_unknown_suffix_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.png, \.svg, \.pdf"):
        confusion_matrix(np.eye(2), ["a", "b"], tmp_path / "matrix.gif")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    write_text(tmp_path / "notes.txt", "old")

    def fail_halfway() -> None:
        with replacing(tmp_path / "notes.txt") as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("notes.txt", "old")]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "x")
    with pytest.raises(DataError, match="cannot be written"):
        write_text(tmp_path / "file" / "below.txt", "y")


def test_overlay_by_hand() -> None:
    frame = np.full((4, 6, 3), 100, np.uint8)
    assert np.array_equal(overlay(frame, np.full((2, 2), 0.7, np.float32)), frame)
    hot = np.zeros((4, 6), np.float32)
    hot[:, 3:] = 1
    seen = overlay(frame, hot, alpha=1.0).astype(int)
    assert np.abs(seen[:, 0] - 100).max() <= 1
    assert np.abs(seen[:, 5] - np.array([252, 255, 164])).max() <= 2  # inferno's brightest colour
    half = overlay(frame, hot, alpha=0.5).astype(int)
    assert np.abs(half[:, 5] - (np.array([252, 255, 164]) + 100) / 2).max() <= 2


def test_masked_paints_over_exactly_what_is_dropped() -> None:
    frame = np.full((28, 28, 3), 9, np.uint8)
    mask = np.zeros((2, 4), bool)
    mask[1, 2] = True
    hidden = (masked(frame, mask) != 9).all(axis=2)
    assert not hidden[14:, 14:21].any()
    assert hidden.sum() == 28 * 28 - 14 * 7
    assert np.array_equal(masked(frame, np.ones((3, 5), bool)), frame)


def test_mixed_frames_give_the_inputs_back() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 255, (2, 30, 40, 3), np.uint8)
    assert np.array_equal(mix_frames(a, b, np.ones((14, 14), bool)), a)
    assert np.array_equal(mix_frames(a, b, np.zeros((14, 14), bool)), b)
    mask = rng.random((3, 4)) < 0.5
    assert np.array_equal(mix_frames(a, b, mask), mix_frames(b, a, ~mask))


def test_a_line_stops_where_nothing_is_measured(tmp_path: Path) -> None:
    from asgmcli.report.sweep_curves import Line, Point, _draw, sweep_curves

    ours = Line("ours", [Point(8, 3.0), Point(1, 1.0, 0.5, 1.5, (0.8, 1.2)), Point(4), Point(2, 2.0, paper=9.0)], True)
    axes = _draw([ours], "frames", "top-1", "", "", "log", "interval").axes[0]
    places, means = axes.lines[0].get_data()
    assert list(places) == [1, 2, 4, 8]
    assert np.allclose(np.asarray(means, float), [1, 2, np.nan, 3], equal_nan=True)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["1", "2", "4", "8"]
    drawn = [tuple(np.asarray(line.get_ydata(), float)) for line in axes.lines[1:]]
    assert drawn == [(0.5, 1.5), (0.8, 1.2), (9.0,)]
    with pytest.raises(DataError, match="no point is measured"):
        sweep_curves([Line("ours", [Point(1, paper=2.0)])], tmp_path / "none.png", axis="frames")


def test_steps_of_chance_do_not_fill_the_axis_and_a_long_title_breaks() -> None:
    from asgmcli.report.sweep_curves import Line, Point, _draw

    title = "Figure 5, averaging the localization maps of neighbouring frames (1 label a class), on the demo data"
    for last, span in ((46.8, 5.0), (56.4, 10.0 * 1.24)):  # a margin of 12% on either side
        figure = _draw([Line("ours", [Point(1, 46.4), Point(2, last)])], "frames", "top-1", title, "", "log", "")
        low, high = figure.axes[0].get_ylim()
        assert high - low == pytest.approx(span)
        assert (low + high) / 2 == pytest.approx((46.4 + last) / 2)
        assert figure.axes[0].get_title().count("\n") == 1
