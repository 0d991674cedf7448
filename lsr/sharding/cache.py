"""A local cache of published folders: filled from an object store, checked against the manifest, evicted by age of use.

A folder in the cache is named by the checksums of its files, so that another generation is another folder. It gets its
name when all its files are complete and their checksums are right; what a killed process left is removed. Whoever reads
a folder holds a shared lock on it, and a folder that is locked is not evicted.

Replicas that follow a writer have a scratch folder each, which ends with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from lsr.errors import ObjectStoreError
from lsr.sharding.manifest import FileEntry, FolderEntry, Publication
from lsr.sharding.places import FileMissing, Place
from lsr.storage.catalog import CATALOG_FILE
from lsr.storage.files import storage_errors, sync_tree

DEFAULT_BYTES: Final = 50 << 30
_ATTEMPTS: Final = 3
_FILLING: Final = "filling-"
_SCRATCH: Final = "following"
_NOT_CACHED: Final = (_FILLING, _SCRATCH)


class CachedFolder:
    """A folder that is on this machine, locked against eviction until `close`."""

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path = path
        self._lock = lock

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


class ShardCache:
    """A cache folder, which several processes of one machine may share."""

    def __init__(self, folder: Path, most_bytes: int = DEFAULT_BYTES) -> None:
        """`most_bytes` is what the folders that nobody reads may take together with the others."""
        self.folder = folder
        self.most_bytes = most_bytes
        with storage_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)

    def open(self, place: Place, entry: FolderEntry) -> CachedFolder:
        """Return a published folder on this machine, from the cache where it is there.

        A place on this machine is read where it lies. Raises ObjectStoreError for a file that is missing, cut or has a
        wrong checksum, StorageFull.
        """
        if place.folder is not None:
            path = place.folder / entry.folder
            _check_sizes(path, entry)
            return CachedFolder(path, None)
        key = _key(entry)
        path = self.folder / key
        with storage_errors(self.folder), self._exclusive(f"{key}.fill"):
            lock = self._lock(key)
            if path.is_dir():
                os.utime(path)
            else:
                try:
                    self._fill(place, entry, path)
                except BaseException:
                    os.close(lock)
                    raise
        self.evict()
        return CachedFolder(path, lock)

    def scratch(self, name: str) -> CachedFolder:
        """Make a folder for this process alone, and remove those of processes that were killed; raises StorageFull.

        `name` is one that no other process has.
        """
        root = self.folder / _SCRATCH
        with storage_errors(root), self._exclusive(f"{_SCRATCH}.fill"):
            root.mkdir(exist_ok=True)
            for path in root.glob("*.lock"):
                with contextlib.suppress(BlockingIOError):  # its process lives
                    os.close(_lock_alone(path))
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    path.unlink()
            lock = _lock_alone(root / f"{name}.lock")
            (root / name).mkdir(exist_ok=True)
        return CachedFolder(root / name, lock)

    def evict(self) -> list[str]:
        """Remove the folders that were used longest ago until all fit; return their names. Locked ones stay."""
        with storage_errors(self.folder):
            folders = sorted(
                (path for path in self.folder.iterdir() if path.is_dir() and not path.name.startswith(_NOT_CACHED)),
                key=lambda path: path.stat().st_mtime,
            )
            sizes = {path: sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) for path in folders}
            total = sum(sizes.values())
            removed = []
            for path in folders:
                if total <= self.most_bytes:
                    break
                if self._remove(path):
                    total -= sizes[path]
                    removed.append(path.name)
            return removed

    def _fill(self, place: Place, entry: FolderEntry, path: Path) -> None:
        for leftover in self.folder.glob(f"{_FILLING}{path.name}-*"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        filling = self.folder / f"{_FILLING}{path.name}-{uuid.uuid4()}"
        try:
            for name, file in entry.files.items():
                target = filling / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _download(place, f"{entry.folder}/{name}", target, file)
            sync_tree(filling)
            filling.rename(path)
        except BaseException:
            shutil.rmtree(filling, ignore_errors=True)
            raise

    def _remove(self, path: Path) -> bool:
        try:
            lock = _lock_alone(self.folder / f"{path.name}.lock")
        except BlockingIOError:
            return False
        gone = path.with_name(f"{_FILLING}{path.name}-gone")
        try:
            path.rename(gone)
        finally:
            os.close(lock)
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _lock(self, key: str) -> int:
        lock = os.open(self.folder / f"{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(lock, fcntl.LOCK_SH)
        return lock

    @contextlib.contextmanager
    def _exclusive(self, name: str) -> Iterator[None]:
        """Let one process at a time fill a folder."""
        lock = os.open(self.folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _lock_alone(path: Path) -> int:
    """Return the descriptor of a lock file that no other process has locked; raises BlockingIOError."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise
    return lock


def check_published(place: Place, publication: Publication) -> None:
    """Raise ObjectStoreError unless the files of a publication are there, so that no machine begins without them.

    Every file of a folder is looked for, of an object store the catalog of each shard.
    """
    for entry in publication.folders:
        if place.folder is not None:
            _check_sizes(place.folder / entry.folder, entry)
            continue
        name = CATALOG_FILE if CATALOG_FILE in entry.files else next(iter(entry.files), "")
        if name and place.size(f"{entry.folder}/{name}") != entry.files[name].bytes:
            raise ObjectStoreError(
                f"{place.uri}: {entry.folder}/{name} is missing or not as it was published: publish the shards again"
            )


def _download(place: Place, path: str, target: Path, file: FileEntry) -> None:
    """Copy one file and check it; a cut connection, or bytes that changed on the way, are tried again."""
    for attempt in range(1, _ATTEMPTS + 1):
        digest = hashlib.sha256()
        try:
            place.download(path, target, digest.update)
            found = target.stat().st_size
            if found != file.bytes:
                raise ObjectStoreError(
                    f"{place.uri}: {path} has {found} bytes instead of {file.bytes}: its upload was not finished; "
                    "publish the shards again"
                )
            if digest.hexdigest() != file.sha256:
                raise ObjectStoreError(
                    f"{place.uri}: {path} does not have the checksum of the manifest: publish the shards again"
                )
        except ObjectStoreError as error:
            if attempt == _ATTEMPTS or isinstance(error, FileMissing):
                raise
            time.sleep(0.1 * attempt)
        else:
            return


def _check_sizes(path: Path, entry: FolderEntry) -> None:
    """Raise ObjectStoreError unless every file is there with its size; `lsr verify` compares the checksums."""
    for name, file in entry.files.items():
        try:
            found = (path / name).stat().st_size
        except OSError as error:
            raise ObjectStoreError(
                f"{path / name} cannot be read ({error.strerror}): bring the folder back, or publish the shards again"
            ) from error
        if found != file.bytes:
            raise ObjectStoreError(
                f"{path / name} has {found} bytes instead of {file.bytes}: bring the folder back, or publish again"
            )


def _key(entry: FolderEntry) -> str:
    named = json.dumps({name: asdict(file) for name, file in entry.files.items()}, sort_keys=True)
    return hashlib.sha256(named.encode()).hexdigest()[:32]
