"""The lock has an exact version of everything that setup.py and its extras ask for, and nothing of the machine it was
made on."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import setuptools

ROOT = Path(__file__).parents[1]


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What setup.py gives to setuptools."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(setuptools, "setup", lambda **words: given.update(words))
    runpy.run_path(str(ROOT / "setup.py"))
    return given


def names(requirements: list[str]) -> set[str]:
    return {canonical(re.split(r"[<>=!~; ]", text, maxsplit=1)[0]) for text in requirements}


def pins() -> dict[str, list[str]]:
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in lines:
        match = re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.+]*)( ; [a-z_0-9.'<>=!() *A-Z]+)?", line)
        assert match, line
        found.setdefault(match[1], []).append(match[2])
    return found


def test_the_lock_is_exact_and_of_no_machine() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not re.search(r"https?:|file:|--|/[a-z]+/", text.split("\n", 1)[1])
    assert len(pins()) > 80
    assert all(len(pins()[name]) == 1 for name in ("torch", "torchvision", "torchaudio"))


def test_the_lock_has_all_that_setup_asks_for(called: dict[str, Any]) -> None:
    needed, extras = called["install_requires"], called["extras_require"]
    assert set(extras) == {"tensorboard", "wandb", "onnx", "ave", "flow", "ray", "serve", "test"}
    assert {"torch", "pyyaml", "decord"} <= names(needed)
    for requirements in (needed, *extras.values()):
        assert names(requirements) <= set(pins())


def test_torch_has_no_upper_bound(called: dict[str, Any]) -> None:
    torches = [text for text in called["install_requires"] if text.startswith("torch") and "metrics" not in text]
    assert torches == ["torch>=2.11", "torchvision>=0.26", "torchaudio>=2.11"]


def test_readme_and_ci_install_from_the_lock() -> None:
    readme, run = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    commands = re.findall(r"^python3 -m venv \.venv && (\S+ install .*?) && (.*)$", readme, re.MULTILINE)
    assert commands == [
        (".venv/bin/pip install -c requirements.lock -e .", ".venv/bin/asgm train recipes/demo.yaml"),
        ('.venv/bin/pip install -c requirements.lock -e ".[test]"', ".venv/bin/pytest"),
    ]
    assert '-c requirements.lock -e ".[test]"' in run
    assert "\n.venv/bin/pytest\n" in run


def test_one_version_is_told_everywhere() -> None:
    from asgmcli import __version__

    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()
    assert "version=VERSION" in (ROOT / "setup.py").read_text()
