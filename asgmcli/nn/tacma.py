"""TACMA: temporally-aware cross-modal attention over a video's audio and visual segments (Eq. 3-8), and its probes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

Fuse = Literal["printed", "cross"]
Modality = Literal["both", "audio", "visual"]

SMALLEST = 1e-6
"""What a weight is divided by at least: below it 0 / 0 and inf * 0 wait in the backward pass."""
_EPS = 1e-6  # of the layer norms


def mlp_head(dim: int, classes: int, sizes: Sequence[int] = (128, 64)) -> nn.Sequential:
    """Return the three-layer classifier: a linear layer and a ReLU for each of `sizes`, and a linear one to K."""
    layers: list[nn.Module] = []
    for size in sizes:
        layers += [nn.Linear(dim, size), nn.ReLU()]
        dim = size
    return nn.Sequential(*layers, nn.Linear(dim, classes))


class TACMA(nn.Module):
    """Cross-modal attention whose weights fall with the distance in time, and a classifier of each segment.

    Args:
        dim: d, width of both features.
        hidden: d_h, in which segments are compared.
        out: d_e, in which both streams are added.
        classes: K, the background among them.
        theta: how quickly weights fall with the distance in segments; 0 leaves them as they are.
        fuse: `printed` is Eq. 6; `cross` exchanges both weights, so that each stream collects values of the other's
            segments.
        head: hidden sizes of the classifier.
    """

    def __init__(
        self,
        dim: int = 256,
        hidden: int = 256,
        out: int = 256,
        classes: int = 29,
        theta: float = 0.03,
        fuse: Fuse = "printed",
        head: Sequence[int] = (128, 64),
    ) -> None:
        super().__init__()
        self.theta, self.fuse = theta, fuse
        self.a1, self.v1 = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.a2, self.v2 = nn.Linear(dim, dim, bias=False), nn.Linear(dim, dim, bias=False)
        self.a3, self.v3 = nn.Linear(dim, out, bias=False), nn.Linear(dim, out, bias=False)
        self.norm_a, self.norm_v = nn.LayerNorm(out, eps=_EPS), nn.LayerNorm(out, eps=_EPS)
        self.head = mlp_head(out, classes, head)

    def forward(self, f_a: Tensor, f_v: Tensor) -> Tensor:
        """Return logits [B, T, K] of features [B, T, d]."""
        logits: Tensor = self.head(sum(self.streams(f_a, f_v)))
        return logits

    def streams(self, f_a: Tensor, f_v: Tensor) -> tuple[Tensor, Tensor]:
        """Return norm_a(..) and norm_v(..) of Eq. 7, [B, T, d_e] each; their sum is what is classified."""
        w_av, w_va = self.attention(f_a, f_v)
        if self.fuse == "cross":
            w_av, w_va = w_va, w_av
        visual = w_va @ self.v2(f_v) + f_a
        audio = w_av @ self.a2(f_a) + f_v
        return self.norm_a(self.a3(audio)), self.norm_v(self.v3(visual))

    def attention(self, f_a: Tensor, f_v: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights W^av (rows audio) and W^va (rows visual) of Eq. 5, float32 [B, T, T]; rows do not add up.

        Weights are computed in float32, whatever the step's precision.
        """
        keys = self.a1(f_a), self.v1(f_v)
        with torch.autocast("cpu" if f_a.is_meta else f_a.device.type, enabled=False):
            audio, visual = (part.float() for part in keys)
            similarity = (audio @ visual.mT / f_a.shape[-1] ** 0.5).relu()
            decay = -self.theta * self._distance(similarity)
            w_av, w_va = (_faded(part.softmax(-1), decay) for part in (similarity, similarity.mT))
        return w_av, w_va

    def _distance(self, like: Tensor) -> Tensor:
        """Return |i - j|, [T, T]."""
        places = torch.arange(like.shape[-1], device=like.device, dtype=like.dtype)
        return (places[:, None] - places).abs()


def _faded(weights: Tensor, decay: Tensor) -> Tensor:
    """Return exp(decay / weights) * weights."""
    return torch.exp(decay / weights.clamp(min=SMALLEST)) * weights


class Probe(nn.Module):
    """TACMA's classifier on the features as they are: those of one modality, or the sum of both.

    Args:
        dim: d, width of both features.
        classes: K.
        modality: what is classified.
        head: hidden sizes.
    """

    def __init__(
        self, dim: int = 256, classes: int = 29, modality: Modality = "both", head: Sequence[int] = (128, 64)
    ) -> None:
        super().__init__()
        self.modality = modality
        self.head = mlp_head(dim, classes, head)

    def forward(self, f_a: Tensor, f_v: Tensor) -> Tensor:
        """Return logits [B, T, K] of features [B, T, d]."""
        features = {"audio": f_a, "visual": f_v}.get(self.modality)
        logits: Tensor = self.head(f_a + f_v if features is None else features)
        return logits
