"""A parsing step and evaluation beside the same written as the released code has them, in one process, in turn.

As released: 80 frames are projected and then averaged; the contexts of the global attention are repeated and projected
in every second; each direction is a call of its own; the discriminator's rows are shuffled; torch's default Adam.

    python -m tests.bench.parsing_as_released [ROUNDS]
"""

from __future__ import annotations

import copy
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from asgmcli.train.allocator import keep_memory

if __name__ == "__main__":
    keep_memory()

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from asgmcli.nn.global_context import GlobalContextAttention
from asgmcli.nn.han import HAN
from asgmcli.nn.hybrid_attention import AttentionLayer
from asgmcli.nn.mmil import ParsingNetwork
from asgmcli.nn.parser import Parser, ReverseGradient
from asgmcli.recipe.parsing import ParsingLosses, ParsingRecipe
from asgmcli.recipe.read import load_recipe
from asgmcli.tasks.parsing.data import Split, batches_of
from asgmcli.tasks.parsing.evaluate import evaluate
from asgmcli.tasks.parsing.model import ParsingState
from asgmcli.tasks.parsing.step import train_step
from asgmcli.tasks.parsing.truth import Truth, Window
from asgmcli.train.finite import where_not_finite
from asgmcli.train.gradients import compute_gradients
from asgmcli.train.schedule import make_optimizer

RECIPES = Path(__file__).parents[2] / "recipes"
CLASSES, SECONDS, DROPOUT = 25, 10, 0.1
LLP_TRAIN, LLP_VAL = 10_000, 649
ALPHA = 0.5


def attend_globally(part: GlobalContextAttention, query: Tensor, key: Tensor, share: float) -> Tensor:
    """Attention of [B, T, D] with contexts repeated over the seconds, computed as [T, B, D]."""
    contexts = [values.mean(1).unsqueeze(1).repeat(1, values.shape[1], 1) for values in (query, key)]
    query, key, q_context, k_context = (values.permute(1, 0, 2) for values in (query, key, *contexts))
    k, q, v = part.kx_linear(key), part.qx_linear(query), part.vx_linear(key)
    q_context, k_context = part.qc_linear(q_context), part.kc_linear(k_context)
    q_gate = torch.sigmoid(part.Vqx_linear(q) + part.Vqc_linear(q_context))
    k_gate = torch.sigmoid(part.Vkx_linear(k) + part.Vkc_linear(k_context))
    q, k = (1 - q_gate) * q + q_gate * q_context, (1 - k_gate) * k + k_gate * k_context
    q, k, v = (values.permute(1, 0, 2) for values in (q, k, v))
    weights = F.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), -1)
    found: Tensor = part.out((F.dropout(weights, share) @ v).permute(1, 0, 2))
    return found.permute(1, 0, 2)


def attend(part: nn.Module, query: Tensor, key: Tensor, share: float) -> Tensor:
    """Attention of one direction, [B, T, D]."""
    if isinstance(part, GlobalContextAttention):
        return attend_globally(part, query, key, share)
    assert isinstance(part, nn.MultiheadAttention)
    found: Tensor = part(query, key, key, need_weights=True)[0]
    return found


def layer(part: AttentionLayer, query: Tensor, other: Tensor, share: float) -> Tensor:
    """One direction of a layer; dropout of `share`."""
    z = query
    if part.cross:
        z = z + F.dropout(attend(part.cm_attn, query, other, share), share)
    if part.own:
        z = z + F.dropout(attend(part.self_attn, query, query, share), share)
    z = part.norm1(z)
    hidden = F.dropout(F.relu(part.linear1(z)), share)
    out: Tensor = part.norm2(z + F.dropout(part.linear2(hidden), share))
    return out


