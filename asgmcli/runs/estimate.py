"""What a row's networks take, before anything is trained: parameters, memory, and the operations of a step.

A training step runs once over tensors that have a shape and no content (torch's meta device): every product, and every
tensor kept for the backward pass, is counted as the real step makes it, in a second and in no memory.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from asgmcli.data.reader import RATE
from asgmcli.nn.localizer import FNAC, WINDOW_SAMPLES, fnac_spectrogram
from asgmcli.ranks.device import synchronize
from asgmcli.recipe.base import Recipe
from asgmcli.recipe.localization import LocalizationRecipe
from asgmcli.recipe.pretext import PretextRecipe
from asgmcli.recipe.recognition import RecognitionRecipe
from asgmcli.recipe.sections import Train
from asgmcli.report.timing import repeat
from asgmcli.runs.trace import Work, trace
from asgmcli.tasks.pretext.model import build_network as build_pretext
from asgmcli.tasks.recognition.model import ASGMFormer, build_network

# Numbers that an optimizer keeps for each parameter.
KEPT = {"sgd": 1, "adam": 2, "adamw": 2}
BYTES = 4  # of a parameter, a gradient, and each number that the optimizer keeps
RATE_ROWS = {"cuda": 4096}  # tokens whose products are timed, by device
RATE_ROWS_ELSEWHERE = 512
RATE_SECONDS = 0.1  # of products that are timed, beyond the one that warms up
SHALLOW = 2  # blocks of an encoder that stand for a deep one's: its first and its last
S = TypeVar("S", RecognitionRecipe, PretextRecipe)


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
    with torch.device("meta"):
        if isinstance(recipe, RecognitionRecipe):
            return _recognition(recipe, classes)
        if isinstance(recipe, LocalizationRecipe):
            return _localization(recipe)
        if isinstance(recipe, PretextRecipe):
            return _pretext(recipe)
    raise ValueError(f"a {recipe.task} recipe trains nothing")


def network_of(recipe: Recipe, classes: int) -> nn.Module | None:
    """Return the network that `recipe` trains, in training mode, on torch's default device; None where it has none."""
    if isinstance(recipe, RecognitionRecipe):
        return _recognizer(recipe, classes)
    if isinstance(recipe, LocalizationRecipe):
        return _localizer(recipe)
    return build_pretext(recipe, recipe.audio.length).train() if isinstance(recipe, PretextRecipe) else None


def _recognition(recipe: RecognitionRecipe, classes: int) -> Needs:
    network = _recognizer(recipe, classes)
    full, supervised, view = _by_depth(recipe, lambda shallow: _recognition_works(shallow, classes))
    states = _state_bytes([network], recipe.train) + _bytes(network)  # the teacher
    return Needs(_parts(network), states, full, supervised, view, recipe.model.video.dim)


def _recognizer(recipe: RecognitionRecipe, classes: int) -> ASGMFormer:
    return build_network(recipe, classes, recipe.audio.length if recipe.listens else 0).train()


def _recognition_works(recipe: RecognitionRecipe, classes: int) -> list[Work]:
    """The whole step, the supervised one, and a view."""
    network = _recognizer(recipe, classes)
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

    full = trace(step(batch, unlabeled, mixed), recipe.train.precision)
    supervised = trace(step(batch, 0, 0), recipe.train.precision)
    view = trace(lambda: network(*_clips(recipe, network, 1)), recipe.train.precision, backward=False)
    return [full, supervised, view]


def _by_depth(recipe: S, works: Callable[[S], list[Work]]) -> list[Work]:
    """Return what `works` counts for `recipe`, whose deep encoders need not be run in their whole depth.

    All blocks between an encoder's first and last take the same, so that two depths give every other one exactly.
    """
    given = {"video": recipe.model.video, "audio": recipe.model.audio}
    encoders = {name: encoder for name, encoder in given.items() if encoder is not None}
    depths = {name: encoder.depth for name, encoder in encoders.items()}
    if min(depths.values(), default=0) <= SHALLOW + 1:
        return works(recipe)

    def counted(layers: dict[str, int]) -> list[Work]:
        changed = {name: encoders[name].model_copy(update={"depth": depth}) for name, depth in layers.items()}
        return works(recipe.model_copy(update={"model": recipe.model.model_copy(update=changed)}))

    base = counted(dict.fromkeys(depths, SHALLOW))
    found = base
    groups = [list(depths)] if len(set(depths.values())) == 1 else [[name] for name in depths]
    for group in groups:
        more = counted({name: SHALLOW + (name in group) for name in depths})
        layers = depths[group[0]] - SHALLOW
        found = [
            Work(
                sum_.operations + layers * (next_.operations - first.operations),
                sum_.kept + layers * (next_.kept - first.kept),
            )
            for sum_, next_, first in zip(found, more, base, strict=True)
        ]
    return found


