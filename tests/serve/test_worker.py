"""The process with the network: one file that ends it, or never ends, leaves the next one its answer."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from asgmcli.errors import DataError
from asgmcli.runs.bulk import Asked
from asgmcli.serve.worker import Answerer, Refused

pytestmark = pytest.mark.long


def die(code: int) -> int:
    os._exit(code)


def hang(seconds: float) -> int:
    time.sleep(seconds)
    return 0


def fail(text: str) -> int:
    raise ValueError(text)


def double(number: int) -> int:
    return 2 * number


def test_it_outlives_a_crash_a_hang_and_an_error() -> None:
    answerer = Answerer(Asked(Path("nowhere")), 1.0, 10.0)
    try:

        async def all_of_them() -> list[object]:
            call = answerer._call
            return [
                await call(double, 4, 60.0),
                await call(die, 7, 60.0),
                await call(double, 5, 60.0),
                await call(hang, 600.0, 0.5),
                await call(double, 6, 60.0),
                await call(fail, "odd", 60.0),
                await call(double, 7, 60.0),
            ]

        crash = Refused("crash", "The process that reads clips ended on this file.")
        slow, odd = Refused("timeout", "No answer within 0.5 s."), Refused("error", "ValueError: odd")
        assert asyncio.run(all_of_them()) == [8, crash, 10, slow, 12, odd, 14]
        with pytest.raises(DataError, match="nowhere: there is no such run"):
            answerer.start()
    finally:
        answerer.stop()
