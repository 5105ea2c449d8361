"""The masks of one clip, drawn (Figures 2 and 3)."""

from asgmcli.tasks.masks.drawing import PICTURES, draw
from asgmcli.tasks.masks.drawing import find_example as check

__all__ = ["PICTURES", "check", "draw"]
