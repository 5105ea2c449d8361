"""Audio-visual event localization: TACMA, its probe, AVEL and PSP on features that are fixed."""

from asgmcli.tasks.event_localization.cost import COPIES, count, expected, needs, network
from asgmcli.tasks.event_localization.data import build_data
from asgmcli.tasks.event_localization.evaluate import evaluate
from asgmcli.tasks.event_localization.load import load, owns
from asgmcli.tasks.event_localization.model import build_state
from asgmcli.tasks.event_localization.step import train_step
from asgmcli.train.cost import nothing_decoded as decoded
from asgmcli.train.task import nothing_before as before
from asgmcli.train.weights import EVENT_WEIGHTS as WEIGHTS
