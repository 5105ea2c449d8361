"""The parts every transformer here is made of: self-attention, the feed-forward network, stochastic depth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# LayerNorm's epsilon in ViT, TimeSformer and AST checkpoints.
NORM_EPSILON = 1e-6
# Standard deviation of the truncated normal that ViTs start from.
INIT_STD = 0.02
# CUDA's fused attention launches one block row per row of tokens, and a grid has no more than this many.
MOST_ROWS = 65535


def attend(qkv: Tensor, heads: int) -> Tensor:
    """Return softmax attention of each row over its own tokens ("Attention is all you need", equation 1), [R, S, D].

    Args:
        qkv: [R, S, 3D] queries, keys and values of R rows of S tokens.
        heads: number of heads; divides D.
    """
    rows, length, width = qkv.shape
    if rows > MOST_ROWS:
        return torch.cat([attend(part, heads) for part in qkv.split(MOST_ROWS)])
    q, k, v = qkv.unflatten(-1, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(rows, length, width // 3)


def survival(shape: tuple[int, ...], rate: float, like: Tensor) -> Tensor:
    """Draw stochastic depth's factors: 0 with probability `rate`, else 1 / (1 - rate), so that the mean is 1.

    Args:
        shape: shape of the result; size 1 where a whole axis survives or falls together.
        rate: share of the branches that are dropped, [0, 1).
        like: tensor that names device and type.
    """
    return torch.empty(shape, device=like.device, dtype=like.dtype).bernoulli_(1 - rate).div_(1 - rate)


def add_branch(x: Tensor, branch: Tensor, factor: Tensor | None) -> Tensor:
    """Return the residual sum x + factor * branch, in one pass over memory."""
    return x + branch if factor is None else torch.addcmul(x, branch, factor)


def init_transformer(module: nn.Module) -> None:
    """Initialise a layer as ViT does, for `module.apply`: truncated normal linear weights, zero biases."""
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=INIT_STD)
        nn.init.zeros_(module.bias)


class Attention(nn.Module):
    """Multi-head self-attention. Parameter names (`qkv`, `proj`) are those of timm and TimeSformer."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads must divide dim: dim {dim}, heads {heads}")
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each row: [R, S, D] -> [R, S, D]."""
        found: Tensor = self.proj(attend(self.qkv(x), self.heads))
        return found

    def first(self, x: Tensor) -> Tensor:
        """Return the first token's output of `forward`, [R, S, D] -> [R, D], at a fraction of the cost."""
        rows, length, dim = x.shape
        weight, bias = self.qkv.weight, self.qkv.bias
        q = F.linear(x[:, 0], weight[:dim], bias[:dim]).view(rows, 1, self.heads, -1)
        kv = F.linear(x, weight[dim:], bias[dim:]).view(rows, length, 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        mixed: Tensor = self.proj(F.scaled_dot_product_attention(q.transpose(1, 2), k, v).reshape(rows, dim))
        return mixed


class Mlp(nn.Module):
    """The feed-forward network: linear, GELU, linear, hidden width `ratio` times D."""

    def __init__(self, dim: int, ratio: int = 4) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, ratio * dim)
        self.fc2 = nn.Linear(ratio * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the two layers to [..., D] -> [..., D]."""
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found
