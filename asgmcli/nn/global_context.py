"""Attention with global context (Lamba et al., Interspeech 2021, Section 3.1, after Yang et al., AAAI 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class GlobalContextAttention(nn.Module):
    """Scaled dot-product attention whose queries and keys are gated towards the means of their sequences.

    Args:
        dim: D.
        heads: that D is divided among.
        dropout: of the attention weights.
    """

    def __init__(self, dim: int, heads: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"{heads} heads do not divide a width of {dim}")
        self.heads = heads
        self.dropout = dropout
        self.qx_linear = nn.Linear(dim, dim)
        self.kx_linear = nn.Linear(dim, dim)
        self.vx_linear = nn.Linear(dim, dim)
        self.qc_linear = nn.Linear(dim, dim)
        self.kc_linear = nn.Linear(dim, dim)
        self.Vqx_linear = nn.Linear(dim, 1)
        self.Vqc_linear = nn.Linear(dim, 1)
        self.Vkx_linear = nn.Linear(dim, 1)
        self.Vkc_linear = nn.Linear(dim, 1)
        self.out = nn.Linear(dim, dim)

    def forward(self, query: Tensor, key: Tensor) -> Tensor:
        """Return [B, T, D]: what each of `query` [B, T, D] takes of `key` [B, S, D]."""
        q, k, v = self.qx_linear(query), self.kx_linear(key), self.vx_linear(key)
        q_context = self.qc_linear(query.mean(dim=1, keepdim=True))
        k_context = self.kc_linear(key.mean(dim=1, keepdim=True))
        q_gate = torch.sigmoid(self.Vqx_linear(q) + self.Vqc_linear(q_context))
        k_gate = torch.sigmoid(self.Vkx_linear(k) + self.Vkc_linear(k_context))
        q = torch.lerp(q, q_context, q_gate)
        k = torch.lerp(k, k_context, k_gate)
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))
        dropout = self.dropout if self.training else 0.0
        found = nn.functional.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        answer: Tensor = self.out(found.transpose(1, 2).flatten(2))
        return answer
