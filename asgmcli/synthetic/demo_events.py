"""The demo of event localization: an event or two, whose class neither picture nor sound tells alone."""

from __future__ import annotations

from asgmcli.data.segments import Span
from asgmcli.synthetic.event_casts import BACKGROUND, EVENT_CLASSES, events_cast, joint_spans
from asgmcli.synthetic.event_sets import World
from asgmcli.synthetic.event_sets import options as options_of
from asgmcli.synthetic.things import MARK as MARK
from asgmcli.synthetic.things import Clip

TITLE = "generated clips with one event or two, seen and heard; nothing to download"
CLIPS = {"train": 1000, "val": 200, "test": 400}
OPTIONS = options_of(**CLIPS)
NAME = "demo_events"


def _spans(split: str, clip: Clip) -> list[Span]:  # noqa: ARG001 - of every world
    """Return the events: what is seen and heard at once."""
    return joint_spans(clip)


def _label(clip: Clip) -> str:
    """Return the class of the clip's longest event, the first of equal ones."""
    return max(joint_spans(clip), key=lambda span: span.end - span.start).label


WORLD = World(NAME, CLIPS, (*(entry.name for entry in EVENT_CLASSES), BACKGROUND), events_cast, _spans, _label, False)

folder, size, generate = WORLD.folder, WORLD.size, WORLD.generate
