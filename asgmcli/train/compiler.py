"""A check that torch.compile works here."""

from __future__ import annotations

import os
import shutil

from asgmcli.errors import UsageError


def check_compiler() -> None:
    """Check that there is a C++ compiler: torch.compile builds its kernels (on a GPU their launchers) with it.

    Raises:
        UsageError: there is none.
    """
    names = [os.environ.get("CXX", ""), "c++", "g++", "clang++"]
    if not any(name and shutil.which(name) for name in names):
        raise UsageError(
            "train.compile needs a C++ compiler, and there is none on the PATH. Install g++ or clang++ (or name one in "
            "the variable CXX), or set train.compile to false."
        )
