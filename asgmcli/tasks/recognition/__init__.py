"""Semi-supervised action recognition from picture and sound: ASGM-Former, SVFormer, and supervised baselines."""

from asgmcli.tasks.recognition.data import build_data
from asgmcli.tasks.recognition.evaluate import evaluate
from asgmcli.tasks.recognition.model import build_state
from asgmcli.tasks.recognition.step import train_step

__all__ = ["build_data", "build_state", "evaluate", "train_step"]
