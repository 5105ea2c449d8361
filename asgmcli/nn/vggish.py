"""VGGish (Hershey et al., 2017): a VGG over log-mel patches of 0.96 s of sound, with the released parameter names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from asgmcli.media.vggish_mel import BANDS, FRAMES
from asgmcli.nn.state import LoadReport, fit, state_of

_POOLINGS = 4
# Post-processing of the released network (PCA, 8 bits), which features of AVE and LLP do without.
_LEFT_OUT = "pproc."
# Before VGGish's names in files of networks that hold it, such as AVSegFormer's.
_INSIDE = "vggish."


class VGGish(nn.Module):
    """VGGish without its post-processing: [N, 1, 96, 64] -> [N, dim].

    Args:
        width: channels of the first convolution; the last ones have eight times as many.
        hidden: width of the two hidden linear layers.
        dim: of the embedding.
        last_relu: apply a ReLU to the embedding too, as the released PyTorch network and AVE's features do;
            TensorFlow's has none there now.
    """

    def __init__(self, width: int = 64, hidden: int = 4096, dim: int = 128, *, last_relu: bool = True) -> None:
        super().__init__()
        self.dim = dim
        layers: list[nn.Module] = []
        channels = 1
        for out in (width, "M", 2 * width, "M", 4 * width, 4 * width, "M", 8 * width, 8 * width, "M"):
            if isinstance(out, str):
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU(inplace=True)]
            channels = out
        self.features = nn.Sequential(*layers)
        cells = (FRAMES >> _POOLINGS) * (BANDS >> _POOLINGS)
        self.embeddings = nn.Sequential(
            nn.Linear(channels * cells, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, dim),
            nn.ReLU(inplace=True) if last_relu else nn.Identity(),
        )

    def forward(self, patches: Tensor) -> Tensor:
        """Return embeddings [N, dim] of log-mel patches [N, 1, 96, 64]."""
        cells = self.features(patches)
        # Flattened as height, width, channel: the order in which the released weights were trained.
        embeddings: Tensor = self.embeddings(cells.permute(0, 2, 3, 1).flatten(1))
        return embeddings


def load_vggish(net: VGGish, state: str | Path | Mapping[str, Any]) -> LoadReport:
    """Load VGGish's released weights (`vggish-10086976.pth`) into `net`; those of the post-processing are left out.

    Args:
        net: of the released sizes, or of those that the weights have.
        state: a path or a mapping of released names to tensors; in a file that holds other networks too they stand
            under `vggish.`.

    Raises:
        DataError: the file cannot be read, is of another network, or a shape does not fit.
    """
    tensors, source = state_of(state)
    inner = {name.removeprefix(_INSIDE): value for name, value in tensors.items() if name.startswith(_INSIDE)}
    kept = {name: value for name, value in (inner or tensors).items() if not name.startswith(_LEFT_OUT)}
    return fit(net, kept, source, may_keep=lambda _: False, resize={})


@torch.no_grad()
def embed_patches(net: VGGish, patches: Tensor, batch: int = 32) -> Tensor:
    """Return embeddings float32 [N, dim] of patches [N, 96, 64], computed `batch` at a time on the network's device."""
    device = next(net.parameters()).device
    parts = [net(part[:, None].to(device)).float().cpu() for part in patches.split(batch)]
    return torch.cat(parts) if parts else torch.empty(0, net.dim)
