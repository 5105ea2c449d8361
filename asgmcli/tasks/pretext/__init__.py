"""A start for small networks: telling shapes, motions, timbres and envelopes apart that no later task uses."""

from asgmcli.tasks.pretext.data import build_data
from asgmcli.tasks.pretext.evaluate import evaluate
from asgmcli.tasks.pretext.model import build_state
from asgmcli.tasks.pretext.step import train_step

__all__ = ["build_data", "build_state", "evaluate", "train_step"]
