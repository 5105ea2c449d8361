"""The attention layers of networks that parse videos: self, cross, or both, before one feed-forward part."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, nn

from asgmcli.nn.global_context import GlobalContextAttention

Attention = Literal["multihead", "global"]
Context = Literal["each", "first"]


class AttentionLayer(nn.Module):
    """A post-norm layer: z = norm1(q + attention), norm2(z + feed-forward z).

    Args:
        dim: D, also of the hidden layer.
        dropout: of attention weights, attention output, hidden layer and output.
        own: it has `self_attn`, which reads the query's own modality.
        cross: it has `cm_attn`, which reads the other.
        attention: torch's multi-head attention with one head, or attention with global context.
        context: `each` second gets its own output; `first` gives all seconds the first one's, as the released code of
            the global attention does.
    """

    def __init__(
        self,
        dim: int,
        dropout: float,
        *,
        own: bool,
        cross: bool,
        attention: Attention = "multihead",
        context: Context = "each",
    ) -> None:
        super().__init__()
        self.context = context
        if own:
            self.self_attn = _attention(attention, dim, dropout)
        if cross:
            self.cm_attn = _attention(attention, dim, dropout)
        self.linear1 = nn.Linear(dim, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.norm2 = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)
        self.drop_cross = nn.Dropout(dropout)
        self.drop_hidden = nn.Dropout(dropout)
        self.drop_out = nn.Dropout(dropout)
        self.own, self.cross = own, cross

    def forward(self, query: Tensor, other: Tensor | None = None) -> Tensor:
        """Return [B, T, D] of the modality `query` [B, T, D] beside the `other` [B, S, D], which only cross layers
        read."""
        z = query
        if self.cross:
            assert other is not None
            z = z + self.drop_cross(self._attend(self.cm_attn, query, other))
        if self.own:
            z = z + self.drop(self._attend(self.self_attn, query, query))
        z = self.norm1(z)
        hidden = self.drop_hidden(self.linear1(z).relu())
        out: Tensor = self.norm2(z + self.drop_out(self.linear2(hidden)))
        return out

    def _attend(self, attention: nn.Module, query: Tensor, key: Tensor) -> Tensor:
        if isinstance(attention, nn.MultiheadAttention):
            found: Tensor = attention(query, key, key, need_weights=False)[0]
            return found
        found = attention(query, key)
        return found[:, :1].expand_as(found) if self.context == "first" else found


class Layers(nn.Module):
    """Layers under the released name `layers`."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)


def _attention(kind: Attention, dim: int, dropout: float) -> nn.Module:
    if kind == "global":
        return GlobalContextAttention(dim, dropout=dropout)
    return nn.MultiheadAttention(dim, 1, dropout=dropout, batch_first=True)
