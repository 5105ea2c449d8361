"""Audio source localization: FNAC, trained on pairs of image and sound without labels."""

from asgmcli.tasks.localization.cost import COPIES, count, decoded, expected, needs, network
from asgmcli.tasks.localization.data import build_data
from asgmcli.tasks.localization.evaluate import evaluate
from asgmcli.tasks.localization.load import load, owns
from asgmcli.tasks.localization.model import build_state
from asgmcli.tasks.localization.step import train_step
from asgmcli.train.task import nothing_before as before
from asgmcli.train.weights import LOCALIZER_WEIGHTS as WEIGHTS
