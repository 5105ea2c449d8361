"""A start for small networks: telling shapes, motions, timbres and envelopes apart that no later task uses."""

from asgmcli.tasks.pretext.cost import COPIES, count, needs, network
from asgmcli.tasks.pretext.data import build_data
from asgmcli.tasks.pretext.evaluate import evaluate
from asgmcli.tasks.pretext.model import build_state
from asgmcli.tasks.pretext.step import train_step
from asgmcli.train.cost import nothing_decoded as decoded
from asgmcli.train.cost import nothing_expected as expected
from asgmcli.train.task import answers_nothing as load
from asgmcli.train.task import nothing_before as before
from asgmcli.train.task import owns_nothing as owns

WEIGHTS = ""
