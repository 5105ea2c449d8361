"""AV-BT: an encoder of sound and picture that agree over time, trained without labels and judged by probes."""

from asgmcli.tasks.event_representation.cost import COPIES, count, expected, needs, network
from asgmcli.tasks.event_representation.data import build_data
from asgmcli.tasks.event_representation.evaluate import evaluate
from asgmcli.tasks.event_representation.model import build_state
from asgmcli.tasks.event_representation.step import train_step
from asgmcli.train.cost import nothing_decoded as decoded
from asgmcli.train.encoder import is_encoder as owns
from asgmcli.train.task import answers_nothing as load
from asgmcli.train.task import nothing_before as before
from asgmcli.train.weights import ENCODER_WEIGHTS as WEIGHTS
