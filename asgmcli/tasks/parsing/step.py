"""One training step: the bag's loss, the guided losses, and the discriminator's behind a gradient reversal."""

from __future__ import annotations

from torch import Tensor

from asgmcli.losses.adversarial import modality_loss, reversal_strength
from asgmcli.losses.weakly_supervised import parsing_losses
from asgmcli.nn.parser import Parser
from asgmcli.ranks.exchange import gather_rows
from asgmcli.tasks.parsing.batch import Batch
from asgmcli.tasks.parsing.model import ParsingState


def train_step(state: ParsingState, batch: Batch) -> dict[str, Tensor]:
    """Return the terms of the loss (Eq. 2), unweighted, and the loss.

    The discriminator sees the rows of all ranks: one batch statistic, as in one process.
    """
    settings = state.recipe.losses
    parsed = state.network(batch.audio, batch.image, batch.motion)
    guided = settings.guided
    terms = parsing_losses(parsed.clip, parsed.audio, parsed.visual, batch.target, (guided.audio, guided.visual))
    loss = terms["wsl"] + guided.weight * (terms["guided_audio"] + terms["guided_visual"])
    if settings.adversarial.weight and isinstance(state.network, Parser):
        alpha = reversal_strength(state.step / state.steps)
        terms["adversarial"] = modality_loss(state.network.modality(gather_rows(parsed.features), alpha))
        loss = loss + settings.adversarial.weight * terms["adversarial"]
    return {"loss": loss, **terms}
