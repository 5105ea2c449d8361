"""The device that a command computes on: the option, the check, the choice."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click

from asgmcli.errors import UsageError

if TYPE_CHECKING:
    import torch

    from asgmcli.ranks.launch import Launch

C = TypeVar("C", bound=Callable[..., object] | click.Command)
KINDS = "auto, cpu, cuda, cuda:N (the GPU of that number, from 0), mps"


class Device(click.ParamType):  # type: ignore[type-arg]  # click 8.1's takes no argument
    """The name of a device; its availability is checked once torch is loaded."""

    name = "auto|cpu|cuda|cuda:N|mps"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return `value` in lower case if it is the name of a device."""
        name = str(value).lower()
        if not re.fullmatch(r"auto|cpu|cuda|cuda:(0|[1-9][0-9]{0,3})|mps", name):
            self.fail(f"{value!r} is none of {KINDS}.", param, ctx)
        return name


def device_option(command: C) -> C:
    """Give a command the option --device."""
    option = click.option(
        "--device", type=Device(), default="auto", show_default=True, help="Where to compute; auto takes a GPU."
    )
    return option(command)


def choose_device(name: str, launch: Launch | None = None) -> torch.device:
    """Return the device called `name`; `auto` takes a CUDA GPU if there is one. Each of several ranks has its own GPU.

    Raises:
        UsageError: it is not available, or there is not one for each rank.
    """
    import torch

    several = launch is not None and launch.several
    if launch is not None and several and (name == "cuda" or (name == "auto" and torch.cuda.is_available())):
        found = torch.cuda.device_count()
        if launch.local >= found:
            raise UsageError(
                f"Process {launch.local} of this machine (from 0) has no GPU: torch sees {found}. Start no more than "
                "that with --nproc-per-node, or add --device cpu."
            )
        torch.cuda.set_device(launch.local)
        return torch.device("cuda", launch.local)
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if several and name != "cpu":
        raise UsageError(f"--device {name} is one device, and several processes train here: say cuda, auto or cpu.")
    if name == "mps" and not torch.backends.mps.is_available():
        why = "this torch is built without it" if not torch.backends.mps.is_built() else "this Mac has none, or too old"
        raise UsageError(f"--device mps: torch sees no Apple GPU here ({why}). Use --device cpu or auto.")
    device = torch.device(name)
    if device.type == "cuda":
        found = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not found:
            raise UsageError(f"--device {name}: torch sees no CUDA device here. Use --device cpu or auto.")
        if device.index is not None:
            if device.index >= found:
                raise UsageError(f"--device {name}: torch sees {found} CUDA devices, numbered from 0.")
            torch.cuda.set_device(device)
    return device


def every_device(device: torch.device) -> list[str]:
    """Return the names of the devices that `device` stands for: every GPU for `cuda` without a number, else itself."""
    import torch

    if device.type == "cuda" and device.index is None:
        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [str(device)]


def device_of_localizer(localizer: str, name: str) -> str:
    """Return the device for a localizer, `motion` or `fnac`, when the user asked for `name`.

    Raises:
        UsageError: see `choose_device`; or `motion`, which runs on the CPU, with another device.
    """
    if localizer == "motion":
        if name not in ("auto", "cpu"):
            raise UsageError(f"--device {name}: the motion localizer computes on the CPU. Leave --device out.")
        return "cpu"
    return str(choose_device(name))


def synchronize(device: torch.device) -> None:
    """Wait until `device` has finished its queued work."""
    import torch

    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
