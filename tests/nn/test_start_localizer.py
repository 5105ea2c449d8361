import pytest
import torch

from asgmcli.errors import DataError
from asgmcli.media.audio import log_mel
from asgmcli.nn.localizer import FNAC, FrozenLocalizer, load_localizer, save_localizer
from asgmcli.nn.start_localizer import StartLocalizer
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer

VIDEO = {"dim": 16, "depth": 1, "heads": 2, "patch_size": 8, "stem": "convolutions", "drop_path": 0.0}
AUDIO = {"dim": 16, "depth": 1, "heads": 2, "patch_size": 16, "drop_path": 0.0}
CONFIG = {"input_size": 24, "seconds": 0.64, "video": VIDEO, "audio": AUDIO}


def network(noise=0.0):
    torch.manual_seed(0)
    video = TimeSformer(16, 1, 2, 1, 0, image_size=24, patch_size=8, drop_path=0.0, convolutions=True)
    audio = AudioTransformer(16, 1, 2, mels=16, length=64, patch_size=16, drop_path=0.0)
    return StartLocalizer(video, audio, 4, mels=16, mel_mean=-5.0, mel_std=4.0, noise=noise)


def test_the_map_is_the_inner_product_of_projections_over_the_root_of_their_width():
    model = network().eval()
    frames, wave = torch.rand(2, 3, 1, 24, 24), 0.1 * torch.randn(2, 10_240)
    found = FrozenLocalizer(model, input_size=24, seconds=0.64).maps(frames, wave)
    assert found.shape == (2, 1, 3, 3)
    _, cells = model.video.encode_all(model.video.embed((frames - 0.5) / 0.5))
    sound = torch.stack([log_mel(one.numpy(), rate=16_000, mels=16) for one in wave])
    heard = model.audio((sound + 5.0) / 8.0)
    for clip in range(2):
        for cell in range(9):  # the norms without statistics divide by the root of 1 + 1e-5
            seen = model.img_proj.weight[:, :, 0, 0] @ (cells[clip, 0, cell] / (1 + 1e-5) ** 0.5) + model.img_proj.bias
            said = model.aud_proj.weight @ (heard[clip] / (1 + 1e-5) ** 0.5) + model.aud_proj.bias
            expected = float(seen @ said) / 2
            assert float(found[clip, 0, cell // 3, cell % 3]) == pytest.approx(expected, abs=1e-4)


def test_a_file_gives_the_same_maps_and_names_its_kind(tmp_path):
    model = network()
    frames, wave = torch.rand(2, 3, 1, 24, 24), 0.1 * torch.randn(2, 10_240)
    model.train().image_features(frames[:, :, 0])  # moves the norms from where they start
    path = save_localizer(tmp_path / "localizer.safetensors", model, CONFIG)
    maps = FrozenLocalizer(model, input_size=24, seconds=0.64).maps(frames, wave)
    found = load_localizer(path, kind="start")
    assert found.model.kind == "start"
    assert torch.equal(found.maps(frames, wave), maps)
    with pytest.raises(DataError, match="kind start, not fnac"):
        load_localizer(path, kind="fnac")
    other = save_localizer(tmp_path / "fnac.safetensors", FNAC(8, width=4, stride=8), {"input_size": 32})
    with pytest.raises(DataError, match="kind fnac, not start"):
        load_localizer(other, kind="start")
    broken = save_localizer(tmp_path / "broken.safetensors", model, {**CONFIG, "video": {"dim": "wide"}})
    with pytest.raises(DataError, match="description of the localizer is unusable"):
        load_localizer(broken)


def test_noise_is_of_training_alone_and_silence_gives_an_even_map():
    model = network(noise=0.5)
    cells = torch.randn(8, 16, 3, 3)
    assert torch.equal(model.eval().project_image(cells), model.project_image(cells))
    model.train()
    assert not torch.equal(model.project_image(cells), model.project_image(cells))
    frozen = FrozenLocalizer(model, input_size=24, seconds=0.64)
    with pytest.warns(UserWarning, match="no sound"):
        assert bool((frozen.maps(torch.rand(1, 3, 1, 24, 24), torch.zeros(1, 10_240)) == 1).all())
