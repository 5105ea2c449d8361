"""Weight files: read without running anything in them, written whole, and fitted to a network with a report."""

from __future__ import annotations

import errno
import json
import pickle
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.files import replacing

# Where checkpoints of several kinds keep the network among their optimizer, scores and settings.
_NETWORK_KEYS = ("model_state", "state_dict", "model")
# The numpy scalars that training scripts leave among their scores.
_SCALAR_TYPES = ("float64", "float32", "int64")


@dataclass(frozen=True)
class LoadReport:
    """The result of loading a checkpoint, by tensor; names are the network's own."""

    source: str
    loaded: list[str]
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    resized: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = field(default_factory=dict)

    def summary(self) -> str:
        """Return one paragraph for a person: how many tensors were loaded, which were resized, kept their start, or not
        used.
        """
        total = len(self.loaded) + len(self.missing)
        parts = [f"{self.source}: {len(self.loaded)} of {total} tensors loaded"]
        if self.resized:
            changes = (f"{name} {list(old)} to {list(new)}" for name, (old, new) in self.resized.items())
            parts.append(f"resized {', '.join(changes)}")
        if self.missing:
            parts.append(f"kept their start ({len(self.missing)}): {_shorten(self.missing)}")
        if self.unexpected:
            parts.append(f"in the file but not used ({len(self.unexpected)}): {_shorten(self.unexpected)}")
        return "; ".join(parts) + "."


def _shorten(names: list[str], most: int = 8) -> str:
    """Return the names with numbers as *, each pattern once, at most `most` of them."""
    patterns = list(dict.fromkeys(re.sub(r"\.\d+\.", ".*.", name) for name in names))
    rest = len(patterns) - most
    return ", ".join(patterns[:most]) + (f" and {rest} more" if rest > 0 else "")


def _numpy_scalar(dtype: np.dtype[np.generic], raw: bytes) -> float | int:
    """Replace numpy's own constructor while a checkpoint is read: plain numbers only."""
    if dtype.name not in _SCALAR_TYPES:
        raise pickle.UnpicklingError(f"a numpy scalar of type {dtype}")
    number: float | int = np.frombuffer(raw, dtype)[0].item()
    return number


def _allowed_globals() -> list[Callable[..., object] | tuple[Callable[..., object], str]]:
    """Return what a pickle may name beside torch's own tensors: numpy's number constructor, under both its paths."""
    constructors = [(_numpy_scalar, f"{module}.multiarray.scalar") for module in ("numpy.core", "numpy._core")]
    return [*constructors, np.dtype, *(type(np.dtype(name)) for name in _SCALAR_TYPES)]


def read_checkpoint(path: str | Path) -> Mapping[str, object]:
    """Read all of a weight file onto the CPU: safetensors, or torch's format with nothing but tensors and numbers.

    Raises:
        DataError: no such file, it is broken, or reading it would run code (which is never done).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No weight file at {path}. Check the path.")
    try:
        if _is_safetensors(path):
            with safe_open(path, framework="pt") as file:
                return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        with torch.serialization.safe_globals(_allowed_globals()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols: what cannot be read is refused below
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"'{found[1]}'" if found else "something other than tensors and numbers"
        raise DataError(
            f"{path} is not a plain weight file: its pickle names {what}, which could run code, so it was not read. "
            "Bring it as .safetensors, or save only the tensors: torch.save({'model': model.state_dict()}, path)."
        ) from error
    except Exception as error:  # a broken pickle raises whatever its bytes lead to
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"{path} cannot be read as weights ({reason}). The file may be cut off; copy it again."
        ) from error
    if not isinstance(content, Mapping):
        raise DataError(f"{path} holds a {type(content).__name__}, not tensors by name. Save a state_dict.")
    return content


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(9)
    size = int.from_bytes(head[:8], "little")
    return path.suffix == ".safetensors" or (head[8:] == b"{" and 0 < size < path.stat().st_size)


def network_state(content: Mapping[str, object], source: str) -> dict[str, Tensor]:
    """Return the network's tensors in a checkpoint's content, without DataParallel's `module.` prefixes.

    Args:
        content: names to tensors (or numpy arrays), or a training checkpoint that holds them as `model_state`, `model`
            or `state_dict`.
        source: the file, for messages.

    Raises:
        DataError: there is no tensor in it.
    """
    content = next((inner for key in _NETWORK_KEYS if isinstance(inner := content.get(key), Mapping)), content)
    state = {
        str(name).removeprefix("module."): torch.as_tensor(value)
        for name, value in content.items()
        if isinstance(value, Tensor | np.ndarray)
    }
    if not state:
        names = ", ".join(map(str, list(content)[:5]))
        raise DataError(f"{source} holds no tensors of a network (it has: {names}). Bring a state_dict.")
    return state


def read_state(path: str | Path) -> dict[str, Tensor]:
    """Read the network's tensors from a weight file; see `read_checkpoint` and `network_state` for the formats."""
    return network_state(read_checkpoint(path), str(path))


