"""Training on several devices: what the processes (ranks) that torchrun starts share out, agree on and gather.

Every rank holds the whole state and takes its part of each global batch. Weights stay equal because all start from one
seed and step by the same averaged gradients. In a process alone each function gives its argument back.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar

import click
import torch
import torch.distributed as dist
from torch import Tensor

from asgmcli.data.plan import Share
from asgmcli.errors import AsgmError, DataError, Interrupted, InterruptedByKeyboard, UsageError
from asgmcli.losses.ranks import count_ranks, own_rank
from asgmcli.ranks.launch import ATTEMPT, WATCHED, Launch
from asgmcli.signals import StopFlag

T = TypeVar("T")

# How long a rank waits for the others in an exchange: as long as the slowest may take for its part of an evaluation.
PATIENCE = timedelta(minutes=30)
POLL_S = 0.1
BUCKET_BYTES = 32 << 20  # of gradients that travel together
PARTING_S = 3.0  # in which ranks that end by the same error find that out
STUCK_S = 25.0  # torchrun kills what is left 30 s after its signal
SIGN_S = 2.0  # between the first rank's signs of life, which it gives whatever it works at
SILENCE_S = 300.0  # without a sign, after which those that wait for the first rank's work take it for gone
GONE = "Another rank is gone"
GO_ON = "The last checkpoint is intact; the same command with --resume goes on."
_END = "end of rank {}"
_READ = "have read of all ends"
_SIGNS = "signs of the first"


def own_share() -> Share:
    """This rank's part of every batch."""
    return Share(own_rank(), count_ranks())


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Replace the gradients by their means over all ranks; the same parameters must have one on every rank."""
    if count_ranks() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    travelling = []
    for bucket in _buckets(gradients):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        travelling.append((bucket, flat, dist.all_reduce(flat, async_op=True)))
    for bucket, flat, work in travelling:
        work.wait()
        parts = flat.div_(count_ranks()).split([gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view_as(gradient))


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Tensors of one type and device together, up to `BUCKET_BYTES` each."""
    buckets: list[list[Tensor]] = []
    size = 0
    for tensor in tensors:
        last = buckets[-1][0] if buckets else None
        same = last is not None and (last.dtype, last.device) == (tensor.dtype, tensor.device)
        if not same or size + tensor.nbytes > BUCKET_BYTES:
            buckets.append([])
            size = 0
        buckets[-1].append(tensor)
        size += tensor.nbytes
    return buckets


def mean_terms(terms: Mapping[str, Tensor]) -> dict[str, float]:
    """A step's terms as numbers, each the mean over all ranks, which see equally many clips."""
    if count_ranks() == 1:
        return {name: float(value.detach()) for name, value in terms.items()}
    values = torch.stack([value.detach().double() for value in terms.values()])
    dist.all_reduce(values)
    return dict(zip(terms, (values / count_ranks()).tolist(), strict=True))


