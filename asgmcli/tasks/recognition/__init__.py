"""Semi-supervised action recognition from picture and sound: ASGM-Former, SVFormer, and supervised baselines."""

from asgmcli.tasks.recognition.cost import COPIES, count, decoded, expected, needs, network
from asgmcli.tasks.recognition.data import build_data
from asgmcli.tasks.recognition.evaluate import evaluate
from asgmcli.tasks.recognition.guide_maps import ensure_motion_maps as before
from asgmcli.tasks.recognition.load import load, owns
from asgmcli.tasks.recognition.model import build_state
from asgmcli.tasks.recognition.propose import SIZES, propose
from asgmcli.tasks.recognition.step import train_step
from asgmcli.train.weights import MODEL_WEIGHTS as WEIGHTS
