"""`asgm serve`: the real server, asked by a program and through its page in a browser, with good and bad files."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import asgmcli
from asgmcli.cli import main
from tests.browser import Browser, started

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytestmark = pytest.mark.long
REAL = Path(__file__).parents[3] / "shared" / "clips" / "flipping_pancake.mkv"


@pytest.fixture(scope="module")
def address(house: Path) -> Iterator[str]:
    run = house / "runs/tiny/both/seed0"
    command = [sys.executable, "-m", "asgmcli", "serve", str(run), "--port", "0", "--device", "cpu", "--most-mb", "2"]
    process = subprocess.Popen([*command, "--most-seconds", "30", "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", told["address"])
    assert told["process"] == process.pid
    yield told["address"]
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130


def test_whoever_is_told_the_address_is_let_in(house: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_in: list[tuple[str, int]] = []

    def run(_: object, sockets: list[socket.socket]) -> None:
        """Do what a program does that has read the address before the server runs."""
        with socket.create_connection(sockets[0].getsockname(), timeout=5) as connection:
            let_in.append(connection.getpeername())

    monkeypatch.setattr("uvicorn.Server.run", run)
    arguments = ["serve", str(house / "runs/tiny/both/seed0"), "--port", "0", "--device", "cpu", "--json"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (address,) = let_in
    assert f"http://{address[0]}:{address[1]}/" in result.stdout


def ask(address: str, path: Path) -> tuple[int, dict[str, Any]]:
    request = urllib.request.Request(f"{address}api/predict?name={path.name}", path.read_bytes(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=120) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_program_gets_what_predict_gives_and_bad_files_harm_nothing(
    address: str, house: Path, tmp_path: Path
) -> None:
    clip = next((house / "data/demo/clips/test").glob("*.mp4"))
    network = asgmcli.load(house / "runs/tiny/both/seed0", device="cpu")
    expected = network.predict(clip)
    with urllib.request.urlopen(f"{address}api", timeout=60) as response:
        about = json.loads(response.read())
    assert (about["task"], about["columns"]) == ("recognition", ["label", "probability"])
    assert about["classes"] == network.classes
    whole = clip.read_bytes()
    bad = {
        "empty.mp4": b"",
        "text.mp4": b"no video" * 99,
        "cut.mp4": whole[: len(whole) // 2],
        "large.mp4": bytes(2_000_001),
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
        status, told = ask(address, tmp_path / name)
        assert status == (413 if name == "large.mp4" else 422), (name, told)
        assert "/tmp" not in told["error"]
    status, told = ask(address, clip)
    assert status == 200
    assert told["data"]["probabilities"] == pytest.approx(dict(expected))
    assert told["rows"][0] == [expected[0][0], pytest.approx(expected[0][1], abs=1e-6)]
    assert "shown" not in told


def test_who_sends_too_much_slowly_is_told_why(address: str) -> None:
    def slowly() -> Iterator[bytes]:
        for _ in range(5):
            yield bytes(500_000)
            time.sleep(0.2)

    for headers in ({"Content-Length": "2500000"}, {}):  # without it in chunks
        request = urllib.request.Request(f"{address}api/predict?name=a.mp4", slowly(), headers, method="POST")
        with pytest.raises(urllib.error.HTTPError, match="413"):
            urllib.request.urlopen(request, timeout=60)


def drop(browser: Browser, path: Path) -> None:
    """Choose a file in the page's field."""
    node = browser.call("DOM.getDocument")["root"]["nodeId"]
    field = browser.call("DOM.querySelector", nodeId=node, selector="#choose")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=field, files=[str(path)])


def test_a_person_sees_the_answer_play(address: str, house: Path, tmp_path: Path) -> None:
    clip = REAL if REAL.exists() else next((house / "data/demo/clips/test").glob("*.mp4"))
    hostile = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    hostile.write_text("no video")
    shutil.copy(clip, tmp_path / clip.name)
    with started(tmp_path / "profile") as browser:
        browser.open(address)
        browser.wait_for("document.getElementById('about').textContent.includes('recognition')")
        drop(browser, tmp_path / clip.name)
        browser.wait_for("document.querySelectorAll('article video').length === 1")
        browser.wait_for(
            "document.querySelector('video').readyState >= 2 && document.querySelector('video').currentTime > 0"
        )
        assert browser.evaluate("document.querySelector('video').loop")
        lines = browser.evaluate("[...document.querySelectorAll('article p')].map(p => p.textContent)")
        assert lines[0].startswith("Answer: ")
        assert browser.log == []
        drop(browser, hostile)
        browser.wait_for("document.querySelectorAll('article .error').length === 1")
        assert browser.evaluate("document.querySelector('article h2').textContent") == hostile.name
        assert browser.evaluate("document.querySelectorAll('article img').length") == 0
        browser.look(380)
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert all("422" in text for text in browser.log)  # the refusal itself, which browsers log
        assert all(name.startswith(address) for name in browser.requested)
