"""What does not load is told in a line."""

from pathlib import Path

import pytest

from asgmcli.errors import InstallError
from asgmcli.loading import check_imports, reason


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
