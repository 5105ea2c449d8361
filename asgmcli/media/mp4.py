"""How many samples an MP4 or QuickTime file claims: FFmpeg builds its index for that many, whatever the file holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

FIRST_BOXES = frozenset((b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"pnot", b"sidx"))
CONTAINERS = frozenset((b"moov", b"trak", b"mdia", b"minf", b"stbl", b"moof", b"traf"))
# Where a box keeps its number of samples, behind its name: version and flags (4 bytes), then, in stsz, one size of all.
COUNTS = {b"stsz": 8, b"stz2": 8, b"trun": 4}
MAX_DEPTH = 8


def claimed_samples(file: BinaryIO) -> int:
    """The samples of all tracks of an MP4 or QuickTime file, by its index (ISO 14496-12: stsz, stz2, trun).

    Returns:
        The number; 0 where the file is of another kind.
    """
    file.seek(0)
    if file.read(8)[4:] not in FIRST_BOXES:
        return 0
    return sum(_counts(file, 0, os.fstat(file.fileno()).st_size, 0))


def _counts(file: BinaryIO, begin: int, end: int, depth: int) -> Iterator[int]:
    while begin + 8 <= end:
        file.seek(begin)
        head = file.read(16)
        size, name, inside = int.from_bytes(head[:4], "big"), head[4:8], begin + 8
        if size == 1:
            size, inside = int.from_bytes(head[8:], "big"), begin + 16
        after = begin + size if size else end  # 0: to the end
        if after < inside:
            return
        if name in COUNTS:
            file.seek(inside + COUNTS[name])
            yield int.from_bytes(file.read(4), "big")
        elif name in CONTAINERS and depth < MAX_DEPTH:
            yield from _counts(file, inside, min(after, end), depth + 1)
        begin = after
