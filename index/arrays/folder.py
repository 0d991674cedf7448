"""An index on disk: a folder of plain .npy files and a manifest with their checksums.

NumPy pads a .npy header to 64 bytes, so a mapped array starts on a cache line and is used in place. The manifest
holds the format version, the counts, the build's configuration and, for each file, its size and BLAKE2b digest; it
ends with a digest of itself. A folder is written under a temporary name in the same parent folder, synced and renamed:
it exists complete or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.errors import IndexCorrupt, IndexFormatUnsupported

FORMAT = "lsr-sparse-index"
VERSION = 3
MANIFEST = "manifest.json"


class FolderKind(NamedTuple):
    """The format of a folder and its version, as its manifest names them.

    latest   the version of folders that hold more: readers of `version` alone would misread them
    """

    format: str
    version: int
    latest: int


# Version 4 adds block maxima: the unpruned postings are then in the order of lines. Version 5 adds the levels of
# further lines, and may have block maxima. Indexes are written as version 5; 3 and 4 are read.
WITH_BLOCK_MAXIMA = 4
WITH_LEVELS = 5
SPARSE_INDEX = FolderKind(FORMAT, VERSION, WITH_LEVELS)
DENSE_ROWS = FolderKind("lsr-dense-rows", 1, 1)


_CHUNK = 1 << 20


class Problem(NamedTuple):
    """One damaged file."""

    path: Path
    reason: str


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that is durably renamed to `path` when the block succeeds, and deleted when it fails.

    Raises FileExistsError if `path` exists already.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already: an index is written to a new folder")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
    temporary.mkdir()
    try:
        yield temporary
        for file in sorted(temporary.iterdir()):
            _sync(file)
        _sync(temporary)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync(path.parent)


def write_manifest(folder: Path, header: Mapping[str, Any], kind: FolderKind = SPARSE_INDEX) -> dict[str, Any]:
    """Write the manifest of the folder's .npy files, with the entries of `header`, and return it.

    A `version` in the header replaces that of the kind.
    """
    manifest: dict[str, Any] = {"format": kind.format, "version": kind.version, **header}
    manifest["files"] = {
        file.name: {"bytes": file.stat().st_size, "blake2b": _digest(file)} for file in sorted(folder.glob("*.npy"))
    }
    manifest["checksum"] = _checksum(manifest)
    (folder / MANIFEST).write_bytes(_dump(manifest))
    return manifest


def replace_manifest(folder: Path, entries: Mapping[str, Any]) -> None:
    """Add `entries` to the folder's manifest, or replace them, durably and atomically; the files do not change."""
    manifest = read_manifest(folder) | dict(entries)
    manifest["checksum"] = _checksum(manifest)
    temporary = folder / f".{MANIFEST}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        temporary.write_bytes(_dump(manifest))
        _sync(temporary)
        temporary.rename(folder / MANIFEST)
    finally:
        temporary.unlink(missing_ok=True)
    _sync(folder)


def read_manifest(folder: Path, kind: FolderKind = SPARSE_INDEX) -> dict[str, Any]:
    """Return the folder's manifest; raises IndexCorrupt, or IndexFormatUnsupported for an older or newer one."""
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
        manifest = json.loads(text)
    except FileNotFoundError:
        raise IndexCorrupt(path, "the file is missing: is this folder an index?") from None
    except (ValueError, RecursionError) as error:
        raise IndexCorrupt(path, f"not valid JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != kind.format:
        raise IndexCorrupt(path, f"not the manifest of an index (format is not {kind.format!r})")
    version = manifest.get("version")
    if not isinstance(version, int) or version < 1:
        raise IndexCorrupt(path, f"the format version is {version!r}")
    if not kind.version <= version <= kind.latest:
        raise IndexFormatUnsupported(path, version, kind.latest if version > kind.latest else kind.version)
    if manifest.get("checksum") != _checksum(manifest) or text != _dump(manifest):
        raise IndexCorrupt(path, "the manifest does not match its own checksum")
    return manifest


def map_array(folder: Path, manifest: Mapping[str, Any], name: str) -> NDArray[Any]:
    """Return the array of file `name`.npy, mapped read-only; raises IndexCorrupt if size or header are wrong."""
    path = folder / f"{name}.npy"
    entry = manifest["files"].get(path.name)
    if entry is None:
        raise IndexCorrupt(folder / MANIFEST, f"does not list {path.name}")
    if (reason := _wrong_size(path, entry)) is not None:
        raise IndexCorrupt(path, reason)
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python text: damage may cause any error of that
        raise IndexCorrupt(path, f"not a readable .npy file ({error})") from None
    if not isinstance(mapped, np.memmap) or not mapped.flags.c_contiguous or not mapped.flags.aligned:
        raise IndexCorrupt(path, "not one plain, aligned array")
    if not mapped.dtype.isnative:  # one flipped bit of a header turns `<` into `>`
        raise IndexCorrupt(path, f"holds {mapped.dtype.str}, whose byte order is not this machine's")
    return np.asarray(mapped)


def verify_index(
    path: Path | str, on_read: Callable[[int], None] | None = None, kind: FolderKind = SPARSE_INDEX
) -> list[Problem]:
    """Read every byte of the index at `path` and return the damaged files, each with the reason; empty if sound.

    `on_read` is called with the number of bytes after each read: it may wait, or raise to stop.
    """
    folder = Path(path)
    try:
        manifest = read_manifest(folder, kind)
    except (IndexCorrupt, IndexFormatUnsupported) as error:
        return [Problem(error.path, getattr(error, "reason", str(error)))]
    problems = []
    for name, entry in manifest["files"].items():
        file = folder / name
        reason = _wrong_size(file, entry)
        if reason is None and _digest(file, on_read) != entry["blake2b"]:
            reason = "the contents do not match the checksum"
        if reason is not None:
            problems.append(Problem(file, reason))
    return problems


def _wrong_size(path: Path, entry: Mapping[str, Any]) -> str | None:
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        return "the file is missing"
    if size != entry["bytes"]:
        return f"{size} bytes long, not {entry['bytes']}"
    return None


def _digest(path: Path, on_read: Callable[[int], None] | None = None) -> str:
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            if on_read is not None:
                on_read(len(chunk))
    return digest.hexdigest()


def _dump(manifest: Mapping[str, Any]) -> bytes:
    return json.dumps(manifest, indent=1).encode() + b"\n"


def _checksum(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "checksum"}
    return hashlib.blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=32).hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
