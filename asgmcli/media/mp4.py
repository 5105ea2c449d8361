"""Read boxes of an MP4 or QuickTime file that PyAV does not expose: samples claimed, turns of the picture."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from typing import BinaryIO

import numpy as np

FIRST_BOXES = frozenset((b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"sidx"))
CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
# Offset of a box's number of samples behind its name: version and flags (4 bytes), then, in stsz, one common size.
COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
# Offsets of the track's number and the matrix in header boxes of version 0, and of version 1 with longer times.
HEADERS = {b"mvhd": ((0, 36), (0, 48)), b"tkhd": ((12, 40), (20, 52))}
FIXED_POINT = 65536.0
MAX_DEPTH = 8


def claimed_samples(file: BinaryIO) -> int:
    """Return the samples of all tracks of an MP4 or QuickTime file, by its index (ISO 14496-12: stsz, stz2, trun).

    FFmpeg builds its index for that many, whatever the file holds.

    Returns:
        The number; 0 where the file is of another kind.
    """
    return sum(int.from_bytes(_read(file, inside + COUNTS[name], 4), "big") for name, inside in _boxes(file, COUNTS))


def display_matrices(file: BinaryIO) -> dict[int, np.ndarray]:
    """Return how each track of an MP4 or QuickTime file is turned for display (ISO 14496-12: mvhd, tkhd).

    Returns:
        By track number the upper left [2, 2] float64 of its matrix times the whole file's, as FFmpeg does; a row vector
        (x, y) is multiplied by it. Tracks that are not turned are left out.
    """
    movie, tracks = np.eye(2), {}
    for name, inside in _boxes(file, HEADERS):
        version = _read(file, inside, 1)
        number, matrix = HEADERS[name][version[:1] == b"\1"]
        words = np.frombuffer(_read(file, inside + matrix, 20).ljust(20, b"\0"), dtype=">i4")
        turn = np.array([[words[0], words[1]], [words[3], words[4]]]) / FIXED_POINT
        if name == b"mvhd":
            movie = turn
        else:
            tracks[int.from_bytes(_read(file, inside + number, 4), "big")] = turn
    return {track: turn @ movie for track, turn in tracks.items()}


def last_byte(file: BinaryIO) -> int:
    """Return where the outermost boxes of an MP4 or QuickTime file end by their sizes; past its end if it is cut off.

    Returns:
        The place in bytes; 0 where the file is of another kind.
    """
    begin, size = 0, os.fstat(file.fileno()).st_size
    if _read(file, 0, 8)[4:] not in FIRST_BOXES:
        return 0
    while begin + 8 <= size:
        head = _read(file, begin, 16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:], "big") if length == 1 else length
        if length < 8:  # 0: to the end of the file; or no box
            return size
        begin += length
    return begin


def _boxes(file: BinaryIO, names: Collection[bytes]) -> Iterator[tuple[bytes, int]]:
    """Yield (name, where its content begins) of every box of these names; none if the file is of another kind."""
    if _read(file, 0, 8)[4:] in FIRST_BOXES:
        yield from _walk(file, names, 0, os.fstat(file.fileno()).st_size, 0)


def _walk(file: BinaryIO, names: Collection[bytes], begin: int, end: int, depth: int) -> Iterator[tuple[bytes, int]]:
    while begin + 8 <= end:
        head = _read(file, begin, 16)
        size, name, inside = int.from_bytes(head[:4], "big"), head[4:8], begin + 8
        if size == 1:
            size, inside = int.from_bytes(head[8:], "big"), begin + 16
        after = begin + size if size else end  # 0: to the end
        if after < inside:
            return
        if name in names:
            yield name, inside
        elif name in CONTAINERS and depth < MAX_DEPTH:
            yield from _walk(file, names, inside, min(after, end), depth + 1)
        begin = after


def _read(file: BinaryIO, begin: int, size: int) -> bytes:
    file.seek(begin)
    return file.read(size)
