"""The process that reads clips and asks the network: whatever a file does to it, the server lives on."""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Callable
from concurrent.futures import TimeoutError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pebble import ProcessExpired, ProcessPool

from asgmcli.errors import AsgmError, DataError
from asgmcli.prepare.verify import Fault, FileCheck, examine
from asgmcli.report.page import data_address
from asgmcli.runs.bulk import Asked, trained_of
from asgmcli.runs.shown import shown_answer

START_LIMIT_S = 300.0
SHOWN_SECONDS = 30.0
"""Seconds of a clip that its video on the page has."""
SHOWN_SIDE = 320
Answer = dict[str, object]
A = TypeVar("A")
R = TypeVar("R")


@dataclass(frozen=True)
class Question:
    """A clip to ask about.

    Attributes:
        path: of the file as it was uploaded; `name` is what people call it.
        show: the answer with a video and pictures, for the page.
        most_seconds: longer clips are refused.
    """

    asked: Asked
    path: Path
    name: str
    show: bool
    most_seconds: float


@dataclass(frozen=True)
class Refused:
    """Why there is no answer: `kind` is file, timeout, crash or error."""

    kind: str
    reason: str


class Answerer:
    """One process with the network, asked one clip at a time; it is replaced where a clip ends or hangs it.

    Args:
        asked: the network.
        limit_s: seconds for a clip.
        most_seconds: of a clip.
    """

    def __init__(self, asked: Asked, limit_s: float, most_seconds: float) -> None:
        self.asked, self.limit_s, self.most_seconds = asked, limit_s, most_seconds
        self._pool = self._new_pool()
        self._turn = asyncio.Lock()
        self._loaded = False

    def _new_pool(self) -> ProcessPool:
        return ProcessPool(1, context=multiprocessing.get_context("spawn"))

    def start(self) -> Answer:
        """Load the network; return what it is.

        Raises:
            AsgmError: it cannot be loaded.
        """
        try:
            found = self._pool.schedule(ready, (self.asked,), timeout=START_LIMIT_S).result()
        except (TimeoutError, ProcessExpired, BrokenProcessPool) as error:
            raise DataError(f"{self.asked.target}: the process with the network does not start ({error}).") from None
        if isinstance(found, AsgmError):
            raise found
        self._loaded = True
        return dict(found)

    async def answer(self, path: Path, name: str, *, show: bool) -> Answer | Refused:
        """Return the network's answer for a file, or why there is none."""
        async with self._turn:
            if not self._loaded:  # after a clip that ended the process; that one's time is not the next one's
                found = await self._call(ready, self.asked, START_LIMIT_S)
                if isinstance(found, Refused):
                    return found
            question = Question(self.asked, path, name, show, self.most_seconds)
            return await self._call(answer, question, self.limit_s)

    async def _call(self, function: Callable[[A], R], argument: A, limit_s: float) -> R | Refused:
        if not self._pool.active:
            self.stop()
            self._pool = self._new_pool()
        self._loaded = False
        try:
            found: R = await asyncio.wrap_future(self._pool.schedule(function, (argument,), timeout=limit_s))
        except TimeoutError:
            return Refused("timeout", f"No answer within {limit_s:g} s.")
        except (ProcessExpired, BrokenProcessPool):
            return Refused("crash", "The process that reads clips ended on this file.")
        except Exception as error:  # of the network or of a library, pickled in the process
            self._loaded = True
            return Refused("error", f"{type(error).__name__}: {error}"[:300])
        self._loaded = True
        return found

    def stop(self) -> None:
        """End the process."""
        self._pool.stop()
        self._pool.join()


def ready(asked: Asked) -> Answer | AsgmError:
    """Load the network in this process; return what it is, or why it cannot be loaded."""
    try:
        trained, found = trained_of(asked)
    except AsgmError as error:
        return error
    classes: Any = getattr(trained, "classes", ())
    return {
        "network": str(found.weights),
        "task": found.task,
        "columns": list(trained.columns),
        "classes": list(classes),
    }


def answer(question: Question) -> Answer | Refused:
    """Check a file from end to end as `asgm prepare --verify` does, and ask the network about it."""
    path, name = question.path, question.name
    facts = examine(FileCheck(name, str(path), "", listen=False, decode=True))
    if isinstance(facts, Fault):
        return Refused("file", facts.detail.replace(str(path), name))
    if facts.duration > question.most_seconds:
        return Refused("file", f"It lasts {facts.duration:.0f} s; at most {question.most_seconds:g} s are answered.")
    trained = trained_of(question.asked)[0]
    try:
        found = trained.predict(path)
        told: Answer = {"name": name, "columns": list(trained.columns), "rows": found.rows, "data": found.data}
        if question.show:
            shown = shown_answer(found, trained.columns, path, name=name, seconds=SHOWN_SECONDS, short_side=SHOWN_SIDE)
            told["shown"] = {
                "lines": list(shown.about),
                "video": data_address(shown.mp4 or b"", "video/mp4"),
                "poster": data_address(shown.poster, "image/jpeg"),
                "pictures": [{"alt": p.alt, "source": data_address(p.png, "image/png")} for p in shown.pictures],
                "texts": dict(shown.texts),
            }
    except AsgmError as error:
        return Refused("file", error.message.replace(str(path), name))
    return told
