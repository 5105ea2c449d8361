"""Importing torch and what is built on it, without looking for garbage among what stays."""

from __future__ import annotations

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def imports_that_stay() -> Iterator[None]:
    """No garbage collection inside the block, nor later of what is there at its end, where torch was not loaded before.

    A collection looks at every object there is, and these imports make hundreds of thousands that stay: a quarter of a
    short command's time. The one that ends a process takes a second, for memory that the system takes back anyway.
    """
    if not gc.isenabled() or "torch" in sys.modules:
        yield
        return
    atexit.register(gc.freeze)
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
