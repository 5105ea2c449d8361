"""Batch norm over the batch of all ranks: what a network with it computes must not depend on how many there are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from asgmcli.losses.ranks import count_ranks, gather_rows


class GlobalBatchNorm(_BatchNorm):
    """`nn.BatchNorm1d` and `nn.BatchNorm2d` whose statistics in training are those of all ranks' rows, with gradient.

    On CPUs as well, where torch's SyncBatchNorm is not to be had. Names and shapes of its tensors are theirs.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        """Any [B, C, ...] will do."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, ...] -> the same shape."""
        if not self.training:
            return super().forward(input)
        x = input.float()
        dims = [0, *range(2, x.dim())]
        variance, mean = torch.var_mean(x, dim=dims, correction=0)
        count = x.numel() // x.shape[1]
        own = torch.cat([mean, variance, mean.new_full((1,), count)])
        ranks = gather_rows(own[None], equal=True)
        means, variances, counts = ranks[:, : len(mean)], ranks[:, len(mean) : -1], ranks[:, -1:]
        total = counts.sum()
        mean = (means * counts).sum(0) / total
        variance = ((variances + (means - mean).square()) * counts).sum(0) / total
        self._follow(mean.detach(), variance.detach() * total / (total - 1))
        shape = [1, -1] + [1] * (x.dim() - 2)
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        shift = -mean * scale if self.bias is None else self.bias - mean * scale
        return (x * scale.view(shape) + shift.view(shape)).to(input.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Let the running statistics follow."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance, share)


def share_norms(network: nn.Module) -> None:
    """Replace every batch norm in `network` by a global one with the same tensors; nothing with a single rank."""
    if count_ranks() == 1:
        return
    for parent in list(network.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, _shared(norm))


def _shared(norm: _BatchNorm) -> GlobalBatchNorm:
    shared = GlobalBatchNorm(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    if norm.affine:
        shared.weight, shared.bias = norm.weight, norm.bias
    for name, buffer in norm.named_buffers():
        setattr(shared, name, buffer)
    return shared.train(norm.training)
