"""Multi-scale deformable attention (X. Zhu et al., "Deformable DETR", ICLR 2021) in torch alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class DeformableAttention(nn.Module):
    """Every query reads a few points near its own place in every level; names as released.

    Args:
        dim: D.
        levels: L, maps that are read.
        heads: of which each reads D / heads channels at places of its own.
        points: a level and head.

    Raises:
        ValueError: heads do not divide dim.
    """

    def __init__(self, dim: int, levels: int, heads: int, points: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide {dim} channels")
        self.levels, self.heads, self.points = levels, heads, points
        self.sampling_offsets = nn.Linear(dim, heads * levels * points * 2)
        self.attention_weights = nn.Linear(dim, heads * levels * points)
        self.value_proj = nn.Linear(dim, dim)
        self.output_proj = nn.Linear(dim, dim)
        self._start()

    def _start(self) -> None:
        """Look out from the query in one direction a head, point n at n cells; all weigh the same."""
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        places = directions[:, None, None] * torch.arange(1, self.points + 1)[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_(places.expand(-1, self.levels, -1, -1).flatten())
        nn.init.zeros_(self.sampling_offsets.weight)
        nn.init.zeros_(self.attention_weights.weight)
        nn.init.zeros_(self.attention_weights.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, query: Tensor, points: Tensor, value: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Return [N, Q, D].

        Args:
            query: [N, Q, D].
            points: [N, Q, L, 2] the queries' own places in each level, 0..1 (x, y).
            value: [N, S, D], the levels' cells one after another, S = Σ h·w.
            shapes: (h, w) of each level.
        """
        count, queries, dim = query.shape
        heads, channels = self.heads, dim // self.heads
        offsets = self.sampling_offsets(query).view(count, queries, heads, self.levels, self.points, 2)
        sizes = torch.tensor([(width, height) for height, width in shapes], device=query.device, dtype=query.dtype)
        places = 2 * (points[:, :, None, :, None] + offsets / sizes[:, None]) - 1
        places = places.permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # [L, N * heads, Q, points, 2]
        weights = self.attention_weights(query).view(count, queries, heads, -1).softmax(dim=-1)
        weights = weights.unflatten(-1, (self.levels, self.points)).permute(3, 0, 2, 1, 4).flatten(1, 2)
        levels = self.value_proj(value).split([height * width for height, width in shapes], dim=1)
        total = query.new_zeros(count * heads, channels, queries)
        for level, (height, width) in enumerate(shapes):
            cells = levels[level].transpose(1, 2).reshape(count * heads, channels, height, width)
            read = F.grid_sample(cells, places[level].to(cells.dtype), align_corners=False)
            total = total + (read * weights[level][:, None]).sum(dim=-1)
        joined: Tensor = self.output_proj(total.view(count, dim, queries).transpose(1, 2))
        return joined
