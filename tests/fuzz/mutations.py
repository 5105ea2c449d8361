"""Seeded damage to files: what disks, networks, editors and attackers do to bytes and to text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1", b"\0\0\x10\0")
HEAD = 2048  # bytes at either end of a file, where its index mostly lies


def mutated(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    """`content` with one to three faults; `others` are files to mix it with."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        content = rng.choice(FAULTS)(content, others, rng)
    return content


def _place(content: bytes, rng: random.Random) -> int:
    """Anywhere, or in the head or tail, where more hangs on a byte."""
    size = max(len(content), 1)
    where = rng.random()
    if where < 0.35:
        return rng.randrange(min(size, HEAD))
    if where < 0.7:
        return size - 1 - rng.randrange(min(size, HEAD))
    return rng.randrange(size)


def _flip(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(rng.choice((1, 1, 4, 32))):
        if damaged:
            damaged[_place(content, rng)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _extreme(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    """A number of four bytes becomes an extreme one, in either byte order."""
    at, value = _place(content, rng), rng.choice(EXTREMES)
    return content[:at] + (value if rng.random() < 0.5 else value[::-1]) + content[at + 4 :]


def _noise(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    at, length = _place(content, rng), rng.choice((1, 8, 64, 512))
    return content[:at] + rng.randbytes(length) + content[at + length :]


def _zeros(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    at, length = _place(content, rng), rng.choice((4, 64, 512, 4096))
    return content[:at] + bytes(len(content[at : at + length])) + content[at + length :]


def _cut(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def _without(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + rng.choice((1, 16, 256, 4096)) :]


def _twice(content: bytes, _: Sequence[bytes], rng: random.Random) -> bytes:
    at, length = _place(content, rng), rng.choice((1, 16, 256, 4096))
    return content[: at + length] + content[at:]


def _mixed(content: bytes, others: Sequence[bytes], rng: random.Random) -> bytes:
    other = rng.choice(others)
    return content[: rng.randrange(len(content) + 1)] + other[rng.randrange(len(other) + 1) :]


FAULTS: tuple[Callable[[bytes, Sequence[bytes], random.Random], bytes], ...] = (
    _flip,
    _flip,
    _extreme,
    _extreme,
    _extreme,
    _noise,
    _zeros,
    _cut,
    _without,
    _twice,
    _mixed,
)
