"""TPAVI and its network against the released implementation, and against the pairwise form written out."""

from __future__ import annotations

import pytest
import torch

from asgmcli.nn.tpavi import TPAVI, ResidualUnit, TPAVINetwork
from asgmcli.nn.weights import load_tpavi
from tests.avs_golden import TOLERANCE, array, golden, spread, weights

IMAGE, AUDIO, FLOW = array(12, 5, 3, 64, 64), array(13, 5, 128), array(14, 5, 2, 64, 64) * 0.2 + 0.5


def module() -> TPAVI:
    net = TPAVI(32)
    net.load_state_dict(weights("tpavi_module", 1), strict=False)
    return net


def test_the_module_equals_the_released_one_with_its_gradient() -> None:
    wanted = golden("tpavi_module")
    net, x, audio = module(), array(2, 2, 32, 3, 6, 5).requires_grad_(), array(3, 2, 3, 128)
    assert spread(net(x, audio)[0], wanted["z_train"]) < TOLERANCE
    net = module().eval()
    z, aligned = net(x, audio)
    (z * array(4, *z.shape)).sum().backward()
    assert x.grad is not None
    assert spread(z, wanted["z"]) < TOLERANCE
    assert spread(aligned, wanted["aligned"]) < TOLERANCE
    assert spread(x.grad, wanted["grad"]) < TOLERANCE


def test_the_linear_form_equals_the_matrix_of_all_pairs() -> None:
    net, x, audio = module().eval(), array(5, 1, 32, 2, 3, 4), array(6, 1, 2, 128)
    aligned = net.align_channel(audio)
    repeated = aligned.transpose(1, 2)[..., None, None].expand_as(x)
    theta, phi, g = (layer(y).flatten(2)[0].T for layer, y in ((net.theta, x), (net.phi, repeated), (net.g, x)))
    pairs = theta @ phi.T / len(theta)  # [T·h·w, T·h·w]
    y = (pairs @ g).T.view(1, -1, 2, 3, 4)
    slow = net.norm_layer((net.W_z(y) + x).movedim(1, -1)).movedim(-1, 1)
    torch.testing.assert_close(net(x, audio)[0], slow, rtol=1e-5, atol=1e-5)


def test_the_last_norm_starts_at_zero_so_that_sound_comes_in_by_training() -> None:
    x = array(7, 1, 16, 1, 4, 4)
    net = TPAVI(16).eval()
    torch.testing.assert_close(net(x, array(8, 1, 1, 128))[0], net(x, array(9, 1, 1, 128))[0])


def test_a_residual_unit_skips_what_its_first_relu_left() -> None:
    unit = ResidualUnit(2)
    torch.nn.init.zeros_(unit.conv2.weight)
    torch.nn.init.zeros_(unit.conv2.bias)
    x = torch.tensor([-1.0, 2.0]).view(1, 2, 1, 1)
    assert unit(x).flatten().tolist() == [0.0, 2.0]
    assert x.flatten().tolist() == [-1.0, 2.0]  # the input is left as it is


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "backbone", "flow"), [("tpavi_r50", "resnet50", "stem"), ("tpavi_pvt", "pvt_v2_b5", "pyramid")]
)
def test_the_networks_equal_ufes(name: str, backbone: str, flow: str) -> None:
    wanted = golden(name)
    net = TPAVINetwork(backbone, flow).eval()  # type: ignore[arg-type]
    report = load_tpavi(net, weights(name, 11))
    assert report.unexpected == []
    with torch.no_grad():
        five = net(IMAGE[None], AUDIO[None], FLOW[None])
        single = net(IMAGE[:, None], AUDIO[:, None], FLOW[:, None])
    assert spread(five.logits[0], wanted["logits5"]) < TOLERANCE
    assert spread(single.logits[:, 0], wanted["logits1"]) < TOLERANCE
    for number, x in enumerate(five.maps):
        assert spread(x[0][:, ::32], wanted[f"map{number + 1}"]) < TOLERANCE
        assert float(x.min()) == 0.0
    assert spread(five.audio[3][0], wanted["audio"]) < TOLERANCE


@pytest.mark.long
def test_the_network_without_flow_equals_avsbenchs() -> None:
    net = TPAVINetwork("resnet50").eval()
    load_tpavi(net, weights("tpavi_r50_plain", 21))
    with torch.no_grad():
        found = net(IMAGE[None], AUDIO[None])
    assert spread(found.logits[0], golden("tpavi_r50_plain")["logits5"]) < TOLERANCE


def test_any_batch_and_length_and_a_clear_word_without_flow() -> None:
    net = TPAVINetwork("resnet18", "stem", channels=32, audio_dim=8, width=8).eval()
    image, audio, flow = array(1, 1, 7, 3, 32, 64), array(2, 1, 7, 8), array(3, 1, 7, 2, 32, 64)
    found = net(image, audio, flow)
    assert found.logits.shape == (1, 7, 32, 64)
    assert [tuple(x.shape[2:]) for x in found.maps] == [(32, 8, 16), (32, 4, 8), (32, 2, 4), (32, 1, 2)]
    with pytest.raises(ValueError, match="reads flow"):
        net(image, audio)