def state_of(state: str | Path | Mapping[str, object]) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a path or mapping, and the name of their source for messages."""
    if isinstance(state, str | Path):
        return read_state(state), str(state)
    return network_state(state, "The given mapping"), "given tensors"


def read_metadata(path: str | Path) -> dict[str, str]:
    """Read the metadata of a safetensors file; empty if it has none or is of another kind.

    Raises:
        DataError: no such file, or it is broken.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No weight file at {path}. Check the path.")
    if not _is_safetensors(path):
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path} cannot be read as safetensors ({error}). Copy it again.") from error


def write_safetensors(path: str | Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, object]) -> Path:
    """Write `path` atomically: beside the target, flushed to the disk, then renamed.

    Args:
        path: the target; its folder is made.
        tensors: by name; any device, views and shared storage allowed.
        metadata: text as it is, anything else as JSON.

    Equal tensors and metadata give equal bytes, whatever their order and whichever process writes them.

    Raises:
        DataError: where the target cannot be written.
    """
    path = Path(path)
    plain = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in tensors.items()}
    text = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
    with replacing(path, sum(value.nbytes for value in plain.values())) as temporary:
        try:
            save_file(plain, temporary, metadata=text)
        except SafetensorError as error:  # how it tells a full disk
            raise OSError(errno.EIO, str(error)) from error
        _sort_metadata(temporary)
    return path


def _sort_metadata(path: Path) -> None:
    """Order the metadata in a safetensors header by key: the library writes them in its hash map's random order."""
    with path.open("rb+") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
        if len(text) > size:  # cannot be, as long as the library writes plain JSON too
            raise OSError(errno.EIO, "a safetensors header that cannot be ordered in place")
        file.seek(8)
        file.write(text.ljust(size))


def fit(
    model: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    *,
    may_keep: Callable[[str], bool],
    resize: Mapping[str, Callable[[Tensor], Tensor]],
) -> LoadReport:
    """Copy `state` into `model`, all or nothing.

    Args:
        model: whose names and shapes decide.
        state: tensors by the model's names.
        source: the file, for messages.
        may_keep: whether the network's tensor of this name may keep its start, where `state` has none that fits.
        resize: by name, how a tensor of another shape is brought to the model's.

    Raises:
        DataError: where a needed tensor is missing, or its shape cannot be made to fit.
    """
    target = model.state_dict()
    report = LoadReport(source, [], [], [name for name in state if name not in target], {})
    new = {}
    for name, own in target.items():
        value = state.get(name)
        if value is None:
            report.missing.append(name)
            continue
        if value.shape != own.shape and name in resize:
            report.resized[name] = (tuple(value.shape), tuple(own.shape))
            value = resize[name](value)
        if value.shape == own.shape:
            new[name] = value
        elif may_keep(name):
            report.missing.append(name)
            report.unexpected.append(name)
            report.resized.pop(name, None)
        else:
            raise DataError(
                f"{source}: {name} is {list(state[name].shape)} in the file and {list(own.shape)} in the network. "
                "Use weights of the same width, depth and patch size, or change the network's."
            )
    needed = [name for name in report.missing if not may_keep(name)]
    if needed:
        raise DataError(
            f"{source} does not hold this network: {len(needed)} of {len(target)} tensors are missing "
            f"({_shorten(needed)}); it has {_shorten(list(state))}."
        )
    model.load_state_dict(new, strict=False)
    report.loaded.extend(new)
    return report
