"""The systems under this roof: plain dicts from a recipe's `task` to the module that knows it."""

from asgmcli.tasks import (
    event_localization,
    event_representation,
    grounding,
    localization,
    masks,
    parsing,
    pretext,
    recognition,
    segmentation,
)
from asgmcli.tasks.event_localization import drawing as event_figures
from asgmcli.tasks.parsing import drawing as parsing_figure
from asgmcli.tasks.segmentation import drawing as segmented
from asgmcli.train.task import AnyTask, Drawer

TASKS: dict[str, AnyTask] = {
    "recognition": recognition,
    "localization": localization,
    "pretext": pretext,
    "segmentation": segmentation,
    "parsing": parsing,
    "event_representation": event_representation,
    "event_localization": event_localization,
    "grounding": grounding,
}
DRAWERS: dict[str, Drawer] = {
    "masks": masks,
    "segmented": segmented,
    "event_figures": event_figures,
    "parsing_figure": parsing_figure,
}
"""Tasks that draw instead of training."""
