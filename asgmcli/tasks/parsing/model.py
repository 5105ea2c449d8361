"""The network in training, its size by the recipe, its start, and its weight file."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch

from asgmcli.data.features import FEATURES_FOLDER
from asgmcli.nn.grounding import GroundingTransformer
from asgmcli.nn.han import HAN
from asgmcli.nn.mmil import ParsingNetwork, PoolingControl
from asgmcli.nn.parser import Parser
from asgmcli.nn.state import read_metadata, write_safetensors
from asgmcli.nn.weights import load_grounding, load_parsing
from asgmcli.recipe.parsing import ParsingModel, ParsingRecipe
from asgmcli.synthetic.demo_parsing import NETWORKS_NAME
from asgmcli.tasks.parsing.data import ParsingData
from asgmcli.tasks.parsing.tokens import with_tokens
from asgmcli.train.single import SingleNetwork
from asgmcli.train.task import Context
from asgmcli.train.weights import GROUNDING_FORMAT, GROUNDING_WEIGHTS, PARSING_FORMAT, PARSING_WEIGHTS

FROZEN_WEIGHTS = "tokens.safetensors"
"""The frozen grounding transformer of a run with `model.pretrained: features`."""
DEMO_MAKER = {"maker": "demo"}
MAKER_WEIGHTS = "features.safetensors"
"""Networks of the demo's features, in a run's folder."""


@dataclass
class ParsingState(SingleNetwork):
    """The network in training; `steps` are those of the whole run, `chance` what needs no network, by clips."""

    recipe: ParsingRecipe
    data: ParsingData
    network: ParsingNetwork
    device: torch.device
    steps: int = 1
    step: int = 0
    frozen: Path | None = None
    about: dict[str, object] = field(default_factory=dict)
    chance: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def begin_step(self, epoch: int, step: int) -> None:
        """Note the step, which decides the strength of the reversal; back to training mode after an evaluation."""
        self.step = step
        self.network.train()

    def export(self, folder: Path) -> None:
        """Write the network with what it needs to answer: its recipe, classes, and the maker of its features."""
        about = {
            "format": PARSING_FORMAT,
            "recipe": self.recipe.model_dump_json(exclude={"rows", "compare"}),
            **{key: json.dumps(value) for key, value in self.about.items()},
        }
        tensors = dict(self.network.state_dict())
        write_safetensors(folder / PARSING_WEIGHTS, tensors, about)
        if self.frozen is not None:
            shutil.copyfile(self.frozen, folder / FROZEN_WEIGHTS)
        maker = self.data.manifest.folder / FEATURES_FOLDER / NETWORKS_NAME
        if self.about["maker"] == DEMO_MAKER and maker.exists():
            shutil.copyfile(maker, folder / MAKER_WEIGHTS)


def build_network(model: ParsingModel, classes: int, dims: tuple[int, int, int], adversarial: bool) -> ParsingNetwork:
    """Return the network of the recipe's sizes for inputs of widths `dims` (sound, picture, motion)."""
    audio, image, motion = dims
    sizes = {"classes": classes, "audio_dim": audio, "image_dim": image, "motion_dim": motion}
    if model.kind == "pooling":
        return PoolingControl(model.dim, **sizes)
    if model.kind == "han":
        return HAN(model.dim, **sizes, dropout=model.dropout)
    if model.kind == "grounding":
        size = model.transformer
        return GroundingTransformer(
            size.dim, size.depth, size.heads, size.hidden, model.dim, **sizes, dropout=model.dropout
        )
    return Parser(
        model.dim,
        **sizes,
        dropout=model.dropout,
        attention=model.attention,
        skip=model.skip,
        adversarial=adversarial,
        context=model.context,
        cross=model.cross,
    )


def network_of(recipe: ParsingRecipe, classes: int, dims: tuple[int, int, int]) -> ParsingNetwork:
    """Return the network of a recipe; with frozen tokens in place of sound and picture, these give its inputs."""
    if recipe.model.pretrained == "features":
        width = recipe.model.transformer.dim
        dims = (width, width, dims[2])
    return build_network(recipe.model, classes, dims, recipe.losses.adversarial.weight > 0)


def build_state(recipe: ParsingRecipe, data: ParsingData, context: Context) -> ParsingState:
    """Build the network and load its start.

    Raises:
        DataError: a weight file is missing or does not fit.
    """
    dims = data.stores.dims
    network = network_of(recipe, len(data.manifest.classes), dims)
    frozen: Path | None = None
    init = recipe.model.init
    path = context.weights_of(init, GROUNDING_WEIGHTS)
    if path is not None and recipe.model.pretrained == "finetune":
        grounded = read_metadata(path).get("format") == GROUNDING_FORMAT
        if isinstance(network, GroundingTransformer) and grounded:
            load_grounding(network, path)
        else:
            load_parsing(network, path)
    if path is not None and recipe.model.pretrained == "features":
        frozen = path
        data.take(with_tokens(recipe, data.manifest, data.stores, path, context.device))
    about: dict[str, object] = {
        "classes": data.manifest.classes,
        "dims": list(dims),
        "maker": data.stores.image.origin.settings,
    }
    steps = min(recipe.train.epochs * data.steps, recipe.train.max_steps or recipe.train.epochs * data.steps)
    return ParsingState(recipe, data, network.to(context.device), context.device, steps, about=about, frozen=frozen)
