from __future__ import annotations

import errno
import json
import pickle
import socket
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from asgmcli.errors import DataError
from asgmcli.nn import weights
from asgmcli.nn.localizer import FNAC
from asgmcli.nn.patches import resize_class_positions, resize_positions, resize_times
from asgmcli.nn.state import read_metadata
from asgmcli.nn.timesformer import TimeSformer
from asgmcli.nn.vit import AudioTransformer
from tests.calling import Harmful

State = dict[str, Tensor]


def randomise(model: nn.Module, seed: int = 0) -> State:
    """Every tensor of the model filled with noise, so that what was loaded cannot be mistaken for a start."""
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(value.shape, generator=generator) * 0.1 for name, value in model.state_dict().items()}


def video_model(**changes) -> TimeSformer:
    sizes = {"dim": 16, "depth": 2, "heads": 2, "frames": 4, "classes": 5, "image_size": 32, "patch_size": 8}
    return TimeSformer(**{**sizes, **changes})


def timm_vit(**changes) -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 3}
    vit = timm.models.vision_transformer.VisionTransformer(**{**sizes, **changes})
    vit.load_state_dict(randomise(vit, 3))
    return vit.eval()


def save_as(form: str, state: State, folder: Path) -> Path:
    """The state in each form that checkpoints come in."""
    if form == "safetensors":
        save_file(state, folder / "w.safetensors")
        return folder / "w.safetensors"
    path = folder / "w.pyth"
    if form == "bare":
        torch.save(state, path)
    elif form == "timesformer":
        content = {f"model.{name}": value for name, value in state.items()}
        torch.save({"epoch": 3, "model_state": content, "optimizer_state": {"lr": 0.1}, "cfg": "TRAIN: 1"}, path)
    elif form == "svformer":
        content = {name if name.startswith("head") else f"model.{name}": value for name, value in state.items()}
        torch.save({"epoch": 3, "model_state": content}, path)
    elif form == "dataparallel":
        torch.save({"state_dict": {f"module.model.{name}": value for name, value in state.items()}}, path)
    elif form == "legacy":
        torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


@pytest.mark.parametrize("form", ["safetensors", "bare", "timesformer", "svformer", "dataparallel", "legacy"])
def test_timesformer_round_trip_in_every_form(form, tmp_path):
    model = video_model()
    state = randomise(model)
    report = weights.load_timesformer(model, save_as(form, state, tmp_path))
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert set(report.loaded) == set(state)
    assert (report.missing, report.unexpected, report.resized) == ([], [], {})
    assert f"{len(state)} of {len(state)} tensors loaded" in report.summary()


def test_mapping_of_numpy_arrays():
    model = video_model()
    state = {name: value.numpy() for name, value in randomise(model).items()}
    weights.load_timesformer(model, state)
    assert np.array_equal(model.head.weight.detach().numpy(), state["head.weight"])


def test_head_of_other_classes_keeps_its_start_and_says_so():
    model = video_model(classes=7)
    before = model.head.weight.clone()
    report = weights.load_timesformer(model, randomise(video_model()))
    assert torch.equal(model.head.weight, before)
    assert report.missing == ["head.weight", "head.bias"]
    assert "kept their start (2): head.weight, head.bias" in report.summary()


def test_positions_and_times_are_resized():
    model = video_model(frames=8, image_size=48)
    state = randomise(video_model())
    report = weights.load_timesformer(model, state)
    assert report.resized == {"pos_embed": ((1, 17, 16), (1, 37, 16)), "time_embed": ((1, 4, 16), (1, 8, 16))}
    assert torch.equal(model.pos_embed[:, 0], state["pos_embed"][:, 0])
    assert torch.equal(model.time_embed[0], state["time_embed"][0].repeat_interleave(2, dim=0))
    assert "pos_embed [1, 17, 16] to [1, 37, 16]" in report.summary()


def test_resize_keeps_constants_ramps_and_equal_sizes():
    constant = torch.full((1, 12, 3), 2.5)
    torch.testing.assert_close(resize_positions(constant, (3, 4), (5, 7)), torch.full((1, 35, 3), 2.5))
    rows = torch.arange(12.0).view(1, 12, 1)
    assert resize_positions(rows, (3, 4), (3, 4)) is rows
    wide = resize_positions(torch.arange(4.0).repeat(3).view(1, 12, 1), (3, 4), (3, 8)).view(3, 8)
    assert torch.equal(wide[0], wide[1])
    assert (wide.diff(dim=1) > 0).all()  # a ramp along columns stays one, and rows are not confused with columns
    with_class = resize_class_positions(torch.cat((torch.full((1, 1, 1), 9.0), rows), 1), (3, 4), (6, 8))
    assert with_class.shape == (1, 49, 1)
    assert with_class[0, 0, 0] == 9
    assert resize_times(torch.arange(8.0).view(1, 8, 1), 4).flatten().tolist() == [0, 2, 4, 6]


