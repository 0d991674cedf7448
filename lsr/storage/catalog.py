"""catalog.sqlite: everything in a collection that changes. SQLite makes it durable.

A write is acknowledged when its transaction has committed (WAL, synchronous=FULL on every connection). The catalog has
the settings, the term dictionaries, the list of segments, the deleted rows of each, and the documents that are in no
segment yet. Every change goes through `transaction`, which numbers it: `seq` is the number of the last committed
change. Every row is checked against its checksum when it is read.

One `Catalog` is one connection. The collection's writer serialises its calls; the lock here keeps two threads from
interleaving statements on the connection.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound
from lsr.storage.catalog_connection import connect, translated
from lsr.storage.catalog_schema import (
    APPLICATION_ID,
    FORMAT_VERSION,
    READABLE_VERSIONS,
    TABLES,
    CatalogState,
    PendingRow,
    SegmentRow,
    row_checksum,
)
from lsr.storage.catalog_transaction import Transaction, write_setting, write_state

CATALOG_FILE = "catalog.sqlite"


class Catalog:
    """A connection to catalog.sqlite, from `Catalog.create` or `Catalog.open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._lock = threading.RLock()

    @classmethod
    def create(cls, path: Path, settings: dict[str, Any]) -> Catalog:
        """Create a new catalog with these settings; raises CollectionExists, StorageFull."""
        if path.exists():
            raise CollectionExists(f"{path.parent} is a collection already")
        with translated(path):
            catalog = cls(path, connect(path, "rwc"))
            connection = catalog._connection
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT_VERSION}")
            connection.executescript(f"BEGIN IMMEDIATE;{TABLES}")
            write_state(connection, CatalogState())
            for key, value in settings.items():
                write_setting(connection, key, value)
            connection.execute("COMMIT")
        return catalog

    @classmethod
    def open(cls, path: Path, mode: Literal["r", "w"]) -> Catalog:
        """Open an existing catalog; raises CollectionNotFound, and CollectionCorrupt, also for a newer format."""
        if not path.is_file():
            raise CollectionNotFound(f"{path.parent} is not a collection: it has no {path.name}")
        with translated(path):
            catalog = cls(path, connect(path, "rw" if mode == "w" else "ro"))
            try:
                catalog._check_header()
            except BaseException:
                catalog.close()
                raise
        return catalog

    @property
    def format_version(self) -> int:
        """The version of the collection's format."""
        with self._lock, translated(self.path):
            return int(self._connection.execute("PRAGMA user_version").fetchone()[0])

    def close(self) -> None:
        """Close the connection; the last writer to do so folds the write-ahead log back into the file."""
        with self._lock:
            self._connection.close()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file and empty it; raises StorageFull."""
        with self._lock, translated(self.path):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def copy_to(self, path: Path) -> None:
        """Write a copy of the current catalog to a new file, without a write-ahead log; raises StorageFull."""
        with self._lock, translated(self.path):
            copy = sqlite3.connect(path)
            try:
                self._connection.backup(copy)
                # The copy is a single file: its log is folded in.
                copy.execute("PRAGMA journal_mode = DELETE")
            finally:
                copy.close()

    def copy_into(self, other: Catalog) -> None:
        """Replace the content of another catalog with this one's, in one transaction; raises StorageFull."""
        with self._lock, other._lock, translated(other.path):
            self._connection.backup(other._connection)

    def continue_from(self, state: CatalogState) -> None:
        """Raise the counters so that no number used by a catalog with `state` is used again."""
        with self._lock, translated(self.path):
            own = self.state()
            numbers = {name: max(getattr(own, name), getattr(state, name)) for name in ("next_row", "next_segment")}
            write_state(self._connection, replace(own, seq=max(own.seq, state.seq) + 1, **numbers))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """One read transaction: all reads inside it see the same state."""
        with self._lock, translated(self.path):
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """One durable change: committed and synced when the block ends, rolled back completely if it raises."""
        with self._lock, translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                change = Transaction(self._connection, self.state())
                yield change
                write_state(self._connection, replace(change.state, seq=change.state.seq + 1))
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite rolls back by itself on some disk errors; a second ROLLBACK would hide the first error.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def state(self) -> CatalogState:
        """Return the counters of the last commit."""
        rows = self._rows("state", "seq, next_row, next_segment, pending, deletions, segments")
        found = list(rows)
        if len(found) != 1:
            raise CollectionCorrupt(self.path, f"table state has {len(found)} rows instead of 1")
        return CatalogState(*found[0])

    def settings(self) -> dict[str, Any]:
        """Return every setting, decoded from JSON."""
        return {key: json.loads(value) for key, value in self._rows("settings", "key, value")}

    def tokens(self, vector: str, start: int = 0) -> list[str]:
        """Return the tokens of a vector's dictionary in the order of their numbers, from number `start` on."""
        tokens: list[str] = []
        position = start
        rows = self._rows("terms", "vector, first_id, count, tokens", "vector = ? AND first_id >= ?", (vector, start))
        for _, first_id, count, packed in sorted(rows, key=lambda row: int(row[1])):
            chunk = json.loads(packed)
            if first_id != position or count != len(chunk):
                raise CollectionCorrupt(self.path, f"table terms, vector {vector!r}: numbers missing at {position}")
            position += count
            tokens.extend(chunk)
        return tokens

    def segments(self) -> list[SegmentRow]:
        """Return the live segments in the order of their numbers."""
        rows = [SegmentRow(*row) for row in self._rows("segments", "segment, uuid, documents, manifest_sha256")]
        self._check_count("segments", len(rows), self.state().segments)
        return sorted(rows, key=lambda row: row.segment)

    def deletions(self) -> dict[int, NDArray[np.int64]]:
        """Return the deleted doc_ids of each segment that has any, int64, ascending."""
        found: dict[int, list[int]] = {}
        for segment, doc_id in self._rows("deletions", "segment, doc_id"):
            found.setdefault(segment, []).append(doc_id)
        self._check_count("deletions", sum(map(len, found.values())), self.state().deletions)
        return {segment: np.array(sorted(doc_ids), dtype=np.int64) for segment, doc_ids in found.items()}

    def pending(self, last_row: int | None = None) -> Iterator[PendingRow]:
        """Yield the pending documents in the order of their row numbers, up to and including `last_row`."""
        count = 0
        where, values = ("TRUE", ()) if last_row is None else ("row <= ?", (last_row,))
        for row in self._rows("pending", "row, id, document, vectors", f"{where} ORDER BY row", values):
            count += 1
            yield PendingRow(*row)
        if last_row is None:
            self._check_count("pending", count, self.state().pending)

    def pending_after(self, row: int) -> list[PendingRow]:
        """Return the pending documents with a higher row number, in the order of their numbers."""
        rows = self._rows("pending", "row, id, document, vectors", "row > ? ORDER BY row", (row,))
        return [PendingRow(*found) for found in rows]

    def problems(self) -> list[str]:
        """Check the structure and content of the whole file; an empty list means that it is undamaged."""
        found: list[str] = []
        try:
            with self.reading():
                for (message,) in self._connection.execute("PRAGMA integrity_check"):
                    if message != "ok":
                        found.append(str(message))
                self.settings()
                self.segments()
                self.deletions()
                for _ in self.pending():
                    pass
                for (vector,) in self._connection.execute("SELECT DISTINCT vector FROM terms").fetchall():
                    self.tokens(vector)
        except CollectionCorrupt as error:
            found.append(error.reason)
        return found

    def _rows(self, table: str, columns: str, where: str = "TRUE", values: Sequence[Any] = ()) -> Iterator[Any]:
        """Yield the rows of a table, after a comparison with their checksums."""
        with self._lock, translated(self.path):
            cursor = self._connection.execute(f"SELECT {columns}, checksum FROM {table} WHERE {where}", values)
            for *row, checksum in cursor:
                sound = all(isinstance(column, (int, str, bytes)) for column in row)
                if not sound or row_checksum(*row) != checksum:
                    raise CollectionCorrupt(self.path, f"table {table}: the row {row[0]!r} fails its checksum")
                yield row

    def _check_count(self, table: str, found: int, expected: int) -> None:
        if found != expected:
            raise CollectionCorrupt(self.path, f"table {table} has {found} rows instead of {expected}")

    def _check_header(self) -> None:
        (application_id,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        if application_id != APPLICATION_ID:
            raise CollectionCorrupt(self.path, "is not a catalog of a collection")
        if version not in READABLE_VERSIONS:
            raise CollectionCorrupt(
                self.path,
                f"has format version {version}, but this program reads versions up to {FORMAT_VERSION}: "
                + ("install a newer lsr" if version > FORMAT_VERSION else "the number is not one of ours"),
            )
