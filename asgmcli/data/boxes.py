"""True boxes of sound sources: `boxes.csv` beside a manifest, columns id, frame, x1, y1, x2, y2 in pixels.

An optional column `annotator` says who drew a box, counted from 1; without it, or with 0, all boxes are one agreed
annotation.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass

import numpy as np

from asgmcli.data.manifest import Manifest
from asgmcli.errors import DataError
from asgmcli.files import MOST_TEXT, read_bytes

BOXES_NAME = "boxes.csv"


@dataclass(frozen=True)
class FrameBoxes:
    """The boxes of one frame: `corners` float64 [n, 4] x1, y1, x2, y2 as fractions, `annotators` [n] who drew each."""

    corners: np.ndarray
    annotators: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.annotators)


Boxes = dict[str, dict[int, FrameBoxes]]


def read_boxes(manifest: Manifest) -> Boxes:
    """Read a data set's boxes by clip id and frame.

    Raises:
        DataError: no such file, or a row that is not as described; the line is named.
    """
    path = manifest.folder / BOXES_NAME
    sizes = {row.id: (row.width, row.height) for row in manifest.rows}
    found: dict[str, dict[int, list[tuple[list[float], int]]]] = {}
    try:
        with io.StringIO(read_bytes(path, MOST_TEXT).decode("utf-8"), newline="") as file:
            for line, record in enumerate(csv.DictReader(file), start=2):
                try:
                    frame, box, annotator = _box(record, sizes[record["id"]])
                except (KeyError, TypeError, ValueError, ZeroDivisionError) as error:
                    raise DataError(f"{path}:{line}: not a box of a clip in {manifest.path.name}: {error}") from None
                found.setdefault(record["id"], {}).setdefault(frame, []).append((box, annotator))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file of boxes: {error}") from None
    except FileNotFoundError:
        raise DataError(f"{path}: no boxes here; {manifest.folder} cannot tell where its sounds come from") from None
    return {clip: {frame: _joined(boxes) for frame, boxes in frames.items()} for clip, frames in found.items()}


def has_boxes(manifest: Manifest) -> bool:
    """Return True if the data set has boxes around its sound sources."""
    return (manifest.folder / BOXES_NAME).exists()


def _box(record: dict[str, str], size: tuple[int, int]) -> tuple[int, list[float], int]:
    """Return frame, corners as fractions and annotator of one line."""
    x1, y1, x2, y2 = (float(record[name]) for name in ("x1", "y1", "x2", "y2"))
    frame, annotator = int(record["frame"]), int(record.get("annotator") or 0)
    if not (0 <= x1 < x2 < math.inf and 0 <= y1 < y2 < math.inf and frame >= 0 and annotator >= 0):
        raise ValueError(f"frame {frame}, corners {x1:g} {y1:g} {x2:g} {y2:g}, annotator {annotator}")
    width, height = size
    return frame, [x1 / width, y1 / height, x2 / width, y2 / height], annotator


def _joined(boxes: list[tuple[list[float], int]]) -> FrameBoxes:
    return FrameBoxes(np.array([corners for corners, _ in boxes]), tuple(annotator for _, annotator in boxes))
