"""The demo of event localization: an event or two, whose class neither picture nor sound tells alone."""

from __future__ import annotations

from asgmcli.data.segments import Span
from asgmcli.synthetic.event_sets import World
from asgmcli.synthetic.event_sets import options as options_of
from asgmcli.synthetic.event_worlds import BACKGROUND, EVENTS_CLASSES, events_content
from asgmcli.synthetic.events import Content

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


WORLD = World(
    NAME,
    CLIPS,
    (*(entry.name for entry in EVENTS_CLASSES), BACKGROUND),
    events_content,
    _spans,
    _label,
    False,
    version=2,
)

folder, size, generate = WORLD.folder, WORLD.size, WORLD.generate
