"""The web application: what it lets in, how much and how long, and what other pages may not do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from asgmcli.serve import app as module
from asgmcli.serve.app import Limits, build_app
from asgmcli.serve.worker import Refused

pytest.importorskip("starlette")
HOST = [(b"host", b"127.0.0.1:8000")]


class Noted:
    """Answers with what it was given."""

    def __init__(self, refusal: Refused | None = None) -> None:
        self.refusal = refusal
        self.paths: list[Path] = []
        self.hold = asyncio.Event()
        self.hold.set()

    async def answer(self, path: Path, name: str, *, show: bool) -> dict[str, object] | Refused:
        self.paths.append(path)
        await self.hold.wait()
        return self.refusal or {"file": path.name, "content": path.read_text(), "name": name, "show": show}


async def pieces(*parts: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for part in parts:
        await asyncio.sleep(pause)
        yield part


async def ask(
    app: Any,
    path: str,
    body: AsyncIterator[bytes] | None = None,
    headers: list[tuple[bytes, bytes]] = HOST,
    method: str = "GET",
) -> tuple[int, dict[str, str], bytes]:
    """Call an application as a server does."""
    where, _, query = path.partition("?")
    sent: list[dict[str, Any]] = []
    parts = pieces() if body is None else body

    async def receive() -> dict[str, Any]:
        async for part in parts:
            return {"type": "http.request", "body": part, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    about = {"http_version": "1.1", "scheme": "http", "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 9)}
    scope = {
        "type": "http",
        "method": method,
        "path": where,
        "raw_path": where.encode(),
        "query_string": query.encode(),
    }
    await app({**about, **scope, "headers": headers}, receive, send)
    start = next(message for message in sent if message["type"] == "http.response.start")
    content = b"".join(message.get("body", b"") for message in sent)
    return start["status"], {key.decode(): value.decode() for key, value in start["headers"]}, content


def post(
    answers: Noted,
    body: AsyncIterator[bytes],
    path: str = "/api/predict?name=a.mp4",
    headers: list[tuple[bytes, bytes]] = HOST,
    limits: Limits = Limits(10),  # noqa: B008 - it is frozen
) -> tuple[int, Any]:
    status, _, content = asyncio.run(ask(build_app(answers, {}, limits), path, body, headers, "POST"))
    return status, json.loads(content) if content.startswith(b"{") else content


def test_the_body_is_the_clip_and_is_gone_afterwards() -> None:
    answers = Noted()
    status, told = post(answers, pieces(b"12345", b"67890"), "/api/predict?name=..%2F..%2Fevil.MP4&show=1")
    assert (status, told) == (
        200,
        {"file": "clip.mp4", "content": "1234567890", "name": "../../evil.MP4", "show": True},
    )
    assert not answers.paths[0].parent.exists()
    for name in ("a", "a.", "a.b%2Fc", "a.x%00y", "a.mp4%20", "a.muchtoolong"):
        assert post(answers, pieces(b"1"), f"/api/predict?name={name}")[1]["file"] == "clip"


def test_too_much_too_slow_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = Noted()
    assert post(answers, pieces(b"123456", b"78901"))[0] == 413
    assert post(answers, pieces(b"1"), headers=[*HOST, (b"content-length", b"11")])[0] == 413
    status, told = post(answers, pieces(b"1", b"2", pause=0.2), limits=Limits(10, upload_s=0.1))
    assert (status, told) == (408, {"error": "The upload took longer than 0.1 s."})
    assert answers.paths == []
    monkeypatch.setattr(module, "MOST_WAITING", 1)

    async def two() -> list[int]:
        held = Noted()
        held.hold.clear()
        app = build_app(held, {}, Limits(10))
        first = asyncio.create_task(ask(app, "/api/predict", pieces(b"1"), method="POST"))
        while not held.paths:
            await asyncio.sleep(0)
        second = await ask(app, "/api/predict", pieces(b"1"), method="POST")
        held.hold.set()
        return [(await first)[0], second[0]]

    assert asyncio.run(two()) == [200, 503]


@pytest.mark.parametrize(("kind", "status"), [("file", 422), ("timeout", 504), ("crash", 500), ("error", 500)])
def test_why_there_is_no_answer_is_told(kind: str, status: int) -> None:
    assert post(Noted(Refused(kind, "broken")), pieces(b"1")) == (status, {"error": "broken"})


def test_other_pages_and_other_names_are_refused() -> None:
    answers = Noted()
    evil = [*HOST, (b"origin", b"http://evil.example")]
    assert post(answers, pieces(b"1"), headers=evil) == (403, {"error": "Another page may not ask for you."})
    assert post(answers, pieces(b"1"), headers=[(b"host", b"rebound.example:8000")])[0] == 400
    assert answers.paths == []
    own = [*HOST, (b"origin", b"http://127.0.0.1:8000")]
    assert post(answers, pieces(b"1"), headers=own)[0] == 200
    app = build_app(answers, {}, Limits(10), ("*",))
    assert asyncio.run(ask(app, "/api", headers=[(b"host", b"box.local")]))[0] == 200


def test_the_page_allows_nothing_from_elsewhere() -> None:
    app = build_app(Noted(), {"task": "t"}, Limits(10))
    status, headers, content = asyncio.run(ask(app, "/"))
    assert status == 200
    assert "default-src 'none'" in headers["content-security-policy"]
    assert b'src="/app.js"' in content
    assert b"onload" not in content
    assert asyncio.run(ask(app, "/app.js"))[1]["content-type"].startswith("text/javascript")
    assert json.loads(asyncio.run(ask(app, "/api"))[2]) == {"task": "t", "most_bytes": 10}
    assert asyncio.run(ask(app, "/../../etc/passwd"))[0] == 404
