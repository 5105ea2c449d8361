"""Grounding pretraining: contextual tokens of sound and picture, learnt from which seconds are of one scene."""

from asgmcli.tasks.grounding.cost import COPIES, count, needs, network
from asgmcli.tasks.grounding.data import build_data
from asgmcli.tasks.grounding.model import build_state, evaluate, train_step
from asgmcli.train.cost import nothing_decoded as decoded
from asgmcli.train.cost import nothing_expected as expected
from asgmcli.train.task import answers_nothing as load
from asgmcli.train.task import nothing_before as before
from asgmcli.train.task import owns_nothing as owns

WEIGHTS = ""
