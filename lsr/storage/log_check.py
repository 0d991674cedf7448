"""Checks the write-ahead log that a killed writer has left, for damage that SQLite silently ignores.

SQLite reads the log up to the first frame with a wrong checksum. It treats the rest as an incomplete last transaction,
which a power loss interrupted and which was never acknowledged. So a damaged byte before the last transaction makes
acknowledged transactions disappear. The two cases are distinguished by the commits that follow: after an incomplete
transaction there is at most one commit of this log's generation (its own); two or more mean that synced data is lost.

Damage in the last transaction looks the same as a power loss and is not reported. The layout of the log is
https://www.sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import struct
from pathlib import Path

_HEADER = struct.Struct(">8I")  # magic, version, page size, sequence, two salts, two checksums
_FRAME = struct.Struct(">6I")  # page, size of the database after a commit (else 0), two salts, two checksums
_MAGICS = {0x377F0682: "<", 0x377F0683: ">"}


def log_problem(path: Path) -> str | None:
    """Return the problem of a write-ahead log that no process writes; None if it has none or does not exist."""
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError:
        return None
    if len(content) < _HEADER.size:
        return None
    magic, _, page_size, _, *salts_and_sums = _HEADER.unpack_from(content)
    salts, sums = tuple(salts_and_sums[:2]), tuple(salts_and_sums[2:])
    order = _MAGICS.get(magic)
    if order is None or not 512 <= page_size <= 65_536 or _checksum(content[:24], order, (0, 0)) != sums:
        return "its header is damaged: the log cannot be read"
    broken, lost = None, 0
    for number, at in enumerate(
        range(_HEADER.size, len(content) - _FRAME.size - page_size + 1, _FRAME.size + page_size)
    ):
        _, commit, first_salt, second_salt, *frame_sums = _FRAME.unpack_from(content, at)
        if broken is None:
            sums = _checksum(content[at : at + 8], order, sums)
            sums = _checksum(content[at + _FRAME.size : at + _FRAME.size + page_size], order, sums)
            if (first_salt, second_salt) != salts or sums != tuple(frame_sums):
                broken = number
        if broken is not None and commit and (first_salt, second_salt) == salts:
            lost += 1
    if lost >= 2:
        return f"its frame {broken} is damaged: the {lost} committed transactions from there on are lost"
    return None


def _checksum(content: memoryview, order: str, sums: tuple[int, ...]) -> tuple[int, int]:
    """Continue SQLite's two running sums over `content`, whose length is a multiple of 8."""
    first, second = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second
