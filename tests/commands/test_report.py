"""`asgm report`: a run, a recipe and a folder as one HTML file each, whatever the task, looked at in a browser."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from asgmcli.cli import main
from asgmcli.tasks.recognition.load import TrainedRecognizer
from asgmcli.train.run import Run
from tests.browser import started


@pytest.fixture
def asgm(house: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.chdir(house)

    def call(*arguments: object, code: int = 0) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments])
        assert result.exit_code == code, (result.output, result.exception)
        return result

    return call


@pytest.mark.pictures
@pytest.mark.parametrize(
    ("recipe", "row", "drawn"),
    [("tiny", "both", "confusion"), pytest.param("tiny_localizer", "fnac", "", marks=pytest.mark.long)],
)
def test_the_page_of_a_run(asgm: Callable[..., Result], tmp_path: Path, recipe: str, row: str, drawn: str) -> None:
    out = tmp_path / "page.html"
    told = json.loads(asgm("report", f"runs/{recipe}/{row}/seed0", "--out", out, "--clips", 2, "--json").stdout)
    html = out.read_text()
    assert told["bytes"] == out.stat().st_size < 10_000_000
    assert told["clips"] == html.count("<video ") == 4
    assert html.count("One of the best") == html.count("One of the worst") == 2
    assert html.count('src="data:video/mp4;base64,') == 4
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", html)
    assert headings == ["Result", "Training", "Evaluation", "Clips", "Environment", "How to repeat it"]
    assert f"asgm eval runs/{recipe}/{row}/seed0" in html
    assert "Versions of all packages" in html
    if drawn:
        assert f'alt="{drawn}"' in html
        assert "78.6" in html  # the paper's
        assert "Accuracy by class" in html
    assert "is there already" in asgm("report", f"runs/{recipe}/{row}/seed0", "--out", out, code=2).stderr
    if recipe == "tiny":
        with started(tmp_path / "profile") as browser:
            browser.open(out.as_uri())
            assert browser.evaluate("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
            browser.wait_for("[...document.querySelectorAll('video')].every(v => v.readyState >= 2)")
            browser.look(380)
            assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert browser.log == []


@pytest.mark.long
def test_what_eval_measured_is_taken_and_data_that_are_gone_are_told(
    asgm: Callable[..., Result], house: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs/tiny/both/seed0"
    shutil.copytree(house / "runs/tiny/both/seed0", folder)
    asgm("eval", folder, "--out", folder / "eval-test")

    def never(*_: object) -> None:
        raise AssertionError("evaluated again")

    monkeypatch.setattr(TrainedRecognizer, "examine", never)
    asgm("report", folder, "--clips", 1)
    html = (folder / "report.html").read_text()
    assert html.count("<video ") == 2
    assert "Accuracy by class" in html
    assert 'alt="confusion"' in html
    (folder / "recipe.yaml").write_text((folder / "recipe.yaml").read_text().replace("manifest.csv", "gone.csv"))
    (folder / "model.safetensors").unlink()
    asgm("report", folder, "--clips", 1, "--overwrite")
    assert "Not evaluated anew: " in (folder / "report.html").read_text()
    asgm("report", folder, "--clips", 0, "--overwrite")
    assert 'alt="confusion"' in (folder / "report.html").read_text()  # of the run's own folder


@pytest.mark.pictures
def test_the_pages_of_a_recipe_and_of_a_folder(asgm: Callable[..., Result], house: Path, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(house / "runs", runs)
    hostile = Run(runs / "tiny/both/seed0")
    result = json.loads(hostile.result_path.read_text())
    hostile.result_path.write_text(json.dumps({**result, "warnings": ["<script>alert(1)</script>"]}))
    asgm("report", "tiny.yaml", "--runs", runs, "--clips", 1)
    html = (runs / "tiny/report.html").read_text()
    assert 'alt="comparison: Tiny recognition"' in html
    assert "From here on: one run" in html
    assert html.count("<video ") == 2
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    asgm("report", runs)
    whole = (runs / "report.html").read_text()
    assert "tiny_localizer" in whole
    assert "<script>" not in whole
    assert "no finished run below it" in asgm("report", tmp_path / "runs/tiny/both/seed0/checkpoints", code=3).stderr
    assert "neither the folder of a run" in asgm("report", "nowhere", code=2).stderr
