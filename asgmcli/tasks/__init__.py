"""The systems under this roof: plain dicts from a recipe's `task` to the module that knows it."""

from asgmcli.tasks import localization, masks, parsing, pretext, recognition, segmentation
from asgmcli.train.task import AnyTask, Drawer

TASKS: dict[str, AnyTask] = {
    "recognition": recognition,
    "localization": localization,
    "pretext": pretext,
    "segmentation": segmentation,
    "parsing": parsing,
}
DRAWERS: dict[str, Drawer] = {"masks": masks}
"""Tasks that draw instead of training."""
