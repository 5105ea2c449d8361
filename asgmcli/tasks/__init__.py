"""The systems under this roof: plain dicts from a recipe's `task` to the module that knows it."""

from typing import Any

from asgmcli.tasks import localization, masks, pretext, recognition
from asgmcli.train.task import Drawer, Task

TASKS: dict[str, Task[Any, Any, Any, Any, Any]] = {
    "recognition": recognition,
    "localization": localization,
    "pretext": pretext,
}
DRAWERS: dict[str, Drawer] = {"masks": masks}
"""Tasks that draw instead of training."""
