"""Seeded damage to files: what disks, networks, editors and attackers do to bytes and to text."""

from __future__ import annotations

import random
import re
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


# What a hand, an editor or a spreadsheet may leave where a value was.
ODD = (
    *(
        "",
        "null",
        "~",
        "nan",
        ".nan",
        ".inf",
        "-.inf",
        "-1",
        "0",
        "-0",
        "1e400",
        "1e-400",
        "9" * 25,
        "9" * 5000,
        "0x10",
    ),
    *(
        "[]",
        "{}",
        "[[[",
        "{a: 1}",
        "[1, x]",
        "'",
        '"',
        "|",
        ">",
        "?",
        "- x",
        ": ",
        "yes",
        "1_000",
        "1:30",
        "2024-01-01",
    ),
    *("!!python/object/apply:os.system ['exit 9']", "!!python/name:os.system", "!!binary x", "!!set {a, b}", "!x y"),
    *("&a [*a, *a]", "*a", "<<: {a: 1}", "../../x", "/", "\0", "\x85", "\ufeff", "\u2028", "\U0001d518", "\ud800"),
    *("a,b", '"a', "\r", "=1+1", " " * 300, "x" * 200_000, "[" * 3000, "true", "None", "1,5"),
)


def mutated_text(text: str, others: Sequence[str], rng: random.Random) -> bytes:
    """`text` with one to three faults in its lines, values or bytes; `others` are texts to mix it with."""
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        text = rng.choice(TEXT_FAULTS)(text, others, rng)
    raw = text.encode("utf-8", errors="surrogatepass")
    if rng.random() < 0.2:
        raw = mutated(raw, [other.encode() for other in others], rng)
    return raw


def _odd_value(text: str, _: Sequence[str], rng: random.Random) -> str:
    """A word, number or cell becomes something else."""
    words = list(re.finditer(r"[^\s,:{}\[\]]+", text))
    if not words:
        return rng.choice(ODD)
    word = rng.choice(words)
    return text[: word.start()] + rng.choice(ODD) + text[word.end() :]


def _other_value(text: str, others: Sequence[str], rng: random.Random) -> str:
    """A word, number or cell becomes another one that is valid elsewhere."""
    words, donors = list(re.finditer(r"[\w.+-]+", text)), re.findall(r"[\w.+-]+", rng.choice(others))
    if not words or not donors:
        return text
    word = rng.choice(words)
    return text[: word.start()] + rng.choice(donors) + text[word.end() :]


def _lines(text: str, others: Sequence[str], rng: random.Random) -> str:
    """A line is lost, doubled, moved, indented, or comes from another file."""
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    kind = rng.randrange(5)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[at])
    elif kind == 2:
        lines.insert(rng.randrange(len(lines)), lines.pop(at))
    elif kind == 3:
        lines[at] = rng.choice((" ", "  ", "\t", "- ", "# ")) + lines[at]
    else:
        lines[at] = rng.choice(rng.choice(others).split("\n"))
    return "\n".join(lines)


def _character(text: str, _: Sequence[str], rng: random.Random) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(" :,-{}[]'\"#&*!|>%@`\t\n\r\0é") + text[at + rng.randrange(2) :]


TEXT_FAULTS: tuple[Callable[[str, Sequence[str], random.Random], str], ...] = (
    _odd_value,
    _odd_value,
    _other_value,
    _other_value,
    _lines,
    _lines,
    _character,
)
