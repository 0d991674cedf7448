"""Opening SQLite for a catalog, and translating its errors.

Every connection that writes is in WAL mode with synchronous=FULL: a commit returns when it is on the disk.

SQLite coordinates readers by a file next to the database, which it cannot create on a read-only disk. There a database
is opened as immutable. If a killed writer has left a write-ahead log, which an immutable database would ignore, both
are copied to a temporary folder and the log is folded into the copy; that is read instead.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
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
    if mode == "ro" and not os.access(path.parent, os.W_OK) and not _beside(path, "-shm").exists():
        return _with_log(path) if _has_log(path) else _open(path, "ro&immutable=1")
    return _open(path, mode)


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA trusted_schema = OFF")
        connection.execute("PRAGMA cell_size_check = ON")
        if not mode.startswith("ro"):
            (journal,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if journal != "wal":
                raise StorageFull(f"{path}: this file system does not support SQLite's write-ahead log")
        connection.execute("PRAGMA synchronous = FULL")
    except BaseException:
        connection.close()
        raise
    return connection


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _has_log(path: Path) -> bool:
    log = _beside(path, "-wal")
    return log.exists() and log.stat().st_size > 0


def _with_log(path: Path) -> sqlite3.Connection:
    """Return a connection to a copy of the database with its log folded in; the copy is gone when it is closed.

    No process has the database open: it would have the file that coordinates readers. Raises CollectionReadOnly.
    """
    log = _beside(path, "-wal")
    try:
        with tempfile.TemporaryDirectory(prefix="lsr-catalog-") as folder:
            copy = Path(folder) / path.name
            before = [(one.stat().st_mtime_ns, one.stat().st_size) for one in (path, log)]
            shutil.copyfile(path, copy)
            shutil.copyfile(log, _beside(copy, "-wal"))
            if before != [(one.stat().st_mtime_ns, one.stat().st_size) for one in (path, log)]:
                raise CollectionReadOnly(f"{path}: it changed while it was copied to be read; try again")
            _open(copy, "rw").close()  # the last connection folds the log in
            # The removal of an open file takes its name only; an immutable database needs no other file.
            return _open(copy, "ro&immutable=1")
    except OSError as error:
        raise CollectionReadOnly(
            f"{path}: its write-ahead log holds committed changes, which can be read only from a copy in "
            f"{tempfile.gettempdir()}: {error.strerror or error}. Set TMPDIR to a folder with "
            f"{(path.stat().st_size + log.stat().st_size) >> 20} MiB free, or open the collection once where it can be "
            "written"
        ) from error


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
