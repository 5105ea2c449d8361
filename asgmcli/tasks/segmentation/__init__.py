"""Audio-visual segmentation: TPAVI and AVSegFormer, from labelled frames alone or with unlabelled ones (UFE)."""

from asgmcli.tasks.segmentation.cost import COPIES, count, expected, needs, network
from asgmcli.tasks.segmentation.data import build_data
from asgmcli.tasks.segmentation.evaluate import evaluate
from asgmcli.tasks.segmentation.load import load, owns
from asgmcli.tasks.segmentation.model import WEIGHTS, build_state
from asgmcli.tasks.segmentation.sounds import before
from asgmcli.tasks.segmentation.step import train_step
from asgmcli.train.cost import nothing_decoded as decoded
