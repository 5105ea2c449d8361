"""Attention with global context (Lamba et al., Interspeech 2021, Section 3.1, after Yang et al., AAAI 2019)."""

from __future__ import annotations

import math

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
        q, k = self.qx_linear(query), self.kx_linear(key)
        q_context = self.qc_linear(query.mean(dim=1, keepdim=True))
        k_context = self.kc_linear(key.mean(dim=1, keepdim=True))
        q_gate = torch.sigmoid(self.Vqx_linear(q) + self.Vqc_linear(q_context))[:, None]
        k_gate = torch.sigmoid(self.Vkx_linear(k) + self.Vkc_linear(k_context))[:, None].mT
        q, k, q_context, k_context = map(self._by_heads, (q, k, q_context, k_context))
        # Products are linear in both sides, so the gates move them: T x S numbers in place of T x D and S x D.
        of_keys = torch.lerp(q @ k.mT, q_context @ k.mT, q_gate)
        of_context = torch.lerp(q @ k_context.mT, q_context @ k_context.mT, q_gate)
        scores = torch.lerp(of_keys, of_context, k_gate) / math.sqrt(q.shape[-1])
        weights = nn.functional.dropout(scores.softmax(-1), self.dropout, self.training)
        if self.training or self.heads > 1:
            answer: Tensor = self.out((weights @ self._by_heads(self.vx_linear(key))).transpose(1, 2).flatten(2))
            return answer
        # Weights that sum to one let both linear layers behind them be one, of a tenth less work in all.
        bias = nn.functional.linear(self.vx_linear.bias, self.out.weight, self.out.bias)
        return nn.functional.linear(weights[:, 0] @ key, self.out.weight @ self.vx_linear.weight, bias)

    def _by_heads(self, values: Tensor) -> Tensor:
        parts: Tensor = values.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return parts
