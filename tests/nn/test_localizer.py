from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
import torchvision
from torch import Tensor

from asgmcli.errors import DataError
from asgmcli.nn.localizer import FNAC, FrozenLocalizer, fnac_spectrogram, load_localizer, save_localizer, similarity_map
from asgmcli.nn.resnet import ResNet18, lay_channels_last
from tests.golden import inputs

GOLDEN = Path(__file__).parents[1] / "golden"


def array(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(inputs.array(seed, *shape))


@pytest.fixture(scope="module")
def golden_model() -> FNAC:
    model = FNAC().eval()
    weights = inputs.fnac_weights(inputs.layout("fnac"), 21)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, strict=False)
    return model


def test_golden_maps(golden_model):
    image, spectrogram = array(22, 3, 3, 224, 224), array(23, 3, 1, 257, 201)
    expected = np.load(GOLDEN / "fnac.npz")["savl"]
    with torch.no_grad():
        similarity = golden_model(image, spectrogram)
        heatmap = golden_model.heatmap(image, spectrogram)
    assert similarity.shape == (3, 3, 7, 7)
    own = similarity[torch.arange(3), torch.arange(3)]
    assert np.abs(own.numpy() / 0.03 - expected).max() < 1e-4
    assert np.abs(heatmap.numpy() / 0.03 - expected).max() < 1e-4


def test_features_are_unit_vectors_and_give_the_similarity(golden_model):
    image, spectrogram = array(1, 2, 3, 96, 128), array(2, 2, 1, 257, 90)
    with torch.no_grad():
        f_image, f_audio = golden_model.features(image, spectrogram)
        similarity = golden_model(image, spectrogram)
    assert f_image.shape == (2, 512, 3, 4)
    torch.testing.assert_close(f_image.norm(dim=1), torch.ones(2, 3, 4))
    torch.testing.assert_close(f_audio.norm(dim=1), torch.ones(2))
    by_hand = (f_image[1, :, 2, 3] * f_audio[0]).sum()
    torch.testing.assert_close(similarity[1, 0, 2, 3], by_hand)


def test_affinity_is_the_matrix_product():
    image = torch.nn.functional.normalize(array(3, 2, 5, 2, 3), dim=1)
    audio = torch.nn.functional.normalize(array(4, 2, 5), dim=1)
    result = similarity_map(image, audio, affinity=True)
    for b in range(2):
        cells = image[b].flatten(1).T  # [h w, D]
        torch.testing.assert_close(result[b].flatten(), (cells @ cells.T) @ (cells @ audio[b]))


@pytest.mark.parametrize(("stride", "side"), [(32, 2), (16, 3), (8, 6)])
def test_stride_and_width_set_the_map(stride, side):
    model = FNAC(32, width=8, stride=stride).eval()
    heatmap = model.heatmap(torch.randn(2, 3, 48, 48), torch.randn(2, 1, 257, 66))
    assert heatmap.shape == (2, side, side)
    assert model.imgnet.layer4[1].conv2.weight.shape == (64, 64, 3, 3)
    assert {name for name, _ in model.named_parameters()} == {name for name, _ in FNAC().named_parameters()}


@pytest.mark.parametrize("channels", [1, 3])
def test_resnet_is_torchvisions_with_its_channels_innermost(channels):
    ours, theirs = ResNet18(channels).eval(), torchvision.models.resnet18(weights=None).eval()
    theirs.conv1 = torch.nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
    missing, unexpected = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing
    assert unexpected == ["fc.weight", "fc.bias"]
    theirs.avgpool = theirs.fc = torch.nn.Identity()
    image = array(5, 2, channels, 64, 64)
    with torch.no_grad():
        assert ours(image).is_contiguous(memory_format=torch.channels_last)
        assert image.is_contiguous()
        # In double precision: another order in memory adds in another order.
        torch.testing.assert_close(ours.double()(image.double()).flatten(1), theirs.double()(image.double()))


def test_dropout_only_in_training_and_gradients_reach_both_networks():
    model = FNAC(16, width=8, dropout_image=0.5, dropout_audio=0.5)
    image, spectrogram = torch.randn(4, 3, 64, 64), torch.randn(4, 1, 257, 40)
    assert not torch.equal(model(image, spectrogram), model(image, spectrogram))
    model(image, spectrogram).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert model.imgnet.conv1.weight.grad.abs().sum() > 0
    assert model.audnet.conv1.weight.grad.abs().sum() > 0
    model.eval()
    assert torch.equal(model(image, spectrogram), model(image, spectrogram))


