"""Opening SQLite for a catalog, and translating its errors.

Every connection that writes is in WAL mode with synchronous=FULL: a commit returns when it is on the disk.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from lsr.errors import CollectionCorrupt, CollectionReadOnly, StorageFull

_BUSY_SECONDS = 10.0
# Our statements are fixed, so a statement that SQLite rejects (SQLITE_ERROR) means a damaged schema.
_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_ERROR", "SQLITE_SCHEMA", "SQLITE_MISMATCH", "SQLITE_FORMAT")
_DISK = ("SQLITE_FULL", "SQLITE_IOERR")
_NOT_WRITABLE = ("SQLITE_READONLY", "SQLITE_PERM")


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database in SQLite's URI mode ro, rw or rwc; raises sqlite3.Error, StorageFull."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    if mode == "ro" and not os.access(path.parent, os.W_OK) and not path.with_name(path.name + "-wal").exists():
        uri += "&immutable=1"  # a read-only disk: SQLite cannot create the files that coordinate readers
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        if mode != "ro":
            (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if journal != "wal":
                raise StorageFull(f"{path}: this file system does not support SQLite's write-ahead log")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours, by SQLite's own error names."""
    try:
        yield
    except sqlite3.Error as error:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(_DAMAGED) or "decode" in str(error):
            raise CollectionCorrupt(path, f"SQLite reports: {error}") from error
        if name.startswith(_DISK):
            raise StorageFull(f"{path}: SQLite reports: {error}; nothing of this write was kept") from error
        if name.startswith("SQLITE_CANTOPEN"):  # a read-only disk with a write-ahead log, for example
            raise CollectionCorrupt(
                path, f"SQLite reports: {error}; open it once where SQLite can create files next to it"
            ) from error
        if name.startswith(_NOT_WRITABLE):
            raise CollectionReadOnly(f"{path}: SQLite reports: {error}; nothing was changed") from error
        raise
    except UnicodeDecodeError as error:  # SQLite's own message quotes the damaged bytes
        raise CollectionCorrupt(path, f"contains text that is not UTF-8: {error}") from error
