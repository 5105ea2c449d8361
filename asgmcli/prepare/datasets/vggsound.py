"""VGGSound (Chen, Xie, Vedaldi and Zisserman, 2020): 309 classes of clips in which the source can be seen and heard."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from asgmcli.data.size import Size
from asgmcli.errors import DataError
from asgmcli.files import read_text
from asgmcli.prepare.datasets.listing import SPLIT_WORDS, Entry, LayoutOptions, Listing, match_lists

TITLE = "VGGSound: up to 184K train and 15K test clips of 10 s, 309 classes"
ROOT_HELP = """\
Expected for vggsound: vggsound.csv (id, start second, label, split; no header) in --root or a folder in it, and the
clips ID_000030.mp4 (id and start second, six digits) anywhere below. 200,000 clips of 10 s, 550 hours, several hundred
GB; many are gone from YouTube, which is normal. The list and where to ask for the clips:
https://www.robots.ox.ac.uk/~vgg/data/vggsound/"""
MISSING_IS_BAD = False
OPTIONS = ()
SIZE = Size(309, {"train": 183_730, "test": 15_446}, "the official list")
LIST_NAME = "vggsound.csv"
SECONDS = 10.0


def find(root: Path, options: LayoutOptions) -> Listing:  # noqa: ARG001 - as every data set's
    """List the official clips that are on disk.

    Raises:
        DataError: no list, or one that cannot be understood.
    """
    places = [folder / LIST_NAME for folder in (root, *sorted(root.iterdir())) if (folder / LIST_NAME).is_file()]
    if not places:
        raise DataError(f"No {LIST_NAME} in {root} or a folder in it.\n{ROOT_HELP}")
    entries = read_list(places[0])
    return match_lists(root, entries, sorted({entry.label for entry in entries}))


def read_list(file: Path) -> list[Entry]:
    """Read the lines of vggsound.csv.

    Raises:
        DataError: a line that is not id, start, label, split.
    """
    entries: list[Entry] = []
    with io.StringIO(read_text(file), newline="") as stream:
        reader = csv.reader(stream, skipinitialspace=True)
        for cells in reader:
            if not cells:
                continue
            try:
                name, start, label, split = cells
                entries.append(
                    Entry(f"{name}_{int(float(start)):06d}", label.strip(), SPLIT_WORDS[split.strip()], SECONDS)
                )
            except (ValueError, KeyError):
                raise DataError(
                    f"{file} line {reader.line_num} reads {','.join(cells)[:80]!r}, not id,start,label,split; "
                    "labels with commas stand in quotes. Fetch the list again."
                ) from None
    return entries
