"""A trained network in Python: load a run, ask about clips."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from asgmcli.errors import MediaError
from asgmcli.prepare.single import MediaFile
from asgmcli.ranks.device import choose_device
from asgmcli.runs.bulk import Asked, Bulk, default_workers
from asgmcli.runs.target import find_trained
from asgmcli.train.task import Trained

Place = str | os.PathLike[str]
PATIENCE_S = 5.0
"""Seconds in which a list of clips is answered in this process before others are started."""


class Network:
    """A trained network that answers about clips; made by `asgmcli.load`."""

    def __init__(self, trained: Trained, asked: Asked) -> None:
        self.trained = trained
        self.asked = asked

    @property
    def classes(self) -> list[str]:
        """Return the class names in the order of the network's scores; empty if it has no classes."""
        return list(getattr(self.trained, "classes", ()))

    def predict(self, clip: Place | Sequence[Place]) -> Any:
        """Answer about a clip, or about each of several: a list in their order, see `stream`.

        A recognizer gives every class with its probability (0..1), the most likely first, as `asgm eval` counts them; a
        localizer the clip's maps (`asgmcli.localize.clip_maps.ClipMaps`).

        Raises:
            MediaError: a clip is missing, broken, or holds no picture.
        """
        if isinstance(clip, str | os.PathLike):
            return self.trained.predict(Path(clip)).answer
        return list(self.stream(clip))

    def stream(
        self,
        clips: Iterable[Place],
        *,
        errors: Literal["raise", "return"] = "raise",
        workers: int | None = None,
        together: int | None = None,
    ) -> Iterator[Any]:
        """Yield the answer about each clip, in their order; memory does not grow with their number.

        Clips are answered `together` at a time in processes that read ahead, each with the network in memory; a clip
        that crashes or hangs its process harms no other. Probabilities may differ from those of single clips in their
        last bits.

        Args:
            clips: taken as they are needed.
            errors: of a clip that cannot be read: raise it, or yield it in the clip's place.
            workers: processes; 0 answers in this one. None: this one, and after 5 s as many as there are cores.
            together: clips that a process takes at once. None: 8, and 32 where the network sees few pixels.

        Raises:
            MediaError: a clip cannot be read, and `errors` is "raise".
        """
        files = (MediaFile(Path(clip)) for clip in clips)
        count = default_workers() if workers is None else workers
        patience = PATIENCE_S if workers is None else 0.0
        bulk = Bulk(self.asked, count, together, whole=True, patience_s=patience)
        for told in bulk.ask(files, self.trained):
            if not told.error:
                yield told.answer
            elif errors == "raise":
                raise MediaError(told.error)
            else:
                yield MediaError(told.error)


def open_network(path: Place, device: str, changes: tuple[str, ...], weights: Mapping[str, Place]) -> Network:
    """Load the network in a run's folder or in its weight file; see `asgmcli.load`."""
    files = {name: Path(file) for name, file in weights.items()}
    asked = Asked(Path(path).absolute(), device, changes, tuple(files.items()))
    return Network(find_trained(Path(path)).load(choose_device(device), changes, files), asked)
