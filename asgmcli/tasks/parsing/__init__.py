"""Audio-visual video parsing: which events are heard, and which are seen, in each second of a clip."""

from asgmcli.tasks.parsing.cost import COPIES, count, expected, needs, network
from asgmcli.tasks.parsing.data import build_data
from asgmcli.tasks.parsing.evaluate import evaluate
from asgmcli.tasks.parsing.load import load, owns
from asgmcli.tasks.parsing.model import build_state
from asgmcli.tasks.parsing.step import train_step
from asgmcli.train.cost import nothing_decoded as decoded
from asgmcli.train.task import nothing_before as before
from asgmcli.train.weights import PARSING_WEIGHTS as WEIGHTS
