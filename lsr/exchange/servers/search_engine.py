"""An index of OpenSearch or Elasticsearch, read with `_search` and a point in time.

A point in time is a frozen view of the index; the documents come in the order of a sort key that is unique in it:

    _shard_doc   Elasticsearch, OpenSearch from 3.3: free, but valid in this point in time only
    _id          OpenSearch before 3.3; the server loads all ids into its field data

A sparse vector is a field of the type rank_features or sparse_vector: its tokens are strings and stay so. The vector is
read from `_source`, as it was indexed, not from the index, which rounds it.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote

from lsr.errors import PositionExpired, SourceFailed
from lsr.exchange.servers.json_client import JsonClient, closing_on_error
from lsr.exchange.servers.remote import Access, Page, RemoteRow, RemoteVectors

KEEP_ALIVE: Final = "30m"  # of the point in time, from the latest request on: an interrupted import can go on so long

_SPARSE: Final = ("rank_features", "sparse_vector")
_DENSE: Final = {"knn_vector": "dimension", "dense_vector": "dims"}


class SearchEngineIndex:
    """An index of OpenSearch or Elasticsearch."""

    def __init__(self, source: str, server: str, index: str, access: Access) -> None:
        """Raises SourceFailed if the server cannot be reached or has no such index."""
        self.name = source
        self._path = f"/{quote(index, safe='')}"
        self._rows = access.rows
        self._client = JsonClient(server, headers(source.partition(":")[0], access.key), access.ca_file)
        with closing_on_error(self._client):
            version = self._client.request("GET", "/")
            mappings = self._client.request("GET", f"{self._path}/_mapping")
            counted = self._client.request("GET", f"{self._path}/_count")
            try:
                self._is_opensearch = version["version"].get("distribution") == "opensearch"
                self._version = tuple(map(int, version["version"]["number"].split("-")[0].split(".")[:2]))
                self.vectors = _vectors(mappings)
                self.count: int | None = int(counted["count"])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise SourceFailed(f"{source}: not an answer of a search engine: {error!r}") from None

    def pages(self, position: Any, wanted: Sequence[str]) -> Iterator[Page]:
        """Yield the documents after `position`, {"pit": …, "after": […]}, with the vectors `wanted`."""
        pit, after = (position["pit"], position["after"]) if position is not None else (self._open_pit(), None)
        while True:
            hits, pit = self._hits(pit, after)
            try:
                rows = [self._row(hit, wanted) for hit in hits]
                after = hits[-1]["sort"] if hits else None
            except (KeyError, TypeError, AttributeError) as error:
                raise SourceFailed(f"{self.name}: a hit cannot be read: {error!r}") from None
            last = len(hits) < self._rows
            yield Page(rows, None if last else {"pit": pit, "after": after})
            if last:
                self._close_pit(pit)
                return

    def close(self) -> None:
        """Close the connections; the point in time stays for KEEP_ALIVE, for an import that continues."""
        self._client.close()

    def _open_pit(self) -> str:
        kind = "_search/point_in_time" if self._is_opensearch else "_pit"
        answer = self._client.request("POST", f"{self._path}/{kind}?keep_alive={KEEP_ALIVE}")
        try:
            return str(answer["pit_id" if self._is_opensearch else "id"])
        except (KeyError, TypeError):
            raise SourceFailed(f"{self.name}: the answer about a point in time has no id") from None

    def _close_pit(self, pit: str) -> None:
        if self._is_opensearch:
            self._client.request("DELETE", "/_search/point_in_time", {"pit_id": [pit]})
        else:
            self._client.request("DELETE", "/_pit", {"id": pit})

    def _hits(self, pit: str, after: Any) -> tuple[list[Any], str]:
        by_place = not self._is_opensearch or self._version >= (3, 3)
        body: dict[str, Any] = {
            "size": self._rows,
            "pit": {"id": pit, "keep_alive": KEEP_ALIVE},
            "sort": [{"_shard_doc" if by_place else "_id": "asc"}],
            "track_total_hits": False,
        }
        if after is not None:
            body["search_after"] = after
        if not self._is_opensearch and self._version >= (9, 2):  # which leaves vectors out of _source otherwise
            body["_source"] = {"exclude_vectors": False}
        try:
            answer = self._client.request("POST", "/_search", body)
        except SourceFailed as error:
            if error.status == 404 and after is not None:
                raise PositionExpired(f"{self.name}: the point in time has expired") from None
            raise
        try:
            failed = answer.get("_shards", {}).get("failed", 0)
            if failed or answer.get("timed_out"):
                raise SourceFailed(f"{self.name}: the answer is incomplete: {failed} shards failed")
            return answer["hits"]["hits"], str(answer.get("pit_id", pit))
        except (KeyError, TypeError, AttributeError) as error:
            raise SourceFailed(f"{self.name}: not an answer of a search engine: {error!r}") from None

    def _row(self, hit: Mapping[str, Any], wanted: Sequence[str]) -> RemoteRow:
        if "_source" not in hit:
            raise SourceFailed(f"{self.name}: document {hit['_id']!r} has no _source: the index does not keep it")
        fields = hit["_source"]
        taken = {name: _take(fields, name) for name in (*self.vectors.sparse, *self.vectors.dense)}
        sparse = {name: taken[name] for name in self.vectors.sparse if name in wanted and taken[name] is not None}
        dense = {name: taken[name] for name in self.vectors.dense if name in wanted and taken[name] is not None}
        return RemoteRow(str(hit["_id"]), fields, sparse, dense)


def headers(kind: str, key: str | None) -> dict[str, str]:
    """Return the header for a key: user:password as Basic, else Elasticsearch's ApiKey or OpenSearch's Bearer."""
    if key is None:
        return {}
    if ":" in key:
        return {"authorization": "Basic " + base64.b64encode(key.encode()).decode()}
    return {"authorization": f"{'ApiKey' if kind == 'elasticsearch' else 'Bearer'} {key}"}


def _vectors(mappings: Mapping[str, Any]) -> RemoteVectors:
    """Return the vector fields of all indices behind a name; a field inside an object is named by its path."""
    sparse: dict[str, None] = {}
    dense: dict[str, int] = {}
    for index in mappings.values():
        for path, field in _fields(index["mappings"].get("properties", {}), ""):
            kind = field.get("type")
            if kind in _SPARSE:
                sparse[path] = None
            elif kind in _DENSE and _DENSE[kind] in field:
                dense[path] = int(field[_DENSE[kind]])
    return RemoteVectors(tuple(sparse), dense)


def _fields(properties: Mapping[str, Any], before: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, field in properties.items():
        yield before + name, field
        if field.get("type", "object") == "object":
            yield from _fields(field.get("properties", {}), f"{before}{name}.")


def _take(fields: dict[str, Any], path: str) -> Any:
    """Remove and return the field at a path, written with dots in its name or as an object; None if it is missing."""
    if path in fields:
        return fields.pop(path)
    name, dot, rest = path.partition(".")
    inner = fields.get(name)
    return _take(inner, rest) if dot and isinstance(inner, dict) else None