def features_of(network: ParsingNetwork, audio: Tensor, image: Tensor, motion: Tensor) -> Tensor:
    """Return [B, T, 2, D] of 80 frames a clip."""
    share = DROPOUT if network.training else 0.0
    frames = network.fc_v(image).permute(0, 2, 1).unsqueeze(-1)
    seconds = F.avg_pool2d(frames, (image.shape[1] // SECONDS, 1)).squeeze(-1).permute(0, 2, 1)
    heard, seen = network.fc_a(audio), network.fc_fusion(torch.cat((seconds, network.fc_st(motion)), -1))
    if isinstance(network, HAN):
        both = network.hat_encoder.layers[0]
        return torch.stack([layer(both, heard, seen, share), layer(both, seen, heard, share)], -2)
    assert isinstance(network, Parser)
    assert network.cma_layer is not None
    own = layer(network.sa_layer_a, heard, heard, share), layer(network.sa_layer_v, seen, seen, share)
    shared = network.cma_layer.layers[0]
    found = torch.stack([layer(shared, own[0], own[1], share), layer(shared, own[1], own[0], share)], -2)
    found = network.shared_fc(found)
    if network.norm_a is not None and network.norm_v is not None:
        found = torch.stack([network.norm_a(found[:, :, 0] + own[0]), network.norm_v(found[:, :, 1] + own[1])], -2)
    return found


def pooled(network: ParsingNetwork, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return probabilities [B, C] of the clip, of its sound and of its picture."""
    frame = torch.sigmoid(network.fc_prob(features))
    weighted = torch.softmax(network.fc_frame_att(features), 1) * frame
    over_modalities = torch.softmax(network.fc_av_att(features), 2)
    clip = (weighted * over_modalities).sum(2).sum(1)
    return clip, weighted[:, :, 0].sum(1), weighted[:, :, 1].sum(1)


def released_loss(network: ParsingNetwork, inputs: list[Tensor], target: Tensor, settings: ParsingLosses) -> Tensor:
    """Return the loss of 80 frames a clip."""
    features = features_of(network, *inputs)
    clip, audio, visual = (part.clamp(1e-7, 1 - 1e-7) for part in pooled(network, features))
    guided = F.binary_cross_entropy(audio, target) + F.binary_cross_entropy(visual, 0.9 * target + 0.05)
    loss: Tensor = F.binary_cross_entropy(clip, target) + settings.guided.weight * guided
    if isinstance(network, Parser) and network.mod_classifier is not None:
        rows = ReverseGradient.apply(F.relu(features), ALPHA).flatten(0, 2)
        order = torch.randperm(len(rows))
        truth = torch.arange(len(rows)).remainder(2).float()
        found = network.mod_classifier(rows[order])
        loss = loss + settings.adversarial.weight * F.binary_cross_entropy(found, truth[order])
    return loss


def made_up(clips: int, dims: tuple[int, int, int] = (128, 2048, 512)) -> tuple[list[Tensor], Tensor]:
    """Return features of 80 frames a clip, and bags."""
    rows = (SECONDS, 8 * SECONDS, SECONDS)
    return [torch.rand(clips, *shape) for shape in zip(rows, dims, strict=True)], bags_of(clips)


def bags_of(clips: int) -> Tensor:
    """Return made-up bags [N, C], two labels a clip on average."""
    return (torch.rand(clips, CLASSES) < 2 / CLASSES).float()


def made_up_split(clips: int) -> Split:
    """Return windows as the store holds them, half of the seconds with their events."""
    bags = bags_of(clips).numpy()
    events = (np.random.default_rng(0).random((clips, 2, CLASSES, SECONDS)) < 0.5) & (bags > 0)[:, None, :, None]
    audio, image, motion = (torch.rand(clips, SECONDS, width).half() for width in (128, 2048, 512))
    rows: list[Any] = [SimpleNamespace(id=str(number)) for number in range(clips)]
    windows = [Window(row, 0, SECONDS) for row in rows]
    return Split(windows, (audio, image, motion), Truth(bags, events, np.ones((clips, SECONDS), bool)))


def state_of(recipe: ParsingRecipe, network: ParsingNetwork) -> ParsingState:
    """Return a run's state half way through, whose reversal is that of `ALPHA`."""
    data: Any = SimpleNamespace(manifest=SimpleNamespace(classes=[str(number) for number in range(CLASSES)]))
    steps = 10**6
    return ParsingState(recipe, data, network, torch.device("cpu"), steps, round(steps * math.log(3) / 10))


def seconds_of(work: Callable[[], object]) -> float:
    """Return the processor time of one call."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


class Side:
    """Our step on one batch: what the training loop does of it."""

    def __init__(self, recipe: ParsingRecipe, network: ParsingNetwork, split: Split) -> None:
        self.recipe, self.split = recipe, split
        self.state = state_of(recipe, network)
        self.optimizer = make_optimizer([network], recipe.train.optimizer)
        self.read = self.whole = 0.0

    def step(self) -> None:
        """Read a batch, train on it, and look for what is not finite; `read` and `whole` are its times."""
        begun = time.process_time()
        batch = self.split.batch(torch.randperm(len(self.split))[: self.recipe.train.batch].tolist())
        self.read = time.process_time() - begun
        self.state.begin_step(0, self.state.step)
        terms, norm = compute_gradients(train_step, self.state, batch, self.optimizer, self.recipe.train)
        assert math.isfinite(float(terms["loss"].detach()) + float(norm))
        self.optimizer.step()
        assert where_not_finite(self.state.state_dict()) is None
        self.whole = time.process_time() - begun

    def validate(self) -> None:
        """Evaluate the validation split as after each epoch."""
        assert "segment_type" in evaluate(self.state, batches_of(self.val, self.recipe.evaluate.batch)).metrics

    val: Split


def compare(row: str, rounds: int) -> None:
    """Print the times of a row's steps, released and ours by turns, and of the validation of 649 clips."""
    recipe = load_recipe(RECIPES / "llp_table1.yaml", row)
    assert isinstance(recipe, ParsingRecipe)
    model = recipe.model
    adversarial = recipe.losses.adversarial.weight > 0
    network: ParsingNetwork = HAN()
    if model.kind == "parser":
        network = Parser(attention=model.attention, skip=model.skip, adversarial=adversarial)
    theirs = copy.deepcopy(network).train()
    optimizer = torch.optim.Adam(theirs.parameters(), recipe.train.optimizer.lr)
    inputs, target = made_up(recipe.train.batch)
    ours = Side(recipe, network, made_up_split(2_000))
    ours.val = made_up_split(LLP_VAL)

    def released_step() -> None:
        optimizer.zero_grad()
        released_loss(theirs, inputs, target, recipe.losses).backward()
        optimizer.step()

    for _ in range(2):
        released_step()
        ours.step()
    ours.validate()
    them, us, reads, shares = [], [], [], []
    for _ in range(rounds):
        them.append(seconds_of(released_step))
        steps = []
        for _ in range(3):
            ours.step()
            steps.append(ours.whole)
            reads.append(100 * ours.read / ours.whole)
        us.append(statistics.median(steps))
        epoch = math.ceil(LLP_TRAIN / recipe.train.batch) * us[-1]
        shares.append(100 * seconds_of(ours.validate) / epoch)
    ratios = sorted(one / other for one, other in zip(them, us, strict=True))
    median = statistics.median
    print(
        f"{row}, batch {recipe.train.batch}: released {1e3 * median(them):.0f} ms, ours {1e3 * median(us):.0f} ms, "
        f"ratio {median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); reading {median(reads):.2f}% of a step; "
        f"validation {median(shares):.2f}% of an epoch ({min(shares):.2f} to {max(shares):.2f})",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name in ("han", "adv_skip_gcaa"):
        compare(name, int(sys.argv[1]) if len(sys.argv) > 1 else 9)
