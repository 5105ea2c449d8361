"""asgm: semi-supervised action recognition from picture and sound together."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asgmcli.api import Network

__version__ = "0.1.0"


def load(path: str | os.PathLike[str], device: str = "auto") -> Network:
    """Load the network that a run trained.

        from asgmcli import load

        recognizer = load("runs/demo/asgm_former/seed0")
        for name, probability in recognizer.predict("clip.mp4")[:3]:
            print(f"{probability:.0%} {name}")

    Args:
        path: the folder of a finished run, or its model.safetensors, which is enough by itself.
        device: `auto` (a GPU if there is one), `cpu` or `cuda`.

    Raises:
        DataError: nothing usable is there. UsageError: a run whose network answers nothing, or no such device.
    """
    # torch takes a second to import, which `asgm --help` need not wait for.
    from asgmcli import api

    return api.load(path, device)
