"""Clips as single frames: `frames.csv` beside a manifest, columns id, frame, image, mask, flow, a row a frame.

`frame` is the frame's own number, `image` and `mask` are picture files ("" where a frame has no mask), `flow` is the
clip's file of optical flow ("" where there is none): uint8 [frames, 2, H, W], whose n-th entry belongs to the clip's
n-th row. Paths are relative to the manifest's folder or absolute.
"""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asgmcli.data.manifest import Manifest
from asgmcli.errors import DataError, MediaError
from asgmcli.files import MOST_TEXT, read_bytes

if TYPE_CHECKING:
    from torch import Tensor

FRAMES_NAME = "frames.csv"
FRAME_COLUMNS = ("id", "frame", "image", "mask", "flow")
FOREGROUND = 128
"""Grey from which a pixel of a mask belongs to what sounds."""
MOST_PICTURE_BYTES = 64 << 20
_MOST_PIXELS = 1 << 26
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, slots=True)
class FrameRow:
    """A frame of a clip.

    Attributes:
        frame: its own number.
        image: picture file.
        mask: mask file, "" where there is none.
        flow: the clip's flow file, "" where there is none.
        place: which of its clip's rows it is, from 0.
    """

    frame: int
    image: str
    mask: str
    flow: str
    place: int


def frames_text(clips: Mapping[str, Sequence[FrameRow]], ids: Iterable[str]) -> str:
    """Return the text of frames.csv for the clips `ids`, in their order."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FRAME_COLUMNS)
    for name in ids:
        writer.writerows((name, row.frame, row.image, row.mask, row.flow) for row in clips[name])
    return text.getvalue()


def read_frames(manifest: Manifest) -> dict[str, list[FrameRow]]:
    """Read a data set's frames by clip id, in file order.

    Raises:
        DataError: no such file, a row that is not as described (the line is named), or a clip without frames.
    """
    path = manifest.folder / FRAMES_NAME
    known = {row.id for row in manifest.rows}
    found: dict[str, list[FrameRow]] = {}
    try:
        with io.StringIO(read_bytes(path, MOST_TEXT).decode("utf-8"), newline="") as file:
            for line, record in enumerate(csv.DictReader(file), start=2):
                try:
                    name, frame = record["id"], int(record["frame"])
                    texts = [record[key] for key in ("image", "mask", "flow")]
                    if name not in known or not texts[0] or any("\0" in text for text in texts):
                        raise ValueError(f"{name}, frame {frame}, image {texts[0]!r}")
                except (KeyError, TypeError, ValueError, AttributeError) as error:
                    raise DataError(f"{path}:{line}: not a frame of a clip in {manifest.path.name}: {error}") from None
                rows = found.setdefault(name, [])
                rows.append(FrameRow(frame, texts[0], texts[1], texts[2], len(rows)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a CSV file of frames: {error}") from None
    except FileNotFoundError:
        raise DataError(
            f"{path}: no frames here; {manifest.folder} is no data set for segmentation. Prepare one: asgm prepare "
            "avsbench_s4, avsbench_ms3, segmentation or demo_segmentation."
        ) from None
    if without := next((row.id for row in manifest.rows if row.id not in found), None):
        raise DataError(f"{path}: clip {without!r} has no frames. Prepare the data set again.")
    return found


def read_picture(path: str | Path, mode: str = "RGB") -> Array:
    """Read a picture file: uint8 [H, W, 3], or [H, W] in mode L.

    Raises:
        MediaError: the file is missing, too large, or no picture; the message names it.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(read_bytes(path, MOST_PICTURE_BYTES))) as image:
                if image.width * image.height > _MOST_PIXELS:
                    raise ValueError(f"{image.width}x{image.height} pixels are too many")
                return np.asarray(image.convert(mode))
    except OSError as error:
        reason = error.strerror or str(error).replace("<_io.BytesIO object", "the content <")
        raise MediaError(f"{path}: cannot be read as a picture ({reason.split(' <')[0]})") from None
    except DataError as error:
        raise MediaError(error.message) from None
    except Exception as error:  # Pillow's decoders raise many kinds on broken files
        raise MediaError(f"{path}: cannot be read as a picture ({error})") from None


def mask_array(path: str | Path) -> Array:
    """Read a mask, bool [H, W]: a PNG of any mode, made grey, is foreground where grey is at least 128.

    Raises:
        MediaError: the file is missing or no picture.
    """
    return read_picture(path, "L") >= FOREGROUND


def read_mask(path: str | Path) -> Tensor:
    """Read a mask as `mask_array` does; a tensor, bool [H, W].

    Raises:
        MediaError: the file is missing or no picture.
    """
    import torch

    return torch.from_numpy(mask_array(path))


def read_flow(path: str | Path, frames: int, size: tuple[int, int]) -> Array:
    """Open a clip's optical flow, uint8 [frames, 2, H, W], memory-mapped.

    Args:
        path: of the .npy file.
        frames: that the clip has.
        size: (H, W) of its frames.

    Raises:
        DataError: the file is missing, no array, or of another length or shape.
    """
    how = "Make it again: the command that prepared the data set, with --overwrite."
    try:
        flow: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such flow file. {how}") from None
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path}: not a file of optical flow ({error}). {how}") from None
    wanted = (frames, 2, *size)
    if flow.dtype != np.uint8 or flow.shape != wanted:
        raise DataError(f"{path}: flow of {flow.dtype} {list(flow.shape)} instead of uint8 {list(wanted)}. {how}")
    return flow
