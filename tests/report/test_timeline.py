from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Rectangle

from asgmcli.data.segments import Span
from asgmcli.errors import UsageError
from asgmcli.report import timeline
from asgmcli.report.timeline import ERROR, PALE, TimelineClip, Track, differing, draw_timelines

TRUTH = [Span(0, 3, "bark"), Span(5, 10, "speech")]
FOUND = [Span(0, 2, "bark"), Span(2, 4, "cat"), Span(5, 10, "speech")]
OVERLAPPING = [Span(0, 6, "bark"), Span(4, 10, "dog")]


def test_stretches_that_differ() -> None:
    assert differing(FOUND, TRUTH, 10) == [(2, 4)]
    assert differing(TRUTH, TRUTH, 10) == []
    assert differing([], TRUTH, 10) == [(0, 3), (5, 10)]
    assert differing(OVERLAPPING, [Span(0, 10, "bark")], 10) == [(4, 10)]
    assert differing([Span(8, 12, "bark")], [], 10) == [(8, 10)]


def rectangles(figure: Figure) -> list[tuple[float, float, str]]:
    from matplotlib.colors import to_hex

    bars = figure.axes[-1].patches
    return [(bar.get_x(), bar.get_width(), to_hex(bar.get_facecolor())) for bar in bars if isinstance(bar, Rectangle)]


def test_bars_lie_where_the_events_are() -> None:
    clip = TimelineClip("a", 10, [Track("truth", TRUTH), Track("found", FOUND, TRUTH)])
    bars = rectangles(timeline._draw([clip], "", ["bark", "cat", "speech"]))
    assert [bar for bar in bars if bar[2] == ERROR] == [(2, 2, ERROR)]
    assert len([bar for bar in bars if bar[2] == PALE]) == 2
    events = [bar for bar in bars if bar[2] not in (ERROR, PALE)]
    assert [bar[:2] for bar in events] == [(0, 3), (5, 5), (0, 2), (2, 2), (5, 5)]
    assert events[0][2] == events[2][2] != events[3][2]  # a class has one colour in all tracks


def test_the_less_probable_an_event_the_paler_its_bar() -> None:
    spans = [Span(0, 3, "bark", 1.0), Span(4, 6, "bark", 0.6), Span(7, 9, "bark", 0.01)]
    figure = timeline._draw([TimelineClip("a", 10, [Track("found", spans)])], "", [])
    assert [bar.get_facecolor()[3] for bar in figure.axes[-1].patches[1:]] == [1.0, 0.6, 0.3]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["bark", "the paler, the less probable"]
    sure = timeline._draw([TimelineClip("a", 10, [Track("found", spans[:1])])], "", [])
    assert len(sure.legends[0].get_texts()) == 1


def test_events_that_overlap_have_lanes_of_their_own() -> None:
    assert timeline._lanes(Track("", FOUND)) == {"bark": 0, "cat": 0, "speech": 0}
    assert timeline._lanes(Track("", OVERLAPPING)) == {"bark": 0, "dog": 1}
    assert timeline._height(Track("", [])) == 1


@pytest.mark.pictures
def test_a_whole_picture(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    frames = random.integers(0, 255, (10, 36, 48, 3), dtype=np.uint8)
    wave = np.sin(np.arange(160000) / 300)
    clips = [
        TimelineClip("best", 10, [Track("truth", TRUTH), Track("found", FOUND, TRUTH)], frames, wave),
        TimelineClip("nothing happens", 10, [Track("truth", []), Track("found", OVERLAPPING, [])], None, wave),
    ]
    path = draw_timelines(clips, tmp_path / "timeline.png", title="Two clips")
    picture = imread(path)
    assert picture.shape[0] > 500
    assert picture.shape[1] > 1200
    with pytest.raises(UsageError, match="suffix"):
        draw_timelines(clips, tmp_path / "timeline.gif")
    with pytest.raises(ValueError, match="at least one clip"):
        draw_timelines([], tmp_path / "timeline.png")
