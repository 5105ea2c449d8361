"""AVSegFormer: queries drawn from the sound attend an image's stages and gate its channels.

S. Gao et al., "AVSegFormer: Audio-Visual Segmentation with Transformer", AAAI 2024; with the flow branch of UFE.
Parameter names are those of the released `AVSegHead`, without the parts that it never uses. A frame is a sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.nn.deformable import DeformableAttention
from asgmcli.nn.flow_encoder import FlowBranch
from asgmcli.nn.stages import build_backbone, stage_channels, stage_maps
from asgmcli.nn.tpavi import Segmented

_TEMPERATURE = 10000.0
_LEVELS, _POINTS = 3, 4
_GROUPS = 32
_LAST = 32  # units of the last ReLU at every size, as released: of few all can die in the first steps


def sine_positions(height: int, width: int, dim: int, device: torch.device) -> Tensor:
    """Return positions [h * w, D]: pairs of sine and cosine of the row, then of the column, counted from 1."""
    pairs = dim // 4
    scale = _TEMPERATURE ** (torch.arange(pairs, device=device) / pairs)
    rows, columns = (torch.arange(1, count + 1, device=device)[:, None] / scale for count in (height, width))
    axes = [torch.stack([x.sin(), x.cos()], dim=-1).flatten(1) for x in (rows, columns)]
    grid = torch.cat([axes[0][:, None].expand(-1, width, -1), axes[1][None].expand(height, -1, -1)], dim=-1)
    return grid.flatten(0, 1)


class QueryLayer(nn.Module):
    """Self-attention of the queries, cross-attention to the sound's one token, GELU network; each with a norm."""

    def __init__(self, dim: int, heads: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, bias=bias, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(dim, heads, bias=bias, batch_first=True)
        self.ffn = nn.Sequential(nn.Linear(dim, hidden), nn.GELU(), nn.Linear(hidden, dim))
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))

    def forward(self, query: Tensor, audio: Tensor) -> Tensor:
        """Return queries [N, Q, D] of queries [N, Q, D] and sound [N, 1, D]."""
        query = self.norm1(query + self.self_attn(query, query, query, need_weights=False)[0])
        query = self.norm2(query + self.cross_attn(query, audio, audio, need_weights=False)[0])
        result: Tensor = self.norm3(query + self.ffn(query))
        return result


class QueryGenerator(nn.Module):
    """Queries [N, Q, D] from the sound [N, 1, D]."""

    def __init__(self, queries: int, layers: int, dim: int, heads: int, hidden: int, bias: bool) -> None:
        super().__init__()
        self.query = nn.Embedding(queries, dim)
        self.layers = nn.ModuleList(QueryLayer(dim, heads, hidden, bias) for _ in range(layers))

    def forward(self, audio: Tensor) -> Tensor:
        """Return queries [N, Q, D]."""
        query = self.query.weight.expand(len(audio), -1, -1)
        for layer in self.layers:
            query = layer(query, audio)
        return query


class EncoderLayer(nn.Module):
    """Deformable self-attention over the levels' cells and a GELU network, each followed by a norm."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = DeformableAttention(dim, _LEVELS, heads, _POINTS)
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, positions: Tensor, points: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Return cells [N, S, D] of cells [N, S, D] with positions [S, D] at `points` [N, S, L, 2]."""
        x = self.norm1(x + self.dropout(self.self_attn(x + positions, points, x, shapes)))
        hidden = self.dropout(F.gelu(self.linear1(x)))
        result: Tensor = self.norm2(x + self.dropout(self.linear2(hidden)))
        return result


class DecoderLayer(nn.Module):
    """Ordinary attention of the queries to each other and to all cells, and a GELU network, each with a norm."""

    def __init__(self, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.self_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.cross_attn = nn.MultiheadAttention(dim, heads, dropout=dropout, batch_first=True)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(dim) for _ in range(3))
        self.linear1, self.linear2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, memory: Tensor) -> Tensor:
        """Return queries [N, Q, D] of queries [N, Q, D] and cells [N, S, D]."""
        query = self.norm1(query + self.dropout(self.self_attn(query, query, query, need_weights=False)[0]))
        query = self.norm2(query + self.dropout(self.cross_attn(query, memory, memory, need_weights=False)[0]))
        hidden = self.dropout(F.gelu(self.linear1(query)))
        result: Tensor = self.norm3(query + self.dropout(self.linear2(hidden)))
        return result


