"""The segmentation network as it is trained: a student, and where it is averaged a teacher."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from asgmcli.nn.avsegformer import AVSegFormer
from asgmcli.nn.segmentation_weights import load_avsegformer, load_backbone, load_flownet, load_tpavi
from asgmcli.nn.state import LoadReport, read_state, write_safetensors
from asgmcli.nn.tpavi import Segmented, TPAVINetwork
from asgmcli.nn.weights import load_timm
from asgmcli.recipe.read import load_recipe
from asgmcli.recipe.sections import Start
from asgmcli.recipe.segmentation import ImageWeights, SegmentationRecipe
from asgmcli.recipe.shipped import find_beside
from asgmcli.tasks.segmentation.data import SegmentationData
from asgmcli.tasks.segmentation.sounds import audio_dim
from asgmcli.tasks.segmentation.watch import NothingMasked
from asgmcli.train.ema import make_teacher, update_teacher
from asgmcli.train.health import Watch
from asgmcli.train.task import Context
from asgmcli.train.weights import LOCALIZER_WEIGHTS

WEIGHTS = "segmenter.safetensors"
FORMAT = "asgm-segmenter"
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's
_GENERATOR_FFN = 1024


class Segmenter(nn.Module):
    """A network on pictures as they are stored.

    Args:
        network: on normalised pictures.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: TPAVINetwork | AVSegFormer) -> None:
        super().__init__()
        self.network = network
        self.parts = 1
        self.register_buffer("mean", torch.tensor(_MEAN).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(_STD).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor, audio: Tensor, flow: Tensor | None) -> Segmented:
        """Segment uint8 [B, T, 3, S, S] with sounds [B, T, A] and flow [B, T, 2, S, S] in 0..1 (or None).

        In training with `parts` each part of the batch is computed again in the backward pass, to save memory.
        """
        if self.parts == 1 or not torch.is_grad_enabled():
            return self._segment(image, audio, flow)
        pieces = min(self.parts, len(image))
        flows = [None] * pieces if flow is None else list(flow.chunk(pieces))
        found = [
            checkpoint(self._segment, *piece, use_reentrant=False)
            for piece in zip(image.chunk(pieces), audio.chunk(pieces), flows, strict=False)
        ]
        return Segmented(
            torch.cat([one.logits for one in found]),
            [torch.cat(maps) for maps in zip(*(one.maps for one in found), strict=True)],
            [torch.cat(heard) for heard in zip(*(one.audio for one in found), strict=True)],
        )

    def _segment(self, image: Tensor, audio: Tensor, flow: Tensor | None) -> Segmented:
        found: Segmented = self.network((image.float() / 255 - self.mean) / self.std, audio, flow)
        return found


def build_network(recipe: SegmentationRecipe) -> TPAVINetwork | AVSegFormer:
    """Build the network that `recipe` describes, with random weights."""
    model, heard = recipe.model, audio_dim(recipe.audio)
    if model.kind == "tpavi":
        return TPAVINetwork(model.backbone, recipe.flow.encoder, model.channels, heard, model.width)
    assert recipe.flow.encoder != "pyramid"  # the recipe sees to that
    return AVSegFormer(
        model.backbone,
        recipe.flow.encoder,
        model.query_bias,
        channels=model.channels,
        audio_dim=heard,
        width=model.width,
        queries=model.queries,
        layers=model.layers,
        ffn=model.ffn,
        generator_ffn=min(_GENERATOR_FFN, model.ffn),
        mask_hidden=model.mask_hidden,
    )


def load_network(network: TPAVINetwork | AVSegFormer, path: Path) -> LoadReport:
    """Load a whole network from a file of this package or a released one.

    Raises:
        DataError: the file cannot be read, or does not fit.
    """
    return load_tpavi(network, path) if isinstance(network, TPAVINetwork) else load_avsegformer(network, path)


