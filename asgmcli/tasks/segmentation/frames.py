"""Frames, masks and flow of a data set, read from its files once or kept in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.features import Features
from asgmcli.data.frames import FrameRow, mask_array, read_flow, read_picture
from asgmcli.data.manifest import Manifest
from asgmcli.errors import MediaError

REST = 0.5


@dataclass
class FrameReader:
    """Reads what a step needs of frames.

    Args:
        manifest: whose clips are read.
        frames: of each clip.
        size: S, side of a frame, pixels.
        sounds: a vector a frame; None: zeros of length `audio_dim`.
        audio_dim: A.
        keep: hold pictures and masks in memory.
    """

    manifest: Manifest
    frames: dict[str, list[FrameRow]]
    size: int
    sounds: Features | None
    audio_dim: int
    keep: bool = False
    _kept: dict[str, Tensor] = field(default_factory=dict)

    def images(self, rows: Sequence[FrameRow]) -> Tensor:
        """Read uint8 [T, 3, S, S].

        Raises:
            MediaError: a file is missing, broken, or of another size.
        """
        return torch.stack([self._file(row.image, "image") for row in rows])

    def masks(self, rows: Sequence[FrameRow]) -> tuple[Tensor, Tensor]:
        """Read masks bool [T, S, S], False where there is none, and bool [T] where there is one.

        Raises:
            MediaError: a file is missing, broken, or of another size.
        """
        nothing = torch.zeros(self.size, self.size, dtype=torch.bool)
        found = [self._file(row.mask, "mask") if row.mask else nothing for row in rows]
        return torch.stack(found), torch.tensor([bool(row.mask) for row in rows])

    def flow(self, clip: str, rows: Sequence[FrameRow]) -> Tensor:
        """Read optical flow float32 [T, 2, S, S] in 0..1; 0.5, no motion, where the clip has none.

        Raises:
            DataError: the clip's flow file is missing, or of another length or shape.
        """
        path = rows[0].flow
        if not path:
            return torch.full((len(rows), 2, self.size, self.size), REST)
        whole = read_flow(self.manifest.folder / path, len(self.frames[clip]), (self.size, self.size))
        return torch.from_numpy(whole[[row.place for row in rows]]).float() / 255

    def audio(self, clip: str, rows: Sequence[FrameRow]) -> Tensor:
        """Return the sound's vectors float32 [T, A]."""
        if self.sounds is None:
            return torch.zeros(len(rows), self.audio_dim)
        return torch.from_numpy(np.array(self.sounds.of_clip(clip)[[row.place for row in rows]], dtype=np.float32))

    def _file(self, name: str, kind: str) -> Tensor:
        key = f"{kind} {name}"
        if key in self._kept:
            return self._kept[key]
        path = self.manifest.folder / name
        found = _image(path) if kind == "image" else torch.from_numpy(mask_array(path))
        if tuple(found.shape[-2:]) != (self.size, self.size):
            height, width = found.shape[-2:]
            raise MediaError(
                f"{path}: {width}x{height} pixels where input.size is {self.size}. Prepare the data set again, or set "
                f"input.size."
            )
        if self.keep:
            self._kept[key] = found
        return found


def _image(path: Path) -> Tensor:
    return torch.from_numpy(np.array(read_picture(path))).permute(2, 0, 1)
