"""VGG-19 as AVE's features were made with: torchvision's weights by name."""

from __future__ import annotations

import pytest
import torch
import torchvision

from asgmcli.errors import DataError
from asgmcli.nn.backbones import MEAN, STD
from asgmcli.prepare.released import load_vgg19


def made_up() -> dict[str, torch.Tensor]:
    """Return a checkpoint of torchvision's names and shapes; the classifier's tensors take no room."""
    with torch.device("meta"):
        names = {name: value.shape for name, value in torchvision.models.vgg19().state_dict().items()}
    torch.manual_seed(0)
    return {
        name: torch.randn(shape) * 0.03 if name.startswith("features.") else torch.zeros(1).expand(shape)
        for name, shape in names.items()
    }


def test_torchvisions_checkpoint_loads_by_name() -> None:
    state = made_up()
    assert len([name for name in state if name.startswith("features.")]) == 2 * 16
    net = load_vgg19(state).eval()
    with torch.device("meta"):
        plain = torchvision.models.vgg19().features
    own = {name.removeprefix("features."): value for name, value in state.items() if name.startswith("features.")}
    plain.load_state_dict(own, assign=True)
    frames = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    pixels = (frames / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    with torch.no_grad():
        expected, found = plain(pixels), net(frames)
    assert found.shape == (2, 1, 2, 512)
    assert float(expected.abs().max()) > 0
    torch.testing.assert_close(found, expected.permute(0, 2, 3, 1))
    del state["features.34.bias"]
    with pytest.raises(DataError, match=r"1 of 32 tensors are missing"):
        load_vgg19(state)
