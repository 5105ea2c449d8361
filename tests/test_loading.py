"""Garbage is not looked for while torch is loaded, and then as before; what does not load is told in a line."""

import atexit
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from asgmcli import loading
from asgmcli.errors import InstallError
from asgmcli.loading import check_imports, imports_that_stay, reason


@pytest.fixture(autouse=True)
def thawed() -> None:
    """As in a process that has loaded nothing yet: other tests' commands freeze what they loaded."""
    gc.unfreeze()


def test_the_first_load_is_left_alone_by_collections_then_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    at_the_end: list[Callable[[], None]] = []
    monkeypatch.setattr(atexit, "register", at_the_end.append)
    try:
        with imports_that_stay():
            assert not gc.isenabled()
            assert not gc.get_freeze_count()
            made = [{} for _ in range(1000)]
        assert gc.isenabled()
        assert gc.get_freeze_count() > len(made)
        gc.unfreeze()
        (end,) = at_the_end
        end()
        assert gc.get_freeze_count() > len(made)
    finally:
        gc.unfreeze()


@pytest.mark.parametrize(("module", "frozen"), [("nanobind", False), ("pybind11_builtins", True)])
def test_what_reports_leaks_is_collected_at_the_end(module: str, frozen: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triton 3.9 is built with nanobind, which writes a hundred lines of what is frozen; 3.8 was with pybind11."""
    builder = type("nb_type_0", (type,), {"__module__": module})("builder", (), {})
    fake = SimpleNamespace(ir=SimpleNamespace(builder=builder))
    monkeypatch.setitem(sys.modules, "triton._C.libtriton", fake)  # type: ignore[arg-type]
    gc.freeze()
    loading._leave_to_the_system()
    assert (gc.get_freeze_count() > 0) == frozen
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


def test_what_does_not_load_is_told_with_the_reason_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brokenpackage.py").write_text(
        "try:\n    raise OSError('lib.so: undefined symbol: torch_gone')\n"
        "except OSError as error:\n    raise RuntimeError('Could not load this library: lib.so\\nmore') from error\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(InstallError) as caught:
        check_imports("json", "brokenpackage")
    assert caught.value.exit_code == 3
    message = caught.value.message
    assert "\n" not in message
    assert message.startswith(
        "brokenpackage does not load here: RuntimeError: Could not load this library: lib.so <- "
        "OSError: lib.so: undefined symbol: torch_gone. Install releases that go together: "
    )
    assert "asgm doctor" in message


def test_a_missing_package_is_told() -> None:
    with pytest.raises(InstallError, match="nosuchpackage does not load here: ModuleNotFoundError"):
        check_imports("nosuchpackage.part")


def test_a_reason_without_words_is_the_errors_kind() -> None:
    assert reason(KeyError()) == "KeyError"
    assert reason(ValueError("first\nsecond")) == "ValueError: first"
