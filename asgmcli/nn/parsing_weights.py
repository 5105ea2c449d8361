"""Checkpoints of networks that parse videos: HAN's and the paper's released ones, and this package's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn.grounding import GroundingTransformer
from asgmcli.nn.han import HAN
from asgmcli.nn.mmil import ParsingNetwork, PoolingControl
from asgmcli.nn.parser import Parser
from asgmcli.nn.state import LoadReport, fit, state_of

HAN_FILE = "HAN"
MULTIHEAD_FILE = "a parser with multihead attention"
GLOBAL_FILE = "a parser with GCAA"
GROUNDING_FILE = "a grounding transformer"
POOLING_FILE = "pooling alone"
_MARKS = {
    "uniter.": GROUNDING_FILE,
    "hat_encoder.layers.0.self_attn.": HAN_FILE,
    "sa_layer_a.self_attn.qx_linear.": GLOBAL_FILE,
    "sa_layer_a.self_attn.in_proj_": MULTIHEAD_FILE,
    "fc_frame_att.": POOLING_FILE,
}
"""The kind of a file by the beginning of a tensor's name, the first that is found."""
_COUNTER = "num_batches_tracked"
_MOTION = "r2p1d_embeddings."


def load_parsing(model: ParsingNetwork, state: str | Path | Mapping[str, object]) -> LoadReport:
    """Load a checkpoint of the same kind into `model`; released tensors that it does not use are named in the report.

    Args:
        model: HAN, parser, grounding transformer or pooling control.
        state: a path or a mapping of names to tensors.

    Raises:
        DataError: the file cannot be read, is of another kind, width, depth or number of classes, or lacks a tensor;
            the message says what the file is.
    """
    tensors, source = state_of(state)
    found, wanted = kind_of_file(tensors), kind_of_network(model)
    if found != wanted:
        raise DataError(f"{source} is {found or 'no network that parses videos'}; wanted is {wanted}.")
    _check_depth(model, tensors, source)
    return _fit(model, tensors, source)


def load_grounding(model: GroundingTransformer, state: str | Path | Mapping[str, object]) -> LoadReport:
    """Load the transformer of a checkpoint into `model`, and none of what parses behind it.

    Embeddings of the motion, which grounding does not train, may be missing: they keep their start.

    Raises:
        DataError: see `load_parsing`.
    """
    tensors, source = state_of(state)
    if kind_of_file(tensors) != GROUNDING_FILE:
        found = kind_of_file(tensors) or "no network that parses videos"
        raise DataError(f"{source} is {found}; wanted is {GROUNDING_FILE}.")
    _check_depth(model, tensors, source)
    body = {name.removeprefix("uniter."): value for name, value in tensors.items() if name.startswith("uniter.")}
    return _fit(model.uniter, body, source, _MOTION)


def kind_of_file(tensors: Mapping[str, Tensor]) -> str:
    """Return what a checkpoint holds, in words; "" for none of these networks."""
    for mark, kind in _MARKS.items():
        if any(name.startswith(mark) for name in tensors):
            return kind
    return ""


def kind_of_network(model: ParsingNetwork) -> str:
    """Return which checkpoints a network takes, in words."""
    if isinstance(model, HAN):
        return HAN_FILE
    if isinstance(model, GroundingTransformer):
        return GROUNDING_FILE
    if isinstance(model, Parser):
        return GLOBAL_FILE if model.attention == "global" else MULTIHEAD_FILE
    assert isinstance(model, PoolingControl)
    return POOLING_FILE


def _check_depth(model: ParsingNetwork, tensors: Mapping[str, Tensor], source: str) -> None:
    """Refuse a transformer of more layers than the network has: what is left over would go unnoticed."""
    if not isinstance(model, GroundingTransformer):
        return
    place = len("uniter.encoder.layer.")
    depths = {
        int(number)
        for name in tensors
        if name.startswith("uniter.encoder.layer.") and (number := name[place:].split(".")[0]).isdigit()
    }
    if len(depths) > len(model.uniter.encoder.layer):
        raise DataError(
            f"{source} is a grounding transformer of {len(depths)} layers, this one has "
            f"{len(model.uniter.encoder.layer)}. Set model.depth."
        )


def _fit(model: nn.Module, tensors: Mapping[str, Tensor], source: str, may_lack: str = _COUNTER) -> LoadReport:
    kind = kind_of_file(tensors)
    try:
        return fit(
            model,
            tensors,
            source,
            may_keep=lambda name: name.endswith(_COUNTER) or name.startswith(may_lack),
            resize={},
        )
    except DataError as error:
        raise DataError(f"{error.message} The file is {kind or GROUNDING_FILE}.") from None
