"""ONNX files: what their export needs, its silence, and the check of what is written."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.files import replacing
from asgmcli.loading import require

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

OPSET = 18
TOLERANCE = 1e-4
"""The largest difference of a probability that rounding may make."""
NEEDED = ("onnx", "onnxscript", "onnxruntime")


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


def write_onnx(
    path: Path,
    model: nn.Module,
    example: Mapping[str, Tensor],
    metadata: dict[str, str],
    compare: Callable[[InferenceSession], float],
    tolerance: float = TOLERANCE,
    **export: Any,
) -> float:
    """Write `path`, whole or not at all. Return how far its probabilities are off torch's.

    Args:
        path: the target.
        model: gives probabilities.
        example: its inputs by name.
        metadata: the file's.
        compare: measures the largest difference of a probability.
        tolerance: the largest difference that is accepted.
        **export: further arguments of torch's exporter.

    Raises:
        UsageError: a package that this needs is not installed.
        DataError: the file cannot be written, or ONNX Runtime gives other probabilities than torch.
    """
    require(NEEDED, "ONNX export", "onnx")
    import onnx
    import onnxruntime

    with quiet(), torch.no_grad():
        program = torch.onnx.export(
            model,
            tuple(example.values()),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(example),
            output_names=["probabilities"],
            verbose=False,
            **export,
        )
    assert program is not None  # as it is with dynamo=True
    proto = program.model_proto
    onnx.helper.set_model_props(proto, metadata)
    with replacing(path, proto.ByteSize()) as temporary:
        onnx.save_model(proto, str(temporary))
        difference = compare(onnxruntime.InferenceSession(str(temporary), providers=["CPUExecutionProvider"]))
        if not difference <= tolerance:
            raise DataError(f"{path}: not written. ONNX Runtime's probabilities are {difference:.2g} off torch's")
    return difference


def difference_of(session: InferenceSession, inputs: Mapping[str, Tensor], expected: Tensor) -> float:
    """Return the largest difference of a probability between a file and torch; infinite where it is not a number."""
    found = torch.from_numpy(session.run(None, {name: value.numpy() for name, value in inputs.items()})[0])
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max().nan_to_num(float("inf")))
