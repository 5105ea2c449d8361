"""RandAugment on clips, with draws of its own (Cubuk et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor
from torchvision.transforms import v2

GEOMETRIC = frozenset(("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"))
"""RandAugment's operations that move what is in the picture."""
# Memory layout on which an operation is several times as fast: planes, or interleaved channels.
LAYOUTS = {"AutoContrast": torch.contiguous_format, "Sharpness": torch.channels_last}


class AllOperations(v2.RandAugment):  # type: ignore[misc]  # torchvision ships no types
    """RandAugment, each operation on pixels laid out as suits it; the values are torchvision's.

    The draws come from a generator of their own, in torchvision's order: its own `forward` draws from torch's global
    state, which belongs to the training step, and that may run at the same time in another thread.
    """

    def change(self, view: Tensor, draws: torch.Generator) -> Tensor:
        """Return what `forward` gives for `view` when torch's global state is that of `draws`."""
        height, width = view.shape[-2:]
        space = self._AUGMENTATION_SPACE
        for _ in range(self.num_ops):
            name = list(space)[int(torch.randint(len(space), (), generator=draws))]
            magnitudes, signed = space[name]
            bins = magnitudes(self.num_magnitude_bins, height, width)
            magnitude = 0.0 if bins is None else float(bins[self.magnitude])
            if bins is not None and signed and torch.rand((), generator=draws) <= 0.5:
                magnitude *= -1
            view = self._apply_image_or_video_transform(view, name, magnitude, self.interpolation, self._fill)
        return view

    def _apply_image_or_video_transform(
        self, image: Tensor, transform_id: str, *rest: object, **named: object
    ) -> Tensor:
        if transform_id in LAYOUTS:
            image = image.contiguous(memory_format=LAYOUTS[transform_id])
        changed: Tensor = super()._apply_image_or_video_transform(image, transform_id, *rest, **named)
        return changed


class ColourOperations(AllOperations):
    """RandAugment without the operations that move what is in the picture."""

    _AUGMENTATION_SPACE: ClassVar[dict[str, tuple[Callable[[int, int, int], Tensor | None], bool]]] = {
        name: drawn for name, drawn in v2.RandAugment._AUGMENTATION_SPACE.items() if name not in GEOMETRIC
    }
