"""RAFT: torchvision's own answer with the weights of a file, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import raft_small

from asgmcli.errors import DataError
from asgmcli.nn.raft import load_raft, raft


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of random weights of raft_small."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("raft") / "raft_small.pth"
    torch.save(raft_small().state_dict(), path)
    return path


def test_it_is_torchvisions_network_on_frames_from_minus_one_to_one(weights: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (2, 128, 136, 3), dtype=np.uint8)
    found = raft(frames[0], frames[1], str(weights))
    assert found.shape == (2, 128, 136)
    assert found.dtype == np.float32
    network = raft_small()
    network.load_state_dict(torch.load(weights))
    first, second = (torch.from_numpy(frame).permute(2, 0, 1)[None] / 255 * 2 - 1 for frame in frames)
    with torch.no_grad():
        wanted = network.eval()(first, second)[-1][0].numpy()
    np.testing.assert_allclose(found, wanted, atol=1e-3)


def test_other_weights_and_frames_are_refused(weights: Path, tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(DataError, match="neither torchvision's raft_small nor its raft_large"):
        load_raft(str(tmp_path / "other.pth"))
    with pytest.raises(DataError, match="No weight file"):
        load_raft(str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match="multiples of 8 from 128"):
        raft(np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64, 3), np.uint8), str(weights))
    with pytest.raises(ValueError, match="two of one size"):
        raft(np.zeros((128, 128, 3), np.uint8), np.zeros((136, 128, 3), np.uint8), str(weights))
