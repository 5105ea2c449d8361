"""Signals to commands that keep nothing half done: an end at once, with the exit code that says so."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from asgmcli.cli import main
from asgmcli.errors import InterruptedByKeyboard
from asgmcli.signals import StopFlag


@pytest.mark.parametrize("name", ["train", "eval", "localize", "prepare"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_command_that_is_signalled_ends_with_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, code: int
) -> None:
    """At the first file that it looks at."""
    (tmp_path / "clips" / "dog").mkdir(parents=True)
    target = tmp_path / "a.yaml"
    target.write_text("name: a\n")
    before = [signal.getsignal(which) for which in (signal.SIGTERM, signal.SIGINT)]

    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), number)

    monkeypatch.setattr("yaml.load", stopped)
    module = importlib.import_module(f"asgmcli.commands.{name}")
    arguments = {"localize": [str(tmp_path / "clips")], "prepare": ["folder", "--root", str(tmp_path / "clips")]}
    if name == "localize":
        monkeypatch.setattr(module, "_clips", stopped)
    if name == "prepare":
        monkeypatch.setattr("asgmcli.prepare.run.prepare", stopped)
    result = CliRunner().invoke(main, [name, *arguments.get(name, [str(target)])])
    assert result.exit_code == code, result.output
    assert "Stopped" in result.output
    assert [signal.getsignal(which) for which in (signal.SIGTERM, signal.SIGINT)] == before


def test_of_several_processes_each_bears_a_signal_twice() -> None:
    """From whoever started them and again from their launcher; one alone ends at once by the second."""
    with StopFlag(patient=True) as stop:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
    with StopFlag() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(InterruptedByKeyboard, match="stopped"):
        stop.raise_if_set("stopped")
