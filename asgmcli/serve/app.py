"""The web application: a page to drop clips on, and a JSON endpoint."""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from asgmcli.serve.worker import Answer, Refused

HERE = Path(__file__).parent
LOCAL = ("127.0.0.1", "localhost", "[::1]")
STATUS = {"file": 422, "timeout": 504, "crash": 500, "error": 500}
MOST_WAITING = 16
"""Clips that are received, wait or are answered at once."""
MOST_NAME = 200
READ_ON = 4  # times the largest file, what is read of one that is too large
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'unsafe-inline'; img-src data:; "
    "media-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Limits:
    """Most bytes of an upload, and seconds that it may take."""

    most_bytes: int
    upload_s: float = 300.0


class Answers(Protocol):
    """Answers for a file."""

    async def answer(self, path: Path, name: str, *, show: bool) -> Answer | Refused:
        """Return the answer, or why there is none."""


def build_app(answers: Answers, about: Answer, limits: Limits, hosts: tuple[str, ...] = LOCAL) -> Starlette:
    """Return the application.

    Args:
        answers: asked for every clip.
        about: the network, told at /api.
        limits: of an upload.
        hosts: names under which it may be called; `*` for any. Other pages' names for this address are refused.
    """
    room = asyncio.Semaphore(MOST_WAITING)

    async def predict(request: Request) -> Response:
        """Answer for the clip that is the request's body."""
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{request.url.scheme}://{request.url.netloc}":
            return _refuse(403, "Another page may not ask for you.")
        if room.locked():
            return _refuse(503, f"{MOST_WAITING} clips are waiting already. Try again in a while.")
        async with room:
            name = request.query_params.get("name", "clip")[:MOST_NAME]
            with tempfile.TemporaryDirectory(prefix="asgm-serve-") as folder:
                path = Path(folder) / f"clip{_suffix(name)}"
                try:
                    size = await asyncio.wait_for(_receive(request, path, limits.most_bytes), limits.upload_s)
                except asyncio.TimeoutError:
                    return _refuse(408, f"The upload took longer than {limits.upload_s:g} s.")
                except ClientDisconnect:
                    return _refuse(400, "The upload was given up.")
                if size is None:
                    return _refuse(413, f"The file is larger than {limits.most_bytes / 1e6:g} MB.")
                found = await answers.answer(path, name, show="show" in request.query_params)
        if isinstance(found, Refused):
            return _refuse(STATUS[found.kind], found.reason)
        return JSONResponse(found, headers=HEADERS)

    async def tell(_: Request) -> Response:
        return JSONResponse({**about, "most_bytes": limits.most_bytes}, headers=HEADERS)

    routes = [
        Route("/", lambda _: _file("page.html", "text/html")),
        Route("/app.js", lambda _: _file("app.js", "text/javascript")),
        Route("/api", tell),
        Route("/api/predict", predict, methods=["POST"]),
    ]
    return Starlette(routes=routes, middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))])


async def _receive(request: Request, path: Path, most: int) -> int | None:
    """Write the body to `path`; return its bytes, None where there are more than `most`.

    One that is too large is read on for a while, to nowhere: who is refused while sending sees a broken connection, and
    not why.
    """
    told = request.headers.get("content-length", "")
    size = int(told) if told.isdigit() else 0
    if size > READ_ON * most:
        return None
    large, size = size > most, 0
    with path.open("wb") as file:
        async for part in request.stream():
            size += len(part)
            large = large or size > most
            if size > READ_ON * most:
                break
            if not large:
                file.write(part)
    return None if large else size


def _suffix(name: str) -> str:
    """Return the ending of an uploaded file's name, if it is a plain one; nothing else of a name reaches the disk."""
    found = re.search(r"\.[A-Za-z0-9]{1,5}$", name)
    return found[0].lower() if found else ""


def _refuse(status: int, reason: str) -> Response:
    # The rest of a body that is not read would be taken for the next request.
    headers = {**HEADERS, "Connection": "close"}
    return JSONResponse({"error": reason}, status_code=status, headers=headers)


def _file(name: str, kind: str) -> Response:
    return Response((HERE / name).read_text(encoding="utf-8"), media_type=kind, headers=HEADERS)
