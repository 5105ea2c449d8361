"""The toy system's data set: videos named `<class>_<split>_<number>.mp4`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from asgmcli.data.manifest import ManifestRow
from asgmcli.prepare.datasets.listing import Candidate, LayoutOptions, Listing

TITLE = "clips of one colour"
ROOT_HELP = "Expected for colours: videos named class_split_number.mp4."
MISSING_IS_BAD = True
OPTIONS = (click.Option(["--only"], help="Take this class alone."),)


def find(root: Path, options: LayoutOptions) -> Listing:
    """List the videos, with a file of their classes beside the manifest."""
    found = []
    for path in sorted(root.glob("*.mp4")):
        label, split, _ = path.stem.split("_")
        if options.own.get("only") in (None, label):
            found.append(Candidate(path.stem, path, label, split))
    return Listing(found, sorted({clip.label for clip in found}), files={"colours.csv": _colours})


def _colours(rows: Sequence[ManifestRow]) -> str:
    return "id,colour\n" + "".join(f"{row.id},{row.label}\n" for row in rows)
