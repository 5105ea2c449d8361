"""How fast this machine multiplies matrices of a network's sizes: what the rate of a step is a share of."""

from __future__ import annotations

from collections.abc import Callable

import torch

from asgmcli.bench.flops import MLP_RATIO


class Products:
    """The matrix products of a transformer block's linear layers, forward and backward, with nothing between them.

    Each layer of weight [N, K] on M rows asks for three: the output, the gradient of the input and that of the weight.
    Results go to memory that is there already, so that nothing but the products is timed.

    Args:
        rows: M, the tokens of the batch.
        dim: D; the layers are D -> 3D, D -> D, D -> 4D and 4D -> D.
        device: that multiplies.
        dtype: of all operands.
    """

    def __init__(self, rows: int, dim: int, device: torch.device, dtype: torch.dtype) -> None:
        self._work: list[Callable[[], object]] = []
        self.operations = 0
        for outputs, inputs in ((3 * dim, dim), (dim, dim), (MLP_RATIO * dim, dim), (dim, MLP_RATIO * dim)):
            x, y = (torch.randn(rows, width, device=device, dtype=dtype) for width in (inputs, outputs))
            weight = torch.randn(outputs, inputs, device=device, dtype=dtype)
            self._add(x, weight.T, torch.empty_like(y))
            self._add(y, weight, torch.empty_like(x))
            self._add(y.T, x, torch.empty_like(weight))

    def _add(self, left: torch.Tensor, right: torch.Tensor, out: torch.Tensor) -> None:
        self._work.append(lambda: torch.mm(left, right, out=out))
        self.operations += 2 * left.shape[0] * left.shape[1] * right.shape[1]

    def __call__(self) -> None:
        """All products once; `operations` of them."""
        for work in self._work:
            work()
