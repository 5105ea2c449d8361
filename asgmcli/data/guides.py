"""Maps that a training sample carries with it: what a guide knows beforehand, seen through the sample's view."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.augment import Geometry, apply_geometry_to_maps
from asgmcli.data.boxes import BOXES_NAME, read_boxes
from asgmcli.data.manifest import Manifest, ManifestRow
from asgmcli.data.maps import MapReader
from asgmcli.errors import DataError


class ViewMaps(Protocol):
    """Maps of a clip's sound source as its view shows it."""

    def of_view(self, row: ManifestRow, frames: Sequence[int], geometry: Geometry, size: tuple[int, int]) -> Tensor:
        """Return maps [T, h, w] for the crop and flip of `geometry`, of `frames`, which are `size` (height, width)
        pixels.
        """


class RecordedMaps:
    """The motion localizer's maps, made before training (see `MapReader`)."""

    def __init__(self, manifest: Manifest, *, keep: bool = False) -> None:
        self.reader = MapReader(manifest, keep=keep)

    def of_view(self, row: ManifestRow, frames: Sequence[int], geometry: Geometry, size: tuple[int, int]) -> Tensor:
        """Return maps [T, h, w] with as many cells as were recorded.

        Raises:
            MediaError: the clip has no maps, or they cannot be read.
        """
        maps = torch.from_numpy(self.reader.maps(row, frames))
        return apply_geometry_to_maps(maps, geometry, size)


class TrueMaps:
    """The true boxes of a data set that has them: the oracle, for asking what a perfect localizer would bring.

    Args:
        manifest: with boxes.csv beside it.
        grid: (rows, columns) of the maps, the network's tokens.
    """

    def __init__(self, manifest: Manifest, grid: tuple[int, int]) -> None:
        self.path = manifest.folder / BOXES_NAME
        self.boxes = read_boxes(manifest)
        self.grid = grid

    def check(self, rows: Iterable[ManifestRow]) -> None:
        """Check that every clip has a box somewhere.

        Raises:
            DataError: some have none.
        """
        without = [row.id for row in rows if row.id not in self.boxes]
        if without:
            raise DataError(
                f"{self.path}: no box of {len(without)} training clips, the first {without[0]}. localizer.kind oracle "
                "needs the truth of all."
            )

    def of_view(self, row: ManifestRow, frames: Sequence[int], geometry: Geometry, size: tuple[int, int]) -> Tensor:
        """Return float32 [T, rows, columns]: each cell's share inside the source's box; 0 if the view has lost it."""
        maps = np.zeros((len(frames), *self.grid), np.float32)
        for place, frame in enumerate(frames):
            found = self.boxes[row.id].get(frame)
            for corners in found.corners if found is not None else ():
                covered = box_coverage(_in_view(corners, geometry, size), self.grid)
                maps[place] = np.maximum(maps[place], covered)
        return torch.from_numpy(maps)


def box_coverage(corners: Sequence[float], grid: tuple[int, int]) -> np.ndarray:
    """Return the share of each cell of a grid that a box covers, float64 [rows, columns].

    Args:
        corners: x1, y1, x2, y2 as fractions of the grid; what lies outside 0..1 is cut off.
        grid: (rows, columns).
    """
    x1, y1, x2, y2 = corners
    sides = []
    for low, high, cells in ((y1, y2, grid[0]), (x1, x2, grid[1])):
        edges = np.arange(cells + 1)
        sides.append(np.clip(np.minimum(high * cells, edges[1:]) - np.maximum(low * cells, edges[:-1]), 0, 1))
    return np.outer(*sides)


def _in_view(corners: np.ndarray, geometry: Geometry, size: tuple[int, int]) -> list[float]:
    """Convert corners from fractions of the frame to fractions of the crop, mirrored if it is."""
    height, width = size
    x1, x2 = ((x * width - geometry.left) / geometry.width for x in corners[[0, 2]])
    y1, y2 = ((y * height - geometry.top) / geometry.height for y in corners[[1, 3]])
    return [1 - x2, y1, 1 - x1, y2] if geometry.flip else [x1, y1, x2, y2]
