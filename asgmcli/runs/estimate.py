"""What a row's networks take, before anything is trained: parameters, memory, and the operations of a step.

A training step runs once over tensors that have a shape and no content (torch's fake tensors): every product, and every
tensor kept for the backward pass, is counted as the real step makes it, in seconds and in no memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from asgmcli.data.reader import RATE
from asgmcli.nn.localizer import FNAC, WINDOW_SAMPLES, fnac_spectrogram
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import Train
from asgmcli.report.timing import repeat
from asgmcli.tasks.pretext.model import build_network as build_pretext
from asgmcli.tasks.recognition.model import ASGMFormer, build_network

# Numbers that an optimizer keeps for each parameter.
KEPT = {"sgd": 1, "adam": 2, "adamw": 2}
BYTES = 4  # of a parameter, a gradient, and each number that the optimizer keeps
RATE_ROWS = 4096  # tokens whose products are timed
RATE_REPEATS = 5


@dataclass(frozen=True)
class Work:
    """Floating-point operations (two a multiply-add), and bytes kept for the backward pass."""

    operations: int
    kept: int = 0


@dataclass(frozen=True)
class Needs:
    """What a row's networks take.

    Attributes:
        parameters: of the trained network, by its parts.
        states: bytes of weights, gradients, what the optimizer keeps and, if there is one, the teacher.
        step: the largest step.
        supervised: a step of the first epochs, which leave the unlabelled clips out.
        view: judging one view of a clip.
        width: D, the tokens' width, of the products that a device is timed with.
    """

    parameters: dict[str, int]
    states: int
    step: Work
    supervised: Work
    view: Work
    width: int

    @property
    def memory(self) -> int:
        """Bytes that a step holds at least."""
        return self.states + self.step.kept


def needs(recipe: Recipe, classes: int) -> Needs:
    """What training `recipe` on `classes` classes takes; the mask's frozen guide and the loss are not counted.

    A pretext's steps count as if each showed whole clips with their sound, the dearest there are.

    Raises:
        ValueError: the recipe trains nothing.
    """
    with FakeTensorMode():
        if isinstance(recipe, RecognitionRecipe):
            return _recognition(recipe, classes)
        if isinstance(recipe, LocalizationRecipe):
            return _localization(recipe)
        if isinstance(recipe, PretextRecipe):
            return _pretext(recipe)
    raise ValueError(f"a {recipe.task} recipe trains nothing")


def _recognition(recipe: RecognitionRecipe, classes: int) -> Needs:
    network = build_network(recipe, classes, recipe.audio.length if recipe.listens else 0).train()
    batch = recipe.train.batch
    unlabeled = batch * recipe.train.unlabeled_ratio if recipe.semi_supervised else 0
    mixed = unlabeled if recipe.mixed else 0

    def step(labeled: int, unlabeled: int, mixed: int) -> Callable[[], Tensor]:
        def work() -> Tensor:
            if unlabeled:
                with torch.no_grad():
                    network(*_clips(recipe, network, unlabeled))  # the teacher, of the same size
            video, audio = _clips(recipe, network, labeled + unlabeled)
            tokens = network.embed(video)
            if mixed:
                strong = tokens[labeled:]
                keep = torch.empty(strong.shape[:3], dtype=torch.bool)
                tokens = torch.cat([tokens, torch.where(keep[..., None], strong, strong.roll(1, 0))])
                audio = audio if audio is None else torch.cat([audio, audio[labeled:]])
            return network.classify(tokens, audio).logits

        return work

    full = _trace(step(batch, unlabeled, mixed), recipe.train)
    supervised = _trace(step(batch, 0, 0), recipe.train)
    view = _trace(lambda: network(*_clips(recipe, network, 1)), recipe.train, backward=False)
    states = _state_bytes([network], recipe.train) + _bytes(network)  # the teacher
    return Needs(_parts(network), states, full, supervised, view, recipe.model.video.dim)


def _clips(recipe: RecognitionRecipe, network: ASGMFormer, clips: int) -> tuple[Tensor, Tensor | None]:
    """Normalised video [B, 3, T, H, W] and log-mel [B, L, M] of so many clips."""
    clip = recipe.clip
    video = network.normalise(torch.empty(clips, clip.frames, 3, clip.size, clip.size, dtype=torch.uint8))
    audio = torch.empty(clips, recipe.audio.length, recipe.audio.mels) if network.audio is not None else None
    return video, audio


def _localization(recipe: LocalizationRecipe) -> Needs:
    settings = recipe.model
    network = FNAC(settings.dim, width=settings.width, stride=settings.stride, norm=settings.norm).train()
    network.imgnet.requires_grad_(not settings.frozen_trunks)
    network.audnet.requires_grad_(not settings.frozen_trunks)

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        size, samples = recipe.input.size, max(round(recipe.input.seconds * RATE), WINDOW_SAMPLES)
        return torch.empty(count, 3, size, size), _spectrogram(count, samples)

    def step() -> Tensor:
        image, audio = network.features(*pairs(recipe.train.batch))
        return torch.einsum("bdhw,md->bmhw", image, audio)

    network.train()
    full = _trace(step, recipe.train)
    view = _trace(lambda: network.eval()(*pairs(1)), recipe.train, backward=False)
    return Needs(_parts(network), _state_bytes([network], recipe.train), full, full, view, settings.dim)


def _spectrogram(count: int, samples: int) -> Tensor:
    """[B, 1, F, L] as FNAC takes it."""
    return fnac_spectrogram(torch.empty(count, samples), rate=RATE, seconds=samples / RATE)


def _pretext(recipe: PretextRecipe) -> Needs:
    network = build_pretext(recipe, recipe.audio.length).train()
    clip = recipe.clip

    def clips(count: int) -> dict[str, Tensor]:
        video = torch.empty(count, clip.frames, 3, clip.size, clip.size, dtype=torch.uint8)
        heard = torch.empty(count, recipe.audio.length, recipe.audio.mels)
        return {"video": video, "audio": heard, "wave": torch.empty(count, round(recipe.audio.seconds * RATE))}

    def outputs(count: int) -> Tensor:
        return torch.cat([logits.flatten() for logits in network(clips(count)).values()])

    full = _trace(lambda: outputs(recipe.train.batch), recipe.train)
    view = _trace(lambda: outputs(1), recipe.train, backward=False)
    width = recipe.model.video.dim if recipe.model.video is not None else network.body.seen_dim
    return Needs(_parts(network), _state_bytes([network], recipe.train), full, full, view, width)


def _trace(work: Callable[[], Tensor], settings: Train, backward: bool = True) -> Work:
    """Count `work` and, unless it only judges, its backward pass.

    The storage behind a kept tensor counts once, however many operations keep it; parameters are counted elsewhere.
    """
    stored: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if not (isinstance(tensor, nn.Parameter) or (tensor.is_leaf and tensor.requires_grad)):
            stored.setdefault(_address(tensor), tensor)
        return tensor

    with (
        FlopCounterMode(display=False, custom_mapping=_ATTENTION) as counter,
        torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"),
        torch.set_grad_enabled(backward),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        result = work()
        kept = sum(tensor.untyped_storage().nbytes() for tensor in stored.values())
        if backward:
            result.float().sum().backward()
    return Work(counter.get_total_flops(), kept)


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


def _attention(query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    return sdpa_flop_count(query, key, value)


def _attention_backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **named: Any) -> int:
    """Two products for each of the forward pass's; what is computed again is not counted."""
    return 2 * sdpa_flop_count(query, key, value)


