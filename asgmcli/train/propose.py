"""Somebody's own clips as a task is told of them, and the recipe that it proposes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from asgmcli.data.manifest import Manifest


@dataclass(frozen=True)
class OwnClips:
    """Clips that were found.

    Attributes:
        name: of the data set.
        manifest: its file.
        labels: labelled training clips of each class.
        unlabeled: training clips without a label.
        tested: labelled clips of the test split.
        seconds: median length of a training clip, s.
        fps: median frames a second.
        short_side: median of the shorter sides, pixels.
        heard: share of the training clips that have sound, 0..1.
    """

    name: str
    manifest: Path
    labels: Mapping[str, int]
    unlabeled: int
    tested: int
    seconds: float
    fps: float
    short_side: int
    heard: float

    @property
    def labeled(self) -> int:
        """Return the labelled training clips of all classes."""
        return sum(self.labels.values())


@dataclass(frozen=True)
class Machine:
    """The machine to train on.

    Attributes:
        device: `cpu`, `cuda` or `mps`.
        memory: of the GPU, GB; 0 without one.
        cores: of the processor.
    """

    device: str
    memory: float
    cores: int


@dataclass(frozen=True)
class Wish:
    """The wishes of the user: a size by its name, a start (`none`, a timm model's name or a weight file), a localizer.

    None leaves each to the proposal.
    """

    size: str | None = None
    start: str | None = None
    localizer: str | None = None
    epochs: int | None = None


@dataclass(frozen=True)
class Proposal:
    """A recipe for own clips.

    Attributes:
        recipe: its keys, as YAML has them.
        size: name of the networks' size.
        start: where their first weights come from, in words.

    Rows beside its default one are titled "without ...": what they lack is judged by them.
    """

    recipe: dict[str, object]
    size: str
    start: str


@runtime_checkable
class Proposes(Protocol):
    """A task's module that can learn from clips in class folders."""

    SIZES: tuple[str, ...]
    """Names of the sizes that `propose` knows, small ones first."""

    def propose(self, clips: OwnClips, manifest: Manifest, machine: Machine, wish: Wish) -> Proposal | None:
        """Return a recipe for the clips; None if there is nothing in them that the task learns from.

        Raises:
            UsageError: the wish cannot be followed.
        """
