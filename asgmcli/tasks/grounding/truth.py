"""Which seconds of each window belong together, made once a data set and kept in its feature store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from asgmcli.data.features import Array, Features, FeatureWriter, Origin, made_once
from asgmcli.data.manifest import Manifest
from asgmcli.data.snippets import grounding_truth
from asgmcli.media.seconds import SECONDS
from asgmcli.recipe.grounding import GroundingRecipe

AT_ONCE = 1024  # clips between two flushes to the disk
MARK = 8  # letters of the settings' hash in the store's name


def kept_truth(
    recipe: GroundingRecipe, manifest: Manifest, stores: Sequence[Features], silence: Tensor | None
) -> Features:
    """Return the store of truth, 0 or 1 [10, 10] a window of the training split, made where it is not there yet.

    Args:
        recipe: whose `truth` says when seconds are alike.
        manifest: of the data set.
        stores: features of sound and picture.
        silence: features of no sound, None where none are known.

    Raises:
        DataError: a full disk.
    """
    rules = recipe.truth
    settings: dict[str, object] = {
        "inputs": [recipe.features.audio, recipe.features.image],
        "made_of": [[str(store.array.dtype), store.origin.weights, store.origin.settings] for store in stores],
        "split": recipe.data.train_split,
        **rules.model_dump(exclude={"silence"}),
    }
    mute = "none" if silence is None else hashlib.sha256(silence.numpy().tobytes()).hexdigest()
    origin = Origin(manifest.sha256, mute, settings)
    mark = hashlib.sha256(json.dumps(origin.as_json(), sort_keys=True).encode()).hexdigest()[:MARK]
    folder, name = stores[0].path.parent, f"grounding_truth-{mark}"
    clips = {row.id: stores[0].place(row.id)[1] for row in manifest.of_split(recipe.data.train_split)}

    def make() -> None:
        with FeatureWriter(folder, name, origin, clips, (SECONDS, SECONDS)) as writer:
            missing = writer.missing
            for first in range(0, len(missing), AT_ONCE):
                ids = missing[first : first + AT_ONCE]
                writer.write((clip, _truth(recipe, [store.of_clip(clip) for store in stores], silence)) for clip in ids)

    return made_once(folder, [name], origin, make)[0]


def _truth(recipe: GroundingRecipe, features: Sequence[Array], silence: Tensor | None) -> Array:
    """Return [windows, 10, 10] of a clip's features of sound and picture."""
    rules = recipe.truth
    windows = zip(*(torch.from_numpy(np.array(part)) for part in features), strict=True)
    found = [grounding_truth(one, other, silence, rules.rule, rules.sound, rules.picture) for one, other in windows]
    truth: Array = torch.stack(found).half().numpy()
    return truth
