"""Import of others' checkpoints: TimeSformer, SVFormer, timm's ViTs, AST, FNAC, VGGish, segmenters, parsers.

Every loader takes a path or a mapping of names to tensors, changes the model only where everything fits, and returns a
`LoadReport`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn.localizer import load_fnac
from asgmcli.nn.parsing_weights import load_grounding, load_parsing
from asgmcli.nn.patches import resize_class_positions, resize_times
from asgmcli.nn.resnet import ResNet18
from asgmcli.nn.segmentation_weights import load_avsegformer, load_backbone, load_flownet, load_tpavi
from asgmcli.nn.state import LoadReport, fit, read_state, state_of, write_safetensors
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vggish import load_vggish
from asgmcli.nn.vit import AudioTransformer
from asgmcli.recipe.sections import Start

__all__ = [
    "LoadReport",
    "load_avsegformer",
    "load_backbone",
    "load_flownet",
    "load_fnac",
    "load_grounding",
    "load_parsing",
    "load_resnet",
    "load_timesformer",
    "load_timm",
    "load_tpavi",
    "load_vggish",
    "load_vit_audio",
    "read_state",
    "start_from",
    "timm_file",
    "timm_normalisation",
    "timm_state",
    "write_safetensors",
]

State = str | Path | Mapping[str, object]
# Folder of manually downloaded weights.
WEIGHTS_FOLDER = "weights"

_REACH_S = 10.0  # s to wait for the network's first answer

# Parts a ViT lacks keep their start, with temporal_fc zero, so that the network equals the image model.
_NOT_IN_VIT = ("temporal_", "time_embed")
# AST's rows of 16 mel bins out of 128: stride 10 (the released checkpoints) or 16.
_AST_ROWS = (12, 8)


def load_timesformer(model: TimeSformer, state: State) -> LoadReport:
    """Load the weights of a TimeSformer, an SVFormer or a ViT into `model`.

    Supported: `model_state`, `model` or `state_dict` around the tensors; `module.` and `model.` prefixes; SVFormer's
    head outside its `model.`; bare names; timm's ViT names (the temporal parts then keep their start, with temporal_fc
    zero). Positions are resized bicubic, times nearest; a head of another number of classes keeps its start.

    Raises:
        DataError: the file cannot be read, is of another network, or a shape cannot be made to fit.
    """
    tensors, source = state_of(state)
    tensors = {name.removeprefix("model."): value for name, value in tensors.items()}
    from_vit = not any("temporal_" in name for name in tensors)
    frames = model.time_embed.shape[1]

    def may_keep(name: str) -> bool:
        return name.startswith("head.") or (from_vit and any(part in name for part in _NOT_IN_VIT))

    resize = {
        "pos_embed": lambda value: _resize_square(value, model.grid, source),
        "time_embed": lambda value: resize_times(value, frames),
    }
    return fit(model, tensors, source, may_keep=may_keep, resize=resize)


def load_vit_audio(model: AudioTransformer, state: State) -> LoadReport:
    """Load the weights of a timm ViT, an AST or another `AudioTransformer` into `model`.

    A patch embedding of three input channels is summed over them, as AST does. Positions are resized bicubic: a ViT's
    from its square, an AST's from its rows of frequency and columns of time. Of AST's two leading tokens the class
    token is used and the distillation token dropped (AST averages their outputs). AST's own names (`v.` prefixes) and
    Hugging Face's are supported.

    Raises:
        DataError: the file cannot be read, is of another network, or a shape cannot be made to fit.
    """
    tensors, source = state_of(state)
    tensors = _from_huggingface_ast({name.removeprefix("v."): value for name, value in tensors.items()})
    is_ast = "dist_token" in tensors
    if is_ast and "pos_embed" in tensors:
        positions = tensors["pos_embed"]
        tensors["pos_embed"] = torch.cat((positions[:, :1], positions[:, 2:]), dim=1)
    patches = tensors.get("patch_embed.proj.weight")
    from_image = patches is not None and patches.ndim == 4 and patches.shape[1] == 3
    if patches is not None and from_image:
        tensors["patch_embed.proj.weight"] = patches.sum(1, keepdim=True)
    report_positions = {}
    if "pos_embed" in tensors:
        old = tensors["pos_embed"]
        # A ViT's square of 4x4 has as many cells as a log-mel's 2x8, so the shape alone does not tell.
        if is_ast or from_image or old.shape != model.pos_embed.shape:
            tensors["pos_embed"] = _resize_audio_positions(old, model.grid, is_ast, source)
        if tensors["pos_embed"] is not old:
            report_positions["pos_embed"] = (tuple(old.shape), tuple(tensors["pos_embed"].shape))
    report = fit(model, tensors, source, may_keep=lambda _: False, resize={})
    return replace(report, resized=report_positions)


def start_from(model: TimeSformer | AudioTransformer, start: Start | None, path: Path | None) -> LoadReport | None:
    """Load the weights that `start` names into `model`; None (`init: none`) leaves the random ones.

    Args:
        model: a video or an audio encoder.
        start: the recipe's `init`.
        path: the file behind `start`, None where it names a timm model.

    Raises:
        DataError: the weights are missing or do not fit.
    """
    if start is None:
        return None
    if path is None:
        return load_timm(model, str(start.timm))
    return load_timesformer(model, path) if isinstance(model, TimeSformer) else load_vit_audio(model, path)


def _resize_audio_positions(positions: Tensor, grid: tuple[int, int], is_ast: bool, source: str) -> Tensor:
    cells = positions.shape[1] - 1
    rows = next((rows for rows in _AST_ROWS if is_ast and cells % rows == 0), None)
    if rows is None:
        return _resize_square(positions, grid, source)
    return resize_class_positions(positions, (rows, cells // rows), grid)


def load_resnet(model: ResNet18, state: State) -> LoadReport:
    """Load the weights of timm's or torchvision's ResNet-18 into `model`, without the classifier.

    Raises:
        DataError: the file cannot be read, is of another network, or a shape does not fit.
    """
    tensors, source = state_of(state)
    body = {name: value for name, value in tensors.items() if not name.startswith("fc.")}
    return fit(model, body, source, may_keep=lambda name: name.endswith("num_batches_tracked"), resize={})


def timm_file(name: str, folder: str | Path = WEIGHTS_FOLDER) -> Path | None:
    """Return the file in `folder` with the weights of timm's network `name`; None: they are downloaded."""
    candidates = (Path(folder) / f"{name}{suffix}" for suffix in (".safetensors", ".bin", ".pth"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def load_timm(
    model: nn.Module,
    name: str,
    *,
    path: str | Path | None = None,
    folder: str | Path = WEIGHTS_FOLDER,
    load: Callable[[State], LoadReport] | None = None,
) -> LoadReport:
    """Load the weights of a timm network by its name: from `path`, else `folder`, else as timm fetches them.

    What was fetched before is read from the Hugging Face cache, without asking the network. Otherwise the network is
    tried once: where it does not answer, the error comes at once.

    Args:
        model: a video or an audio encoder of the ViT's width and depth, or a localizer's network of width 64.
        name: timm's, such as `vit_base_patch16_224.augreg_in21k` or `resnet18.tv_in1k`.
        path: a local weight file.
        folder: where `NAME.safetensors`, `.bin` or `.pth` is looked for first.
        load: loads them into `model`; left out where it is a video or audio encoder or a ResNet-18.

    Raises:
        DataError: for a name timm does not know; offline, saying which file to bring and where to put it; where the
            weights do not fit.
    """
    into = partial(_load, model) if load is None else load
    if path is not None:
        return into(path)
    local = timm_file(name, folder)
    if local is not None:
        return into(local)
    # A localizer's `init: {file: ...}` is a whole localizer, not its image network.
    state = timm_state(name, folder, or_name="" if isinstance(model, ResNet18) else ", or name its path in the recipe")
    return replace(into(state), source=f"timm's {name}")


def timm_state(name: str, folder: str | Path = WEIGHTS_FOLDER, *, or_name: str = "") -> State:
    """Return the weights of timm's network `name`: a file of `folder` or of the Hugging Face cache, or tensors.

    Args:
        name: timm's.
        folder: where `NAME.safetensors`, `.bin` or `.pth` is looked for first.
        or_name: what else a user may do, for the message.

    Raises:
        DataError: for a name timm does not know; offline, saying which file to bring and where to put it.
    """
    import timm  # half a second to import, and needed only here

    config = _timm_config(name)
    there = timm_file(name, folder) or _cached(config)
    if there is not None:
        return there
    try:
        _reach(config)
        state: dict[str, Tensor] = timm.create_model(name, pretrained=True, num_classes=0).state_dict()
    except Exception as error:  # timm, huggingface_hub and their HTTP clients each raise their own kinds
        where = f"https://huggingface.co/{config.hf_hub_id}" if config.hf_hub_id else f"timm's page of {name}"
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f"The weights of {name} could not be fetched ({reason}). Without a network, bring model.safetensors from "
            f"{where} and put it at {Path(folder) / name}.safetensors{or_name}."
        ) from error
    return state


def _load(model: nn.Module, state: State) -> LoadReport:
    if isinstance(model, ResNet18):
        return load_resnet(model, state)
    if isinstance(model, TimeSformer):
        return load_timesformer(model, state)
    assert isinstance(model, AudioTransformer)
    return load_vit_audio(model, state)


def timm_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of the RGB frames (in [0, 1]) that a timm network was trained with.

    Raises:
        DataError: timm does not know the name.
    """
    config = _timm_config(name)
    return tuple(config.mean), tuple(config.std)


def _hub_files(config: Any) -> tuple[str, ...]:
    """Return the names under which timm looks for a network's weights on its hub page, first the one it prefers."""
    return (config.hf_hub_filename,) if config.hf_hub_filename else ("model.safetensors", "pytorch_model.bin")


def _cached(config: Any) -> str | None:
    """Return the weight file in the Hugging Face cache, or None."""
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = (config.hf_hub_id or "").partition("@")
    names = _hub_files(config) if repository else ()
    found = (try_to_load_from_cache(repository, name, revision=revision or None) for name in names)
    return next((path for path in found if isinstance(path, str)), None)


def _reach(config: Any) -> None:
    """Ask the hub once for the weights' head; any answer will do. The hub's client itself asks up to fifteen times.

    Raises:
        Exception: of the HTTP client's own kinds, if there is no answer.
    """
    from huggingface_hub import get_session, hf_hub_url

    repository, _, revision = (config.hf_hub_id or "").partition("@")
    if repository:
        get_session().head(hf_hub_url(repository, _hub_files(config)[0], revision=revision or None), timeout=_REACH_S)


def _timm_config(name: str) -> Any:
    import timm
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name) if timm.is_model(name) else None
    if config is None:
        known = "vit_base_patch16_224.augreg_in21k or resnet18.tv_in1k"
        raise DataError(f"timm knows no weights named '{name}'. It knows {known}, for example.")
    return config


