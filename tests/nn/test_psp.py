from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.nn.psp import PSPNet, _cut
from tests.golden import ave_inputs as inputs

GOLDEN = np.load(Path(__file__).parents[1] / "golden" / "ave_baselines.npz")


def weights(name: str, seed: int) -> dict[str, Tensor]:
    return {key: torch.from_numpy(value) for key, value in inputs.weights(inputs.layout(name), seed).items()}


def features() -> tuple[Tensor, Tensor]:
    shapes = ((561, 3, 10, 128), (562, 3, 10, 7, 7, 512))
    return tuple(torch.from_numpy(np.maximum(inputs.array(*shape), 0)) for shape in shapes)  # type: ignore


@pytest.fixture(scope="module")
def net() -> PSPNet:
    made = PSPNet().eval()
    left_out = made.load_state_dict(weights("psp", 563), strict=False)
    assert not left_out.missing_keys
    unused = ("linear_v", "v_classify", "a_classify", "L3", "L4")
    assert all(name.startswith(unused) for name in left_out.unexpected_keys)
    return made


@pytest.mark.parametrize("threshold", ["0.099", "0"])
def test_the_released_network(net: PSPNet, threshold: str) -> None:
    with torch.no_grad():
        logits, similarity = net(*features(), float(threshold))
    scale = max(1.0, float(np.abs(GOLDEN[f"psp_logits_{threshold}"]).max()))
    np.testing.assert_allclose(logits, GOLDEN[f"psp_logits_{threshold}"], atol=1e-4 * scale)
    np.testing.assert_allclose(similarity, GOLDEN[f"psp_similarity_{threshold}"], atol=1e-4)


def test_its_attention(net: PSPNet) -> None:
    audio, visual = features()
    with torch.no_grad():
        attended = net.attention(net.fa(audio), visual)
    np.testing.assert_allclose(attended[0, :2], GOLDEN["agva_visual"], atol=1e-4)
    np.testing.assert_allclose(attended.sum(-1), GOLDEN["agva_visual_sum"], atol=1e-2)


def test_connections_below_the_threshold_are_cut() -> None:
    similarity = torch.tensor([[[6.0, 3.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0, 2.0]]])
    expected = [[2 / 3, 1 / 3, 0], [0, 0, 0], [0.25, 0.25, 0.5]]
    torch.testing.assert_close(_cut(similarity, 0.15), torch.tensor([expected]))


def test_dropout_acts_in_training_alone() -> None:
    torch.manual_seed(0)
    made, (audio, visual) = PSPNet(classes=4), features()
    assert not torch.equal(made(audio, visual)[0], made(audio, visual)[0])
    made.eval()
    assert torch.equal(made(audio, visual)[0], made(audio, visual)[0])


class PlainPSP(PSPNet):
    """The same network with its attention written out as the release does: one row a segment, batched products."""

    def forward(self, audio: Tensor, visual: Tensor, threshold: float = 0.099) -> tuple[Tensor, Tensor]:
        sound = self.fa(audio)
        cells = visual.reshape(-1, 49, 512)
        seen = F.relu(self.attention.affine_video(cells))
        heard = F.relu(self.attention.affine_audio(sound.reshape(-1, 128)))
        both = self.attention.affine_v(seen) + self.attention.affine_g(heard).unsqueeze(2)
        score = self.attention.affine_h(torch.tanh(both)).squeeze(2)
        picture = torch.bmm(F.softmax(score, -1).unsqueeze(1), cells).view(*audio.shape[:2], 512)
        sound, picture = self.psp(*self.lstm_a_v(sound, self.fv(picture)), threshold)
        return self.L2(F.relu(self.L1((picture + sound) / 2))), F.cosine_similarity(picture, sound, dim=-1)


def test_attention_in_parts_is_that_of_rows() -> None:
    torch.manual_seed(0)
    audio, visual = torch.rand(3, 10, 128), torch.rand(3, 10, 7, 7, 512)
    mine, plain = PSPNet(dropout=0.0), PlainPSP(dropout=0.0)
    plain.load_state_dict(mine.state_dict())
    torch.testing.assert_close(mine(audio, visual), plain(audio, visual), rtol=1e-4, atol=1e-4)
