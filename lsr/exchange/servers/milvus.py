"""A Milvus collection, or one of a Milvus Lite file, read with pymilvus's query iterator by ascending primary key.

Term numbers stay numbers. The primary key becomes the document's id, as text. pymilvus is an extra: `lsr[milvus]`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import orjson

from lsr.errors import CorpusUnreadable, SourceFailed
from lsr.exchange.servers.remote import Access, Page, RemoteRow, RemoteVectors

_SPARSE: Final = 104  # pymilvus.DataType.SPARSE_FLOAT_VECTOR
_DENSE: Final = 101  # FLOAT_VECTOR
_TEXT: Final = 21  # VARCHAR


class MilvusCollection:
    """A collection of a Milvus server or file."""

    def __init__(self, source: str, server: str, collection: str, access: Access) -> None:
        """Raises SourceFailed if the server cannot be reached or has no such collection; CorpusUnreadable for a file
        that does not exist, and where pymilvus is missing."""
        self.name = source
        self._collection = collection
        self._rows = access.rows
        self._client = connect(source, server, access)
        try:
            with named_errors(source):
                described = self._client.describe_collection(collection)
                counted = self._client.query(collection, filter="", output_fields=["count(*)"])
            self.count: int | None = int(counted[0]["count(*)"])
            fields = described["fields"]
            self._key = next(field for field in fields if field.get("is_primary"))
            sparse = tuple(field["name"] for field in fields if field["type"] == _SPARSE)
            dense = {field["name"]: int(field["params"]["dim"]) for field in fields if field["type"] == _DENSE}
            self.vectors = RemoteVectors(sparse, dense)
        except BaseException:
            self._client.close()
            raise

    def pages(self, position: Any, wanted: Sequence[str]) -> Iterator[Page]:
        """Yield the entities after `position`, a primary key, with the vectors `wanted`."""
        name = self._key["name"]
        after = "" if position is None else f"{name} > {orjson.dumps(position).decode()}"
        with named_errors(self.name):
            iterator = self._client.query_iterator(
                self._collection, batch_size=self._rows, filter=after, output_fields=["*"]
            )
        try:
            while True:
                with named_errors(self.name):
                    batch = iterator.next()
                keys = [entity[name] for entity in batch]
                yield Page([self._row(entity, wanted) for entity in batch], keys[-1] if keys else None)
                if not keys:
                    return
        finally:
            iterator.close()

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _row(self, entity: Mapping[str, Any], wanted: Sequence[str]) -> RemoteRow:
        fields = dict(entity)
        identifier = str(fields.pop(self._key["name"]))
        taken = {name: fields.pop(name, None) for name in (*self.vectors.sparse, *self.vectors.dense)}
        sparse = {
            name: {"indices": list(taken[name]), "values": list(taken[name].values())}
            for name in self.vectors.sparse
            if name in wanted and taken[name] is not None
        }
        dense = {
            name: [float(value) for value in taken[name]]
            for name in self.vectors.dense
            if name in wanted and taken[name] is not None
        }
        return RemoteRow(identifier, fields, sparse, dense)


def connect(source: str, server: str, access: Access, *, create: bool = False) -> Any:
    """Return a pymilvus client; `create` makes a Milvus Lite file that does not exist.

    Raises SourceFailed, CorpusUnreadable (no such file, no pymilvus).
    """
    try:
        from pymilvus import MilvusClient
    except ImportError:
        raise CorpusUnreadable(f"{source}: Milvus needs pymilvus: pip install 'lsr[milvus]'") from None
    options: dict[str, Any] = {"uri": server}
    if not create and not server.startswith(("http://", "https://")) and not Path(server).exists():
        raise CorpusUnreadable(f"{server}: no such file")
    if access.key is not None:
        options["token"] = access.key
    if access.ca_file is not None:
        options["server_pem_path"] = str(access.ca_file)
    with named_errors(source):
        return MilvusClient(**options)


@contextmanager
def named_errors(source: str) -> Iterator[None]:
    """Turn pymilvus's errors into SourceFailed, which names the source."""
    from pymilvus.exceptions import MilvusException

    try:
        yield
    except (MilvusException, OSError) as error:
        detail = getattr(error, "message", None) or str(error)
        raise SourceFailed(f"{source}: {' '.join(str(detail).split())[:500]}") from None