def test_timm_vit_starts_the_video_network_as_the_image_model():
    vit = timm_vit()
    model = video_model().eval()
    report = weights.load_timesformer(model, vit.state_dict())
    parts = {"temporal", "time_embed", "head"}
    assert {part for name in report.missing for part in parts if part in name} == parts
    image = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        expected = vit.forward_features(image)[:, 0]
        features = model.features(image.unsqueeze(2).expand(-1, -1, 4, -1, -1))
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=1e-5)


def test_timm_vit_starts_the_audio_network():
    vit = timm_vit()
    model = AudioTransformer(16, 2, 2, mels=16, length=64, patch_size=8).eval()
    report = weights.load_vit_audio(model, vit.state_dict())
    assert report.unexpected == ["head.weight", "head.bias"]
    assert report.missing == []
    assert report.resized == {"pos_embed": ((1, 17, 16), (1, 17, 16))}
    summed = vit.patch_embed.proj.weight.sum(1, keepdim=True)
    assert torch.equal(model.patch_embed.proj.weight, summed)


def test_audio_network_equals_timms_on_a_square_log_mel():
    vit = timm_vit(in_chans=1)
    model = AudioTransformer(16, 2, 2, mels=32, length=32, patch_size=8).eval()
    weights.load_vit_audio(model, vit.state_dict())
    logmel = torch.randn(2, 32, 32)  # [B, L, M]
    with torch.no_grad():
        expected = vit.forward_features(logmel.transpose(1, 2).unsqueeze(1))[:, 0]
        torch.testing.assert_close(model(logmel), expected, atol=1e-5, rtol=1e-5)


def test_square_positions_of_equal_count_are_still_rearranged():
    model = AudioTransformer(16, 2, 2, mels=16, length=64, patch_size=8)  # 2 x 8 cells, as many as 4 x 4
    state = timm_vit().state_dict()
    weights.load_vit_audio(model, state)
    expected = resize_class_positions(state["pos_embed"], (4, 4), (2, 8))
    torch.testing.assert_close(model.pos_embed.detach(), expected)


def ast_state(rows: int, columns: int) -> State:
    model = AudioTransformer(16, 2, 2, mels=8 * rows, length=8 * columns, patch_size=8)
    state = randomise(model, 5)
    generator = torch.Generator().manual_seed(6)
    state["dist_token"] = torch.randn(1, 1, 16, generator=generator)
    dist = torch.randn(1, 1, 16, generator=generator)
    state["pos_embed"] = torch.cat((state["pos_embed"][:, :1], dist, state["pos_embed"][:, 1:]), 1)
    return state


def test_ast_checkpoint(tmp_path):
    state = ast_state(12, 5)
    named = {f"module.v.{name}": value for name, value in state.items()} | {"module.mlp_head.1.weight": torch.ones(3)}
    torch.save(named, tmp_path / "ast.pth")
    model = AudioTransformer(16, 2, 2, mels=32, length=48, patch_size=8)
    report = weights.load_vit_audio(model, tmp_path / "ast.pth")
    assert report.unexpected == ["dist_token", "mlp_head.1.weight"]
    without_dist = torch.cat((state["pos_embed"][:, :1], state["pos_embed"][:, 2:]), 1)
    torch.testing.assert_close(model.pos_embed.detach(), resize_class_positions(without_dist, (12, 5), (4, 6)))
    assert torch.equal(model.cls_token, state["cls_token"])


def to_huggingface(state: State) -> State:
    """The inverse of the renaming, written from Hugging Face's own names."""
    names = {
        "cls_token": "embeddings.cls_token",
        "dist_token": "embeddings.distillation_token",
        "pos_embed": "embeddings.position_embeddings",
        "norm.": "layernorm.",
        "patch_embed.proj.": "embeddings.patch_embeddings.projection.",
    }
    inner = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    result = {}
    for name, value in state.items():
        if ".attn.qkv." in name:
            _, layer, _, _, kind = name.split(".")
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                result[f"encoder.layer.{layer}.attention.attention.{part}.{kind}"] = piece
        elif name.startswith("blocks."):
            _, layer, *middle, kind = name.split(".")
            result[f"encoder.layer.{layer}.{inner['.'.join(middle)]}.{kind}"] = value
        else:
            old = next(key for key in names if name.startswith(key))
            result[name.replace(old, names[old])] = value
    return {f"audio_spectrogram_transformer.{name}": value.contiguous() for name, value in result.items()}


