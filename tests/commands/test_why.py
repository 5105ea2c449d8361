"""`asgm why`: one picture of a clip's answers, whatever the task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from asgmcli.cli import main


def why(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["why", *map(str, arguments)])
    assert result.exit_code == code, (result.output, result.exception)
    return result


@pytest.mark.pictures
@pytest.mark.parametrize("run", ["tiny/both", "tiny_localizer/fnac"])
def test_a_clip_is_drawn_with_what_is_answered(
    house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: str
) -> None:
    monkeypatch.chdir(tmp_path)
    clip = house / "data" / "demo" / "clips" / "test" / "test_00000.mp4"
    folder = house / "runs" / run / "seed0"
    found = json.loads(why(folder, clip, "--json").stdout)
    assert [entry["version"] for entry in found["versions"]][:3] == ["as it is", "without sound", "without picture"]
    if run == "tiny/both":
        assert all(len(entry["rows"]) == 5 for entry in found["versions"])
        assert found["versions"][0]["rows"] != found["versions"][1]["rows"]
    with Image.open(found["path"]) as image:
        assert image.width > 1000
    assert "is there already" in why(folder, clip, code=2).stderr


def test_what_cannot_be_drawn_is_told(house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = house / "runs" / "tiny" / "both" / "seed0"
    assert "gone.mp4" in why(run, "gone.mp4", code=3).stderr
    clip = house / "data" / "demo" / "clips" / "test" / "test_00000.mp4"
    assert "no such run" in why("nowhere", clip, code=3).stderr
    assert not list(tmp_path.iterdir())
