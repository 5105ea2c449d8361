"""The plan of a clip that is frames with masks: which files there should be, and what is made of its video."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from asgmcli.media.flow import BOUND

SIZE = 224
PICTURE_AT = 15 / 16
"""Second within each at which AVSBench takes its picture: the end."""
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Plan:
    """The files of a clip.

    Attributes:
        images: picture files, in order; empty where they are cut from the video.
        masks: mask files by picture, "" where there is none.
        needed: pictures (by place) whose mask must be there.
        video: file of the video, "" where there is none.
        seconds: when pictures of a video are taken; None: at 15/16 of each second.
        sound: file of the sound (.pkl, .wav or a video), "" where there is none.
        sound_at: second at which a window of sound begins that is cut out; None: the sound is taken as it is.
        flow: `none`, `farneback`, `raft`, or `released`.
        released: files of released flow, x and y by picture.
        weights: RAFT's weight file, where the flow is its.
        bound: largest displacement of the flow, pixels.
        out: folder of what is made.
        empty_is_odd: a mask without a pixel is noted.
        squeeze: pictures and masks are of any size, and are written squeezed to 224x224.
    """

    images: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()
    needed: tuple[int, ...] = ()
    video: str = ""
    seconds: tuple[float, ...] | None = None
    sound: str = ""
    sound_at: float | None = None
    flow: str = "none"
    released: tuple[tuple[str, str], ...] = ()
    weights: str = ""
    bound: float = BOUND
    out: str = ""
    empty_is_odd: bool = False
    squeeze: bool = False

    def text(self) -> str:
        """Return the plan as the first of `FileCheck.more`."""
        return json.dumps(self.__dict__)

    @classmethod
    def read(cls, text: str) -> Plan:
        """Read what `text` gave."""
        values: dict[str, Any] = json.loads(text)
        pairs = tuple((x, y) for x, y in values.pop("released"))
        for name, value in values.items():
            values[name] = tuple(value) if isinstance(value, list) else value
        return cls(**values, released=pairs)

    @property
    def files(self) -> tuple[str, ...]:
        """Return the files whose change makes the clip checked anew."""
        released = (name for pair in self.released for name in pair)
        found = [*self.images, *self.masks, self.video, self.sound, self.weights, *released]
        return tuple(dict.fromkeys(name for name in found if name))


class Unusable(Exception):
    """A clip that is left out, and why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def taken_at(duration: float) -> tuple[float, ...]:
    """Return when AVSBench takes pictures of a video: at 15/16 of each of its whole seconds."""
    return tuple(second + PICTURE_AT for second in range(max(1, int(duration + 0.1))))


def squeezed(frame: Array, size: int = SIZE) -> Array:
    """Return a frame uint8 [H, W, 3] squeezed, not cropped, to a square."""
    picture: Array = np.asarray(Image.fromarray(frame).resize((size, size), Image.Resampling.BILINEAR))
    return picture
