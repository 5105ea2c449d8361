"""AVSBench's pickled log-mels, read without running anything that a pickle could name."""

from __future__ import annotations

import collections
import io
import pickle
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from asgmcli.errors import DataError
from asgmcli.files import read_bytes

MOST_BYTES = 8 << 20
"""Of a pickled log-mel; AVSBench's have 123 kB."""
WINDOWS, STEPS, BANDS = 5, 96, 64


class RefusedPickle(DataError):
    """A pickle that names something else than a plain tensor's parts, and was not run."""


class BadLogMel(DataError):
    """A log-mel of another shape than [5, 1, 96, 64], or with values that are not finite."""


def read_logmel(path: str | Path) -> Tensor:
    """Read a clip's log-mel windows, float32 [5, 96, 64], from a pickle of one tensor [5, 1, 96, 64].

    Raises:
        RefusedPickle: the pickle names something that could run code; file and name are told.
        BadLogMel: it cannot be read, has another shape, or values that are not finite.
        DataError: no such file, or one far too large.
    """
    path = Path(path)
    try:
        found = _TensorUnpickler(io.BytesIO(read_bytes(path, MOST_BYTES)), path).load()
    except FileNotFoundError:
        raise DataError(f"{path}: no such log-mel file") from None
    except DataError:
        raise
    except Exception as error:  # a broken pickle raises almost anything
        raise BadLogMel(f"{path}: not a pickled log-mel ({type(error).__name__}: {error}). Copy it again.") from None
    if not isinstance(found, Tensor) or tuple(found.shape) != (WINDOWS, 1, STEPS, BANDS):
        what = list(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise BadLogMel(f"{path}: holds {what}, not a log-mel [{WINDOWS}, 1, {STEPS}, {BANDS}]")
    values = found.detach()[:, 0].float()
    if not bool(torch.isfinite(values).all()):
        raise BadLogMel(f"{path}: holds values that are not finite. Leave it out, or compute it from the sound.")
    return values


class _TensorUnpickler(pickle.Unpickler):
    """Knows a plain tensor's three names alone."""

    def __init__(self, file: io.BytesIO, path: Path) -> None:
        super().__init__(file)
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name, without importing it."""
        known = {
            ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
            ("torch.storage", "_load_from_bytes"): _load_storage,
            ("collections", "OrderedDict"): collections.OrderedDict,
        }
        if (module, name) not in known:
            raise RefusedPickle(
                f"{self._path}: its pickle names '{module}.{name}', which could run code, so it was not read. "
                "Bring the file as its owners made it, or leave it out: the log-mel is then computed from the sound."
            )
        return known[module, name]

    def persistent_load(self, pid: object) -> NoReturn:  # noqa: ARG002 - as pickle calls it
        """Refuse what lies outside of the file."""
        raise RefusedPickle(f"{self._path}: its pickle names something outside of the file, so it was not read.")


def _load_storage(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
