"""The part of a training state that tasks with one network and no teacher share."""

from __future__ import annotations

from torch import nn

from asgmcli.train.checkpoint import State


class SingleNetwork:
    """A `TrainState`'s network, which is all that is trained and saved, and which nothing follows."""

    network: nn.Module

    def trained(self) -> list[nn.Module]:
        """Return the network; what is frozen of it wants no gradient."""
        return [self.network]

    def begin_step(self, epoch: int, step: int) -> None:  # noqa: ARG002 - as `TrainState` has it
        """Return to training mode after an evaluation."""
        self.network.train()

    def after_step(self) -> None:
        """Do nothing: no network follows this one."""

    def state_dict(self) -> State:
        """Return the network's state."""
        return {"network": self.network.state_dict()}

    def load_state_dict(self, state: State) -> None:
        """Restore the state that `state_dict` returned."""
        self.network.load_state_dict(state["network"])
