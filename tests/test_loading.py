"""Garbage is not looked for while torch is loaded, and then as before."""

import atexit
import gc
import sys

import pytest

from asgmcli.loading import imports_that_stay


def test_the_first_load_is_left_alone_by_collections_then_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    at_the_end: list[object] = []
    monkeypatch.setattr(atexit, "register", at_the_end.append)
    try:
        with imports_that_stay():
            assert not gc.isenabled()
            assert not gc.get_freeze_count()
            made = [{} for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() > len(made)
        assert at_the_end == [gc.freeze]
    finally:
        gc.unfreeze()


def test_an_import_that_fails_leaves_collections_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    with pytest.raises(ImportError), imports_that_stay():
        raise ImportError
    assert gc.isenabled()
    assert not gc.get_freeze_count()


def test_where_torch_is_there_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    with imports_that_stay():
        assert gc.isenabled()
    assert not gc.get_freeze_count()
