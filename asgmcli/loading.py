"""Importing torch and what is built on it: without looking for garbage among what stays, and told where it fails."""

from __future__ import annotations

import atexit
import gc
import importlib
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from asgmcli.errors import InstallError


@contextmanager
def imports_that_stay() -> Iterator[None]:
    """No garbage collection inside the block, nor later of what is there at its end, where torch was not loaded before.

    A collection looks at every object there is, and these imports make hundreds of thousands that stay: a quarter of a
    short command's time. The one that ends a process takes a second, for memory that the system takes back anyway.
    """
    if not gc.isenabled() or "torch" in sys.modules:
        yield
        return
    atexit.register(_leave_to_the_system)
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def _leave_to_the_system() -> None:
    """Have no collection at the process's end, unless nanobind (of triton 3.9) would report what stays as leaked."""
    triton = getattr(sys.modules.get("triton._C.libtriton"), "ir", None)
    reports = type(getattr(triton, "builder", None)).__module__ == "nanobind"
    (gc.unfreeze if reports else gc.freeze)()


def check_imports(*modules: str) -> None:
    """Import each of `modules` now, so that what does not load is told before work begins.

    Raises:
        InstallError: one does not load; the message says why and how to mend it.
    """
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:  # a linker's OSError, an operator's RuntimeError, an ImportError
            package = module.partition(".")[0]
            raise InstallError(
                f"{package}{_version(package)} does not load here: {reason(error)}. Install releases that go together: "
                "pip install -U torch torchvision torchaudio, or in a clone pip install -c requirements.lock -e . "
                "(asgm doctor looks at all of them)"
            ) from error


def reason(error: BaseException) -> str:
    """Return an error's kind and first line, and those of the error that lies below it, where that says more."""
    lowest = error
    while (below := lowest.__cause__ or lowest.__context__) is not None:
        lowest = below
    texts = []
    for item in dict.fromkeys((error, lowest)):
        line = next(iter(str(item).strip().splitlines()), "")
        texts.append(f"{type(item).__name__}: {line}" if line else type(item).__name__)
    return " <- ".join(dict.fromkeys(texts))


def _version(package: str) -> str:
    try:
        return f" {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return ""
