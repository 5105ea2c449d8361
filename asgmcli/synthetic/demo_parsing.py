"""The demo of video parsing: one to four things a clip, each heard, seen, or both, in some of its seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asgmcli.data.features import FEATURES_FOLDER
from asgmcli.data.segments import Span
from asgmcli.media.seconds import SECONDS
from asgmcli.synthetic.event_casts import PARSING_KINDS, parsing_cast
from asgmcli.synthetic.event_sets import Features, World
from asgmcli.synthetic.event_sets import options as options_of
from asgmcli.synthetic.making import Progress
from asgmcli.synthetic.things import MARK as MARK
from asgmcli.synthetic.things import Clip

TITLE = "generated clips of one to four things, each heard, seen, or both; nothing to download"
CLIPS = {"train": 1800, "val": 250, "test": 500}
OPTIONS = options_of(**CLIPS)
NAME = "demo_parsing"
STORES = ("audio_logmel", "image_stills", "motion_stills")
"""Features of each second: of the sound, the picture, the motion."""
NETWORKS_NAME = "demo_networks.safetensors"
"""What makes them of any clip."""


def _spans(split: str, clip: Clip) -> list[Span]:
    """Return the bag of labels; on val and test also the seconds in which each is heard, and seen."""
    bag = [Span(0.0, float(SECONDS), thing.kind, modality="clip") for thing in clip.things]
    return bag if split == "train" else bag + clip.segments()


def _label(clip: Clip) -> str:  # noqa: ARG001 - of every world
    """Return nothing: a clip has several labels."""
    return ""


def learn(out: Path, **given: int) -> None:
    """Learn the network of the features; `given` as `learn_network` has it."""
    from asgmcli.synthetic.demo_features import learn_network  # torch takes half a second

    learn_network(out, **given)


def _features(out: Path, workers: int | None, progress: Progress | None) -> dict[str, Any]:
    """Write the features of each second beside the clips."""
    from asgmcli.synthetic.demo_features import make_features

    return make_features(out, workers=workers, progress=progress)


FEATURES = Features(
    learn,
    _features,
    tuple(f"{FEATURES_FOLDER}/{name}" for name in (NETWORKS_NAME, *(f"{store}.json" for store in STORES))),
)
WORLD = World(
    NAME,
    CLIPS,
    tuple(kind.name for kind in PARSING_KINDS),
    parsing_cast,
    _spans,
    _label,
    True,
    FEATURES,
)

folder, size, generate = WORLD.folder, WORLD.size, WORLD.generate
