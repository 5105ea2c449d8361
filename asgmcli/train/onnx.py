"""ONNX files: what their export needs, and its silence."""

from __future__ import annotations

import importlib.util
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from asgmcli.errors import UsageError

OPSET = 18
TOLERANCE = 1e-4
"""The largest difference of a probability that rounding may make."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")
HOW_TO_INSTALL = 'Install what it needs: pip install "asgm[onnx]"'


def check_packages() -> None:
    """Check that what ONNX export needs is installed.

    Raises:
        UsageError: a package is missing.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"ONNX export needs {', '.join(missing)}. {HOW_TO_INSTALL}")


@contextmanager
def quiet() -> Iterator[None]:
    """Silence torch's exporter, whose messages are not for users."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
