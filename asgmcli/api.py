"""A trained network in Python: load a run, ask about a clip."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from asgmcli.ranks.device import choose_device
from asgmcli.runs.target import find_trained
from asgmcli.train.task import Trained


class Network:
    """A trained network that answers about clips; made by `asgmcli.load`."""

    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    @property
    def classes(self) -> list[str]:
        """Return the class names in the order of the network's scores; empty if it has no classes."""
        return list(getattr(self.trained, "classes", ()))

    def predict(self, clip: str | os.PathLike[str]) -> Any:
        """Answer about a clip.

        A recognizer gives every class with its probability (0..1), the most likely first, as `asgm eval` counts them; a
        localizer the clip's maps (`asgmcli.localize.clip_maps.ClipMaps`).

        Raises:
            MediaError: `clip` is missing, broken, or holds no picture.
        """
        return self.trained.predict(Path(clip)).answer


def load(
    path: str | os.PathLike[str],
    device: str = "auto",
    changes: Sequence[str] = (),
    weights: Mapping[str, str | os.PathLike[str]] | None = None,
) -> Network:
    """Load the network in a run's folder or in its weight file; see `asgmcli.load`."""
    files = {name: Path(file) for name, file in (weights or {}).items()}
    return Network(find_trained(Path(path)).load(choose_device(device), tuple(changes), files))
