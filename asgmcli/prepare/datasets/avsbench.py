"""Shared parts of AVSBench's two data sets (J. Zhou et al., ECCV 2022): lists, and where files lie."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from asgmcli.errors import DataError
from asgmcli.files import read_text
from asgmcli.media.flow import BOUND
from asgmcli.prepare.datasets.frame_plan import Plan
from asgmcli.prepare.datasets.listing import SPLIT_WORDS, LayoutOptions

FRAMES = 5


def folder_of(root: Path, name: str, help_text: str) -> Path:
    """Return the data set's folder: `root`/name, or `root` itself.

    Raises:
        DataError: it is not there.
    """
    for folder in (root / name, root):
        if folder.name == name and folder.is_dir():
            return folder
    raise DataError(f"No folder {name} in {root}.\n{help_text}")


def read_list(path: Path, columns: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a list of clips, with or without a header; `split` is a split's name of this program.

    Raises:
        DataError: the list is missing, or a line has other columns.
    """
    try:
        text = read_text(path)
    except OSError:
        raise DataError(f"{path}: no such list. It comes with AVSBench.") from None
    found = []
    reader = csv.reader(io.StringIO(text, newline=""))
    for cells in reader:
        plain = [cell.strip() for cell in cells]
        if not any(plain) or "split" in plain:
            continue
        record = dict(zip(columns, plain, strict=False))
        if len(plain) != len(columns) or record["split"].lower() not in SPLIT_WORDS:
            raise DataError(f"{path} line {reader.line_num} reads {','.join(cells)[:80]!r}, not {','.join(columns)}")
        found.append({**record, "split": SPLIT_WORDS[record["split"].lower()]})
    return found


def sound_of(places: list[Path]) -> str:
    """Return the first of a clip's possible files of sound that is there, "" where none is."""
    return next((str(place) for place in places if place.exists()), "")


def plan_of(options: LayoutOptions, **parts: Any) -> Plan:
    """Return a clip's plan, made in the data set's folder with the flow's bound of `options`."""
    weights = options.own.get("flow_weights")
    return Plan(
        weights="" if weights is None else str(Path(weights).absolute()),
        bound=float(options.own.get("flow_bound", BOUND)),
        out=str(options.out.absolute()),
        **parts,
    )


def released_flow(folder: Path, names: list[str]) -> tuple[tuple[str, str], ...]:
    """Return the files of released flow of a clip's frames, by their place below flows_x and flows_y."""
    return tuple((str(folder / "flows_x" / name), str(folder / "flows_y" / name)) for name in names)


def youtube_id(name: str) -> str:
    """Return the YouTube id that a clip's name begins with."""
    return name[:11]
