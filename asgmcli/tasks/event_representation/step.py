"""One training step of AV-BT: the loss between what the projector makes of both streams."""

from __future__ import annotations

from torch import Tensor

from asgmcli.losses.barlow import barlow_loss
from asgmcli.ranks.exchange import gather_rows
from asgmcli.tasks.event_representation.batch import Batch
from asgmcli.tasks.event_representation.model import RepresentationState


def train_step(state: RepresentationState, batch: Batch) -> dict[str, Tensor]:
    """Return the loss terms of one batch; projector and loss see the videos of all ranks.

    Args:
        state: of the run.
        batch: on the device of the networks.
    """
    settings = state.recipe.losses.barlow
    f_a, f_v = (gather_rows(features) for features in state.features(batch))
    terms = barlow_loss(*state.network.project(f_a, f_v), weight=settings.weight, normalise=settings.normalise)
    return {"loss": terms["loss"], **{name: terms[name].detach() for name in ("invariance", "redundancy")}}
