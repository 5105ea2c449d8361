"""ImageNet's ResNet-18 as the start of a localizer's image network."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn.resnet import ResNet18, StridedConv
from asgmcli.nn.weights import load_resnet, load_timm

NAME = "resnet18.tv_in1k"


def theirs() -> nn.Module:
    torch.manual_seed(1)
    network = timm.create_model("resnet18", pretrained=False)
    with torch.no_grad():
        network(torch.randn(2, 3, 64, 64))  # statistics of its own
    return network.eval()


def test_timms_resnet_is_the_image_network(tmp_path: Path) -> None:
    network = theirs()
    save_file(network.state_dict(), tmp_path / f"{NAME}.safetensors")
    ours = ResNet18(3).eval()
    report = load_timm(ours, NAME, folder=tmp_path)
    assert not report.missing
    assert not report.unexpected
    image = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(ours(image), network.forward_features(image))


def test_without_a_network_the_file_and_its_place_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> nn.Module:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("asgmcli.nn.weights._reach", lambda _: None)
    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(DataError, match=r"bring model\.safetensors from https://huggingface\.co/timm/resnet18") as told:
        load_timm(ResNet18(3), NAME, folder=tmp_path)
    assert f"put it at {tmp_path / NAME}.safetensors." in told.value.message


def test_another_network_is_refused() -> None:
    state = theirs().state_dict()
    with pytest.raises(DataError, match="same width"):
        load_resnet(ResNet18(3, width=8), state)
    with pytest.raises(DataError, match="does not hold this network"):
        load_resnet(ResNet18(3), {name: value for name, value in state.items() if "layer4" not in name})


@pytest.mark.parametrize("columns", [1, 2, 3, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_map_one_column_wide_is_right_in_bfloat16(columns: int, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    layer = StridedConv(16, 32, 3, stride=2, padding=1, bias=False).bfloat16()
    image = torch.randn(4, 16, 17, columns).bfloat16()

    def asked(image: Tensor, layer: nn.Conv2d, result: Tensor) -> list[Tensor]:
        return [result, *torch.autograd.grad(result.sum(), (image, layer.weight))]

    exact, plain = image.double().requires_grad_(), copy.deepcopy(layer).double()
    wanted = asked(exact, plain, nn.Conv2d.forward(plain, exact))
    for _ in range(20):
        freed = [torch.full((1 << power,), torch.nan) for power in range(6, 17)]  # what the kernel finds
        del freed
        given = image.clone(memory_format=layout).requires_grad_()
        for found, right in zip(asked(given, layer, layer(given)), wanted, strict=True):
            assert found.shape == right.shape
            torch.testing.assert_close(found.double(), right, rtol=0, atol=0.02 * right.abs().max().item())


def test_one_column_is_the_plain_convolution() -> None:
    layer = StridedConv(4, 8, 3, stride=2, padding=1)
    image = torch.randn(2, 4, 17, 2)
    wanted = nn.Conv2d.forward(layer, image)
    assert torch.equal(layer(image), wanted)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(layer(image).float(), wanted, rtol=0, atol=0.02 * wanted.abs().max().item())
