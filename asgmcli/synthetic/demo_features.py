"""Features of the parsing demo's clips: a small CNN over frames, log-mel bands of the sound, both of each second.

The CNN learns to name other glyphs than the demo's in stills of its own; it is kept beside the features, so that any
clip can be asked about.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.data.features import FeatureWriter, Origin, features_folder, hash_file
from asgmcli.data.manifest import ManifestRow, read_manifest
from asgmcli.errors import DataError
from asgmcli.media.audio import log_mel
from asgmcli.media.seconds import SECONDS, read_frames, read_sound
from asgmcli.nn.state import read_metadata, read_state, write_safetensors
from asgmcli.nn.still_cnn import CELL, WIDTHS, StillCNN
from asgmcli.synthetic.demo_parsing import NETWORKS_NAME, STORES
from asgmcli.synthetic.glyphs import draw_still
from asgmcli.synthetic.making import Progress, in_processes

FORMAT = "asgm-demo-features"
FRAMES_A_SECOND = 2
SIZE = 48
RATE = 16_000
MELS = 64
WIDTH = WIDTHS[-1]
GLYPHS = 60
"""Glyphs that the CNN learns, none of them a kind of the demo's."""
STILLS, EPOCHS, BATCH, RATE_OF_LEARNING = 2500, 6, 25, 5e-3
"""Stills an epoch, which are drawn anew for each, and how the CNN learns."""
NOTHING_WEIGHT = 0.1  # of a cell without a glyph, in the loss: there are many
NEAR = 0.6  # of a sticker's radius, within which a cell is of it
SEED = 40_000
SPREAD_FLOOR = 1e-3


