"""Tokens of a frozen grounding transformer in place of the features of sound and picture, made once into the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from asgmcli.data.features import FeatureWriter, Origin, hash_file, made_once
from asgmcli.data.manifest import Manifest
from asgmcli.media.seconds import SECONDS
from asgmcli.nn.grounding import GroundingTransformer
from asgmcli.nn.weights import load_grounding
from asgmcli.recipe.parsing import ParsingRecipe
from asgmcli.tasks.parsing.data import Stores

AT_ONCE = 64  # clips that go through the transformer together
MARK = 8  # letters of the weights' hash in a store's name


def load_transformer(recipe: ParsingRecipe, dims: Sequence[int], path: Path) -> GroundingTransformer:
    """Return the frozen transformer of the recipe's sizes with the weights of a grounding run.

    Raises:
        DataError: the file is of another network or size.
    """
    size = recipe.model.transformer
    audio, image, _ = dims
    network = GroundingTransformer(
        size.dim, size.depth, size.heads, size.hidden, 1, 1, audio_dim=audio, image_dim=image, motion_dim=1, dropout=0.0
    )
    load_grounding(network, path)
    return network.requires_grad_(False).eval()


def with_tokens(recipe: ParsingRecipe, manifest: Manifest, stores: Stores, path: Path, device: torch.device) -> Stores:
    """Return the stores with the transformer's tokens in place of sound and picture, made where they are not yet.

    Raises:
        DataError: weights of another network, or a full disk.
    """
    weights = hash_file(path)
    origin = Origin(manifest.sha256, weights, {"inputs": [recipe.features.audio, recipe.features.image]})
    folder = stores.audio.path.parent
    names = [f"{kind}_tokens-{weights[:MARK]}" for kind in ("audio", "image")]

    def make() -> None:
        network = load_transformer(recipe, stores.dims, path).to(device)
        clips = {row.id: stores.audio.places[row.id][1] for row in manifest.rows}
        shape = (SECONDS, recipe.model.transformer.dim)
        with FeatureWriter(folder, names[0], origin, clips, shape) as heard:  # noqa: SIM117 - one after the other
            with FeatureWriter(folder, names[1], origin, clips, shape) as seen:
                for ids, audio, image in _ground(network, stores, sorted({*heard.missing, *seen.missing}), device):
                    heard.write([pair for pair in zip(ids, audio, strict=True) if pair[0] in set(heard.missing)])
                    seen.write([pair for pair in zip(ids, image, strict=True) if pair[0] in set(seen.missing)])

    heard_store, seen_store = made_once(folder, names, origin, make)
    return Stores(heard_store, seen_store, stores.motion)


@torch.no_grad()
def _ground(
    network: GroundingTransformer, stores: Stores, clips: Sequence[str], device: torch.device
) -> Iterator[tuple[Sequence[str], list[np.ndarray], list[np.ndarray]]]:
    """Yield ids and tokens [windows, T, dim] of some clips at a time."""
    for first in range(0, len(clips), AT_ONCE):
        ids = clips[first : first + AT_ONCE]
        values = [[store.of_clip(clip) for clip in ids] for store in (stores.audio, stores.image)]
        counts = [len(value) for value in values[0]]
        inputs = [torch.from_numpy(np.concatenate(part)).float().to(device) for part in values]
        heard, seen = network.ground(*inputs)
        parts = [[part.half().cpu().numpy() for part in tokens.split(counts)] for tokens in (heard, seen)]
        yield ids, parts[0], parts[1]