@dataclass
class SegmentationState:
    """The state of a run: the student, and a teacher of its own where it is averaged."""

    recipe: SegmentationRecipe
    student: Segmenter
    teacher: Segmenter | None
    flow_kind: str
    flow_bound: float
    classes: list[str]
    device: torch.device
    epoch: int = 0
    step: int = 0

    def trained(self) -> list[nn.Module]:
        """Return the student."""
        return [self.student]

    def begin_step(self, epoch: int, step: int) -> None:
        """Note epoch and step; freeze or release the backbone."""
        self.epoch, self.step = epoch, step
        self.student.train()
        if self.recipe.train.freeze_epochs:
            self.student.network.backbone.requires_grad_(epoch >= self.recipe.train.freeze_epochs)

    def after_step(self) -> None:
        """Let the teacher follow."""
        if self.teacher is not None:
            update_teacher(self.teacher, self.student, self.recipe.train.ema_decay)

    def watches(self, steps: int, steps_an_epoch: int) -> list[Watch]:
        """Return what tells of a network that masks nothing."""
        return [NothingMasked(steps)]

    def state_dict(self) -> dict[str, Any]:
        """Return the state of student and teacher."""
        found = {"student": self.student.state_dict()}
        return found if self.teacher is None else {**found, "teacher": self.teacher.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave."""
        self.student.load_state_dict(state["student"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])

    def export(self, folder: Path) -> None:
        """Write the network as safetensors under its released names, with all that is needed to use it as metadata."""
        metadata = {
            "format": FORMAT,
            "classes": self.classes,
            "recipe": self.recipe.model_dump_json(exclude={"rows", "compare"}),
            "flow_kind": self.flow_kind,
            "flow_bound": str(self.flow_bound),
        }
        write_safetensors(folder / WEIGHTS, self.student.network.state_dict(), metadata)


def build_state(recipe: SegmentationRecipe, data: SegmentationData, context: Context) -> SegmentationState:
    """Build the student with its start, and the teacher as its copy where it is averaged.

    Raises:
        DataError: a weight file is missing or does not fit.
    """
    network = build_network(recipe)
    start_network(recipe, network, context)
    student = Segmenter(network).to(context.device)
    student.parts = recipe.train.accumulate
    averaged = recipe.semi_supervised and recipe.train.ema_decay > 0
    teacher = make_teacher(student) if averaged else None
    flow = (data.flow_kind, data.flow_bound)
    return SegmentationState(recipe, student, teacher, *flow, data.manifest.classes, context.device)


def start_network(recipe: SegmentationRecipe, network: TPAVINetwork | AVSegFormer, context: Context) -> None:
    """Load the starts that `recipe` names: of the backbone, or of the whole network, and of the flow's ResNet-18.

    Raises:
        DataError: a weight file is missing or does not fit.
    """
    if recipe.flow.init is not None:
        flownet = (network if isinstance(network, TPAVINetwork) else network.head).flownet
        _load_image(flownet, recipe.flow.init, lambda state: load_flownet(flownet, state))
    start = recipe.model.init
    if start is not None and start.recipe is not None:
        _start_from_run(network, start, context)
    elif start is not None:
        _load_image(network.backbone, start, lambda state: load_backbone(network.backbone, state))


def _start_from_run(network: TPAVINetwork | AVSegFormer, start: Start, context: Context) -> None:
    """Load the weights of a run: a segmenter's whole, or the image network of a localizer or its pretext.

    Raises:
        DataError: they do not fit.
    """
    other = load_recipe(find_beside(context.recipes, str(start.recipe)), start.row, seed=start.seed)
    whole = other.task == "segmentation"
    path = context.weights_of(start, WEIGHTS if whole else LOCALIZER_WEIGHTS)
    assert path is not None
    if whole:
        load_network(network, path)
        return
    image = "imgnet."
    state = {name.removeprefix(image): value for name, value in read_state(path).items() if name.startswith(image)}
    load_backbone(network.backbone, state)


def _load_image(module: nn.Module, start: Start | ImageWeights, load: Callable[[Any], LoadReport]) -> None:
    """Load image weights from timm or a file.

    Raises:
        DataError: they are missing or do not fit.
    """
    if start.timm is not None:
        load_timm(module, start.timm, load=load)
    elif start.file is not None:
        load(Path(start.file))
