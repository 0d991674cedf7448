"""A snapshot file of Qdrant: of a whole collection, or of one shard. Qdrant's own code unpacks and reads it.

A snapshot is a tar archive of Qdrant's storage files. That of a shard has a folder `segments`; that of a collection has
a folder for each shard, named by its number. The package qdrant-edge-py, which is an extra (`lsr[qdrant]`), is Qdrant's
storage as a library: it unpacks a shard's archive into a temporary folder and opens it there. A position is the shard's
place and a point id.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson

from lsr.errors import CorpusUnreadable, SourceFailed
from lsr.exchange.servers.qdrant import UNNAMED, row_of, vectors_of
from lsr.exchange.servers.remote import Access, Page, RemoteVectors

SEGMENTS: Final = "segments"
_CONFIG: Final = "edge_config.json"  # written by qdrant-edge when it has opened a shard


class QdrantSnapshot:
    """The points of a snapshot file."""

    def __init__(self, source: str, path: Path, access: Access) -> None:
        """Raises CorpusUnreadable without the package or the file, SourceFailed for a file that is no snapshot."""
        try:
            import qdrant_edge
        except ImportError:
            raise CorpusUnreadable(f"{source}: a snapshot needs qdrant-edge-py: pip install 'lsr[qdrant]'") from None
        if not path.is_file():
            raise CorpusUnreadable(f"{path}: no such file; a server is given as qdrant:http://HOST:PORT/COLLECTION")
        self.name = source
        self._edge = qdrant_edge
        self._rows = access.rows
        with ExitStack() as stack, _named_errors(source):
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="lsr-snapshot-")))
            shards = _unpacked(qdrant_edge, path, folder)
            self._shards = [qdrant_edge.EdgeShard.load(str(shard)) for shard in shards]
            for shard in self._shards:
                stack.callback(shard.close)
            self.vectors = _vectors(orjson.loads((shards[0] / _CONFIG).read_bytes()))
            self.count: int | None = sum(shard.count(self._counted()) for shard in self._shards)
            self._open = stack.pop_all()

    def pages(self, position: Any, wanted: Sequence[str]) -> Iterator[Page]:
        """Yield the points after `position`, a shard's place and a point id, with the vectors `wanted`."""
        at, offset = (0, None) if position is None else position
        while at < len(self._shards):
            request = self._edge.ScrollRequest(
                offset=offset, limit=self._rows, with_payload=True, with_vector=bool(wanted)
            )
            with _named_errors(self.name):
                records, following = self._shards[at].scroll(request)
                rows = [row_of(_point(record), wanted) for record in records]
            at, offset = (at + 1, None) if following is None else (at, _id(following))
            yield Page(rows, [at, offset] if at < len(self._shards) else None)

    def close(self) -> None:
        """Close the shards and remove what was unpacked."""
        self._open.close()

    def _counted(self) -> Any:
        return self._edge.CountRequest(exact=True)


def _unpacked(edge: Any, path: Path, folder: Path) -> list[Path]:
    """Unpack a snapshot into a folder for each shard, in the order of their numbers; raises SourceFailed."""
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        tops = {PurePosixPath(member.name).parts[0] for member in members if PurePosixPath(member.name).parts}
        if SEGMENTS in tops:
            archives = {0: path}
        else:
            numbers = sorted(int(top) for top in tops if top.isdecimal())
            archives = {number: folder / f"{number}.tar" for number in numbers}
            for number, target in archives.items():
                _copy_shard(archive, members, str(number), target)
    shards = []
    for number, shard in archives.items():
        edge.EdgeShard.unpack_snapshot(str(shard), str(folder / f"shard-{number}"))
        if shard != path:
            shard.unlink()
        shards.append(folder / f"shard-{number}")
    if not shards:
        raise SourceFailed(f"{path}: an archive without a folder {SEGMENTS} or a folder for each shard")
    return shards


def _copy_shard(archive: tarfile.TarFile, members: Sequence[tarfile.TarInfo], shard: str, target: Path) -> None:
    """Write one shard of a collection's archive as an archive of its own."""
    with tarfile.open(target, "w") as copy:
        for member in members:
            parts = PurePosixPath(member.name).parts
            if len(parts) > 1 and parts[0] == shard:
                content = archive.extractfile(member) if member.isfile() else None
                copy.addfile(member.replace(name=str(PurePosixPath(*parts[1:]))), content)


def _vectors(config: Mapping[str, Any]) -> RemoteVectors:
    dense = dict(config.get("vectors") or {})
    if "" in dense:  # Qdrant's dense vector without a name
        dense[UNNAMED] = dense.pop("")
    return vectors_of({**config, "vectors": dense})


def _point(record: Any) -> dict[str, Any]:
    """Return a record as Qdrant's HTTP API gives a point."""
    vector = record.vector
    if isinstance(vector, dict):
        vector = {
            name: {"indices": one.indices, "values": one.values} if hasattr(one, "indices") else one
            for name, one in vector.items()
        }
    return {"id": record.id, "payload": record.payload, "vector": vector}


def _id(point: Any) -> int | str:
    return point if isinstance(point, int) else str(point)


@contextmanager
def _named_errors(source: str) -> Iterator[None]:
    """Name the source in errors of the archive and of Qdrant's code, which has no exceptions of its own."""
    try:
        yield
    except SourceFailed:
        raise
    except Exception as error:
        raise SourceFailed(f"{source}: it cannot be read as a snapshot of Qdrant: {error}") from None
