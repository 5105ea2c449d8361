"""Training states on disk: written atomically, read without running any code in them."""

from __future__ import annotations

import errno
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asgmcli.errors import DataError
from asgmcli.files import remove_strays, replacing

State = dict[str, Any]
"""What a checkpoint holds by name: tensors, numbers, text, and lists and dicts of these."""


def save_state(path: Path, state: dict[str, object]) -> None:
    """Write a training state of tensors, numbers, text, lists and dicts; remove leftovers of killed processes.

    Raises:
        DataError: the disk is full or read-only; the earlier state stays.
    """
    with replacing(path, state_size(state)) as temporary, temporary.open("wb") as file:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # torch hides the file's own error behind one of its archive writer
            cause = error.__context__
            raise cause if isinstance(cause, OSError) else OSError(errno.EIO, str(error)) from error
    remove_strays(path)


def load_state(path: Path) -> State:
    """Read what `save_state` wrote, with `weights_only=True`: a file that would run code is refused.

    Raises:
        DataError: missing, truncated or not a training state.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read is refused below
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise DataError(f"{path}: no checkpoint here") from None
    except pickle.UnpicklingError:
        raise DataError(
            f"{path}: not a training state of this program: it holds more than tensors and numbers, which could run "
            "code, so it was not read"
        ) from None
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{path}: not a readable training state: {reason}") from None
    if not isinstance(state, dict):
        raise DataError(f"{path}: not a training state")
    return state


def state_size(state: object) -> int:
    """Return the bytes of all tensors in a training state, nearly all of its file's size."""
    if isinstance(state, Tensor):
        return state.nbytes
    if isinstance(state, Mapping):
        return sum(map(state_size, state.values()))
    return sum(map(state_size, state)) if isinstance(state, list | tuple) else 0
