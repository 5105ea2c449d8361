"""Packages are tried in another process: what is missing, broken or deadly becomes a line with its mend."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from asgmcli.doctor import packages
from asgmcli.doctor.packages import look_at_packages, probe

LINKER = "libtorchaudio.so: undefined symbol: torch_exception_get_what_without_backtrace"
FAKES = {
    "fine": "__version__ = '1.2'\nprint('hello')\n",
    "broken": f"raise OSError({LINKER!r})\n",
    "deadly": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n",
    "quitting": "import os\nos._exit(7)\n",
    "late": "__version__ = '3'\n",
}


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages, seen by the process that tries them."""
    for name, text in FAKES.items():
        (tmp_path / f"{name}.py").write_text(text)
    path = os.pathsep.join([str(tmp_path), str(Path(packages.__file__).parents[2])])
    monkeypatch.setenv("PYTHONPATH", path)
    return tmp_path


def test_each_package_is_a_line_whatever_it_does(fakes: Path) -> None:
    found, devices = probe(["fine", "broken", "deadly", "quitting", "gone", "late"])
    assert {name: line["version"] for name, line in found.items() if not line["error"]} == {"fine": "1.2", "late": "3"}
    assert found["broken"]["error"] == f"OSError: {LINKER}"
    assert found["deadly"]["error"] == "importing it ends the process (by SIGSEGV)"
    assert found["quitting"]["error"] == "importing it ends the process (exit code 7)"
    assert found["gone"]["error"] == "ModuleNotFoundError: No module named 'gone'"
    assert devices == []


@pytest.mark.long
def test_a_package_that_never_loads_is_given_up(fakes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (fakes / "endless.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.setattr(packages, "PROBE_SECONDS", 1.0)
    found, _ = probe(["fine", "endless"])
    assert found["fine"]["version"] == "1.2"
    assert found["endless"]["error"] == "importing it ends the process (by SIGKILL)"


@pytest.mark.parametrize(
    ("name", "error", "torch", "mend"),
    [
        ("yaml", "ModuleNotFoundError: No module named 'yaml'", "2.14.1", "pip install pyyaml"),
        ("torchaudio", LINKER, "2.11.0+cu130", "pip install torchaudio==2.11.0 (no command needs it)"),
        ("torchaudio", LINKER, "2.15.0", "pip install -U torch torchvision torchaudio (no command needs it)"),
        ("torchvision", "RuntimeError: operator torchvision::nms does not exist", "2.15.0", "requirements.lock"),
        ("av", "ImportError: libavcodec.so.61: no such file", "2.14.1", "pip install --force-reinstall av"),
    ],
)
def test_every_fault_has_its_mend(
    name: str, error: str, torch: str, mend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pretend(names: list[str]) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
        lines = {other: {"version": "1", "error": ""} for other in names}
        return lines | {"torch": {"version": torch, "error": ""}, name: {"version": "", "error": error}}, []

    monkeypatch.setattr(packages, "probe", pretend)
    (fault,) = [item for item in look_at_packages() if item.mend]
    assert (fault.group, fault.name) == ("packages", name)
    assert error in fault.found
    assert mend in fault.mend


def test_extras_are_no_fault_unless_they_break(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {"onnx"}

    def pretend(names: list[str]) -> tuple[dict[str, dict[str, str]], list[dict[str, str]]]:
        assert "wandb" not in names  # what is not installed is not tried
        return {other: {"version": "1", "error": "ImportError" if other in broken else ""} for other in names}, [
            {"device": "cpu", "version": "2 cores", "error": ""},
            {"device": "cuda:0", "version": "GPU", "error": "RuntimeError: no kernel image"},
        ]

    there = {"onnx", "onnxscript", "onnxruntime", "tensorboard", "decord", "pytest"}
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: name if name in there else None)
    monkeypatch.setattr(packages, "probe", pretend)
    found = {item.name: item for item in look_at_packages()}
    assert {name for name, item in found.items() if item.mend} == {"onnx", "cuda:0"}
    assert "--device cpu works" in found["cuda:0"].mend
    assert found["wandb"].found == "not installed; pip install 'asgm[wandb]' adds wandb"
    assert found["tensorboard"].found == "tensorboard 1"
    there.remove("decord")
    found = {item.name: item for item in look_at_packages()}
    assert found["decord"].found.startswith("not here: ")
    assert not found["decord"].mend
