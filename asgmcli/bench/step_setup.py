"""The training steps that `asgm bench step` measures, defined without torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

# dim, heads; 12 blocks each.
SIZES = {"vit_ti": (192, 3), "vit_s": (384, 6), "vit_b": (768, 12)}
TITLES = {"vit_ti": "ViT-Ti", "vit_s": "ViT-S", "vit_b": "ViT-B"}


@dataclass(frozen=True)
class Setup:
    """One setting of the step: the network's size, the batch, and how it is computed.

    With `largest` the batch is the largest multiple of `labeled` and `unlabeled` that the device holds.
    """

    size: str
    labeled: int = 1
    unlabeled: int = 2
    frames: int = 8
    pixels: int = 224
    modality: str = "video"
    precision: str = "fp32"
    checkpointing: bool = False
    compile: bool = False
    device: str = "cpu"
    threads: int = 1
    largest: bool = False

    @property
    def clips(self) -> int:
        """Return the clips a step."""
        return self.labeled + self.unlabeled


def setups_of(first: Setup, sizes: Iterable[str]) -> Iterator[Setup]:
    """Yield the setups to measure for each of `sizes`, all else as in `first`.

    On a CPU or an Apple GPU with and without activation checkpointing; on a CUDA GPU fp32, bf16, and bf16 compiled,
    each with the largest batch that fits.
    """
    for size in sizes:
        setup = replace(first, size=size)
        if not first.device.startswith("cuda"):
            yield setup
            yield replace(setup, checkpointing=True)
        else:
            setup = replace(setup, largest=True)
            yield setup
            yield replace(setup, precision="bf16")
            yield replace(setup, precision="bf16", compile=True)
