"""Floating-point operations of the networks, counted from their sizes: two a multiply-add, matrix products alone.

Counted are the linear layers, the patch embedding and attention's two products; norms, activations and sums, under one
percent together, are not. A backward pass counts twice its forward (a product for each operand's gradient), except
where nothing asks for the gradient of the input. What checkpointing computes again is not counted.

There are two counts. `published` is that of the network as its paper describes it, whatever a step manages to leave
out: what rates of different programs are compared by. `executed` is what this project's forward does: the product of
two matrices in place of two products (`DividedBlock`), and in the last block only what the class token needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from asgmcli.nn.fusion import FusionTransformer
from asgmcli.nn.patches import PatchEmbed
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer

MLP_RATIO = 4


@dataclass(frozen=True)
class Forward:
    """Operations of one clip's forward pass: the patch embedding, and all that follows it."""

    embed: int
    encode: int


@dataclass(frozen=True)
class StepClips:
    """How many clips a training step takes through what.

    Attributes:
        embedded: whose patches the student embeds, each once.
        encoded: that the student encodes, mixtures among them.
        taught: that the teacher sees.
    """

    embedded: int
    encoded: int
    taught: int


def step_flops(forward: Forward, clips: StepClips) -> int:
    """Operations of one training step: the student forward and backward, the teacher forward."""
    student = 2 * clips.embedded * forward.embed + 3 * clips.encoded * forward.encode
    return student + clips.taught * (forward.embed + forward.encode)


def video_flops(model: TimeSformer, *, executed: bool) -> Forward:
    """Of one clip of the length and size that `model` was made for, its head included."""
    dim = model.cls_token.shape[-1]
    frames, cells = model.time_embed.shape[1], model.grid[0] * model.grid[1]
    patches, tokens = frames * cells, frames * (cells + 1)
    time = _linear(patches, dim, 3 * dim) + 2 * _linear(patches, dim, dim) + cells * _attention(frames, frames, dim)
    if executed:  # proj and temporal_fc as one
        time -= _linear(patches, dim, dim)
    space = _linear(tokens, dim, 4 * dim) + frames * _attention(cells + 1, cells + 1, dim)
    block = time + space + _mlp(patches + 1, dim)
    last = block
    if executed:
        queries = _linear(frames, dim, dim) + _linear(tokens, dim, 2 * dim) + frames * _attention(1, cells + 1, dim)
        last = time + queries + _linear(frames, dim, dim) + _mlp(1, dim)
    encode = (len(model.blocks) - 1) * block + last
    return Forward(_embedding(model.patch_embed, patches, dim), encode + _head(model.head, dim))


def audio_flops(model: AudioTransformer, *, executed: bool) -> Forward:
    """Of one clip's log-mel image of the size that `model` was made for."""
    dim = model.cls_token.shape[-1]
    cells = model.grid[0] * model.grid[1]
    tokens = cells + 1
    block = _linear(tokens, dim, 4 * dim) + _attention(tokens, tokens, dim) + _mlp(tokens, dim)
    last = block
    if executed:
        last = _linear(1, dim, 2 * dim) + _linear(tokens, dim, 2 * dim) + _attention(1, tokens, dim) + _mlp(1, dim)
    return Forward(_embedding(model.patch_embed, cells, dim), (len(model.blocks) - 1) * block + last)


def fusion_flops(model: FusionTransformer) -> int:
    """Of one clip's two class tokens, the classifier included."""
    dim = model.head.in_features
    block = _linear(2, dim, 4 * dim) + _attention(2, 2, dim) + _mlp(2, dim)
    return len(model.blocks) * block + _linear(1, dim, model.head.out_features)


def _linear(rows: int, inputs: int, outputs: int) -> int:
    return 2 * rows * inputs * outputs


def _attention(queries: int, keys: int, dim: int) -> int:
    """The two products of softmax attention, all heads."""
    return 4 * queries * keys * dim


def _mlp(rows: int, dim: int) -> int:
    return 2 * _linear(rows, dim, MLP_RATIO * dim)


def _embedding(module: PatchEmbed, rows: int, dim: int) -> int:
    weight = module.proj.weight
    hidden = _linear(rows, weight[0].numel(), len(weight))
    return hidden + (_linear(rows, len(weight), dim) if module.expand is not None else 0)


def _head(head: object, dim: int) -> int:
    outputs = getattr(head, "out_features", 0)
    return _linear(1, dim, outputs)
