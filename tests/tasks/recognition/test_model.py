"""Recognition beside its step: who is labelled, how views are evaluated, where weights come from and go to."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from asgmcli.data.manifest import read_manifest, write_manifest
from asgmcli.errors import DataError
from asgmcli.nn.encoders import build_audio_encoder, build_video_encoder
from asgmcli.nn.state import read_metadata
from asgmcli.nn.weights import start_from
from asgmcli.recipe.clips import Audio, Clip
from asgmcli.recipe.networks import VideoEncoder
from asgmcli.recipe.sections import Start
from asgmcli.tasks import recognition
from asgmcli.tasks.recognition.data import build_data, divide
from asgmcli.tasks.recognition.evaluate import evaluation_of, predict
from asgmcli.tasks.recognition.model import ASGMFormer, build_state
from asgmcli.train.task import Context
from tests.tiny_training import tiny, trainer_of

CPU = torch.device("cpu")
SMALL = VideoEncoder(dim=8, depth=2, heads=2, patch_size=8, embed_hidden=6)


def test_the_labelled_are_so_many_a_class_and_the_rest_is_unlabelled(demo: Path, tmp_path: Path) -> None:
    manifest = read_manifest(demo)
    train = {row.id for row in manifest.of_split("train")}
    drawn = {}
    for seed, split_seed in ((0, None), (1, None), (0, 1), (5, 0)):
        recipe = tiny(tmp_path, demo, data__labeled_per_class=2, seed=seed, data__split_seed=split_seed)
        labeled, unlabeled = divide(recipe, manifest)
        assert Counter(row.label for row in labeled) == dict.fromkeys(manifest.classes, 2)
        assert {row.id for row in labeled} | {row.id for row in unlabeled} == train
        assert not {row.id for row in labeled} & {row.id for row in unlabeled}
        drawn[seed, split_seed] = [row.id for row in labeled]
    # The draw follows the seed, or split_seed where that is given.
    assert drawn[0, None] == drawn[5, 0]
    assert drawn[1, None] == drawn[0, 1]
    assert drawn[0, None] != drawn[1, None]


def test_a_split_that_cannot_be_evaluated_is_told_before_the_training(own_demo: Path, tmp_path: Path) -> None:
    manifest = read_manifest(own_demo)
    write_manifest(own_demo, [row for row in manifest.rows if row.split != "val"], manifest.classes)
    with pytest.raises(DataError, match=r"no labelled clip in split 'val'.* Splits with labels: test, train\."):
        build_data(tiny(tmp_path, tmp_path / "demo", data__eval_split="val"))
    manifest.resolve(manifest.of_split("test")[0]).unlink()
    with pytest.raises(DataError, match=r"1 of 40 clips .* have no file"):
        build_data(tiny(tmp_path, tmp_path / "demo"))


def test_views_are_averaged_after_the_softmax(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, evaluate__clips=2, evaluate__crops=3)
    data = build_data(recipe)
    network = build_state(recipe, data, Context(CPU, tmp_path)).teacher
    network.train()
    (scores,) = predict([network], data.evaluation, CPU)
    assert not network.training
    rows = read_manifest(demo).of_split("test")
    assert len(scores) == len(rows)
    views = data.train.views
    assert views.mel_statistics is not None
    batch = next(iter(data.evaluation))
    for clip in range(2):
        answers = []
        for view in range(6):
            frames = ((batch.video[clip, view].float() / 255 - 0.5) / 0.5).transpose(0, 1)[None]
            with torch.no_grad():
                answers.append(network(frames, batch.audio[clip, view][None])[0].softmax(0))
        torch.testing.assert_close(scores[clip], torch.stack(answers).mean(0), atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(10))


def test_judging_by_hand() -> None:
    scores = torch.tensor([[0.8, 0.2, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.7, 0.2, 0.1]])
    found = evaluation_of(scores, torch.tensor([0, 1, 1, 0]), ["cat", "dog", "owl"])
    assert found.metrics == {"top1": 75.0, "top5": 100.0}
    assert found.tables["classes"].rows == [["cat", 2, 100.0, ""], ["dog", 2, 50.0, "cat (1)"], ["owl", 0, None, ""]]
    assert set(found.figures) == {"confusion"}


def test_the_exported_teacher_says_all_that_is_needed_to_use_it(demo: Path, tmp_path: Path) -> None:
    recipe = tiny(tmp_path, demo, train__max_steps=2, train__supervised_epochs=0)
    trainer = trainer_of(recipe, tmp_path / "runs")
    trainer.fit()
    path = trainer.run.folder / "model.safetensors"
    tensors = load_file(path)
    teacher = trainer.state.teacher.state_dict()  # type: ignore[attr-defined]
    assert tensors.keys() == teacher.keys()
    assert all(torch.equal(tensors[name], teacher[name]) for name in tensors)
    student = trainer.state.student.state_dict()  # type: ignore[attr-defined]
    assert not all(torch.equal(tensors[name], student[name]) for name in tensors)
    metadata = read_metadata(path)
    assert metadata["format"] == "asgm-recognition"
    assert json.loads(metadata["classes"]) == read_manifest(demo).classes
    assert metadata["length"] == "64"
    assert float(metadata["audio_std"]) == trainer.data.mel_statistics.std  # type: ignore[attr-defined]
    assert json.loads(metadata["recipe"])["clip"]["size"] == 24


def test_pixels_are_normalised_as_the_recipe_says() -> None:
    video = build_video_encoder(SMALL, Clip(frames=2, size=16, short_side=(16, 16)), 3)
    network = ASGMFormer(video, None, None, (0.5, 0.25, 0.0), (0.5, 0.25, 1.0))
    frames = torch.full((1, 2, 3, 16, 16), 255, dtype=torch.uint8)
    frames[:, 1] = 0
    found = network.normalise(frames)
    assert found.shape == (1, 3, 2, 16, 16)
    assert found[0, :, 0, 0, 0].tolist() == [1.0, 3.0, 1.0]
    assert found[0, :, 1, 0, 0].tolist() == [-1.0, -1.0, 0.0]
    assert "mean" not in network.state_dict()


def test_encoders_have_the_sizes_of_the_recipe() -> None:
    clip, audio = Clip(frames=4, size=24, short_side=(24, 24)), Audio(seconds=0.64, mels=16)
    video = build_video_encoder(SMALL.model_copy(update={"drop_path": 0.3}), clip, 0)
    assert (video.grid, len(video.blocks), video.time_embed.shape) == ((3, 3), 2, (1, 4, 8))
    assert [block.drop_path for block in video.blocks] == pytest.approx([0.0, 0.3])
    assert video(torch.zeros(1, 3, 4, 24, 24)).shape == (1, 8)
    sound = build_audio_encoder(SMALL, audio, audio.length)
    assert (sound.grid, len(sound.blocks)) == ((2, 8), 2)
    assert sound(torch.zeros(1, 64, 16)).shape == (1, 8)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_encoders_start_from_files_or_from_nothing(tmp_path: Path, kind: str) -> None:
    def build(seed: int) -> torch.nn.Module:
        torch.manual_seed(seed)
        if kind == "video":
            return build_video_encoder(SMALL, Clip(frames=2, size=16, short_side=(16, 16)), 0)
        return build_audio_encoder(SMALL, Audio(seconds=0.64, mels=16), 64)

    source, target = build(0), build(1)
    path = tmp_path / f"{kind}.safetensors"
    save_file(source.state_dict(), path)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    assert start_from(target, None, None) is None  # type: ignore[arg-type]
    assert all(torch.equal(value, before[name]) for name, value in target.state_dict().items())
    report = start_from(target, Start(file=str(path)), path)  # type: ignore[arg-type]
    assert report is not None
    assert not report.missing
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in target.state_dict().items())
    (tmp_path / "bad.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{")
    with pytest.raises(DataError):
        start_from(target, Start(file="bad"), tmp_path / "bad.safetensors")  # type: ignore[arg-type]


def test_further_splits_are_judged_as_they_are_alone(demo: Path, tmp_path: Path) -> None:
    both = tiny(tmp_path, demo, data__eval_also=["val"])
    state = trainer_of(both, tmp_path / "runs").state
    found = recognition.evaluate(state, state.data.evaluation)
    alone = tiny(tmp_path, demo, data__eval_split="val")
    other = trainer_of(alone, tmp_path / "alone").state
    other.teacher.load_state_dict(state.teacher.state_dict())
    other.student.load_state_dict(state.student.state_dict())
    wanted = recognition.evaluate(other, other.data.evaluation).metrics
    assert len(state.data.evaluated) == 20
    assert state.data.summary()["eval_also"] == ["val"]
    assert {"top1", "top1_val"} <= found.metrics.keys()
    assert [name for name in wanted if "other" not in name] == ["top1", "top5", "top1_student", "top5_student"]
    # What is exchanged is of the first split alone.
    wanted = {name: value for name, value in wanted.items() if "other" not in name}
    names = {name: f"{name}_val" for name in ("top1", "top5")}
    names |= {f"{name}_student": f"{name}_val_student" for name in ("top1", "top5")}
    assert {name: found.metrics[names[name]] for name in wanted} == wanted
    assert len(found.tables["classes"].rows) == 10
