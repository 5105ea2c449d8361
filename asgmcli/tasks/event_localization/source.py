"""The makers of a trained network's features anew, for clips and data sets that it was not trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from asgmcli.data.features import Features, Origin, has_features, open_features
from asgmcli.data.frame_cache import FrameReader
from asgmcli.data.manifest import Manifest
from asgmcli.data.windows import Window, centre, read_patches
from asgmcli.errors import DataError, UsageError
from asgmcli.nn.backbones import PatchNet, VisualBackbone, build_audio, load_audio, load_visual
from asgmcli.nn.vggish import VGGish
from asgmcli.prepare.event_set import EventSet
from asgmcli.prepare.extract import draws_of, forward
from asgmcli.recipe.event_localization import EventLocalizationRecipe
from asgmcli.tasks.event_localization.inputs import ENCODER, Inputs, find_origin, open_released, over_draws
from asgmcli.train.encoder import Encoder, load_encoder
from asgmcli.train.seed import forked
from asgmcli.train.weights import ENCODED

BOTH = ("audio", "visual")
NAMES = {"encoder": ("encoder",), "backbones": BOTH, "maps": BOTH, "released": ("vggish", "vgg19")}
"""Networks that make features, as `--weights NAME=FILE` calls them, by what the run's network takes."""


@dataclass(frozen=True)
class Source:
    """The networks that made a run's features.

    Attributes:
        recipe: of the run.
        origins: their files and hashes, by role.
        run: the folder of the run.
        device: of the networks.
        files: weight files that a user names instead.
    """

    recipe: EventLocalizationRecipe
    origins: Mapping[str, Mapping[str, str]]
    run: Path
    device: torch.device
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def note(self) -> str:
        """Return what a reader of the answers must know, "" for nothing."""
        if self.recipe.takes == "released":
            return "The network was trained on released features; those made here have other numbers."
        return ""

    def with_weights(self, files: Mapping[str, Path]) -> Source:
        """Return it with these weight files.

        Raises:
            UsageError: no network has such a name.
        """
        known = NAMES[self.recipe.takes]
        for name in files:
            if name not in known:
                raise UsageError(f"--weights {name}: the features of this run are made by {', '.join(known)}")
        return replace(self, files={**self.files, **files})

    def features(self, manifest: Manifest, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Return audio [n, T, A] and visual features [n, T, ...] of a clip's windows.

        Raises:
            MediaError: the file cannot be decoded, or has no sound.
            DataError: the networks' weights are missing or have changed.
        """
        kind = self.recipe.takes
        if kind == "encoder":
            return self._encoder.encode(manifest, windows)
        if kind == "released":
            return self._released(manifest, windows)
        audio, visual = self._backbones
        settings, draws = self.recipe.frames, draws_of(self.recipe.features.draws)
        heard, seen = [], []
        for window in windows:
            patches = read_patches(manifest, window, self.recipe.audio.hop)[:, None]
            heard.append(forward(audio, patches, self.device))
            frames = centre(FrameReader(manifest, settings).read_draws(window, draws), settings.size)
            parts = [forward(visual, part, self.device) for part in frames]
            found = over_draws(torch.stack(parts), 0, motion=kind == "backbones" and self.recipe.features.motion)
            seen.append(found.permute(0, 2, 3, 1) if kind == "maps" else found)
        # As the store keeps them.
        return torch.stack(heard).half().float(), torch.stack(seen).half().float()

    def inputs(self, recipe: EventLocalizationRecipe, events: EventSet, numbers: NDArray[np.int64]) -> Inputs:
        """Return the features of some windows of a data set: those that are stored for it, else made anew.

        Raises:
            MediaError: a clip cannot be decoded. DataError: what makes them is missing.
        """
        if recipe.takes == "released":
            return open_released(recipe, events)
        if recipe.takes == "encoder" and (stored := self._stored(events)) is not None:
            return stored
        clips = list(dict.fromkeys(events.windows[number].row.id for number in numbers))
        rows = {row.id: row for row in events.manifest.rows}
        made = [self.features(events.manifest, events.source.of(rows[clip])) for clip in clips]
        places: dict[str, tuple[int, int]] = {}
        first = 0
        for clip in clips:
            places[clip] = (first, events.source.count(rows[clip]))
            first += places[clip][1]
        origin = Origin(events.manifest.sha256, "made now")
        audio, visual = (
            Features(events.manifest.path, torch.cat([pair[place] for pair in made]).half().numpy(), places, origin)
            for place in (0, 1)
        )
        index = np.full(len(events.windows), -1, np.int64)
        for clip, (start, count) in places.items():
            index[events.first[clip] : events.first[clip] + count] = np.arange(start, start + count)
        return Inputs(audio, visual, index, False, self.origins)

    def _stored(self, events: EventSet) -> Inputs | None:
        """Return the features that the encoder's own run made of this very data set, if it did."""
        folder = self._weights("encoder").parent / ENCODED
        origin = Origin(events.manifest.sha256, "this run's encoder", {"seconds": events.source.seconds})
        if not all(has_features(folder, name, origin) for name in ENCODER):
            return None
        audio, visual = (open_features(folder, name, origin) for name in ENCODER)
        rows = np.concatenate([np.arange(*_range(audio, row.id), dtype=np.int64) for row in events.manifest.rows])
        return Inputs(audio, visual, rows, False, self.origins)

    def _weights(self, role: str) -> Path:
        if role in self.files:
            if not self.files[role].is_file():
                raise DataError(f"{self.files[role]}: no such weight file")
            return self.files[role]
        return find_origin(self.origins[role], role, self.run)

    @cached_property
    def _encoder(self) -> Encoder:
        return load_encoder(self._weights("encoder"), self.device)

    @cached_property
    def _backbones(self) -> tuple[VGGish | PatchNet, VisualBackbone]:
        recipe = self.recipe
        with forked(recipe.seed):
            audio = build_audio(recipe.audio)
        with forked(recipe.seed):
            visual = VisualBackbone(recipe.visual, maps=recipe.takes == "maps")
        if "timm" in self.origins["visual"] and "visual" not in self.files:
            load_visual(visual, self.origins["visual"]["timm"], timm=True)
        elif self.origins["visual"] or "visual" in self.files:
            load_visual(visual, self._weights("visual"))
        if self.origins["audio"] or "audio" in self.files:
            load_audio(audio, self._weights("audio"))
        return audio.to(self.device).eval(), visual.to(self.device).eval()

    def _released(self, manifest: Manifest, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        from asgmcli.prepare.released import ReleasedNetworks

        missing = [name for name in NAMES["released"] if name not in self.files]
        if missing:
            raise DataError(
                f"{self.run}: trained on released features. To ask it about a clip, name the networks that make such "
                f"ones: {' '.join(f'--weights {name}=FILE' for name in missing)}; their numbers will differ."
            )
        return ReleasedNetworks(self.files["vggish"], self.files["vgg19"], self.device).features(manifest, windows)


def _range(store: Features, clip: str) -> tuple[int, int]:
    first, count = store.place(clip)
    return first, first + count


def source_of(
    recipe: EventLocalizationRecipe, origins: Mapping[str, Mapping[str, str]], run: Path, device: torch.device
) -> Source:
    """Return what makes the features of the network in the folder `run`."""
    return Source(recipe, origins, run, device)
