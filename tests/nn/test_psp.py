from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from asgmcli.losses.pair_similarity import pair_similarity_loss, pair_target
from asgmcli.nn.psp import PSPNet, _cut
from asgmcli.nn.tacma import TACMA
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


def least_seconds(steps: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, float]:
    """The least processor time of each step, forward and backward, taken in turn."""
    found = dict.fromkeys(steps, float("inf"))
    for _ in range(repeats):
        for name, step in steps.items():
            start = time.process_time()
            step().backward()
            found[name] = min(found[name], time.process_time() - start)
    return found


@pytest.mark.long
def test_a_step_beside_a_plain_one_and_tacmas() -> None:
    """PSP's step costs no more than the release's form, TACMA's at most a tenth of it: batch 32, one process."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        torch.manual_seed(0)
        audio, visual, features = torch.rand(32, 10, 128), torch.rand(32, 10, 7, 7, 512), torch.rand(2, 32, 10, 256)
        labels = torch.randint(29, (32, 10))
        target = pair_target(labels, 28)
        mine, plain, tacma = PSPNet(dropout=0.0), PlainPSP(dropout=0.0), TACMA()
        plain.load_state_dict(mine.state_dict())
        torch.testing.assert_close(mine(audio, visual), plain(audio, visual), rtol=1e-4, atol=1e-4)

        def with_pair(net: PSPNet) -> Tensor:
            logits, similarity = net(audio, visual)
            return F.cross_entropy(logits.flatten(0, 1), labels.flatten()) + pair_similarity_loss(similarity, target)

        steps = {
            "psp": lambda: with_pair(mine),
            "plain": lambda: with_pair(plain),
            "tacma": lambda: F.cross_entropy(tacma(*features).flatten(0, 1), labels.flatten()),
        }
        seconds = least_seconds(steps, 4)
    finally:
        torch.set_num_threads(threads)
    assert seconds["psp"] <= 1.15 * seconds["plain"], seconds  # 0.96 to 0.98 when little else runs
    assert seconds["tacma"] <= 0.1 * seconds["psp"], seconds
