"""The demo of video parsing: one to four things a clip, each heard, seen, or both, in some of its seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asgmcli.data.segments import Span
from asgmcli.data.size import Size
from asgmcli.synthetic.event_sets import EventSettings, World, make
from asgmcli.synthetic.event_sets import options as options_of
from asgmcli.synthetic.event_worlds import PARSING_CLASSES, parsing_content
from asgmcli.synthetic.events import SECONDS, Content
from asgmcli.synthetic.making import Progress

TITLE = "generated clips of one to four things, each heard, seen, or both; nothing to download"
CLIPS = {"train": 1800, "val": 250, "test": 500}
OPTIONS = options_of(**CLIPS)
NAME = "demo_parsing"


def _spans(split: str, content: Content) -> list[Span]:
    """Return the bag of labels; on val and test also the seconds in which each is heard, and seen."""
    labels = dict.fromkeys(thing.label for thing in content.things)
    bag = [Span(0.0, float(SECONDS), label, modality="clip") for label in labels]
    return bag if split == "train" else bag + content.spans()


def _label(content: Content) -> str:  # noqa: ARG001 - of every world
    """Return nothing: a clip has several labels."""
    return ""


WORLD = World(NAME, tuple(entry.name for entry in PARSING_CLASSES), parsing_content, _spans, _label, True)


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
