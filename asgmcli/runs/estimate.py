"""Measure how fast this machine multiplies matrices of a network's size, to estimate a run's time."""

from __future__ import annotations

import math
import time

import torch

from asgmcli.ranks.device import synchronize
from asgmcli.recipe.training import Train

RATE_ROWS = {"cuda": 4096}  # tokens whose products are timed, by device
RATE_ROWS_ELSEWHERE = 512
RATE_SECONDS, RATE_PRODUCTS = 0.1, 5  # timed at least, beyond the one that warms up


def product_rate(device: torch.device, settings: Train, width: int) -> float:
    """Measure the operations a second of `device` when it multiplies matrices of a network `width` wide."""
    dtype = torch.bfloat16 if settings.precision == "bf16" else torch.float32
    rows = RATE_ROWS.get(device.type, RATE_ROWS_ELSEWHERE)
    left = torch.randn(rows, width, device=device, dtype=dtype)
    right = torch.randn(width, 4 * width, device=device, dtype=dtype)
    out = torch.empty(rows, 4 * width, device=device, dtype=dtype)

    def products() -> None:
        torch.mm(left, right, out=out)
        synchronize(device)

    products()
    fastest, timed, begin = math.inf, 0, time.perf_counter()
    while time.perf_counter() - begin < RATE_SECONDS or timed < RATE_PRODUCTS:
        started = time.perf_counter()
        products()
        fastest, timed = min(fastest, time.perf_counter() - started), timed + 1
    return 2 * rows * width * 4 * width / max(fastest, math.ulp(1.0))
