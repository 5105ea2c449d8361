from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asgmcli.errors import DataError
from asgmcli.nn.backbones import (
    AUDIO,
    VISUAL,
    PatchNet,
    Reduced,
    VisualBackbone,
    audio_dim,
    build_audio,
    load_audio,
    load_visual,
    map_side,
    visual_dim,
)
from asgmcli.nn.vggish import VGGish
from asgmcli.recipe.events import AudioNet, FrameInput, SeeingNet

SMALL = SeeingNet(kind="resnet18", width=4, stride=8)


def test_frames_of_either_kind_and_maps() -> None:
    torch.manual_seed(0)
    net = VisualBackbone(SMALL).eval()
    frames = torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8)
    features = net(frames)
    assert features.shape == (3, 32) == (3, visual_dim(SMALL))
    torch.testing.assert_close(net(frames.float() / 255), features)
    maps = VisualBackbone(SMALL, maps=True).eval()
    maps.load_state_dict(net.state_dict())
    side = map_side(SMALL, FrameInput(size=32, resize_to=32))
    assert maps(frames).shape == (3, 32, side, side)
    torch.testing.assert_close(maps(frames).amax((2, 3)), features)


def test_frozen_norms_keep_their_statistics_in_training() -> None:
    frames = torch.rand(4, 3, 32, 32)
    for frozen in (True, False):
        torch.manual_seed(0)
        net = VisualBackbone(SMALL, frozen_norm=frozen).train()
        before = net.body.bn1.running_mean.clone()  # type: ignore[union-attr]
        net(frames)
        assert torch.equal(net.body.bn1.running_mean, before) == frozen  # type: ignore[union-attr]
    # A batch may then be taken in parts.
    net = VisualBackbone(SMALL).train()
    torch.testing.assert_close(torch.cat([net(frames[:1]), net(frames[1:])]), net(frames))


def test_the_reduction() -> None:
    body = VisualBackbone(SMALL)
    assert Reduced(body, None)(torch.rand(2, 3, 32, 32)).shape == (2, 32)
    assert Reduced(body, 5)(torch.rand(2, 3, 32, 32)).shape == (2, 5)
    maps = Reduced(VisualBackbone(SMALL, maps=True), 5)(torch.rand(2, 3, 32, 32))
    assert maps.shape == (2, 5, 4, 4)


def test_resnet_50_is_timms() -> None:
    net = VisualBackbone(SeeingNet()).eval()
    assert net(torch.rand(1, 3, 64, 64)).shape == (1, 2048)
    names = set(net.body.state_dict())
    assert "layer4.2.conv3.weight" in names
    assert not any(name.startswith("fc") for name in names)


def test_what_hears() -> None:
    vggish = AudioNet(width=2, hidden=8, dim=5)
    assert isinstance(build_audio(vggish), VGGish)
    assert build_audio(vggish)(torch.rand(2, 1, 96, 64)).shape == (2, 5) == (2, audio_dim(vggish))
    small = AudioNet(kind="resnet18", width=4, stride=16)
    assert build_audio(small).eval()(torch.rand(2, 1, 96, 64)).shape == (2, 32) == (2, audio_dim(small))


def test_both_networks_in_one_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    visual, audio = VisualBackbone(SMALL), PatchNet(4, 16)
    parts = ((VISUAL, visual.body), (AUDIO, audio.body))
    tensors = {f"{prefix}{name}": value for prefix, net in parts for name, value in net.state_dict().items()}
    save_file(tensors, tmp_path / "both.safetensors")
    other, another = VisualBackbone(SMALL), PatchNet(4, 16)
    load_visual(other, tmp_path / "both.safetensors")
    load_audio(another, tmp_path / "both.safetensors")
    assert torch.equal(other.body.conv1.weight, visual.body.conv1.weight)  # type: ignore[union-attr]
    assert torch.equal(another.body.conv1.weight, audio.body.conv1.weight)
    with pytest.raises(DataError, match=r"conv1\.weight is"):
        load_visual(VisualBackbone(SeeingNet(kind="resnet18", width=8, stride=8)), tmp_path / "both.safetensors")
    with pytest.raises(DataError, match="timm has no network for sound"):
        load_audio(another, "resnet18", timm=True)
