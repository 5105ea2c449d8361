from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from asgmcli.errors import DataError
from asgmcli.nn.vggish import VGGish, embed_patches
from asgmcli.nn.weights import load_vggish
from tests.golden import ave_inputs as inputs

GOLDEN = Path(__file__).parents[1] / "golden" / "ave_vggish.npz"


@pytest.mark.long
def test_the_released_network() -> None:
    weights = inputs.weights(inputs.layout("vggish"), 511)
    weights["pproc.pca_eigen_vectors"] = np.zeros((128, 128), np.float32)  # is in the released file, and left out
    net = VGGish()
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(72.1e6, rel=1e-3)
    report = load_vggish(net, weights)
    assert not report.missing
    assert not report.unexpected
    patches = torch.from_numpy(inputs.array(512, 4, 1, 96, 64) * 1.5 - 1)
    golden = np.load(GOLDEN)
    with torch.no_grad():
        cells = net.features(patches)
        found = {"features_sum": cells.sum((2, 3)), "embedding": net(patches)}
        net.embeddings[5] = torch.nn.Identity()
        found["before_relu"] = net(patches)
    for name, value in found.items():
        scale = max(1.0, float(np.abs(golden[name]).max()))
        assert float(np.abs(value.numpy() - golden[name]).max()) <= 1e-4 * scale, name


def test_small_networks_and_the_last_relu() -> None:
    torch.manual_seed(0)
    net = VGGish(width=2, hidden=8, dim=5).eval()
    other = VGGish(width=2, hidden=8, dim=5, last_relu=False).eval()
    load_vggish(other, net.state_dict())
    patches = torch.randn(3, 1, 96, 64)
    with torch.no_grad():
        assert (net(patches) >= 0).all()
        assert (other(patches) < 0).any()
        torch.testing.assert_close(net(patches), other(patches).relu())
        torch.testing.assert_close(embed_patches(net, patches[:, 0], batch=2), net(patches))
    assert embed_patches(net, patches[:0, 0]).shape == (0, 5)


def test_weights_of_something_else() -> None:
    net = VGGish(width=2, hidden=8, dim=5)
    with pytest.raises(DataError, match="does not hold this network"):
        load_vggish(net, {"conv1.weight": torch.zeros(3)})
    wrong = {**net.state_dict(), "embeddings.4.weight": torch.zeros(6, 8)}
    with pytest.raises(DataError, match=r"embeddings\.4\.weight is \[6, 8\]"):
        load_vggish(net, wrong)
    with pytest.raises(DataError, match="No weight file"):
        load_vggish(net, "nowhere.pth")


def test_it_is_found_inside_a_file_of_several_networks() -> None:
    torch.manual_seed(0)
    net, other = (VGGish(width=2, hidden=8, dim=5) for _ in range(2))
    state = {f"vggish.{name}": value for name, value in net.state_dict().items()}
    report = load_vggish(other, {**state, "head.weight": torch.zeros(1)})
    assert not report.unexpected
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in other.state_dict().items())
