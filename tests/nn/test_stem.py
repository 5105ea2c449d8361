from pathlib import Path

import pytest
import torch

from asgmcli.nn.patches import PatchEmbed
from asgmcli.nn.state import write_safetensors
from asgmcli.nn.stem import CELL, STRIDES, ConvolutionStem
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.weights import load_timesformer


def network(**changes):
    options = {"image_size": 24, "patch_size": CELL, "drop_path": 0.0, "convolutions": True, **changes}
    return TimeSformer(16, 2, 2, 2, 0, **options)


def test_a_cell_is_as_large_as_the_strides_say_and_tokens_run_row_by_row():
    assert torch.tensor(STRIDES).prod() == CELL
    torch.manual_seed(0)
    stem = ConvolutionStem(16).eval()
    video = torch.randn(2, 3, 4, 24, 40)
    tokens = stem(video)
    assert tokens.shape == (4, 2, 15, 16)  # time first, as PatchEmbed's
    assert tokens.shape == PatchEmbed(16, CELL, 3)(video).shape
    # One frame by itself, and its cells as the convolutions lay them out.
    alone = stem.expand(stem.body(video[1:, :, 3]))
    torch.testing.assert_close(tokens[3, 1].T.reshape(16, 3, 5), alone[0])
    with pytest.raises(ValueError, match="24x20"):
        stem(video[..., :20])


def test_neighbouring_tokens_overlap_and_patches_do_not():
    torch.manual_seed(0)
    video = torch.randn(1, 3, 1, 24, 24)
    other = video.clone()
    other[..., 8:16, 8:16] += 1.0
    for embed, wanted in ((PatchEmbed(16, CELL, 3), {4}), (ConvolutionStem(16).eval(), set(range(9)))):
        changed = (embed(video) - embed(other)).abs().amax((0, 1, 3)) > 1e-5
        assert set(changed.nonzero().flatten().tolist()) <= wanted
        assert (len(wanted) > 1) == (int(changed.sum()) > 1) == embed.overlaps


def test_weights_go_into_a_file_and_back(tmp_path: Path):
    torch.manual_seed(0)
    first, second = network(), network()
    video = torch.randn(4, 3, 2, 24, 24)
    first.train()(video)  # moves the batch norms from where they start
    path = write_safetensors(tmp_path / "video.safetensors", first.state_dict(), {})
    load_timesformer(second, path)
    assert torch.equal(first.eval().features(video), second.eval().features(video))


def test_other_patches_are_refused():
    for wrong in ({"patch_size": 12}, {"tubelet": 2}, {"embed_hidden": 8}):
        with pytest.raises(ValueError, match="stem of convolutions"):
            network(**wrong)