def test_huggingface_ast_equals_the_original_ast(tmp_path):
    state = ast_state(8, 6)
    save_file(to_huggingface(state), tmp_path / "model.safetensors")
    one, other = (AudioTransformer(16, 2, 2, mels=64, length=48, patch_size=8) for _ in range(2))
    weights.load_vit_audio(one, {f"v.{name}": value for name, value in state.items()})
    report = weights.load_vit_audio(other, tmp_path / "model.safetensors")
    assert report.missing == []
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_shapes_that_cannot_fit_name_both_and_change_nothing():
    model = video_model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(DataError, match=r"\[1, 1, 24\] in the file and \[1, 1, 16\] in the network"):
        weights.load_timesformer(model, randomise(video_model(dim=24, heads=3)))
    with pytest.raises(DataError, match=r"missing \(blocks\.\*\.norm1\.weight"):
        weights.load_timesformer(model, randomise(video_model(depth=1)))
    with pytest.raises(DataError, match=r"pos_embed is \[1, 19, 16\]"):
        weights.load_timesformer(model, {**randomise(model), "pos_embed": torch.zeros(1, 19, 16)})
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_another_networks_file_is_named_as_such():
    with pytest.raises(DataError, match="does not hold this network"):
        weights.load_timesformer(video_model(), {"layer1.0.weight": torch.ones(2)})
    with pytest.raises(DataError, match="holds no tensors"):
        weights.load_timesformer(video_model(), {"epoch": 3})


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_a_pickle_that_would_run_code_is_refused_and_not_run(form, tmp_path):
    path, target = tmp_path / "w.pth", tmp_path / "ran"
    content = {"model": {"a": torch.ones(2)}, "extra": Harmful(target)}
    if form == "pickle":
        path.write_bytes(pickle.dumps({"extra": Harmful(target)}))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    # A bare pickle of a newer protocol is refused at its first unknown instruction, before it names anything.
    named = "something other than tensors" if form == "pickle" else r"'posix\.mkdir'"
    with pytest.raises(DataError, match=rf"{named}.*, which could run code") as error:
        weights.read_state(path)
    assert str(path) in error.value.message
    assert not target.exists()


def test_numpy_numbers_are_read_and_other_numpy_objects_refused(tmp_path):
    path = tmp_path / "best.pth"
    content = {"model": {"module.a": torch.ones(2)}, "best_cIoU": np.float64(0.35), "epoch": np.int64(3)}
    torch.save(content, path)
    assert torch.equal(weights.read_state(path)["a"], torch.ones(2))
    torch.save({**content, "scores": np.zeros(3)}, path)
    with pytest.raises(DataError, match="could run code"):
        weights.read_state(path)


def test_broken_and_absent_files_are_one_clear_line(tmp_path):
    with pytest.raises(DataError, match="No weight file at"):
        weights.read_state(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "bad.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{}")
    torch.save({"a": torch.ones(1000)}, tmp_path / "whole.pth")
    (tmp_path / "cut.pth").write_bytes((tmp_path / "whole.pth").read_bytes()[:900])
    torch.save(torch.ones(3), tmp_path / "tensor.pth")
    for name in ("text.pth", "empty.pth", "bad.safetensors", "cut.pth", "tensor.pth"):
        with pytest.raises(DataError, match=name) as error:
            weights.read_state(tmp_path / name)
        assert "\n" not in error.value.message


