"""The systems under this roof: a plain dict from a recipe's `task` to the module that knows it."""

from asgmcli.tasks import localization, pretext, recognition
from asgmcli.train.task import Task

TASKS: dict[str, Task] = {"recognition": recognition, "localization": localization, "pretext": pretext}
