"""`asgm export`: the ONNX file gives what torch gives, and says what a caller must know."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result

from asgmcli.bench.made_up import MadeUpData, made_up_state
from asgmcli.commands.export import command
from asgmcli.data.mel_statistics import LogMelStatistics
from asgmcli.media.audio import log_mel
from asgmcli.tasks.recognition import export
from tests.tiny_training import tiny

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
LOUDNESS = LogMelStatistics(-4.5, 3.0)


def write_weights(folder: Path, row: str, **changes: object) -> Path:
    """model.safetensors of an untrained network of five classes, every tensor of it noise."""
    recipe = tiny(folder, folder, row, model__video__depth=1, **changes)
    state = made_up_state(recipe, 5, torch.device("cpu"))
    torch.manual_seed(0)
    for parameter in state.teacher.parameters():
        parameter.data.normal_(0, 0.5)
    assert isinstance(state.data, MadeUpData)
    replace(state, data=replace(state.data, mel_statistics=LOUDNESS if recipe.listens else None)).export(folder)
    return folder / "model.safetensors"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.mark.long
@pytest.mark.parametrize("row", ["full", "video"])
def test_onnx_runtime_gives_torchs_probabilities(tmp_path: Path, row: str) -> None:
    weights = write_weights(tmp_path, row)
    result = run(weights, "--json")
    assert result.exit_code == 0, result.output
    answer = json.loads(result.stdout)
    path = tmp_path / "model.onnx"
    assert answer["path"] == str(path)
    assert answer["bytes"] == path.stat().st_size
    assert 0 <= answer["difference"] < 1e-4

    session = onnxruntime.InferenceSession(str(path))
    assert [item.name for item in session.get_inputs()] == list(answer["inputs"])
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["classes"]) == [f"class {number}" for number in range(5)]
    assert (said["frames"], said["stride"], said["size"]) == ("4", "2", "24")
    video = torch.randint(256, (4, 4, 3, 24, 24), dtype=torch.uint8)
    inputs = {"video": video.numpy()}
    heard = None
    if row == "full":
        assert (said["audio_rate"], said["audio_seconds"], said["audio_mels"]) == ("16000", "0.64", "16")
        assert answer["inputs"]["wave"] == ["views", 10240]
        wave = 0.2 * torch.randn(4, 10240)
        inputs["wave"] = wave.numpy()
        heard = (log_mel(wave, mels=16) + 4.5) / 6
    (found,) = session.run(None, inputs)
    from asgmcli.tasks import recognition

    network = recognition.load(weights, None, torch.device("cpu")).network
    with torch.no_grad():
        expected = network((video.transpose(1, 2) / 255 - 0.5) / 0.5, heard).softmax(1)
    error = (torch.from_numpy(found) - expected).abs().max()
    assert error < 1e-5
    assert expected.std(0).max() > 100 * error  # the views differ, so that the comparison says something

    before = path.read_bytes()
    assert (tmp_path / "infer.py").read_text().startswith('"""Ask a recognizer')
    refused = run(weights)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.output
    assert path.read_bytes() == before


@pytest.mark.long
def test_a_file_that_differs_from_torch_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_weights(tmp_path, "video")
    out = tmp_path / "other" / "model.onnx"
    forward = export.Deployed.forward

    def drifting(self: export.Deployed, video: torch.Tensor, wave: torch.Tensor | None = None) -> torch.Tensor:
        result = forward(self, video, wave)
        return result + 0.01

    monkeypatch.setattr(export.Deployed, "forward", drifting)
    result = run(weights, "--out", out)
    assert result.exit_code == 3
    assert "not written. ONNX Runtime's probabilities are 0.01 off torch's" in result.output
    assert list(out.parent.iterdir()) == []


def test_what_cannot_be_exported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path / "nothing").exit_code == 3
    weights = write_weights(tmp_path, "video")
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name))
    result = run(weights)
    assert result.exit_code == 2
    assert 'ONNX export needs onnxscript. Install what it needs: pip install "asgm[onnx]"' in result.output