class ChannelMixer(nn.Module):
    """The sound attends the pixels and gates the map's channels (AVSegFormer's `CrossModalMixer`)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj = nn.Linear(dim, dim, bias=False)
        self.kv_proj = nn.Linear(dim, 2 * dim, bias=False)
        self.proj = nn.Linear(dim, dim)

    def forward(self, feature: Tensor, audio: Tensor) -> Tensor:
        """Return [N, C, h, w] of `feature` [N, C, h, w] and `audio` [N, 1, C]."""
        count, dim = feature.shape[:2]
        query = self.q_proj(audio).view(count, 1, self.heads, -1).transpose(1, 2)
        pairs = self.kv_proj(feature.flatten(2).transpose(1, 2)).view(count, -1, 2, self.heads, dim // self.heads)
        keys, values = pairs.permute(2, 0, 3, 1, 4).unbind(0)
        read = F.scaled_dot_product_attention(query, keys, values).transpose(1, 2).reshape(count, dim)
        gate: Tensor = self.proj(read).sigmoid()
        return feature * gate[:, :, None, None]


class _PixelNetwork(nn.Module):
    """1x1 convolutions from Q maps to C, with ReLU between; names as released."""

    def __init__(self, queries: int, hidden: int, dim: int) -> None:
        super().__init__()
        sizes = (queries, hidden, hidden, dim)
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in pairwise(sizes))

    def forward(self, x: Tensor) -> Tensor:
        first, second, last = self.layers
        result: Tensor = last(F.relu(second(F.relu(first(x)))))
        return result


class _Transformer(nn.Module):
    """Stacks `encoder.layers` and `decoder.layers`, for their released names."""

    def __init__(self, layers: int, dim: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Module(), nn.Module()
        self.encoder.layers = nn.ModuleList(EncoderLayer(dim, heads, hidden, dropout) for _ in range(layers))
        self.decoder.layers = nn.ModuleList(DecoderLayer(dim, heads, hidden, dropout) for _ in range(layers))

    def encode(self, x: Tensor, positions: Tensor, points: Tensor, shapes: Sequence[tuple[int, int]]) -> Tensor:
        """Return cells [N, S, D]."""
        layers = self.encoder.layers
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            x = layer(x, positions, points, shapes)
        return x

    def decode(self, query: Tensor, memory: Tensor) -> Tensor:
        """Return queries [N, Q, D]."""
        layers = self.decoder.layers
        assert isinstance(layers, nn.ModuleList)
        for layer in layers:
            query = layer(query, memory)
        return query


class AVSegHead(FlowBranch):
    """All of AVSegFormer that follows the backbone.

    Args:
        in_channels: of the four stages.
        queries: Q.
        layers: of each of the three stacks.
        ffn: hidden channels of encoder and decoder.
        flow: read flow, with a stem.
        query_bias: the query generator's attentions have biases (UFE's release; AVSegFormer's own has none).
        dim: C.
        heads: of every attention.
        generator_ffn: hidden channels of the query generator.
        mask_hidden: hidden channels of the network from queries' maps to the mask feature.
        dropout: in encoder and decoder.
        width: of the flow's ResNet-18.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        queries: int = 300,
        layers: int = 6,
        ffn: int = 2048,
        flow: bool = True,
        query_bias: bool = True,
        *,
        dim: int = 256,
        heads: int = 8,
        generator_ffn: int = 1024,
        mask_hidden: int = 2048,
        dropout: float = 0.1,
        width: int = 64,
    ) -> None:
        super().__init__("stem" if flow else "none", dim, width)
        self.level_embed = nn.Parameter(torch.randn(_LEVELS, dim))
        self.learnable_query = nn.Embedding(queries, dim)
        self.query_generator = QueryGenerator(queries, layers, dim, heads, generator_ffn, query_bias)
        self.transformer = _Transformer(layers, dim, heads, ffn, dropout)
        self.in_proj = nn.ModuleList(
            nn.Sequential(nn.Conv2d(channels, dim, 1), nn.GroupNorm(_GROUPS, dim)) for channels in in_channels
        )
        self.mlp = _PixelNetwork(queries, mask_hidden, dim)
        self.fusion_block = ChannelMixer(dim, heads)
        self.lateral_conv = nn.Sequential(nn.Conv2d(dim, dim, 1), nn.GroupNorm(_GROUPS, dim))
        self.out_conv = nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1), nn.GroupNorm(_GROUPS, dim), nn.ReLU())
        self.fc = nn.Sequential(
            nn.Conv2d(dim, dim // 2, 3, padding=1),
            nn.Upsample(scale_factor=4, mode="bilinear", align_corners=False),
            nn.Conv2d(dim // 2, _LAST, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(_LAST, 1, 1, bias=False),
        )

    def forward(self, maps: Sequence[Tensor], audio: Tensor, flow: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return logits [N, H, W] and the mask feature [N, C, H/4, W/4].

        Args:
            maps: four stages [N, c_i, H / 2^(i+2), W / 2^(i+2)].
            audio: [N, 1, C].
            flow: [N, 2, H, W] in 0..1; None where the head reads none.

        Raises:
            ValueError: the head reads flow and there is none.
        """
        stages = [project(x) for project, x in zip(self.in_proj, maps, strict=True)]
        stages = self.join_flow(stages, flow)
        query = self.query_generator(audio) + self.learnable_query.weight
        memory = self._encode(stages[1:])
        query = self.transformer.decode(query, memory)
        height, width = stages[1].shape[-2:]
        second = memory[:, : height * width].transpose(1, 2).unflatten(2, (height, width))
        finest = self.lateral_conv(stages[0])
        finest = finest + F.interpolate(second, finest.shape[-2:], mode="bilinear", align_corners=False)
        feature: Tensor = self.fusion_block(self.out_conv(finest), audio)
        asked = torch.einsum("nqc,nchw->nqhw", query, feature)
        if feature.device.type == "cpu":  # 1x1 convolutions read pixel by pixel
            asked = asked.contiguous(memory_format=torch.channels_last)
        return self.fc(feature + self.mlp(asked))[:, 0], feature

    def _encode(self, stages: Sequence[Tensor]) -> Tensor:
        """Return cells [N, S, C] of stages [N, C, h, w], one after another."""
        shapes = [(x.shape[-2], x.shape[-1]) for x in stages]
        device = stages[0].device
        cells = torch.cat([x.flatten(2).transpose(1, 2) for x in stages], dim=1)
        positions = torch.cat(
            [
                sine_positions(*shape, cells.shape[-1], device) + self.level_embed[level]
                for level, shape in enumerate(shapes)
            ]
        )
        points = torch.cat([_centres(*shape, device) for shape in shapes])
        points = points[None, :, None].expand(len(cells), -1, len(shapes), -1)
        return self.transformer.encode(cells, positions, points, shapes)


class AVSegFormer(nn.Module):
    """Image, sound and flow to a mask, frame by frame.

    Args:
        backbone: see `nn.stages.BACKBONES`.
        flow: `stem` reads flow.
        query_bias: see `AVSegHead`.
        channels: C.
        audio_dim: A, of the sound's embedding.
        width: of the first stage of backbone resnet18, and of the flow's ResNet-18.
        **head: further arguments of `AVSegHead`.
    """

    def __init__(
        self,
        backbone: str,
        flow: Literal["none", "stem"] = "none",
        query_bias: bool = True,
        *,
        channels: int = 256,
        audio_dim: int = 128,
        width: int = 64,
        **head: int,
    ) -> None:
        super().__init__()
        self.audio_proj = nn.Linear(audio_dim, channels)
        self.backbone = build_backbone(backbone, width)
        in_channels = stage_channels(backbone, width)
        self.head = AVSegHead(
            in_channels, flow=flow != "none", query_bias=query_bias, dim=channels, width=width, **head
        )

    def forward(self, image: Tensor, audio: Tensor, flow: Tensor | None = None) -> Segmented:
        """Segment every frame, as `TPAVINetwork` does; `maps` holds the mask feature [B, T, C, H/4, W/4].

        Raises:
            ValueError: the network reads flow and there is none.
        """
        shape = image.shape[:2]
        stages = stage_maps(self.backbone, image.flatten(0, 1))
        heard = self.audio_proj(audio.flatten(0, 1))[:, None]
        logits, feature = self.head(stages, heard, None if flow is None else flow.flatten(0, 1))
        return Segmented(logits.unflatten(0, shape), [feature.unflatten(0, shape)], [])


def _centres(height: int, width: int, device: torch.device) -> Tensor:
    """Return [h * w, 2]: the cells' centres in 0..1 (x, y)."""
    y, x = ((torch.arange(count, device=device) + 0.5) / count for count in (height, width))
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).flatten(0, 1)
