from __future__ import annotations

import torch

from asgmcli.nn.agva import AGVA


def test_the_cells_by_a_loop() -> None:
    torch.manual_seed(0)
    net = AGVA(audio_dim=4, visual_dim=6, hidden=5, cells=6)
    audio, visual = torch.randn(2, 3, 4), torch.randn(2, 3, 2, 3, 6)
    weights, attended = net.weights(audio, visual), net(audio, visual)
    assert weights.shape == (2, 3, 2, 3)
    torch.testing.assert_close(weights.sum((2, 3)), torch.ones(2, 3))
    for video in range(2):
        for time in range(3):
            sound = net.affine_g(net.affine_audio(audio[video, time]).relu())
            cells = visual[video, time].reshape(6, 6)
            scores = [
                net.affine_h(torch.tanh(net.affine_v(net.affine_video(cell).relu()) + sound[number]))
                for number, cell in enumerate(cells)
            ]
            share = torch.cat(scores).softmax(0)
            torch.testing.assert_close(weights[video, time].flatten(), share)
            torch.testing.assert_close(attended[video, time], share @ cells)


def test_equal_cells_are_weighted_by_the_sound_alone() -> None:
    net = AGVA(audio_dim=4, visual_dim=6, hidden=5, cells=4)
    visual = torch.randn(6).expand(1, 1, 2, 2, 6)
    torch.testing.assert_close(net(torch.randn(1, 1, 4), visual)[0, 0], visual[0, 0, 0, 0])
