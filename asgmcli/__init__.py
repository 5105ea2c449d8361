"""asgm: learn from picture and sound together, from few labels."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgmcli.api import Network

__version__ = "0.1.0"


def load(
    path: str | os.PathLike[str],
    device: str = "auto",
    changes: Sequence[str] = (),
    weights: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Network:
    """Load the network that a run trained.

        from asgmcli import load

        recognizer = load("runs/demo/asgm_former/seed0")
        for name, probability in recognizer.predict("clip.mp4")[:3]:
            print(f"{probability:.0%} {name}")

    Args:
        path: the folder of a finished run, or its model.safetensors, which is enough by itself.
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.
        changes: `key.path=value` strings for the sections `evaluate` and `predict` of its recipe.
        weights: files of other networks that it needs, by name.

    Raises:
        DataError: nothing usable is there. UsageError: a run whose network answers nothing, or no such device.
        RecipeError: `changes` has an impossible key.
    """
    # torch takes a second to import, which `asgm --help` need not wait for.
    from asgmcli.api import open_network

    return open_network(path, device, tuple(changes), weights or {})
