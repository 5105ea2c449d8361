from __future__ import annotations

import pytest
import timm
import torch

from asgmcli.nn import attention
from asgmcli.nn.fusion import FusionTransformer
from asgmcli.nn.vit import AudioTransformer, Block


def small(**changes) -> AudioTransformer:
    sizes = {"dim": 12, "depth": 2, "heads": 3, "mels": 16, "length": 40, "patch_size": 8}
    torch.manual_seed(0)
    model = AudioTransformer(**{**sizes, **changes})
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3)
    return model


def test_block_is_timms_and_its_first_token_alone_is_the_same():
    theirs = timm.models.vision_transformer.Block(12, 3, qkv_bias=True).eval()
    for parameter in theirs.parameters():
        parameter.data.normal_(0, 0.3)
    for norm in (theirs.norm1, theirs.norm2):
        norm.eps = 1e-6
    ours = Block(12, 3).eval()
    ours.load_state_dict(theirs.state_dict())
    x = torch.randn(2, 7, 12)
    with torch.no_grad():
        torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours(x, first_only=True), ours(x)[:, 0], atol=1e-5, rtol=1e-5)


def test_audio_names_are_timms():
    vit = timm.models.vision_transformer.VisionTransformer(embed_dim=12, depth=2, num_heads=3, num_classes=0)
    assert set(AudioTransformer(12, 2, 3).state_dict()) == set(vit.state_dict())


def test_audio_patches_run_along_time_within_a_row_of_frequency():
    model = small()
    logmel = torch.zeros(1, 40, 16)
    changed = logmel.clone()
    changed[0, 8:16, 8:] = 1  # second step of time, upper half of the bins
    tokens = [model.patch_embed(x.transpose(1, 2)[:, None, None])[0, 0] for x in (logmel, changed)]
    assert (tokens[0] - tokens[1]).abs().sum(-1).nonzero().flatten().tolist() == [5 + 1]


def test_audio_features_shape_gradients_and_checkpointing():
    logmel = torch.randn(3, 40, 16)
    gradients = []
    for checkpointed in (False, True):
        model = small(checkpoint_activations=checkpointed, drop_path=0.3, embed_hidden=9).train()
        torch.manual_seed(4)
        features = model(logmel)
        assert features.shape == (3, 12)
        features.square().sum().backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, gradient in gradients[0].items():
        assert gradient.isfinite().all(), name
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_audio_of_another_length_is_refused():
    with pytest.raises(ValueError, match="gives 8 tokens"):
        small()(torch.randn(1, 32, 16))
    with pytest.raises(ValueError, match="must divide"):
        AudioTransformer(12, 1, 3, mels=20)


def test_fusion_reads_both_modalities_and_is_a_mean_over_the_two_tokens():
    torch.manual_seed(0)
    model = FusionTransformer(12, 5, heads=3)
    video, audio = torch.randn(4, 12), torch.randn(4, 12)
    logits = model(video, audio)
    assert logits.shape == (4, 5)
    assert (model(video, torch.randn(4, 12)) - logits).abs().amin() > 0
    assert (model(torch.randn(4, 12), audio) - logits).abs().amin() > 0
    torch.testing.assert_close(model(audio, video), logits)  # the mean does not know their order
    tokens = torch.stack((video, audio), 1)
    for block in model.blocks:
        tokens = block(tokens)
    normed = torch.nn.functional.layer_norm(tokens, (12,), model.norm.weight, model.norm.bias, 1e-6)
    torch.testing.assert_close(logits, model.head((normed[:, 0] + normed[:, 1]) / 2))


def test_survival_is_zero_or_its_inverse_share():
    factor = attention.survival((4000,), 0.2, torch.empty(0))
    assert set(factor.unique().tolist()) == {0.0, 1.25}
    assert abs(factor.mean() - 1) < 0.05
