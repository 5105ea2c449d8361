"""torch.compile, where there is no compiler."""

from __future__ import annotations

import pytest

from asgmcli.errors import UsageError
from asgmcli.train import compiler


def test_no_compiler_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler"):
        compiler.check_compiler()