def _resize_square(positions: Tensor, grid: tuple[int, int], source: str) -> Tensor:
    side = math.isqrt(positions.shape[1] - 1)
    if positions.ndim != 3 or side * side != positions.shape[1] - 1:
        raise DataError(
            f"{source}: pos_embed is {list(positions.shape)}, not a class token and a square grid, so it cannot be "
            f"resized to the network's {grid[0]}x{grid[1]}."
        )
    return resize_class_positions(positions, (side, side), grid)


_HUGGINGFACE_AST = (
    (r"^embeddings\.cls_token$", "cls_token"),
    (r"^embeddings\.distillation_token$", "dist_token"),
    (r"^embeddings\.position_embeddings$", "pos_embed"),
    (r"^embeddings\.patch_embeddings\.projection\.", "patch_embed.proj."),
    (r"^encoder\.layer\.(\d+)\.layernorm_before\.", r"blocks.\1.norm1."),
    (r"^encoder\.layer\.(\d+)\.layernorm_after\.", r"blocks.\1.norm2."),
    (r"^encoder\.layer\.(\d+)\.attention\.output\.dense\.", r"blocks.\1.attn.proj."),
    (r"^encoder\.layer\.(\d+)\.intermediate\.dense\.", r"blocks.\1.mlp.fc1."),
    (r"^encoder\.layer\.(\d+)\.output\.dense\.", r"blocks.\1.mlp.fc2."),
    (r"^layernorm\.", "norm."),
)


def _from_huggingface_ast(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename Hugging Face's AST tensors to a ViT's; queries, keys and values of a layer become one matrix."""
    prefix = "audio_spectrogram_transformer."
    state = {name.removeprefix(prefix): value for name, value in state.items()}
    result = {}
    for name, value in state.items():
        if ".attention.attention." not in name:
            for pattern, replacement in _HUGGINGFACE_AST:
                name = re.sub(pattern, replacement, name)
            result[name] = value
        elif ".attention.attention.query." in name:
            layer, kind = name.split(".")[2], name.rsplit(".", 1)[1]
            parts = [state.get(name.replace(".query.", f".{part}.")) for part in ("query", "key", "value")]
            result[f"blocks.{layer}.attn.qkv.{kind}"] = torch.cat([part for part in parts if part is not None])
    return result
