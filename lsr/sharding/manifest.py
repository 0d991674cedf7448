"""`shards.json`: what a published generation consists of, with a checksum for each file.

    {"format_version": 1, "generation": 3, "documents": 1000000,
     "vectors": {"default": "bm25-…"}, "average_lengths": {"default": 12.3},
     "common": {"folder": "generations/000003/common", "files": {"catalog.sqlite": {"bytes": …, "sha256": …}}},
     "statistics": {"folder": …, "files": {"default.npy": …}},
     "shards": [{"name": "shard-0000-of-0004", "folder": …, "documents": …, "digest": …, "files": {…}}, …]}

It is the only file that changes at a publication, and is replaced as a whole. All others are in a folder of their
generation and never change. A reader follows it and lists no folder, so a listing that is not up to date harms nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Final

from lsr.errors import InvalidJson, ShardMismatch
from lsr.storage.files import LOCK_FILE, sha256_of
from lsr.strict_json import loads

MANIFEST_FILE: Final = "shards.json"
GENERATIONS: Final = "generations"
COMMON: Final = "common"
STATISTICS: Final = "statistics"
FORMAT_VERSION: Final = 1
MAX_SHARDS: Final = 4096


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file's size and SHA-256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FolderEntry:
    """A folder of a generation: its path below the publication, and its files by their paths in it."""

    folder: str
    files: Mapping[str, FileEntry]


@dataclass(frozen=True, slots=True)
class ShardEntry(FolderEntry):
    """A shard: a collection folder. `digest` sums up its documents and vectors, see digest.py."""

    name: str
    documents: int
    digest: str


@dataclass(frozen=True, slots=True)
class Publication:
    """A published generation. `vectors` are the fingerprints of all named vectors."""

    generation: int
    common: FolderEntry
    statistics: FolderEntry
    shards: tuple[ShardEntry, ...]
    vectors: Mapping[str, str | None]
    average_lengths: Mapping[str, float] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        """Documents of all shards."""
        return sum(entry.documents for entry in self.shards)

    @property
    def folders(self) -> tuple[FolderEntry, ...]:
        """Everything that the publication consists of."""
        return (self.common, self.statistics, *self.shards)

    def to_json(self) -> bytes:
        """Return the content of `shards.json`."""
        value = {"format_version": FORMAT_VERSION, "documents": self.documents, **asdict(self)}
        return json.dumps(value, indent=1, sort_keys=True).encode() + b"\n"


def shard_name(number: int, count: int) -> str:
    """Return the name of a shard."""
    return f"shard-{number:04d}-of-{count:04d}"


def generation_folder(generation: int) -> str:
    """Return the path of a generation's folder in a publication."""
    return f"{GENERATIONS}/{generation:06d}"


def folder_entry(root: Path, folder: str) -> FolderEntry:
    """Return the entry of a folder below `root`: every file with its checksum, but for the writer's lock."""
    files = {
        path.relative_to(root / folder).as_posix(): FileEntry(path.stat().st_size, sha256_of(path))
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and path.name != LOCK_FILE
    }
    return FolderEntry(folder, files)


def parse_publication(content: bytes, where: str) -> Publication:
    """Read `shards.json`; raises ShardMismatch naming `where` it was read."""
    try:
        value: Any = loads(content)
        version = value["format_version"]
        if version != FORMAT_VERSION:
            raise ShardMismatch(f"{where} has format version {version!r}, and this program reads {FORMAT_VERSION}")
        shards = tuple(
            ShardEntry(*_folder(one), str(one["name"]), _count(one["documents"]), str(one["digest"]))
            for one in value["shards"]
        )
        if not 1 <= len(shards) <= MAX_SHARDS:
            raise ValueError(f"{len(shards)} shards")
        return Publication(
            _count(value["generation"]),
            FolderEntry(*_folder(value["common"])),
            FolderEntry(*_folder(value["statistics"])),
            shards,
            {str(name): mark if mark is None else str(mark) for name, mark in value["vectors"].items()},
            {str(name): float(length) for name, length in value["average_lengths"].items()},
        )
    except (InvalidJson, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ShardMismatch(f"{where} is damaged ({error!r}): publish the shards again") from error


def _folder(value: Any) -> tuple[str, dict[str, FileEntry]]:
    files = {
        _inside(name): FileEntry(_count(entry["bytes"]), _sha256(entry["sha256"]))
        for name, entry in value["files"].items()
    }
    return _inside(value["folder"]), files


def _inside(path: Any) -> str:
    """Return a path that stays below the folder that it belongs to; raises ValueError for another one."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or "\\" in path or any(part in ("..", ".") for part in parts):
        raise ValueError(f"the path {path!r}")
    return str(path)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"the count {value!r}")
    return value


def _sha256(value: Any) -> str:
    if not isinstance(value, str) or len(value) != 64 or not set(value) <= set("0123456789abcdef"):
        raise ValueError(f"the checksum {value!r}")
    return value
