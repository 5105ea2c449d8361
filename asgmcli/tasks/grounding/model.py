"""The transformer in training, its step and its validation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from asgmcli.data.plan import generator
from asgmcli.losses.grounding import Kind, grounding_loss
from asgmcli.nn.grounding import GroundingTransformer
from asgmcli.nn.state import write_safetensors
from asgmcli.ranks.exchange import gathered
from asgmcli.recipe.grounding import GroundingRecipe
from asgmcli.report.table import Table
from asgmcli.tasks.grounding.data import Batch, GroundingSet
from asgmcli.train.batches import move
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context, Evaluation
from asgmcli.train.weights import GROUNDING_FORMAT, GROUNDING_WEIGHTS

KINDS: tuple[Kind, ...] = ("uni", "cross", "multi")
MOTION = "r2p1d_embeddings."  # not trained here


@dataclass
class GroundingState(SingleNetwork):
    """The transformer in training; what parses behind it is neither trained nor kept."""

    recipe: GroundingRecipe
    network: GroundingTransformer
    device: torch.device
    epoch: int = 0
    step: int = 0

    def trained(self) -> list[nn.Module]:
        """Return the transformer."""
        return [self.network.uniter]

    def begin_step(self, epoch: int, step: int) -> None:
        """Note where the run is; back to training mode after an evaluation."""
        self.epoch, self.step = epoch, step
        self.network.train()

    def export(self, folder: Path) -> None:
        """Write the transformer."""
        state = self.network.uniter.state_dict()
        tensors = {f"uniter.{name}": value for name, value in state.items() if not name.startswith(MOTION)}
        write_safetensors(folder / GROUNDING_WEIGHTS, tensors, {"format": GROUNDING_FORMAT, "recipe": self.recipe.name})


def build_network(recipe: GroundingRecipe, dims: tuple[int, int]) -> GroundingTransformer:
    """Return the transformer for sound and picture of widths `dims`, without motion and with the smallest head."""
    size = recipe.model.transformer
    return GroundingTransformer(
        size.dim,
        size.depth,
        size.heads,
        size.hidden,
        head_dim=1,
        classes=1,
        audio_dim=dims[0],
        image_dim=dims[1],
        motion_dim=1,
        dropout=recipe.model.dropout,
    )


def build_state(recipe: GroundingRecipe, data: GroundingSet, context: Context) -> GroundingState:
    """Build the transformer; its motion embeddings stay as they start, in use only where it parses."""
    network = build_network(recipe, data.dims)
    network.uniter.r2p1d_embeddings.requires_grad_(False)
    return GroundingState(recipe, network.to(context.device), context.device)


def kind_of(recipe: GroundingRecipe, epoch: int) -> Kind:
    """Return the kind of pairs of an epoch: under `multi: alternate` uni and cross by turns."""
    settings = recipe.losses.grounding
    if settings.kind == "multi" and settings.multi == "alternate":
        return KINDS[epoch % 2]
    return settings.kind


def train_step(state: GroundingState, batch: Batch) -> dict[str, Tensor]:
    """Return the loss of a batch's pairs (Eq. 3-5)."""
    settings = state.recipe.losses.grounding
    audio, visual = state.network.ground(batch.audio, batch.image)
    anchors = None
    if settings.anchors == "one":
        drawn = generator(state.recipe.seed, "anchor", state.step).integers(batch.audio.shape[1])
        anchors = torch.tensor([int(drawn)], device=batch.audio.device)
    kind = kind_of(state.recipe, state.epoch)
    loss = grounding_loss(audio, visual, batch.truth, kind, settings.positive, settings.negative, anchors)
    return {"loss": loss}


@torch.no_grad()
def evaluate(state: GroundingState, loader: Iterable[Batch]) -> Evaluation:
    """Measure the loss over all pairs of the clips of `loader`, of its kind, and of each."""
    state.network.eval()
    settings = state.recipe.losses.grounding
    found: list[tuple[int, list[float]]] = []
    for batch in loader:
        moved = move(batch, state.device)
        audio, visual = state.network.ground(moved.audio, moved.image)
        losses = [
            grounding_loss(audio, visual, moved.truth, kind, settings.positive, settings.negative).item()
            for kind in ("uni", "cross")
        ]
        found.append((len(batch.ids), losses))
    found = gathered(found)
    if not found:
        return Evaluation({})
    total = sum(count for count, _ in found)
    uni, cross = (sum(count * losses[place] for count, losses in found) / total for place in range(2))
    whole = {"uni": uni, "cross": cross, "multi": uni + cross}[settings.kind]
    metrics = {"loss": whole, "uni": uni, "cross": cross}
    table = Table(f"Grounding of {total} windows", ["loss", "uni", "cross"], [[whole, uni, cross]], digits=4)
    return Evaluation(metrics, {"grounding": table})
