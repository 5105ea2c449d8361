from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from asgmcli.nn.timesformer import TimeSformer
from tests.golden import inputs

GOLDEN = Path(__file__).parents[1] / "golden"


def array(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(inputs.array(seed, *shape))


@pytest.fixture(scope="module")
def golden() -> tuple[TimeSformer, dict[str, np.ndarray]]:
    model = TimeSformer(48, 3, 3, frames=4, classes=7).eval()
    weights = inputs.timesformer_weights(inputs.layout("timesformer_tiny"), 11)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return model, dict(np.load(GOLDEN / "timesformer_tiny.npz"))


def test_golden_logits_and_features(golden):
    model, expected = golden
    video = array(5, 2, 3, 4, 224, 224)
    with torch.no_grad():
        features, logits = model.features(video), model(video)
    assert np.abs(features.numpy() - expected["features"]).max() < 1e-4
    assert np.abs(logits.numpy() - expected["logits"]).max() < 1e-4


def test_golden_mixed_features(golden):
    model, expected = golden
    with torch.no_grad():
        a, b = model.embed(array(6, 4, 3, 4, 224, 224)).chunk(2)
        mixed = torch.where(torch.from_numpy(inputs.token_mask(2, 4, 196))[..., None] > 0, a, b)
        features = model.encode(mixed)
    assert np.abs(features.numpy() - expected["mixed_features"]).max() < 1e-4


def tiny(**changes) -> TimeSformer:
    """A small network whose every tensor is noise, so that no part is silent at its start."""
    sizes = {"dim": 12, "depth": 2, "heads": 3, "frames": 3, "classes": 4, "image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    model = TimeSformer(**{**sizes, **changes})
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model.eval()


def reference_attention(tokens: Tensor, attention: nn.Module, heads: int) -> Tensor:
    """[S, D]: one row of tokens, head by head and query by query."""
    length, dim = tokens.shape
    size = dim // heads
    q, k, v = (tokens @ attention.qkv.weight.T + attention.qkv.bias).split(dim, dim=1)
    result = torch.zeros(length, dim)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(length):
            scores = torch.stack([q[i, part] @ k[j, part] / size**0.5 for j in range(length)])
            shares = scores.exp() / scores.exp().sum()
            result[i, part] = sum(shares[j] * v[j, part] for j in range(length))
    return result @ attention.proj.weight.T + attention.proj.bias


def reference_encode(model: TimeSformer, tokens: Tensor, heads: int) -> Tensor:
    """Divided space-time attention of one clip's tokens [T, N, D], written out in loops."""
    frames, cells, _ = tokens.shape
    cls = model.cls_token[0, 0] + model.pos_embed[0, 0]
    x = torch.stack(
        [
            torch.stack([tokens[t, n] + model.pos_embed[0, 1 + n] + model.time_embed[0, t] for n in range(cells)])
            for t in range(frames)
        ]
    )
    for block in model.blocks:
        over_time = torch.zeros_like(x)
        for n in range(cells):
            seen = reference_attention(block.temporal_norm1(x[:, n]), block.temporal_attn, heads)
            over_time[:, n] = block.temporal_fc(seen)
        x = x + over_time
        copies, over_space = [], torch.zeros_like(x)
        for t in range(frames):
            row = torch.cat((cls[None], x[t]))
            seen = reference_attention(block.norm1(row), block.attn, heads)
            copies.append(seen[0])
            over_space[t] = seen[1:]
        cls, x = cls + sum(copies) / frames, x + over_space
        cls, x = (old + block.mlp.fc2(F.gelu(block.mlp.fc1(block.norm2(old)))) for old in (cls, x))
    return model.norm(cls)


@pytest.mark.parametrize("frames", [1, 3])
def test_encode_is_divided_attention_written_in_loops(frames):
    model = tiny()
    tokens = torch.randn(2, frames, 4, 12)
    with torch.no_grad():
        expected = torch.stack([reference_encode(model, clip, heads=3) for clip in tokens])
        torch.testing.assert_close(model.encode(tokens), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("frames", [1, 3])
def test_gradients_are_those_of_the_reference(frames):
    model = tiny(depth=2)
    tokens = torch.randn(1, frames, 4, 12)
    ours = torch.autograd.grad(model.encode(tokens)[0, 3], list(model.blocks.parameters()), allow_unused=True)
    theirs = torch.autograd.grad(reference_encode(model, tokens[0], 3)[3], list(model.blocks.parameters()))
    for (name, _), a, b in zip(model.blocks.named_parameters(), ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-4, msg=name)


def test_patch_embedding_is_the_convolution():
    model = tiny()
    video = torch.randn(2, 3, 3, 16, 16)
    tokens = model.embed(video)
    assert tokens.shape == (2, 3, 4, 12)
    for t in range(3):
        expected = model.patch_embed.proj(video[:, :, t]).flatten(2).transpose(1, 2)
        torch.testing.assert_close(tokens[:, t], expected, atol=1e-5, rtol=1e-5)


def test_hidden_patch_embedding_stays_within_its_patch():
    model = tiny(embed_hidden=20)
    video = torch.randn(1, 3, 3, 16, 16)
    changed = video.clone()
    changed[0, :, 1, :8, 8:] += 1  # frame 1, the second of the 2x2 patches
    difference = (model.embed(changed) - model.embed(video)).abs().sum(-1)[0]
    assert difference.nonzero().tolist() == [[1, 1]]


@pytest.mark.parametrize("hidden", [None, 20])
def test_a_tubelet_is_a_patch_of_neighbouring_frames(hidden):
    model = tiny(frames=6, tubelet=2, embed_hidden=hidden)
    assert model.time_embed.shape == (1, 3, 12)
    video = torch.randn(2, 3, 6, 16, 16)
    tokens = model.embed(video)
    assert tokens.shape == (2, 3, 4, 12)
    weight = model.patch_embed.proj.weight.unflatten(1, (3, 2))
    cells = F.conv3d(video, weight, model.patch_embed.proj.bias, stride=(2, 8, 8)).flatten(3).permute(0, 2, 3, 1)
    if hidden:
        cells = F.gelu(model.patch_embed.norm(cells)) @ model.patch_embed.expand.weight.flatten(1).T
        cells = cells + model.patch_embed.expand.bias
    torch.testing.assert_close(tokens, cells, atol=1e-4, rtol=1e-4)
    assert model(video).shape == (2, 4)
    with pytest.raises(ValueError, match="do not divide the clip of 5"):
        model.embed(video[:, :, :5])


def test_mask_of_ones_gives_the_first_clip_and_of_zeros_the_second():
    model = tiny()
    a, b = (model.embed(torch.randn(2, 3, 3, 16, 16)) for _ in range(2))
    ones = torch.ones(2, 3, 4, dtype=torch.bool)
    assert torch.equal(model.encode(torch.where(ones[..., None], a, b)), model.encode(a))
    assert torch.equal(model.encode(torch.where(~ones[..., None], a, b)), model.encode(b))


def test_starts_as_the_image_model():
    torch.manual_seed(1)
    model = TimeSformer(12, 3, 3, frames=4, classes=4, image_size=16, patch_size=8).eval()
    assert all(block.temporal_fc.weight.abs().sum() == 0 for block in model.blocks)
    image = torch.randn(2, 3, 1, 16, 16)
    with torch.no_grad():
        one = model.features(image)
        torch.testing.assert_close(model.features(image.expand(-1, -1, 4, -1, -1)), one)
        moving = torch.cat((image, torch.randn(2, 3, 3, 16, 16)), dim=2)
        assert (model.features(moving) - one).abs().max() > 1e-3


def test_clips_of_one_batch_do_not_see_each_other_and_frames_do():
    model = tiny()
    video = torch.randn(3, 3, 3, 16, 16)
    changed = video.clone()
    changed[1, :, 2] += 1
    with torch.no_grad():
        difference = (model(changed) - model(video)).abs().sum(-1)
    assert difference[[0, 2]].max() == 0
    assert difference[1] > 1e-3


def test_other_clip_sizes_resize_positions_and_other_shapes_are_refused():
    model = tiny()
    assert model(torch.randn(1, 3, 6, 24, 24)).shape == (1, 4)
    with pytest.raises(ValueError, match="no square grid"):
        model(torch.randn(1, 3, 3, 16, 24))
    with pytest.raises(ValueError, match="does not divide"):
        model(torch.randn(1, 3, 3, 20, 20))


def test_no_head_gives_features():
    model = tiny(classes=0)
    video = torch.randn(1, 3, 3, 16, 16)
    assert torch.equal(model(video), model.features(video))


def test_every_parameter_learns_and_checkpointing_gives_the_same_gradients():
    video = torch.randn(2, 3, 3, 16, 16)
    gradients = []
    for checkpointed in (False, True):
        model = tiny(checkpoint_activations=checkpointed, drop_path=0.4, embed_hidden=10).train()
        torch.manual_seed(3)
        model(video).square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    # The last block's patch tokens end at the attention over space, but its class tokens use every part of it.
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)
        if not name.endswith("qkv.bias"):
            assert gradient.abs().sum() > 0, name


def test_drop_path_is_off_in_eval_and_unbiased_in_training():
    model = tiny(depth=1, drop_path=0.0)
    model.blocks[0].drop_path = 0.3
    tokens = torch.randn(1, 3, 4, 12)
    patches, cls = tokens.transpose(0, 1).contiguous(), torch.randn(1, 12)
    block = model.blocks[0]
    with torch.no_grad():
        expected = block._over_time(patches)
        model.train()
        draws = torch.stack([block._over_time(patches) for _ in range(3000)])
        space = torch.stack([block._over_space(patches, cls, last=False)[1] for _ in range(3000)])
        model.eval()
        whole = block._over_space(patches, cls, last=False)[1]
    assert (draws.mean(0) - expected).abs().max() < 0.15
    assert (space.mean(0) - whole).abs().max() < 0.15
    # Each patch position falls in all its frames together, as in the reference.
    fallen = (draws - (patches + block.temporal_fc.bias)).abs().amax(-1) < 1e-6
    assert torch.equal(fallen.all(1), fallen.any(1))
    assert 0.25 < fallen.float().mean() < 0.35


def test_bfloat16_autocast_stays_near_single_precision():
    model = tiny()
    video = torch.randn(2, 3, 3, 16, 16)
    with torch.no_grad():
        expected = model(video)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            result = model(video)
    assert result.isfinite().all()
    assert (result.float() - expected).norm() / expected.norm() < 0.05


def test_bad_sizes_are_refused():
    with pytest.raises(ValueError, match="heads must divide dim"):
        TimeSformer(10, 1, 3, frames=2, classes=2)
    with pytest.raises(ValueError, match="patch_size must divide image_size"):
        TimeSformer(12, 1, 3, frames=2, classes=2, image_size=50)
    with pytest.raises(ValueError, match="tubelet must divide frames"):
        TimeSformer(12, 1, 3, frames=3, classes=2, tubelet=2)


@pytest.mark.long
def test_compiles_without_a_break():
    model = tiny(depth=2, drop_path=0.2)
    video = torch.randn(2, 3, 3, 16, 16)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(video), model(video))
    model.train()
    compiled(video).sum().backward()
    assert model.blocks[0].attn.qkv.weight.grad.abs().sum() > 0


def test_exports_and_gives_the_same_logits():
    model = tiny()
    video = torch.randn(1, 3, 3, 16, 16)
    exported = torch.export.export(model, (video,)).module()
    torch.testing.assert_close(exported(video), model(video))