def test_write_safetensors_is_whole_or_not_at_all(tmp_path):
    path = tmp_path / "sub" / "w.safetensors"
    base = torch.arange(6.0).view(2, 3)
    weights.write_safetensors(path, {"a": base, "view": base.T}, {"format": "x", "sizes": {"n": 2}})
    assert torch.equal(load_file(path)["view"], base.T)
    metadata = read_metadata(path)
    assert metadata["format"] == "x"
    assert json.loads(metadata["sizes"]) == {"n": 2}
    before = path.read_bytes()
    blocked = tmp_path / "sub" / "w.safetensors" / "x.safetensors"
    with pytest.raises(DataError, match="cannot be written"):
        weights.write_safetensors(blocked, {"a": base}, {})
    assert path.read_bytes() == before
    assert [item.name for item in path.parent.iterdir()] == ["w.safetensors"]


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """An empty Hugging Face cache, and no network: the addresses that were asked for."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    huggingface_hub.utils.close_session()  # it holds the proxies of the environment it was made in
    asked = []

    def refuse(address: tuple[str, int], *_: object, **__: object) -> None:
        asked.append(address)
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    yield asked
    huggingface_hub.utils.close_session()


def test_without_a_network_it_is_asked_once(tmp_path, hub):
    name = "vit_tiny_patch16_224.augreg_in21k"
    with pytest.raises(DataError) as error:
        weights.load_timm(video_model(), name, folder=tmp_path / "none")
    assert hub == [("huggingface.co", 443)]
    assert "Network is unreachable" in error.value.message
    assert "\n" not in error.value.message
    assert f"put it at {tmp_path / 'none' / name}.safetensors" in error.value.message


def test_a_hub_that_is_switched_off_is_not_asked(tmp_path, hub, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="HF_HUB_OFFLINE"):
        weights.load_timm(video_model(), "vit_tiny_patch16_224.augreg_in21k", folder=tmp_path / "none")
    assert hub == []


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_weights_fetched_before_need_no_network(tmp_path, hub, file):
    name = "vit_tiny_patch16_224.augreg_in21k"
    page = tmp_path / "hub" / f"models--timm--{name}"
    (page / "refs").mkdir(parents=True)
    (page / "refs" / "main").write_text("c0ffee")
    (page / "snapshots" / "c0ffee").mkdir(parents=True)
    state = timm_vit().state_dict()
    (save_file if file.endswith("safetensors") else torch.save)(state, page / "snapshots" / "c0ffee" / file)
    model = video_model()
    assert weights.load_timm(model, name, folder=tmp_path / "none").source == f"timm's {name}"
    assert torch.equal(model.cls_token, state["cls_token"])
    assert hub == []


def test_load_timm_from_path_folder_network_and_offline(tmp_path, hub, monkeypatch):
    name = "vit_tiny_patch16_224.augreg_in21k"
    monkeypatch.setattr(weights, "_reach", lambda _: None)
    state = timm_vit().state_dict()
    save_file(state, tmp_path / f"{name}.safetensors")
    for options in ({"path": tmp_path / f"{name}.safetensors"}, {"folder": tmp_path}):
        model = video_model()
        report = weights.load_timm(model, name, **options)
        assert torch.equal(model.cls_token, state["cls_token"])
        assert report.source.endswith(f"{name}.safetensors")
    asked = []

    def create(model_name: str, **options: object) -> nn.Module:
        asked.append((model_name, options["pretrained"]))
        return timm_vit()

    monkeypatch.setattr(timm, "create_model", create)
    audio = AudioTransformer(16, 2, 2, mels=16, length=32, patch_size=8)
    report = weights.load_timm(audio, name, folder=tmp_path / "none")
    assert asked == [(name, True)]
    assert report.source == f"timm's {name}"

    def offline(model_name: str, **options: object) -> nn.Module:
        raise ConnectionError("no route to host")

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        DataError, match=r"bring model\.safetensors from https://huggingface\.co/timm/vit_tiny"
    ) as error:
        weights.load_timm(video_model(), name, folder=tmp_path / "none")
    assert f"put it at {tmp_path / 'none' / name}.safetensors" in error.value.message
    with pytest.raises(DataError, match="knows no weights named 'vit_nothing'"):
        weights.load_timm(video_model(), "vit_nothing", folder=tmp_path / "none")


def test_timm_normalisation():
    assert weights.timm_normalisation("vit_base_patch16_224.augreg_in21k") == ((0.5,) * 3, (0.5,) * 3)


def test_load_fnac_from_mapping_without_batch_counters():
    model = FNAC(16, width=8)
    state = {name: value.abs() for name, value in randomise(model).items() if not name.endswith("tracked")}
    report = weights.load_fnac(model, {"model": {f"module.{name}": value for name, value in state.items()}})
    assert all(name.endswith("num_batches_tracked") for name in report.missing)
    assert torch.equal(model.aud_proj.weight, state["aud_proj.weight"])
    with pytest.raises(DataError, match="does not hold this network"):
        weights.load_fnac(model, randomise(video_model()))
