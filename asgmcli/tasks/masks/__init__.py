"""The masks of one clip, drawn (Figures 2 and 3)."""

from asgmcli.tasks.masks.drawing import PICTURES, draw

__all__ = ["PICTURES", "draw"]
