"""The flow branch: optical flow through a ResNet-18, a map for each stage of an image network (UFE, Eq. 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.nn.dilated import DilatedSum
from asgmcli.nn.resnet import ResNet18

FlowKind = Literal["stem", "pyramid"]
_EPS = 1e-12


class FlowBranch(nn.Module):
    """The parts of a network that read flow, at its top: `flownet` and `conv{1..4}_flow`, as released.

    Args:
        kind: `stem` gives every stage the map after `layer1`, resized; `pyramid` gives stage i the map after `layer{i}`
            at its own size; `none` has no parts.
        channels: C, of the result.
        width: of the ResNet-18, 64 in the paper.
    """

    def __init__(self, kind: Literal["none", "stem", "pyramid"], channels: int, width: int = 64) -> None:
        super().__init__()
        self.flow_kind = kind
        if kind == "none":
            return
        self.flownet = ResNet18(2, width, layers=1 if kind == "stem" else 4)
        for number in range(4):
            channels_in = width if kind == "stem" else width << number
            self.add_module(f"conv{number + 1}_flow", DilatedSum(channels_in, channels))

    def encode_flow(self, flow: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return maps [N, C, h_i, w_i] of flow [N, 2, H, W], before any normalising.

        Args:
            flow: 0..1, where 0.5 is rest.
            sizes: (h, w) of the four stages; a pyramid has sizes of its own.
        """
        maps = self.flownet.stages(flow)
        sums = [self.get_submodule(f"conv{number + 1}_flow") for number in range(4)]
        found = []
        for number, layer in enumerate(sums):
            assert isinstance(layer, DilatedSum)
            found.append(layer.resized(maps[0], sizes[number]) if self.flow_kind == "stem" else layer(maps[number]))
        return found

    def join_flow(self, maps: Sequence[Tensor], flow: Tensor | None) -> list[Tensor]:
        """Return image maps [N, C, h_i, w_i] with the flow's added: both, and their sum, of unit length over channels.

        Without flow parts the maps stay as they are.

        Raises:
            ValueError: the network reads flow and there is none.
        """
        if self.flow_kind == "none":
            return list(maps)
        if flow is None:
            raise ValueError("this network reads flow: give it one, or build it with flow='none'")
        moved = self.encode_flow(flow, [(x.shape[-2], x.shape[-1]) for x in maps])
        return [_unit(_unit(image) + _unit(motion)) for image, motion in zip(maps, moved, strict=True)]


class FlowEncoder(FlowBranch):
    """The flow branch by itself.

    Args:
        kind: `stem` or `pyramid`, see `FlowBranch`.
        channels: C, of the result.
        width: of the ResNet-18, 64 in the paper.
    """

    def __init__(self, kind: FlowKind = "stem", channels: int = 256, width: int = 64) -> None:
        super().__init__(kind, channels, width)

    def forward(self, flow: Tensor, sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """Return four maps [N, C, h_i, w_i] of flow [N, 2, H, W] (see `encode_flow`)."""
        return self.encode_flow(flow, sizes)


def _unit(x: Tensor) -> Tensor:
    """Return [N, C, h, w] of unit length over channels."""
    return F.normalize(x, dim=1, eps=_EPS)