@dataclass(frozen=True)
class DemoFeatures:
    """The maker of the features of any clip.

    Attributes:
        network: of the frames.
        mean: float32 [3, 128] of sound, picture and motion on the training clips.
        std: float32 [3, 128].
    """

    network: StillCNN
    mean: Tensor
    std: Tensor

    frames_a_second = FRAMES_A_SECOND
    short_side = SIZE
    widths = (WIDTH, WIDTH, WIDTH)

    @torch.no_grad()
    def of_picture(self, frames: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return image and motion [10, 128] of a window's frames uint8 [20, H, W, 3]."""
        features = _seen(self.network, frames)
        made = torch.stack([features.mean(1), features.amax(1)])
        image, motion = ((made - self.mean[1:, None]) / self.std[1:, None]).unbind(0)
        return image, motion

    def of_sound(self, wave: NDArray[np.float32]) -> Tensor:
        """Return the sound's features [10, 128] of a window's wave [160000]."""
        sound: Tensor = (_heard(wave) - self.mean[0]) / self.std[0]
        return sound

    def save(self, path: Path) -> None:
        """Write it to a weight file."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        write_safetensors(path, {**tensors, "mean": self.mean, "std": self.std}, {"format": FORMAT})


def load_demo_features(path: Path) -> DemoFeatures:
    """Load what makes the features.

    Raises:
        DataError: no such file, or another one.
    """
    if read_metadata(path).get("format") != FORMAT:
        raise DataError(f"{path}: not the networks of the demo's features. Prepare demo_parsing anew.")
    state = read_state(path)
    network = StillCNN(GLYPHS)
    network.load_state_dict({name.removeprefix("network."): value for name, value in state.items() if "." in name})
    return DemoFeatures(network.eval(), state["mean"], state["std"])


def learn_network(out: Path, stills: int = STILLS, epochs: int = EPOCHS) -> None:
    """Learn the CNN of the features in `out` from `stills` an epoch, with one thread."""
    folder = features_folder(out)
    folder.mkdir(exist_ok=True)
    with _one_thread():
        network = train_stills(stills, epochs)
    _save_alone(network, folder / NETWORKS_NAME)


def _save_alone(network: StillCNN, path: Path) -> None:
    """Write the network for features that are not normalised."""
    zero, one = torch.zeros(len(STORES), WIDTH), torch.ones(len(STORES), WIDTH)
    DemoFeatures(network, zero, one).save(path)


def make_features(out: Path, *, workers: int | None = None, progress: Progress | None = None) -> dict[str, Any]:
    """Write the three stores of the data set in `out`, whose CNN is learnt. Return the summary's entries.

    The same clips give the same features on any number of workers. `progress` is called after every clip.
    """
    manifest = read_manifest(out)
    folder = features_folder(out)
    path = folder / NETWORKS_NAME
    network = load_demo_features(path).network
    items = [(str(manifest.resolve(row)), row) for row in manifest.rows]
    raw = np.stack(list(in_processes(partial(_of_clip, path), items, workers, progress)))  # [N, 3, 10, 128]
    trained = [number for number, row in enumerate(manifest.rows) if row.split == "train"] or list(range(len(raw)))
    chosen = raw[trained].astype(np.float64)
    mean, spread = chosen.mean(axis=(0, 2)), chosen.std(axis=(0, 2)) + SPREAD_FLOOR
    made = DemoFeatures(network, torch.from_numpy(mean).float(), torch.from_numpy(spread).float())
    made.save(path)
    origin = Origin(manifest.sha256, hash_file(path), {"maker": "demo"})
    clips = {row.id: 1 for row in manifest.rows}
    for place, name in enumerate(STORES):
        values = ((raw[:, place] - mean[place]) / spread[place]).astype(np.float16)
        with FeatureWriter(folder, name, origin, clips, (SECONDS, WIDTH)) as writer:
            known = dict(zip(clips, values, strict=True))
            writer.write((clip, known[clip][None]) for clip in writer.missing)
    return {"features": {"names": list(STORES), "width": WIDTH, "networks": f"features/{NETWORKS_NAME}"}}


def _of_clip(path: Path, item: tuple[str, ManifestRow]) -> NDArray[np.float32]:
    """Return a clip's features before they are normalised, [3, 10, 128]."""
    torch.set_num_threads(1)
    file, row = item
    made = _loaded(path)
    image, motion = made.of_picture(read_frames(file, row.fps, row.frames, 0, FRAMES_A_SECOND))
    found: NDArray[np.float32] = torch.stack([made.of_sound(read_sound(file, 0)), image, motion]).numpy()
    return found


@lru_cache(maxsize=1)
def _loaded(path: Path) -> DemoFeatures:
    return load_demo_features(path)


def _seen(network: StillCNN, frames: NDArray[np.uint8]) -> Tensor:
    """Return features [10, frames a second, 128] of frames of any size, squashed to 48 x 48."""
    picture = torch.from_numpy(frames).permute(0, 3, 1, 2)
    if picture.shape[2:] != (SIZE, SIZE):
        resized = F.interpolate(picture.float(), (SIZE, SIZE), mode="bilinear", antialias=True, align_corners=False)
        picture = resized.round_().clamp_(0, 255).to(torch.uint8)
    features: Tensor = network.features(picture).unflatten(0, (SECONDS, -1))
    return features


def _heard(wave: NDArray[np.float32]) -> Tensor:
    """Return mean and deviation of 64 log-mel bands over each second, [10, 128]."""
    bands = log_mel(wave.reshape(SECONDS, RATE), rate=RATE, mels=MELS)
    return torch.cat([bands.mean(1), bands.std(1)], dim=1)


def draw_cells(seed: int, number: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw a still uint8 [48, 48, 3] with one to three stickers, and the class of each of its cells [6, 6] (0 none)."""
    still = draw_still(np.random.default_rng([seed, number]), GLYPHS, SIZE)
    side = SIZE // CELL
    cells = np.zeros((side, side), np.int64)
    middle = (np.arange(side) + 0.5) / side
    for glyph, (x, y, radius) in zip(still.glyphs, still.places, strict=True):
        if glyph >= 0:
            distance = np.hypot(middle[None] - x, middle[:, None] - y)
            cells[distance <= max(NEAR * radius, float(distance.min()))] = glyph + 1
    return still.frame, cells


def train_stills(count: int = STILLS, epochs: int = EPOCHS, seed: int = SEED) -> StillCNN:
    """Train the network on `count` drawn stills an epoch; the same on every machine of a kind, with one thread."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = StillCNN(GLYPHS).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), RATE_OF_LEARNING)
        weight = torch.ones(1 + GLYPHS)
        weight[0] = NOTHING_WEIGHT
        parts = torch.arange(count * epochs).split(BATCH)
        for step, part in enumerate(parts):
            optimizer.param_groups[0]["lr"] = RATE_OF_LEARNING * 0.5 * (1 + math.cos(math.pi * step / len(parts)))
            frames, cells = zip(*(draw_cells(seed, number) for number in part.tolist()), strict=True)
            pictures = torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
            loss = F.cross_entropy(network(pictures), torch.from_numpy(np.stack(cells)), weight)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread for the block: the number of threads decides the last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
