"""Features of AVE's kind in the store: the released .h5 files converted in bounded memory, or made from videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from asgmcli.console import make_console
from asgmcli.data.features import FeatureWriter, Origin, features_folder, hash_file
from asgmcli.data.manifest import Manifest
from asgmcli.data.segments import read_segments
from asgmcli.data.windows import WindowSet
from asgmcli.errors import DataError, InstallError
from asgmcli.nn.vggish import VGGish
from asgmcli.nn.weights import WEIGHTS_FOLDER, load_vggish, timm_state
from asgmcli.prepare.extract import Extraction, FrameClips, SoundClips, ensure_features
from asgmcli.prepare.released import FRAMES, MAP, SIZE, VGG19, load_vgg19
from asgmcli.recipe.events import AudioNet, FrameInput

AUDIO, VISUAL = "audio_vggish", "visual_vgg19"
RELEASED = {AUDIO: ("audio_feature.h5", (10, 128)), VISUAL: ("visual_feature.h5", (10, 7, 7, 512))}
"""File of the release and shape of a row, by the store's name."""
DATASET = "avadataset"
BLOCK = 64  # rows read at once
VGGISH_FILES = ("vggish-10086976.pth", "vggish.safetensors", "vggish.pth")
VGG19_NAME = "vgg19.tv_in1k"


def convert(manifest: Manifest, folder: Path, rows: int, say: Callable[[str], None]) -> dict[str, object]:
    """Convert AVE's released features into the store, in the manifest's order; return what summary.json says of them.

    Row i of a file is row i of the list, which has `rows` of them and whose number the clip's id names.

    Raises:
        DataError: a file is missing, of another shape or count, or holds a number that is not finite.
    """
    found: dict[str, object] = {"kind": "released"}
    for name, (file, shape) in RELEASED.items():
        places = sorted(folder.rglob(file))
        if not places:
            raise DataError(f"No {file} under {folder}; AVE's page has it. Or make features: --extract")
        say(f"{name}: converting {places[0]}")
        _convert(manifest, name, places[0], (rows, *shape))
        found[name] = {"file": str(places[0]), "shape": list(shape)}
    return found


def _convert(manifest: Manifest, name: str, path: Path, whole: tuple[int, ...]) -> None:
    shape = whole[1:]
    clips = {int(row.id.partition("_")[0]): row.id for row in manifest.rows}
    origin = Origin(manifest.sha256, "released", {"file": path.name, "seconds": shape[0]})
    with FeatureWriter(features_folder(manifest.folder), name, origin, dict.fromkeys(_ids(manifest), 1), shape) as out:
        missing = set(out.missing)
        for first, block in _blocks(path, whole):
            chosen = [(clips[row], row - first) for row in range(first, first + len(block)) if row in clips]
            out.write((clip, block[place][None]) for clip, place in chosen if clip in missing)


def _ids(manifest: Manifest) -> list[str]:
    return [row.id for row in manifest.rows]


def _blocks(path: Path, shape: tuple[int, ...]) -> Iterator[tuple[int, NDArray[np.float16]]]:
    """Yield (first row, float16 [n, ...]) of a released file of this shape, a row of it for each of the list.

    Raises:
        DataError: the file cannot be read, or is of another shape; or a number is not finite.
    """
    try:
        import h5py
    except ImportError as error:
        raise InstallError(f"{path}: h5py is not installed. Install the extra: pip install 'asgm[ave]'") from error
    try:
        with h5py.File(path, "r") as file:
            data = file[DATASET]
            if tuple(data.shape) != shape:
                raise DataError(
                    f"{path}: '{DATASET}' is {list(data.shape)}, not {list(shape)}, a row for each of the list. Is it "
                    f"AVE's {path.name}?"
                )
            for first in range(0, data.shape[0], BLOCK):
                block = np.asarray(data[first : first + BLOCK])
                finite = np.isfinite(block).reshape(len(block), -1).all(1)
                if not finite.all():
                    raise DataError(
                        f"{path}: row {first + int(finite.argmin())} holds NaN or infinity. Fetch it again."
                    )
                with np.errstate(over="ignore"):  # the store refuses what float16 does not hold
                    half = block.astype(np.float16)
                yield first, half
    except (OSError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no data set '{DATASET}' ({error}). Fetch it again.") from None


def from_videos(
    manifest: Manifest, files: Mapping[str, Path], seconds: int, say: Callable[[str], None]
) -> dict[str, object]:
    """Make both kinds of features from the videos; return what summary.json says of them.

    Args:
        manifest: with segments.csv beside it.
        files: weight files of `vggish` and `vgg19`, where given.
        seconds: T, of a window.
        say: gets lines for a person.

    Raises:
        DataError: weights are missing or do not fit. MediaError: a clip cannot be decoded.
    """
    windows = WindowSet(manifest, read_segments(manifest), seconds)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    vggish = files.get("vggish") or _find_vggish()
    if not vggish.is_file():
        raise DataError(f"{vggish}: no such weight file of VGGish.")
    given = files.get("vgg19")
    if given is not None and not given.is_file():
        raise DataError(f"{given}: no such weight file of VGG-19.")
    frames = FrameInput(size=SIZE, resize_to=SIZE)
    jobs = (
        Extraction(
            AUDIO,
            SoundClips(windows, AudioNet()),
            partial(_vggish, vggish),
            (seconds, 128),
            hash_file(vggish),
            {"network": "vggish", "hop": 1.0},
            tagged=False,
        ),
        Extraction(
            VISUAL,
            FrameClips(windows, frames, FRAMES),
            partial(_vgg19, given),
            (seconds, *MAP),
            f"timm:{VGG19_NAME}" if given is None else hash_file(given),
            {"network": "vgg19", "frames": list(FRAMES), "size": SIZE},
            tagged=False,
        ),
    )
    for job in jobs:
        say(f"{job.name}: from the videos")
        ensure_features(job, device, 0, make_console())
    return {"kind": "extracted", "note": "Not the released numbers: Keras' VGG-19 and its decoder differ."}


def _vgg19(given: Path | None) -> nn.Module:
    return MeanOfFrames(load_vgg19(given if given is not None else _fetched()), len(FRAMES))


class MeanOfFrames(nn.Module):
    """The maps of VGG-19, averaged over the frames of a second.

    Args:
        net: of the frames.
        frames: of a second, side by side.
    """

    def __init__(self, net: VGG19, frames: int) -> None:
        super().__init__()
        self.net, self.frames = net, frames

    def forward(self, frames: Tensor) -> Tensor:
        """Return [N, 7, 7, 512] of frames [N * frames, 3, 224, 224]."""
        maps: Tensor = self.net(frames).unflatten(0, (-1, self.frames)).mean(1)
        return maps


def _vggish(path: Path) -> VGGish:
    net = VGGish()
    load_vggish(net, path)
    return net


def _find_vggish() -> Path:
    """Return VGGish's weight file in the folder of weights.

    Raises:
        DataError: there is none.
    """
    for name in VGGISH_FILES:
        if (Path(WEIGHTS_FOLDER) / name).is_file():
            return Path(WEIGHTS_FOLDER) / name
    raise DataError(
        f"VGGish's weights are not here: put {VGGISH_FILES[0]} (torchvggish's release) into {WEIGHTS_FOLDER}/, or name "
        "it: --weights vggish=FILE"
    )


def _fetched() -> str | Path | Mapping[str, object]:
    return timm_state(VGG19_NAME, or_name=", or name it: --weights vgg19=FILE")