def _clips(recipe: RecognitionRecipe, network: ASGMFormer, clips: int) -> tuple[Tensor, Tensor | None]:
    """Normalised video [B, 3, T, H, W] and log-mel [B, L, M] of so many clips."""
    clip = recipe.clip
    video = network.normalise(torch.empty(clips, clip.frames, 3, clip.size, clip.size, dtype=torch.uint8))
    audio = torch.empty(clips, recipe.audio.length, recipe.audio.mels) if network.audio is not None else None
    return video, audio


def _localizer(recipe: LocalizationRecipe) -> FNAC:
    settings = recipe.model
    network = FNAC(settings.dim, width=settings.width, stride=settings.stride, norm=settings.norm).train()
    network.imgnet.requires_grad_(not settings.frozen_trunks)
    network.audnet.requires_grad_(not settings.frozen_trunks)
    return network


def _localization(recipe: LocalizationRecipe) -> Needs:
    network = _localizer(recipe)

    def pairs(count: int) -> tuple[Tensor, Tensor]:
        size, samples = recipe.input.size, max(round(recipe.input.seconds * RATE), WINDOW_SAMPLES)
        return torch.empty(count, 3, size, size), _spectrogram(count, samples)

    def step() -> Tensor:
        image, audio = network.features(*pairs(recipe.train.batch))
        return torch.einsum("bdhw,md->bmhw", image, audio)

    full = trace(step, recipe.train.precision)
    view = trace(lambda: network.eval()(*pairs(1)), recipe.train.precision, backward=False)
    return Needs(_parts(network), _state_bytes([network], recipe.train), full, full, view, recipe.model.dim)


def _spectrogram(count: int, samples: int) -> Tensor:
    """[B, 1, F, L] as FNAC takes it."""
    return fnac_spectrogram(torch.empty(count, samples), rate=RATE, seconds=samples / RATE)


def _pretext(recipe: PretextRecipe) -> Needs:
    network = build_pretext(recipe, recipe.audio.length).train()
    full, view = _by_depth(recipe, _pretext_works)
    width = recipe.model.video.dim if recipe.model.video is not None else network.body.seen_dim
    return Needs(_parts(network), _state_bytes([network], recipe.train), full, full, view, width)


def _pretext_works(recipe: PretextRecipe) -> list[Work]:
    """The step, and a view."""
    network = build_pretext(recipe, recipe.audio.length).train()
    clip = recipe.clip

    def clips(count: int) -> dict[str, Tensor]:
        video = torch.empty(count, clip.frames, 3, clip.size, clip.size, dtype=torch.uint8)
        heard = torch.empty(count, recipe.audio.length, recipe.audio.mels)
        return {"video": video, "audio": heard, "wave": torch.empty(count, round(recipe.audio.seconds * RATE))}

    def outputs(count: int) -> Tensor:
        return torch.cat([logits.flatten() for logits in network(clips(count)).values()])

    full = trace(lambda: outputs(recipe.train.batch), recipe.train.precision)
    return [full, trace(lambda: outputs(1), recipe.train.precision, backward=False)]


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
    rows = RATE_ROWS.get(device.type, RATE_ROWS_ELSEWHERE)
    left = torch.randn(rows, width, device=device, dtype=dtype)
    right = torch.randn(width, 4 * width, device=device, dtype=dtype)
    out = torch.empty(rows, 4 * width, device=device, dtype=dtype)

    def products() -> None:
        torch.mm(left, right, out=out)
        synchronize(device)

    products()
    fastest, begin = math.inf, time.perf_counter()
    while time.perf_counter() - begin < RATE_SECONDS:
        fastest = min(fastest, repeat("products", products, 1, warm_up=0).milliseconds[0] / 1000)
    return 2 * rows * width * 4 * width / max(fastest, math.ulp(1.0))
