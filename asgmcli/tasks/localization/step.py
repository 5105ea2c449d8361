"""One training step: FNAC's contrastive loss, then also its three adjacency terms; or which cells match on a start."""

from __future__ import annotations

import torch
from torch import Tensor

from asgmcli.losses.cell_match import cell_match
from asgmcli.losses.fnac import fnac_losses
from asgmcli.ranks.exchange import gather_rows
from asgmcli.tasks.localization.batch import Batch, FrozenBatch
from asgmcli.tasks.localization.model import LocalizationState


def train_step(state: LocalizationState, batch: Batch | FrozenBatch) -> dict[str, Tensor]:
    """Return the loss terms of one batch.

    Args:
        state: of the run.
        batch: on the device of the networks; with frozen trunks a `FrozenBatch`.
    """
    settings = state.recipe.losses
    features = _projected(state, batch) if isinstance(batch, FrozenBatch) else _features(state, batch)
    image, audio = (gather_rows(part) for part in features)
    if state.recipe.model.kind == "start":
        return {"loss": cell_match(image, audio)}
    terms = fnac_losses(image, audio, settings.temperature, settings.foreground)
    loss = terms["contrastive"]
    if state.epoch >= settings.contrastive_epochs:
        loss = loss + settings.weight * (terms["fns_audio"] + terms["tns"] + terms["fns_image"])
    return {"loss": loss, **{name: value.detach() for name, value in terms.items()}}


def _features(state: LocalizationState, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return image [B, D, h, w] and audio [B, D] of a batch, through both networks."""
    image = (batch.pairs.image.float() / 255 - state.frozen.image_mean) / state.frozen.image_std
    spectrogram = state.frozen.spectrogram(batch.pairs.wave)
    masked = mask_spectrogram(spectrogram, batch.masks, state.recipe.input.mask_width)
    return state.network.image_features(image), state.network.audio_features(masked)


def _projected(state: LocalizationState, batch: FrozenBatch) -> tuple[Tensor, Tensor]:
    """Compute the same through the projections alone."""
    cells, sounds = state.trunk_features(batch)
    return state.network.project_image(cells), state.network.project_audio(sounds)


def mask_spectrogram(spectrogram: Tensor, draws: Tensor, width: int) -> Tensor:
    """Set one band of frequencies and one span of time to 0, each up to `width` wide.

    Args:
        spectrogram: [B, 1, F, L].
        draws: [B, 4] uniform in 0..1: width and place of the band, width and place of the span.
        width: the widest mask, exclusive, in rows or columns.
    """
    rows, columns = spectrogram.shape[2:]
    band = _span(draws[:, 0], draws[:, 1], width, rows)[:, None, :, None]
    span = _span(draws[:, 2], draws[:, 3], width, columns)[:, None, None, :]
    return spectrogram.masked_fill(band | span, 0.0)


def _span(share: Tensor, place: Tensor, width: int, length: int) -> Tensor:
    """Return bool [B, length]: a run of share * width cells that begins at place * (length - run)."""
    run = share * min(width, length)
    start = place * (length - run)
    cells = torch.arange(length, device=share.device)
    return (cells >= start.floor()[:, None]) & (cells < (start.floor() + run.floor())[:, None])
