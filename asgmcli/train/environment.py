"""The surroundings of a run for the record: versions of all packages, the commit, the machine."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import torch

import asgmcli
from asgmcli import __version__
from asgmcli.ranks.launch import find_launch

GIT_SECONDS = 10.0


def environment() -> dict[str, object]:
    """Return versions and machine, for the record."""
    return {
        "asgm": __version__,
        **commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "ranks": find_launch().ranks,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "command": ["asgm", *sys.argv[1:]],
        "packages": dict(versions()),
    }


@functools.cache  # they stay what they are while this process runs
def versions() -> Mapping[str, str]:
    """Return the version of every installed package by its name, sorted."""
    found = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"]
        if name is not None and name not in found:  # the first is the one that is imported
            found[name] = distribution.version
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def commit(package: Path | None = None) -> dict[str, object]:
    """Return the commit of the clone that the program runs from, and if tracked files differ from it.

    Both are None outside a clone, as in an installed wheel, or without git.

    Args:
        package: folder of the package, asgmcli's where left out.
    """
    package = Path(asgmcli.__file__).parent if package is None else package
    top = _git(package, "rev-parse", "--show-toplevel")
    # A wheel may be installed inside a clone of something else.
    if top is None or (Path(top) / package.name).resolve() != package.resolve():
        return {"commit": None, "changed": None}
    changed = _git(package, "status", "--porcelain", "--untracked-files=no")
    return {"commit": _git(package, "rev-parse", "HEAD"), "changed": None if changed is None else bool(changed)}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
