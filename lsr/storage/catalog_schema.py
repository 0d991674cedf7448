"""The tables of catalog.sqlite, and the checksum of their rows.

SQLite checks the structure of its pages but not their content. So every row has a CRC-32 over its columns, and the
`state` row counts the other rows: a flipped bit and a lost row are both detected. docs/format.md describes the columns.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

APPLICATION_ID = 0x6C737263  # "lsrc", in SQLite's own header: `file catalog.sqlite` shows it
# Of the collection's folder as a whole; kept as SQLite's user_version. A collection of version 1 has no dense vectors,
# and stays what it is when it is written to.
FORMAT_VERSION = 2
READABLE_VERSIONS = (1, 2)

TABLES = """
CREATE TABLE state (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    seq INTEGER NOT NULL, next_row INTEGER NOT NULL, next_segment INTEGER NOT NULL,
    pending INTEGER NOT NULL, deletions INTEGER NOT NULL, segments INTEGER NOT NULL, checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE settings (
    key TEXT PRIMARY KEY, value TEXT NOT NULL, checksum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE terms (
    vector TEXT NOT NULL, first_id INTEGER NOT NULL, count INTEGER NOT NULL, tokens BLOB NOT NULL,
    checksum INTEGER NOT NULL, PRIMARY KEY (vector, first_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE segments (
    segment INTEGER PRIMARY KEY, uuid TEXT NOT NULL UNIQUE, documents INTEGER NOT NULL,
    manifest_sha256 TEXT NOT NULL, checksum INTEGER NOT NULL
) STRICT;
CREATE TABLE deletions (
    segment INTEGER NOT NULL, doc_id INTEGER NOT NULL, checksum INTEGER NOT NULL, PRIMARY KEY (segment, doc_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE pending (
    row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document BLOB NOT NULL, vectors BLOB NOT NULL,
    checksum INTEGER NOT NULL
) STRICT;
"""


@dataclass(frozen=True, slots=True)
class CatalogState:
    """The counters of the `state` row. `seq` numbers the committed changes; row and segment numbers never repeat."""

    seq: int = 0
    next_row: int = 1
    next_segment: int = 1
    pending: int = 0
    deletions: int = 0
    segments: int = 0

    @property
    def columns(self) -> tuple[int, int, int, int, int, int]:
        """The columns in the table's order, without the checksum."""
        return self.seq, self.next_row, self.next_segment, self.pending, self.deletions, self.segments


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One live segment: its number (never used again), its folder's name, and the hash of its manifest."""

    segment: int
    uuid: str
    documents: int
    manifest_sha256: str


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A document that is committed but in no segment yet; `document` and `vectors` are encoded by pending.py."""

    row: int
    id: str
    document: bytes
    vectors: bytes


def row_checksum(*columns: int | str | bytes) -> int:
    """Return the CRC-32 over a row's columns, each preceded by its type and length."""
    parts: list[bytes] = []
    for column in columns:
        if isinstance(column, int):
            parts.append(b"i%d;" % column)
        else:
            kind, content = (b"b", column) if isinstance(column, bytes) else (b"s", column.encode())
            parts += (kind, b"%d;" % len(content), content)
    return zlib.crc32(b"".join(parts))
