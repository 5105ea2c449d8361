"""Audio source localization: FNAC, trained on pairs of image and sound without labels."""

from asgmcli.tasks.localization.data import build_data
from asgmcli.tasks.localization.evaluate import evaluate
from asgmcli.tasks.localization.model import build_state
from asgmcli.tasks.localization.step import train_step

__all__ = ["build_data", "build_state", "evaluate", "train_step"]