# A CPU's fused attention, which torch's counter does not know.
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: _attention_backward,
}


def _parts(network: nn.Module) -> dict[str, int]:
    """Parameters of each part of the network that has any."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    return {name: count for name, count in counts.items() if count}


def _bytes(network: nn.Module) -> int:
    return BYTES * sum(parameter.numel() for parameter in network.parameters())


def _state_bytes(networks: Iterable[nn.Module], settings: Train) -> int:
    """Weights, and of what is trained gradients and the optimizer's numbers."""
    total = 0
    for network in networks:
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        total += _bytes(network) + BYTES * trained * (1 + KEPT[settings.optimizer.kind])
    return total


def product_rate(device: torch.device, settings: Train, width: int) -> float:
    """Operations a second at which `device` multiplies matrices of a network `width` wide, measured here and now."""
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    left = torch.randn(RATE_ROWS, width, device=device, dtype=dtype)
    right = torch.randn(width, 4 * width, device=device, dtype=dtype)
    out = torch.empty(RATE_ROWS, 4 * width, device=device, dtype=dtype)

    def products() -> None:
        torch.mm(left, right, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    fastest = min(repeat("products", products, RATE_REPEATS).milliseconds) / 1000
    return 2 * RATE_ROWS * width * 4 * width / max(fastest, math.ulp(1.0))
