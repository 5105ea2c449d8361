"""The demo of event localization: an event or two, whose class neither picture nor sound tells alone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgmcli.data.segments import Span
from asgmcli.data.size import Size
from asgmcli.synthetic.event_sets import EventSettings, World, make
from asgmcli.synthetic.event_sets import options as options_of
from asgmcli.synthetic.event_worlds import BACKGROUND, EVENTS_CLASSES, events_content
from asgmcli.synthetic.events import Content
from asgmcli.synthetic.making import Progress

TITLE = "generated clips with one event or two, seen and heard; nothing to download"
CLIPS = {"train": 1000, "val": 200, "test": 400}
OPTIONS = options_of(**CLIPS)
NAME = "demo_events"


def _spans(split: str, content: Content) -> list[Span]:  # noqa: ARG001 - of every world
    """Return the events: what is seen and heard at once."""
    return content.joint_spans()


def _label(content: Content) -> str:
    """Return the class of the clip's longest event, the first of equal ones."""
    return max(content.joint_spans(), key=lambda span: span.end - span.start).label


WORLD = World(NAME, (*(entry.name for entry in EVENTS_CLASSES), BACKGROUND), events_content, _spans, _label, False)


def folder(options: Mapping[str, object]) -> str:  # noqa: ARG001 - every generator has it
    """Return the data set's folder in data/."""
    return NAME


def size(options: Mapping[str, Any]) -> Size:
    """Return how many classes and clips the data set of `options` has.

    Raises:
        UsageError: impossible options.
    """
    settings = EventSettings(**{**CLIPS, **options})
    settings.check()
    return Size(len(WORLD.classes), settings.counts, "the settings of what is generated")


def generate(
    out: Path,
    *,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    **given: Any,
) -> None:
    """Make the data set in `out`, see `event_sets.make`; `given` are the options of `OPTIONS`."""
    settings = EventSettings(**{**CLIPS, **given}, seed=seed)
    make(WORLD, out, settings, workers=workers, progress=progress, overwrite=overwrite)
