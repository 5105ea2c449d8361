"""SIGTERM and SIGINT: a flag that is looked at between steps, or an end with the exit code that says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from asgmcli.errors import Interrupted, InterruptedByKeyboard

_NUMBERS = (signal.SIGTERM, signal.SIGINT)


class StopFlag:
    """Notes SIGTERM and SIGINT while it is entered, for work that stops only where nothing is half done.

    The same signal a second time ends the work at once, as it would without the flag; not so where `patient` (of
    several processes each is signalled by whoever started them, and again by their launcher). Handlers belong to the
    main thread; in another one nothing is noted.
    """

    def __init__(self, patient: bool = False) -> None:
        self.patient = patient
        self.number: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopFlag:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _NUMBERS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def _note(self, number: int, _: object) -> None:
        if self.number == number and not self.patient:
            raise KeyboardInterrupt if number == signal.SIGINT else _TerminatedError
        self.number = number

    def raise_if_set(self, message: str) -> None:
        """End with `message` where a signal was noted.

        Raises:
            Interrupted: SIGTERM. InterruptedByKeyboard: SIGINT.
        """
        if self.number is not None:
            raise (InterruptedByKeyboard if self.number == signal.SIGINT else Interrupted)(message)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the block at once, with `message` and the exit codes 75 and 130.

    For work that keeps nothing half done; files that are being written are written whole or not at all.

    Raises:
        Interrupted: SIGTERM. InterruptedByKeyboard: Ctrl-C.
    """

    def stop(*_: object) -> None:
        raise _TerminatedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except _TerminatedError:
        raise Interrupted(message) from None
    except KeyboardInterrupt:
        raise InterruptedByKeyboard(message) from None
    finally:
        signal.signal(signal.SIGTERM, before)


class _TerminatedError(BaseException):
    """SIGTERM came. No `Exception`, for the reason that KeyboardInterrupt is none: nobody is to take it for his own."""

    exit_code = Interrupted.exit_code