def in_order(items: Sequence[T]) -> list[T]:
    """What all ranks made of the batches that `Share.deal` dealt out, in the batches' order; nothing but on the first
    rank."""
    if count_ranks() == 1:
        return list(items)
    parts: list[Any] | None = [None] * count_ranks() if own_rank() == 0 else None
    dist.gather_object(list(items), parts)
    if parts is None:
        return []
    return [parts[number % len(parts)][number // len(parts)] for number in range(sum(map(len, parts)))]


def joined(streams: Sequence[Sequence[str]]) -> list[str]:
    """Texts about a batch's clips, stream by stream; each stream's of all ranks, in the global batch's order."""
    if count_ranks() == 1:
        return [text for stream in streams for text in stream]
    parts: list[Any] = [None] * count_ranks()
    dist.all_gather_object(parts, [list(stream) for stream in streams])
    return [text for stream in zip(*parts, strict=True) for part in stream for text in part]


def gathered(value: T) -> list[T]:
    """The values of all ranks, in their order; nothing but on the first rank."""
    return in_order([value])


def check_dealable(batch: int, ranks: int) -> None:
    """See that a global batch divides among the ranks.

    Raises:
        UsageError: it does not; both numbers are named.
    """
    if batch % ranks:
        fitting = ", ".join(str(number) for number in range(1, min(batch, 16) + 1) if batch % number == 0)
        raise UsageError(
            f"train.batch: {batch} labelled clips a step do not divide among {ranks} processes. Start {fitting} of "
            f"them, or set train.batch to a multiple of {ranks}."
        )


class Ranks:
    """What the ranks of one training tell each other beside their numbers; a process alone by default.

    As a context it ends them together: an error that all have met is told by the first, one rank's own by that rank,
    and where a rank is gone without a word one of the others says so.

    Args:
        launch: this rank and the number of all.
        store: where ranks leave notes; None alone.
        go_on: what to do where a rank is gone.
    """

    def __init__(self, launch: Launch | None = None, store: Any = None, go_on: str = "") -> None:
        self.go_on = go_on
        self.rank = 0 if launch is None else launch.rank
        self.ranks = 1 if launch is None else launch.ranks
        self._store = store
        self._calls = 0
        self._beats = 0
        self._signs = 0
        self._left = threading.Event()

    def __enter__(self) -> Ranks:
        if self._store is not None and self.first:
            threading.Thread(target=self._give_signs, daemon=True).start()
        if self.several and WATCHED in os.environ:
            threading.Thread(target=self._answer_for_a_stuck_thread, args=[_signals_pipe()], daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self.several:
            return
        try:
            error = self._part() if error is None else error
            if error is not None and threading.current_thread() is threading.main_thread():
                # A launcher signals those that take longer to end than others; this one's own reason is to be told.
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            ending = None if error is None else self._ending(error)
        finally:
            self._left.set()
        if ending is not None and (ending is not error or kind is None):
            raise ending from None

    def _part(self) -> RuntimeError | None:
        """End the exchanges, once the first rank's own work is done too; what went wrong there."""
        try:
            self.by_first(lambda: None)  # an exchange would not wait as long as that may take
            self.agree()
            dist.destroy_process_group()
        except RuntimeError as lost:
            return lost
        return None

    def _ending(self, error: BaseException) -> BaseException:
        """What this rank ends with where it met `error`: an exit in silence where another rank tells why."""
        if isinstance(error, RuntimeError) and _is_loss(error):
            return self._loss(error)
        if not isinstance(error, Exception):  # a signal, which a launcher sends when another rank has ended
            with suppress(RuntimeError):
                if ends := self._ends():
                    return click.exceptions.Exit(next(iter(ends.values()))[0])
        code, message = _exit_code(error), error.message if isinstance(error, AsgmError) else ""
        told = self._told_by_first(code, message)
        return click.exceptions.Exit(code) if told and isinstance(error, AsgmError) else error

    def _told_by_first(self, code: int, message: str) -> bool:
        """Leave a note of the error that ends this rank; whether the first rank has met, and tells, the same."""
        notes: dict[int, list[Any]] = {}
        until = time.monotonic() + PARTING_S
        try:
            self._store.set(_END.format(self.rank), json.dumps([code, message]))
            while len(notes := self._ends()) < self.ranks and time.monotonic() < until:
                time.sleep(POLL_S)
            # The first rank may be the one that keeps the notes: it goes when the others have read them.
            self._store.add(_READ, 0 if self.first else 1)
            while self.first and self._store.add(_READ, 0) < len(notes) - 1 and time.monotonic() < until:
                time.sleep(POLL_S)
        except RuntimeError:  # whoever keeps the notes has ended already
            return False
        return not self.first and notes.get(0) == [code, message]

    def _ends(self) -> dict[int, list[Any]]:
        """Exit code and message of the ranks that have left a note of their end."""
        keys = {rank: _END.format(rank) for rank in range(self.ranks)}
        return {rank: json.loads(self._store.get(key)) for rank, key in keys.items() if self._store.check([key])}

    def _loss(self, error: RuntimeError) -> Exception:
        """What to end with when an exchange failed: silently where another rank tells why, or that one is gone."""
        try:
            ends = self._ends()
            if ends:
                return click.exceptions.Exit(next(iter(ends.values()))[0])
            if self._store.add("told of a loss", 1) > 1:
                return click.exceptions.Exit(Interrupted.exit_code)
        except RuntimeError:  # whoever keeps the notes is the one that is gone
            pass
        reason = str(error).strip().splitlines()[0].rpartition("] ")[2]
        return Interrupted(f"{GONE} (rank {self.rank} of {self.ranks} lost it: {reason.rstrip('.')}). {self.go_on}")

    def _answer_for_a_stuck_thread(self, pipe: int) -> None:
        """End this process when it was told to stop and waits in an exchange that another rank will never enter."""
        while True:
            number = os.read(pipe, 1)[0]
            beats, until = self._beats, time.monotonic() + STUCK_S
            while number == signal.SIGTERM and self._beats == beats:
                if time.monotonic() > until:
                    text = f"{GONE}, or too slow: rank {self.rank} of {self.ranks} was told to stop and came to no end "
                    line = f"Error: {text}of its step in {STUCK_S:.0f} s. {self.go_on}\n"
                    with suppress(OSError):
                        os.write(2, line.encode())  # a live bar has put something else in the place of sys.stderr
                    os._exit(Interrupted.exit_code)
                time.sleep(POLL_S)

    def _give_signs(self) -> None:
        """Let the others know that this process is alive, until it leaves."""
        with suppress(RuntimeError):  # whoever keeps the notes has ended already
            while not self._left.wait(SIGN_S):
                self._store.add(_SIGNS, 1)

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.ranks > 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that writes and speaks."""
        return self.rank == 0

    def agree(self, *numbers: int) -> list[int]:
        """Each number's largest value on any rank; all ranks ask together."""
        if not self.several:
            return list(numbers)
        values = torch.tensor([0, *numbers])
        dist.all_reduce(values, dist.ReduceOp.MAX)
        self._beats += 1
        return values[1:].tolist()

    def by_first(self, work: Callable[[], T]) -> T:
        """What `work` gives on the first rank, which alone does it, while the others wait as long as it takes.

        The value travels as JSON. Where the first rank's work fails, or it has ended before that, the others end with
        the same exit code.

        Raises:
            Interrupted: the first rank gave no sign of life for `SILENCE_S`.
        """
        if self._store is None:
            return work()
        self._calls += 1
        key = f"answer {self._calls}"
        if self.first:
            try:
                value = work()
            except BaseException as error:  # a signal's too
                self._store.set(key, json.dumps({"exit": _exit_code(error)}))
                raise
            self._store.set(key, json.dumps({"value": value}))
            return value
        answer = self._await(key)
        if "exit" in answer:
            raise click.exceptions.Exit(answer["exit"])
        given: T = answer["value"]
        return given

    def _await(self, key: str) -> dict[str, Any]:
        """The first rank's answer, as long as that rank is there; its signs count as this one's progress."""
        end, until = _END.format(0), time.monotonic() + SILENCE_S
        while not self._store.check([key]):
            # It may have answered just before it ended.
            if self._store.check([end]) and not self._store.check([key]):
                raise click.exceptions.Exit(json.loads(self._store.get(end))[0])
            signs = self._store.add(_SIGNS, 0)
            if signs != self._signs:
                self._signs, until = signs, time.monotonic() + SILENCE_S
                self._beats += 1
            elif time.monotonic() > until:
                raise self._loss(RuntimeError(f"the first gave no sign for {SILENCE_S:.0f} s"))
            time.sleep(POLL_S)
        answer: dict[str, Any] = json.loads(self._store.get(key))
        return answer

    def see_same(self, facts: Mapping[str, Any]) -> None:
        """See that what this rank is about to train on is what the first is; all ranks ask together.

        Raises:
            DataError: it is not; what differs is named.
        """
        if not self.several:
            return
        own = json.loads(json.dumps(facts))
        wanted = self.by_first(lambda: own)
        wrong = [f"{key} {own.get(key)!r}, there {wanted.get(key)!r}" for key in wanted if own.get(key) != wanted[key]]
        if wrong:
            raise DataError(
                f"Process {self.rank} (on {socket.gethostname()}) would not train what the first does: "
                f"{'; '.join(wrong)}. All need the same command, folders and versions."
            )
        self.agree()

    def overhear(self, stop: StopFlag) -> bool:
        """Whether this rank or, as far as it is known yet, another was asked to stop; for where ranks do not meet."""
        if self._store is not None and stop.number is not None:
            self._store.set("stop", str(stop.number))
        elif self._store is not None and self._store.check(["stop"]):
            stop.hear(int(self._store.get("stop")))
        return stop.number is not None


def join(launch: Launch, device: torch.device, go_on: str = GO_ON) -> Ranks:
    """Meet the other ranks and make ready for exchanges: nccl for a GPU's tensors, gloo for a CPU's.

    `go_on` tells a user what to do where one of them is lost.
    """
    if not launch.several:
        return Ranks()
    store, rank, ranks = next(dist.rendezvous("env://", timeout=PATIENCE))
    # torchrun keeps one store for all its attempts (--max-restarts): what the last one left is not for this one.
    store = dist.PrefixStore(f"attempt {os.environ.get(ATTEMPT, '0')}", store)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    tensors = dist.PrefixStore("tensors", store)
    dist.init_process_group(backend, store=tensors, rank=rank, world_size=ranks, timeout=PATIENCE)
    return Ranks(launch, dist.PrefixStore("notes", store), go_on)


def _exit_code(error: BaseException) -> int:
    """The code that a process ends with where nobody catches `error`."""
    if isinstance(error, Exception):
        return int(getattr(error, "exit_code", 1))
    return InterruptedByKeyboard.exit_code if isinstance(error, KeyboardInterrupt) else Interrupted.exit_code


def _is_loss(error: RuntimeError) -> bool:
    """Whether an exchange or a note failed, rather than the work between: gloo's own errors have no class."""
    text = str(error).lower()
    return isinstance(error, dist.DistError) or any(name in text for name in ("gloo", "nccl", "connection"))


def _signals_pipe() -> int:
    """A pipe from which the number of each signal can be read, also while the main thread waits in an exchange."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader
