"""The statements of one change to the catalog; `Catalog.transaction` begins, numbers and commits it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from lsr.storage.catalog_schema import CatalogState, PendingRow, row_checksum


class Transaction:
    """The changes of one commit. `state` is updated with each; the caller assigns numbers from it."""

    def __init__(self, connection: sqlite3.Connection, state: CatalogState) -> None:
        self._connection = connection
        self.state = state

    @property
    def seq(self) -> int:
        """The number of this change after the commit."""
        return self.state.seq + 1

    def set_setting(self, key: str, value: Any) -> None:
        """Store a JSON value; replaces an older one."""
        write_setting(self._connection, key, value)

    def remove_setting(self, key: str) -> None:
        """Remove a setting."""
        self._connection.execute("DELETE FROM settings WHERE key = ?", (key,))

    def append_terms(self, vector: str, first_id: int, tokens: Sequence[str]) -> None:
        """Append tokens to a vector's dictionary; `first_id` is the number of the first one."""
        if tokens:
            row = (vector, first_id, len(tokens), json.dumps(list(tokens), ensure_ascii=False).encode())
            self._connection.execute("INSERT INTO terms VALUES (?, ?, ?, ?, ?)", (*row, row_checksum(*row)))

    def add_pending(self, rows: Sequence[PendingRow]) -> None:
        """Add documents; their row numbers continue from `state.next_row`."""
        self._connection.executemany(
            "INSERT INTO pending VALUES (?, ?, ?, ?, ?)",
            (
                (row.row, row.id, row.document, row.vectors, row_checksum(row.row, row.id, row.document, row.vectors))
                for row in rows
            ),
        )
        self._count(pending=len(rows), next_row=len(rows))

    def remove_pending(self, rows: Iterable[int]) -> None:
        """Remove pending documents by row number; each must exist."""
        cursor = self._connection.executemany("DELETE FROM pending WHERE row = ?", ((row,) for row in rows))
        self._count(pending=-cursor.rowcount if cursor.rowcount > 0 else 0)

    def remove_pending_up_to(self, last_row: int) -> None:
        """Remove the pending documents with a row number up to `last_row`."""
        removed = self._connection.execute("DELETE FROM pending WHERE row <= ?", (last_row,)).rowcount
        self._count(pending=-removed)

    def add_deletions(self, segment: int, doc_ids: Iterable[int]) -> None:
        """Mark documents of a segment as deleted; none may be marked yet."""
        rows = [(segment, doc_id, row_checksum(segment, doc_id)) for doc_id in map(int, doc_ids)]
        self._connection.executemany("INSERT INTO deletions VALUES (?, ?, ?)", rows)
        self._count(deletions=len(rows))

    def add_segment(self, uuid: str, documents: int, manifest_sha256: str) -> int:
        """List a finished segment and return its number."""
        row = (self.state.next_segment, uuid, documents, manifest_sha256)
        self._connection.execute("INSERT INTO segments VALUES (?, ?, ?, ?, ?)", (*row, row_checksum(*row)))
        self._count(segments=1, next_segment=1)
        return row[0]

    def replace_segment(self, segment: int, uuid: str, manifest_sha256: str) -> None:
        """List another folder with the same documents under a segment's number; its deletions stay."""
        (documents,) = self._connection.execute(
            "SELECT documents FROM segments WHERE segment = ?", (segment,)
        ).fetchone()
        row = (segment, uuid, documents, manifest_sha256)
        self._connection.execute("INSERT OR REPLACE INTO segments VALUES (?, ?, ?, ?, ?)", (*row, row_checksum(*row)))

    def remove_segment(self, segment: int) -> None:
        """Remove a segment and its deletions from the list; its folder is removed after the commit."""
        removed = self._connection.execute("DELETE FROM deletions WHERE segment = ?", (segment,)).rowcount
        self._connection.execute("DELETE FROM segments WHERE segment = ?", (segment,))
        self._count(segments=-1, deletions=-removed)

    def _count(self, **changes: int) -> None:
        self.state = replace(self.state, **{name: getattr(self.state, name) + by for name, by in changes.items()})


def write_state(connection: sqlite3.Connection, state: CatalogState) -> None:
    """Store the counters."""
    connection.execute(
        "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?)", (*state.columns, row_checksum(*state.columns))
    )


def write_setting(connection: sqlite3.Connection, key: str, value: Any) -> None:
    """Store a setting as JSON; replaces an older one."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, allow_nan=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a path that is not UTF-8: SQLite keeps it as JSON's escapes
        text = json.dumps(value, sort_keys=True, allow_nan=False)
    row = (key, text)
    connection.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, ?)", (*row, row_checksum(*row)))