def test_channels_last_gives_the_same_map_and_gradients():
    # In double precision: two clips' batch norms make large gradients of small differences.
    image, spectrogram = array(1, 2, 3, 32, 32).double(), array(2, 2, 1, 33, 40).double()
    results = []
    for last in (False, True):
        torch.manual_seed(0)
        model = FNAC(8, width=4, stride=8).double()
        if last:
            lay_channels_last(model)
            assert model.imgnet.layer1[0].conv1.weight.is_contiguous(memory_format=torch.channels_last)
        result = model(image, spectrogram)
        result.square().sum().backward()
        results.append([result, *(parameter.grad for parameter in model.parameters())])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def scipy_spectrogram(wave: np.ndarray, rate: int, seconds: float) -> np.ndarray:
    wanted = int(rate * seconds)
    wave = np.tile(wave, 1 + wanted // len(wave))[:wanted]
    _, _, power = scipy.signal.spectrogram(wave, rate, nperseg=512, noverlap=274)
    return np.log(power + 1e-7) / 12


@pytest.mark.parametrize(
    ("samples", "rate", "seconds"), [(48000, 16000, 3.0), (70000, 16000, 3.0), (5000, 16000, 3.0), (300, 8000, 1.5)]
)
def test_spectrogram_is_scipys(samples, rate, seconds):
    random = np.random.RandomState(7)
    time = np.arange(samples) / rate
    waves = np.stack((random.uniform(-1, 1, samples), 0.3 + 0.5 * np.sin(2 * np.pi * 440 * time))).astype(np.float32)
    ours = fnac_spectrogram(torch.from_numpy(waves), rate=rate, seconds=seconds)
    assert ours.shape[:3] == (2, 1, 257)
    for row, wave in zip(ours, waves, strict=True):
        expected = scipy_spectrogram(wave, rate, seconds)
        assert row[0].shape == expected.shape
        assert np.abs(row[0].numpy() - expected).max() < 1e-4


def test_spectrogram_of_three_seconds_has_200_columns_and_silence_is_finite():
    result = fnac_spectrogram(torch.zeros(2, 48000))
    assert result.shape == (2, 1, 257, 200)
    torch.testing.assert_close(result, torch.full_like(result, float(np.log(1e-7) / 12)))


def test_spectrogram_refuses_nothing():
    with pytest.raises(ValueError, match="at least 1"):
        fnac_spectrogram(torch.zeros(2, 0))
    with pytest.raises(ValueError, match="fewer than one window"):
        fnac_spectrogram(torch.zeros(2, 100), seconds=0.01)


def small_localizer(seed: int = 0) -> FNAC:
    torch.manual_seed(seed)
    model = FNAC(16, width=8, stride=8)
    with torch.no_grad():
        model(torch.randn(8, 3, 48, 48), torch.randn(8, 1, 257, 60))  # batch statistics
    return model


def tone(batch: int, samples: int = 16000) -> Tensor:
    return 0.3 * torch.sin(torch.arange(samples) * torch.linspace(0.1, 0.4, batch)[:, None])


def test_frozen_maps_are_the_heatmaps_of_each_frame():
    model = small_localizer().eval()
    frozen = FrozenLocalizer(model, input_size=48, seconds=1.0)
    frames, wave = torch.rand(2, 3, 5, 48, 48), tone(2)
    maps = frozen.maps(frames, wave)
    assert maps.shape == (2, 5, 6, 6)
    assert not maps.requires_grad
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    spectrogram = fnac_spectrogram(wave, seconds=1.0)
    for t in range(5):
        image = (frames[:, :, t] - mean[:, None, None]) / std[:, None, None]
        with torch.no_grad():
            torch.testing.assert_close(maps[:, t], model.heatmap(image, spectrogram), atol=1e-5, rtol=1e-5)


def test_frozen_resizes_frames_and_hears_the_middle():
    frozen = FrozenLocalizer(small_localizer(), input_size=48, seconds=1.0, map="affinity")
    frames, wave = torch.rand(1, 3, 2, 96, 64), torch.cat((torch.zeros(1, 8000), tone(1), torch.ones(1, 8000)), 1)
    maps = frozen.maps(frames, wave)
    assert maps.shape == (1, 2, 6, 6)
    torch.testing.assert_close(maps, frozen.maps(frames, tone(1)))


def test_remembered_sounds_are_heard_once_and_alike_in_any_company(monkeypatch):
    frozen = FrozenLocalizer(small_localizer(), input_size=48, seconds=1.0)
    frames, wave = torch.rand(10, 3, 2, 48, 48), tone(10)
    plain = frozen.maps(frames, wave)
    heard = []
    network = frozen.model.audnet.forward
    monkeypatch.setattr(frozen.model.audnet, "forward", lambda x: heard.append(len(x)) or network(x))
    frozen.remember_sounds()
    together = frozen.maps(frames, wave)
    torch.testing.assert_close(together, plain, atol=1e-5, rtol=1e-5)
    assert torch.equal(frozen.maps(frames[2:5], wave[2:5]), together[2:5])
    assert heard == [8, 8]  # ten sounds, eight at a time, and none again
    frozen.remember_sounds()
    order = [5, 5, 0, 9]
    assert torch.equal(frozen.maps(frames[order], wave[order]), together[order])
    assert heard == [8, 8, 8]


def test_frozen_stays_in_eval_mode_without_gradients():
    frozen = FrozenLocalizer(small_localizer(), input_size=48)
    holder = torch.nn.Sequential(frozen).train()
    assert not any(module.training for module in holder[0].modules())
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    before = {name: value.clone() for name, value in frozen.state_dict().items()}
    frozen.maps(torch.rand(2, 3, 2, 48, 48), tone(2))
    assert all(torch.equal(value, before[name]) for name, value in frozen.state_dict().items())


def test_silent_clip_gets_a_uniform_map_and_one_warning():
    frozen = FrozenLocalizer(small_localizer(), input_size=48, seconds=1.0)
    wave = tone(3)
    wave[1] = 0
    wave[2, 5] = float("nan")
    frames = torch.rand(3, 3, 2, 48, 48)
    with pytest.warns(UserWarning, match="no sound"):
        maps = frozen.maps(frames, wave)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frozen.maps(frames, wave)  # said once
    assert torch.equal(maps[1:], torch.ones(2, 2, 6, 6))
    torch.testing.assert_close(maps[:1], frozen.maps(frames[:1], wave[:1]))
    assert maps.isfinite().all()


def test_save_and_load_say_everything(tmp_path):
    model = small_localizer()
    path = save_localizer(tmp_path / "l.safetensors", model, {"input_size": 48, "seconds": 1.0, "recipe": "demo"})
    frozen = load_localizer(path)
    assert (frozen.input_size, frozen.seconds, frozen.rate, frozen.map) == (48, 1.0, 16000, "cosine")
    assert (frozen.model.dim, frozen.model.width, frozen.model.stride) == (16, 8, 8)
    assert load_localizer(path, map="affinity").map == "affinity"
    frames, wave = torch.rand(1, 3, 2, 48, 48), tone(1)
    assert torch.equal(frozen.maps(frames, wave), FrozenLocalizer(model, input_size=48, seconds=1.0).maps(frames, wave))


def test_released_checkpoint_with_numpy_scores(tmp_path, golden_model):
    state = {f"module.{name}": value for name, value in golden_model.state_dict().items()}
    content = {"model": state, "optimizer": {"lr": 1e-4}, "epoch": 12, "best_cIoU": np.float64(0.35)}
    torch.save(content, tmp_path / "best.pth")
    frozen = load_localizer(tmp_path / "best.pth")
    assert (frozen.input_size, frozen.seconds, frozen.rate) == (224, 3.0, 16000)
    expected = np.load(GOLDEN / "fnac.npz")["savl"]
    with torch.no_grad():
        maps = frozen.model.heatmap(array(22, 3, 3, 224, 224), array(23, 3, 1, 257, 201))
    assert np.abs(maps.numpy() / 0.03 - expected).max() < 1e-4


def test_a_file_that_is_not_fnacs_is_refused(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet.pth")
    with pytest.raises(DataError, match=r"resnet\.pth is not an FNAC localizer: it has conv1\.weight"):
        load_localizer(tmp_path / "resnet.pth")
    state = {name: value for name, value in small_localizer().state_dict().items() if "audnet" not in name}
    torch.save(state, tmp_path / "half.pth")
    with pytest.raises(DataError, match=r"missing \(audnet\.conv1\.weight"):
        load_localizer(tmp_path / "half.pth")
    save_localizer(tmp_path / "odd.safetensors", small_localizer(), {"map": "sine"})
    with pytest.raises(DataError, match="not 'sine'"):
        load_localizer(tmp_path / "odd.safetensors")


def test_masks_of_the_sound_are_bands_in_hertz_and_spans_in_seconds():
    """Rows of the spectrogram are 31.25 Hz apart, columns 14.875 ms from 16 ms on; what is masked is 0."""
    torch.manual_seed(0)
    localizer = FrozenLocalizer(FNAC(8, width=4, stride=8), input_size=32, seconds=0.5)
    frames, wave = torch.rand(2, 3, 2, 32, 32), 0.1 * torch.randn(2, 8000)
    spectrogram = localizer.spectrogram(wave)
    by_hand = spectrogram.clone()
    by_hand[0, :, 32:48] = 0  # 1000 Hz up to, and not with, 1500 Hz
    by_hand[1, :, :, 0:7] = 0  # centres 16, 30.9, ... 105.25 ms
    heard = localizer.model.audio_features(by_hand).repeat_interleave(2, dim=0)
    cells = localizer._image_features(frames.transpose(1, 2).flatten(0, 1))
    masks = torch.tensor([[1000.0, 1500.0, 0.2, 0.2], [0.0, 0.0, -0.3, 0.106]])
    expected = similarity_map(cells, heard).unflatten(0, (2, 2))
    torch.testing.assert_close(localizer.maps(frames, wave, masks), expected)
    none = torch.zeros(2, 4)
    torch.testing.assert_close(localizer.maps(frames, wave, none), localizer.maps(frames, wave))
