"""Snapshots: the state of a collection at one time, stored inside its folder, which can be restored.

    snapshots/<name>/catalog.sqlite   copied by SQLite's backup API
                     segments/…       hard links: segments never change, so they need no extra space
                     snapshot.json    name, time, counts, and the hash of the snapshot

A snapshot is itself a collection: it can be opened, verified and copied. Its `sha256` covers the catalog and the
segments' manifests, which contain the checksums of all other files.

Restoring links the snapshot's segments back and replaces the catalog's content in one SQLite transaction: a crash
leaves the old state or the restored one. Numbers continue from the higher of the two states, so none is used twice.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from lsr.errors import CollectionCorrupt, CollectionExists, CollectionNotFound, QueryError
from lsr.storage.catalog import CATALOG_FILE, Catalog
from lsr.storage.catalog_digest import write_digest
from lsr.storage.files import publish, sha256_of, storage_errors, sync_file, sync_tree, write_file
from lsr.storage.live_state import LiveState
from lsr.storage.segment import MANIFEST_FILE, SEGMENTS_FOLDER
from lsr.upkeep.verification import verify_collection

SNAPSHOTS_FOLDER = "snapshots"
SNAPSHOT_FILE = "snapshot.json"

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_TEMPORARY_PREFIX = "taking-"


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """One snapshot. `size` is in bytes, including those that it shares with the collection."""

    name: str
    created: str  # ISO 8601, UTC
    documents: int
    seq: int
    size: int
    sha256: str


def take(state: LiveState, name: str | None = None) -> SnapshotInfo:
    """Take a snapshot of the collection's current state.

    Raises QueryError, CollectionExists, StorageFull, and CollectionCorrupt if a segment was found damaged.
    """
    name = check_name(name or datetime.now(UTC).strftime("%Y%m%dt%H%M%Sz-") + uuid.uuid4().hex[:6])
    folder = state.path / SNAPSHOTS_FOLDER
    final = folder / name
    if final.exists():
        raise CollectionExists(f"the snapshot {name!r} exists already")
    temporary = folder / f"{_TEMPORARY_PREFIX}{uuid.uuid4()}"
    try:
        with storage_errors(temporary):
            temporary.mkdir(parents=True)
            # Under the lock no change is committed and no segment is removed.
            with state.changing:
                generation = state.generation
                generation.require_whole()
                state.catalog.copy_to(temporary / CATALOG_FILE)
                for view in generation.segments:
                    _link_tree(view.segment.folder, temporary / SEGMENTS_FOLDER / view.segment.row.uuid)
            (temporary / SEGMENTS_FOLDER).mkdir(exist_ok=True)
            write_digest(temporary)
            info = SnapshotInfo(
                name=name,
                created=datetime.now(UTC).isoformat(timespec="seconds"),
                documents=generation.document_count,
                seq=generation.seq,
                size=sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file()),
                sha256=_digest(temporary),
            )
            write_file(temporary / SNAPSHOT_FILE, json.dumps(asdict(info), indent=2).encode() + b"\n")
            sync_file(folder.parent)
            publish(temporary, final)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return info


def listed(collection: Path) -> list[SnapshotInfo]:
    """Return the snapshots of a collection, oldest first; a damaged one raises CollectionCorrupt."""
    folder = collection / SNAPSHOTS_FOLDER
    names = [path.name for path in folder.iterdir() if _NAME.fullmatch(path.name)] if folder.is_dir() else []
    return sorted((_read_info(folder / name) for name in names), key=lambda info: (info.created, info.name))


def files_of(collection: Path, name: str) -> tuple[SnapshotInfo, dict[str, Path]]:
    """Return a snapshot and its files by their paths in it, sorted. Raises CollectionNotFound, CollectionCorrupt."""
    folder = _folder_of(collection, name)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return _read_info(folder), {path.relative_to(folder).as_posix(): path for path in files}


def remove(collection: Path, name: str) -> None:
    """Remove a snapshot; raises CollectionNotFound."""
    folder = _folder_of(collection, name)
    removed = folder.with_name(f"{_TEMPORARY_PREFIX}{uuid.uuid4()}")
    folder.rename(removed)
    sync_file(folder.parent)
    shutil.rmtree(removed, ignore_errors=True)


def restore(state: LiveState, name: str) -> None:
    """Replace the collection's files with the snapshot's; the caller opens a new state from them.

    Raises CollectionNotFound, CollectionCorrupt for a damaged snapshot, StorageFull.
    """
    folder = _folder_of(state.path, name)
    info = _read_info(folder)
    if _digest(folder) != info.sha256:
        raise CollectionCorrupt(folder, "the snapshot's files do not match its hash")
    problems = verify_collection(folder)
    if problems:
        raise CollectionCorrupt(*problems[0])
    staging = state.path / f"creating-{uuid.uuid4()}"  # the next opening removes it if this process is killed
    try:
        with storage_errors(staging), state.changing:
            staging.mkdir()
            for source in (folder / SEGMENTS_FOLDER).iterdir():
                target = state.path / SEGMENTS_FOLDER / source.name
                if not target.exists():
                    linked = staging / source.name
                    _link_tree(source, linked)
                    sync_tree(linked)
                    linked.rename(target)
            sync_file(state.path / SEGMENTS_FOLDER)
            shutil.copyfile(folder / CATALOG_FILE, staging / CATALOG_FILE)
            copy = Catalog.open(staging / CATALOG_FILE, "w")
            try:
                copy.continue_from(state.catalog.state())
                copy.copy_into(state.catalog)
            finally:
                copy.close()
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def check_name(name: str) -> str:
    """Return a snapshot's name, or raise QueryError."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise QueryError(
            f"{name!r:.80} is not a snapshot name: a-z, 0-9, _ and -, at most 63 characters, a letter or digit first",
            field="name",
        )
    return name


def _folder_of(collection: Path, name: str) -> Path:
    folder = collection / SNAPSHOTS_FOLDER / check_name(name)
    if not folder.is_dir():
        known = ", ".join(info.name for info in listed(collection)) or "none"
        raise CollectionNotFound(f"no snapshot {name!r}; the snapshots are: {known}")
    return folder


def _read_info(folder: Path) -> SnapshotInfo:
    path = folder / SNAPSHOT_FILE
    try:
        return SnapshotInfo(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError) as error:
        raise CollectionCorrupt(path, f"cannot be read: {error}") from error


def _digest(folder: Path) -> str:
    """Return the SHA-256 over the names and SHA-256 of the catalog and of each segment's manifest."""
    manifests = sorted(path.relative_to(folder) for path in (folder / SEGMENTS_FOLDER).glob(f"*/{MANIFEST_FILE}"))
    lines = [f"{sha256_of(folder / path)}  {path}\n" for path in [Path(CATALOG_FILE), *manifests]]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _link_tree(source: Path, target: Path) -> None:
    shutil.copytree(source, target, copy_function=os.link)
