"""What --device takes, what is said where a device is not there, and that all commands ask the same way."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from asgmcli.cli import main
from asgmcli.errors import UsageError
from asgmcli.ranks.device import Device, choose_device, device_of_localizer
from asgmcli.ranks.launch import Launch


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """A machine with two CUDA devices, as far as choosing goes; the list holds those that were made current."""
    current: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    return current


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_names_of_devices() -> None:
    kind = Device()
    for name in ("auto", "cpu", "cuda", "cuda:0", "cuda:13", "mps"):
        assert kind.convert(name.upper(), None, None) == name
    for name in ("gpu", "cuda:", "cuda:-1", "cuda:01", "mps:1", "cuda1", ""):
        with pytest.raises(click.BadParameter, match="is none of auto, cpu, cuda"):
            kind.convert(name, None, None)


def test_a_gpu_of_two(two_gpus: list[object]) -> None:
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")
    assert two_gpus == []
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert two_gpus == [torch.device("cuda", 1)]
    with pytest.raises(UsageError, match="--device cuda:2: torch sees 2 CUDA devices, numbered from 0"):
        choose_device("cuda:2")


def test_each_of_several_processes_has_a_gpu_of_its_own(two_gpus: list[object]) -> None:
    second = Launch(rank=1, ranks=2, local=1)
    assert choose_device("auto", second) == choose_device("cuda", second) == torch.device("cuda", 1)
    for name in ("cuda:0", "mps"):
        with pytest.raises(UsageError, match=f"--device {name} is one device, and several processes train here"):
            choose_device(name, second)
    assert choose_device("cpu", second) == torch.device("cpu")


def test_an_apple_gpu(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: False)
    with pytest.raises(UsageError, match=r"--device mps: torch sees no Apple GPU here \(this torch is built without"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: True)
    with pytest.raises(UsageError, match="this Mac has none"):
        choose_device("mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps") == torch.device("mps")


def test_the_motion_localizer_computes_on_the_cpu(no_gpu: None) -> None:
    assert device_of_localizer("motion", "auto") == device_of_localizer("fnac", "auto") == "cpu"
    with pytest.raises(UsageError, match="--device cuda: the motion localizer computes on the CPU"):
        device_of_localizer("motion", "cuda")
    with pytest.raises(UsageError, match="no CUDA device"):
        device_of_localizer("fnac", "cuda:1")


RECIPES = Path(__file__).parents[2] / "recipes"
COMMANDS = {
    "train": ["train", str(RECIPES / "demo.yaml")],
    "eval": ["eval", "runs/demo/asgm_former/seed0"],
    "localize": ["localize", "clip.mp4", "--weights", "w.safetensors"],
    "visualize-masks": ["visualize-masks", "clip.mp4", "--weights", "w.safetensors"],
    "bench": ["bench", "step"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_says_that_a_device_is_not_there(
    command: str, no_gpu: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.safetensors").touch()
    Path("clip.mp4").touch()
    before = sorted(tmp_path.iterdir())
    for name, words in {
        "mps": "--device mps: torch sees no Apple GPU here",
        "cuda:1": "--device cuda:1: torch sees no CUDA device here. Use --device cpu or auto.",
        "gpu": "'gpu' is none of auto, cpu, cuda, cuda:N",
    }.items():
        result = CliRunner().invoke(main, [*COMMANDS[command], "--device", name])
        assert result.exit_code == 2, result.output
        assert words in " ".join(result.output.split())
    assert sorted(tmp_path.iterdir()) == before
