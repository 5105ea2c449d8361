"""The cost of a run, counted before any training: clips, steps, parameters, memory, operations.

A training step runs once over tensors with a shape and no content (torch's meta device): every product, and every
tensor kept for the backward pass, is counted as in the real step, in a second and without memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn

from asgmcli.data.manifest import Manifest
from asgmcli.data.size import Size
from asgmcli.recipe.sections import Data
from asgmcli.recipe.training import Train
from asgmcli.train.trace import TracedWork

# Numbers that an optimizer keeps for each parameter.
KEPT = {"sgd": 1, "adam": 2, "adamw": 2, "lars": 1}
BYTES = 4  # of a parameter, a gradient, and each number that the optimizer keeps
Open = Callable[[Data], Manifest]
"""Opens a data set's manifest, each once."""
SizeOf = Callable[[Data], Size | None]
"""Returns how many clips a data set will have before it is there, if known."""


@dataclass(frozen=True)
class Counts:
    """Clips of each kind, the classes, the steps of an epoch, and the views of an evaluation.

    Attributes:
        light_epochs: first epochs whose steps are the lighter ones of `Needs.supervised`.
        known_from: the source of the counts, in words; empty if it is the manifest.
        validated: views of the validation after each epoch (`train.keep: best`).
        otherwise: steps of an epoch as the recipe's other countings have it, by the override that asks for one.
    """

    clips: dict[str, int]
    classes: int
    steps: int
    views: int
    light_epochs: int = 0
    known_from: str = ""
    validated: int = 0
    otherwise: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoded:
    """Data that the run caches on disk: decoded frames of at most `short_side` pixels, and `waves`.

    `sound`: only clips with sound.
    """

    short_side: int
    waves: bool
    sound: bool


@dataclass(frozen=True)
class Needs:
    """The cost of a row's networks.

    Attributes:
        parameters: of the trained network, by its parts.
        states: bytes of weights, gradients, optimizer state and, if there is one, the teacher.
        step: the largest step.
        supervised: a step of the first, lighter epochs (`Counts.light_epochs`).
        view: evaluating one view of a clip.
        width: D, the tokens' width, of the products by which a device is timed.
    """

    parameters: dict[str, int]
    states: int
    step: TracedWork
    supervised: TracedWork
    view: TracedWork
    width: int

    @property
    def memory(self) -> int:
        """Return the bytes that a step holds at least."""
        return self.states + self.step.kept


def needs_of(
    network: nn.Module,
    settings: Train,
    step: TracedWork,
    view: TracedWork,
    width: int,
    *,
    light: TracedWork | None = None,
    copies: int = 1,
) -> Needs:
    """Return what training `network` takes.

    Args:
        network: that is trained.
        settings: of the training.
        step: the largest step.
        view: evaluating one view.
        width: of the products that a device is timed with.
        light: a step of the first, lighter epochs.
        copies: of the network, the trained one among them.
    """
    states = state_bytes([network], settings) + (copies - 1) * parameter_bytes(network)
    return Needs(parts(network), states, step, step if light is None else light, view, width)


def parts(network: nn.Module) -> dict[str, int]:
    """Return the parameters of each part of the network that has any."""
    counts = {name: sum(p.numel() for p in part.parameters()) for name, part in network.named_children()}
    return {name: count for name, count in counts.items() if count}


def parameter_bytes(network: nn.Module) -> int:
    """Return the bytes of the network's parameters."""
    return BYTES * sum(parameter.numel() for parameter in network.parameters())


def state_bytes(networks: Iterable[nn.Module], settings: Train) -> int:
    """Return the bytes of weights, and of what is trained gradients and the optimizer's numbers."""
    total = 0
    for network in networks:
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        total += parameter_bytes(network) + BYTES * trained * (1 + KEPT[settings.optimizer.kind])
    return total


def nothing_expected(recipe: object, size_of: SizeOf) -> Counts | None:  # noqa: ARG001 - `Task` passes them
    """Tell nothing: for tasks whose counts are not known before their data are there."""
    return None


def nothing_decoded(recipe: object) -> Decoded | None:  # noqa: ARG001 - `Task` passes it
    """Tell nothing: for tasks that keep no decoded clips on disk."""
    return None
