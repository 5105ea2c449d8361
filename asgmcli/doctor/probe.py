"""Child process of the doctor: import packages together, one after the other, and try each device.

Each result is printed at once as a line of JSON, so that after a crash the last line names how far it came:
`{"package", "version", "error"}`, then `{"device", "version", "error"}`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import os
import sys
import warnings

from asgmcli.loading import reason


def main(names: list[str]) -> None:
    """Import `names` in order in this process, then compute something on each device that torch knows."""
    # Output of packages while they load goes to standard error.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        warnings.simplefilter("ignore")
        for name in names:
            print(json.dumps({"begin": name}), file=out, flush=True)
            print(json.dumps({"package": name, **_load(name)}), file=out, flush=True)
        if "torch" in sys.modules:
            for line in _devices():
                print(json.dumps(line), file=out, flush=True)


def _load(name: str) -> dict[str, str]:
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return {"version": "", "error": reason(error)}
    return {"version": str(getattr(module, "__version__", "")) or _installed(name), "error": ""}


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _devices() -> list[dict[str, str]]:
    import torch

    found = [("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads")]
    for number in range(torch.cuda.device_count()):
        about = torch.cuda.get_device_properties(number)
        found.append((f"cuda:{number}", f"{about.name}, {about.total_memory / 2**30:.0f} GiB"))
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple GPU"))
    lines = []
    for device, version in found:
        try:
            error = (
                "" if torch.ones(8, 8, device=device).matmul(torch.ones(8, 1, device=device)).sum() == 64 else "8 x 8"
            )
        except Exception as failure:
            error = reason(failure)
        lines.append({"device": device, "version": version, "error": error})
    return lines


if __name__ == "__main__":
    main(sys.argv[1:])
