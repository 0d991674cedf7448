"""Durable writes, checksums and the writer's lock: the file operations that durability depends on.

A file is written when its bytes and its folder's entry are synced. A folder gets its final name by one rename, after
everything in it is synced; then its parent is synced.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from lsr.errors import CollectionLocked, CollectionReadOnly, StorageFull

LOCK_FILE = "writer.lock"

OnRead = Callable[[int], None]  # called after each piece with its number of bytes: it may wait, or raise to stop

_PIECE = 1 << 20
_NOT_WRITABLE = (errno.EROFS, errno.EACCES, errno.EPERM)


def sha256_of(path: Path, on_read: OnRead | None = None) -> str:
    """Return the SHA-256 of a file's bytes as lower-case hex; raises OSError."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            if on_read is not None:
                on_read(len(piece))
    return digest.hexdigest()


def sync_file(path: Path) -> None:
    """Force a file's bytes to the disk; raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Sync every file below `folder`, then every folder from the leaves up; raises OSError."""
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            sync_file(Path(parent) / name)
        sync_file(Path(parent))


def write_file(path: Path, content: bytes) -> None:
    """Write and sync a new file; raises OSError, including FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def publish(temporary: Path, final: Path) -> None:
    """Give a finished folder its final name, durably: sync everything in it, rename it, sync the parent."""
    sync_tree(temporary)
    temporary.rename(final)
    sync_file(final.parent)


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn the errors of a full or failing disk into StorageFull, which says that nothing was acknowledged.

    A disk or a folder that does not allow the change is a CollectionReadOnly.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise CollectionReadOnly(f"{path}: {error.strerror}; nothing was changed") from error
        # NumPy's short write has no errno: "4096 requested and 1024 written".
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) or "requested and" in str(error):
            raise StorageFull(f"{path}: {error.strerror or error}; nothing of this write was kept") from error
        raise


class WriterLock:
    """The exclusive right to write to a collection, held by one process; the kernel releases it when the process dies.

    The lock is an flock on `writer.lock`. The file is never removed: otherwise two processes could hold the lock.
    """

    def __init__(self, folder: Path) -> None:
        """Acquire the lock; raises CollectionLocked at once if another process (or another open) holds it.

        Raises CollectionReadOnly where the folder does not allow writing.
        """
        try:
            self._descriptor = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            if error.errno not in _NOT_WRITABLE:
                raise
            raise CollectionReadOnly(f"{folder}: {error.strerror}, so nothing can be written there") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._descriptor)
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                raise
            raise CollectionLocked(
                f"{folder}: another process has this collection open for writing (a running `lsr serve`?); "
                "stop it, or send the documents to it"
            ) from None

    def release(self) -> None:
        """Release the lock; may be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
