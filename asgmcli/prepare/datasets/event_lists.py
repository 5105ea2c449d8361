"""Shared parts of data sets of events: their options, segments.csv, features released or made, and cached frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.segments import Span, segments_csv
from asgmcli.errors import UsageError
from asgmcli.prepare.datasets.listing import LayoutOptions

WEIGHTS = click.Option(
    ["--weights"],
    multiple=True,
    metavar="NAME=FILE",
    help="With --extract: weight file of vggish or vgg19.  [default: in weights/; timm fetches VGG-19]",
)
EXTRACT = click.Option(["--extract"], is_flag=True, help="Make features from the videos: VGGish, and VGG-19's maps.")
CACHE_FORM = click.Option(
    ["--cache-form"],
    type=click.Choice(["jpeg", "h264"]),
    default="jpeg",
    show_default=True,
    help="With --cache: 16 frames a second as JPEGs, or short clips as other data sets have them.",
)
MADE = (WEIGHTS, EXTRACT, CACHE_FORM)
"""Options of what is made after the manifest."""


@dataclass(frozen=True)
class Placed:
    """An event of a clip, and the line of the list that names it."""

    start: float
    end: float
    label: str
    line: int


def segments_of(events: Mapping[str, Sequence[Placed]], rows: Sequence[ManifestRow]) -> str:
    """Return the text of segments.csv for the clips that were kept."""
    spans = {clip: [Span(one.start, one.end, one.label) for one in found] for clip, found in events.items()}
    return segments_csv(spans, rows)


def finish_of(
    options: LayoutOptions, listed: int = 0
) -> Callable[[Manifest, Callable[[str], None]], dict[str, object]] | None:
    """Return what makes features once the manifest is written, released ones converted or new ones made; None: nothing.

    Args:
        options: of the user.
        listed: rows of the list that released features go with.

    Raises:
        UsageError: options that do not go together.
    """
    own = options.own
    released, extracted = own.get("features"), bool(own.get("extract"))
    if released and extracted:
        raise UsageError("--features converts released features, --extract makes them: give one of both.")
    files = dict(_named(text) for text in own.get("weights") or ())
    if not released and not extracted:
        return None
    seconds = int(own.get("seconds") or 10)

    def finish(manifest: Manifest, say: Callable[[str], None]) -> dict[str, object]:
        from asgmcli.prepare import ave_features  # torch, and only here

        if released:
            return {"features": ave_features.convert(manifest, Path(str(released)), listed, say)}
        return {"features": ave_features.from_videos(manifest, files, seconds, say)}

    return finish


def _named(text: str) -> tuple[str, Path]:
    name, found, path = text.partition("=")
    if not found or name not in ("vggish", "vgg19") or not path:
        raise UsageError(f"--weights {text}: write it as vggish=FILE or vgg19=FILE.")
    return name, Path(path)
