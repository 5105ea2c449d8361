"""Cores of a training step on a CPU."""

from __future__ import annotations

import os

import pytest
import torch

from asgmcli.train.threads import ASKED, leave_one_for_loading


@pytest.mark.parametrize(
    ("device", "cores", "environment", "threads"),
    [
        ("cpu", 8, {}, 7),
        ("cpu", 1, {}, 1),
        ("cpu", 8, {"OMP_NUM_THREADS": "3"}, None),
        ("cpu", 8, {"MKL_NUM_THREADS": "2"}, None),
        ("cuda", 8, {}, None),
    ],
)
def test_one_core_is_left_for_loading_unless_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch, device: str, cores: int, environment: dict[str, str], threads: int | None
) -> None:
    set_to: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", set_to.append)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    for name in ASKED:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    leave_one_for_loading(torch.device(device))
    assert set_to == ([] if threads is None else [threads])
