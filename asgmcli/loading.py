"""Import torch and what is built on it, with a clear error if that fails."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Iterable

from asgmcli.errors import InstallError, UsageError


def check_imports(*modules: str) -> None:
    """Import each of `modules` now, so that a failure is reported before work begins.

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


def require(packages: Iterable[str], what: str, extra: str) -> None:
    """Check that the packages that `what` needs are installed; `extra` is the extra of asgm that installs them.

    Raises:
        UsageError: one is not.
    """
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f'{what} needs {", ".join(missing)}. Install what it needs: pip install "asgm[{extra}]"')


def reason(error: BaseException) -> str:
    """Return an error's kind and first line, and those of its cause if that says more."""
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
