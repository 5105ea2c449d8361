"""environment.json: versions of all packages, and the commit only where the program runs from a clone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from asgmcli.train.environment import commit, environment, versions


def test_versions_and_machine_are_recorded() -> None:
    import numpy
    import torch

    found = environment()
    assert found["torch"] == torch.__version__
    packages = versions()
    assert packages["numpy"] == numpy.__version__
    assert packages.keys() >= {"torchvision", "av", "click", "pydantic"}
    assert found["packages"] == packages


def test_the_commit_is_told_with_what_differs_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "a")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "a@b")
    package = tmp_path / "clone" / "asgmcli"
    package.mkdir(parents=True)
    assert commit(package) == {"commit": None, "changed": None}
    (package / "__init__.py").write_text("")

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(package), *arguments], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "..")
    git("add", ".")
    git("commit", "-qm", "first")
    assert commit(package) == {"commit": git("rev-parse", "HEAD"), "changed": False}
    (package / "__init__.py").write_text("1")
    assert commit(package)["changed"] is True
    installed = package.parent / ".venv" / "asgmcli"  # a wheel inside a clone of something else
    installed.mkdir(parents=True)
    assert commit(installed) == {"commit": None, "changed": None}
