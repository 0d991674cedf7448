"""Writes documents and vectors into a new collection of a server: Qdrant, OpenSearch, Elasticsearch, Milvus.

A document is sent with its id, so that sending it twice replaces it.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, Final, Protocol
from urllib.parse import quote

import orjson

from lsr.errors import CollectionExists, SourceFailed
from lsr.exchange.line_formats import milvus_lines, opensearch_lines, qdrant_lines
from lsr.exchange.rows import VectorSource
from lsr.exchange.servers.json_client import JsonClient
from lsr.exchange.servers.milvus import connect, named_errors
from lsr.exchange.servers.opening import parse_source
from lsr.exchange.servers.remote import Access
from lsr.exchange.servers.search_engine import headers

_TEXT_BYTES: Final = 65_535  # the longest VARCHAR of Milvus
_ID_BYTES: Final = 512


class Target(Protocol):
    """A collection to write into; every method raises SourceFailed, which names the server."""

    def exists(self) -> bool:
        """Whether the server has a collection of that name."""
        ...

    def create(self, source: VectorSource) -> None:
        """Create it with the vectors of `source`."""
        ...

    def write(self, source: VectorSource) -> None:
        """Send all rows."""
        ...

    def close(self) -> None:
        """Release the connection."""
        ...


def write_remote(source: VectorSource, target: str, access: Access, *, update: bool) -> None:
    """Write all rows into the collection that `target` names, as KIND:URL/NAME.

    With `update` it may exist: its documents of the same ids are replaced. Raises CollectionExists without it,
    SourceFailed, CorpusUnreadable for a target of another form.
    """
    kind, server, name = parse_source(target)
    written: Target
    if kind == "qdrant":
        written = _Qdrant(server, name, access)
    elif kind == "milvus":
        written = _Milvus(target, server, name, access)
    else:
        written = _SearchEngine(kind, server, name, access)
    try:
        if not written.exists():
            written.create(source)
        elif not update:
            raise CollectionExists(f"{target} exists: choose another name, or replace its documents with --update")
        written.write(source)
    finally:
        written.close()


class _Http:
    """A collection behind a JSON client."""

    def __init__(self, client: JsonClient, path: str) -> None:
        self._client = client
        self._path = path

    def exists(self) -> bool:
        try:
            self._client.request("GET", self._path)
        except SourceFailed as error:
            if error.status == 404:
                return False
            raise
        return True

    def close(self) -> None:
        self._client.close()


class _Qdrant(_Http):
    def __init__(self, server: str, name: str, access: Access) -> None:
        key = {} if access.key is None else {"api-key": access.key}
        super().__init__(JsonClient(server, key, access.ca_file), f"/collections/{quote(name, safe='')}")

    def create(self, source: VectorSource) -> None:
        dense = {name: {"size": note.dimensions, "distance": "Dot"} for name, note in source.dense.items()}
        body: dict[str, Any] = {"vectors": dense, "sparse_vectors": {source.vector_name: {}}}
        self._client.request("PUT", self._path, body)

    def write(self, source: VectorSource) -> None:
        for body in qdrant_lines(source):
            self._client.send("PUT", f"{self._path}/points?wait=true", body.encode(), "application/json")


class _SearchEngine(_Http):
    def __init__(self, kind: str, server: str, name: str, access: Access) -> None:
        client = JsonClient(server, headers(kind, access.key), access.ca_file)
        super().__init__(client, f"/{quote(name, safe='')}")
        self._elastic = kind == "elasticsearch"
        self._rows = access.rows

    def create(self, source: VectorSource) -> None:
        sparse = {"type": "sparse_vector" if self._elastic else "rank_features"}
        text = {"type": "text"}
        fields: dict[str, Any] = {"title": text, "text": text, "parent": {"type": "keyword"}}
        fields |= {"metadata": {"type": "object"}, source.vector_name: sparse}
        for name, note in source.dense.items():
            kind, size = ("dense_vector", "dims") if self._elastic else ("knn_vector", "dimension")
            fields[name] = {"type": kind, size: note.dimensions}
        self._client.request("PUT", self._path, {"mappings": {"properties": fields}})

    def write(self, source: VectorSource) -> None:
        lines = opensearch_lines(source)
        while body := "".join(islice(lines, 2 * self._rows)):  # an action and a document each
            path = f"{self._path}/_bulk"
            answer = self._client.send("POST", path, body.encode(), "application/x-ndjson")
            _check_bulk(path, answer)
        self._client.request("POST", f"{self._path}/_refresh")


def _check_bulk(path: str, answer: Any) -> None:
    """Raise SourceFailed, naming the document, if a part of a bulk request was refused."""
    if not isinstance(answer, dict) or not answer.get("errors"):
        return
    for item in answer.get("items", []):
        done = item.get("index", {})
        if "error" in done:
            error = done["error"]
            cause = error.get("caused_by", {}).get("reason") if isinstance(error, dict) else None
            reason = error.get("reason") if isinstance(error, dict) else error
            said = f"{reason}: {cause}" if cause else str(reason)
            raise SourceFailed(f"POST {path}: document {done.get('_id')!r}: {said[:500]}")
    raise SourceFailed(f"POST {path}: a document was refused, and the answer does not say which one")


class _Milvus:
    def __init__(self, target: str, server: str, name: str, access: Access) -> None:
        self._target = target
        self._name = name
        self._rows = access.rows
        self._client = connect(target, server, access, create=True)

    def exists(self) -> bool:
        with named_errors(self._target):
            return bool(self._client.has_collection(self._name))

    def create(self, source: VectorSource) -> None:
        from pymilvus import DataType

        schema = self._client.create_schema(enable_dynamic_field=True)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=_ID_BYTES)
        for name in ("title", "text"):
            schema.add_field(name, DataType.VARCHAR, max_length=_TEXT_BYTES, nullable=True)
        schema.add_field("parent", DataType.VARCHAR, max_length=_TEXT_BYTES, nullable=True)
        schema.add_field("metadata", DataType.JSON, nullable=True)
        schema.add_field(source.vector_name, DataType.SPARSE_FLOAT_VECTOR)
        indexes = self._client.prepare_index_params()
        indexes.add_index(source.vector_name, index_type="SPARSE_INVERTED_INDEX", metric_type="IP")
        for name, note in source.dense.items():
            schema.add_field(name, DataType.FLOAT_VECTOR, dim=note.dimensions)
            indexes.add_index(name, index_type="FLAT", metric_type="IP")
        with named_errors(self._target):
            self._client.create_collection(self._name, schema=schema, index_params=indexes)

    def write(self, source: VectorSource) -> None:
        lines = milvus_lines(source)
        while batch := list(islice(lines, self._rows)):
            with named_errors(self._target):
                self._client.upsert(self._name, [_entity(line, source.vector_name) for line in batch])

    def close(self) -> None:
        self._client.close()


def _entity(line: str, vector: str) -> dict[str, Any]:
    """Return a line as pymilvus accepts it: the numbers of terms as integers, every nullable field given."""
    entity: dict[str, Any] = dict.fromkeys(("title", "text", "parent", "metadata"), None)
    entity |= orjson.loads(line)
    entity[vector] = {int(number): weight for number, weight in entity[vector].items()}
    return entity
