"""SIGTERM and SIGINT: a flag checked between steps, or an end with the matching exit code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

from asgmcli.errors import Interrupted, InterruptedByKeyboard

_NUMBERS = (signal.SIGTERM, signal.SIGINT)
Handler = Callable[[int, FrameType | None], object] | int | None


class StopFlag:
    """Records SIGTERM and SIGINT while entered, for work that must stop at a safe point.

    The same signal a second time ends the work at once, as without the flag, unless `patient` (ranks are signalled
    twice: by whoever started them and by their launcher). Handlers belong to the main thread; in other threads nothing
    is recorded.
    """

    def __init__(self, patient: bool = False) -> None:
        self.patient = patient
        self.number: int | None = None
        self._before: dict[int, Handler] = {}

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
        """Raise with `message` if a signal was recorded.

        Raises:
            Interrupted: SIGTERM.
            InterruptedByKeyboard: SIGINT.
        """
        if self.number is not None:
            raise (InterruptedByKeyboard if self.number == signal.SIGINT else Interrupted)(message)


@contextmanager
def interruptible(message: str) -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the block at once, with `message` and the exit codes 75 and 130.

    For work without state to save; files are written atomically in any case.

    Raises:
        Interrupted: SIGTERM.
        InterruptedByKeyboard: Ctrl-C.
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
    """SIGTERM arrived. Like KeyboardInterrupt no `Exception`, so that no general handler catches it."""

    exit_code = Interrupted.exit_code
