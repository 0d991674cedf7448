"""A Qdrant collection, read with its scroll API in ascending order of point ids.

Term numbers stay numbers. A point's id becomes the document's id as text, except for points that `lsr export` wrote:
their id is the UUID of the document's id, which stands in the payload.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from lsr.errors import SourceFailed
from lsr.exchange.line_formats import QDRANT_NAMESPACE
from lsr.exchange.servers.json_client import JsonClient, closing_on_error
from lsr.exchange.servers.remote import Access, Page, RemoteRow, RemoteVectors

UNNAMED = "dense"  # Qdrant's dense vector without a name


class QdrantCollection:
    """A collection of a Qdrant server."""

    def __init__(self, source: str, server: str, collection: str, access: Access) -> None:
        """Raises SourceFailed if the server cannot be reached or has no such collection."""
        self.name = source
        self._path = f"/collections/{quote(collection, safe='')}"
        self._rows = access.rows
        self._client = JsonClient(server, {} if access.key is None else {"api-key": access.key}, access.ca_file)
        with closing_on_error(self._client):
            info = self._client.request("GET", self._path)
            counted = self._client.request("POST", f"{self._path}/points/count", {"exact": True})
            try:
                parameters = info["result"]["config"]["params"]
                self.vectors = vectors_of(parameters)
                self.count: int | None = int(counted["result"]["count"])
            except (KeyError, TypeError, ValueError) as error:
                raise SourceFailed(f"{source}: not an answer of Qdrant: {error!r} is missing or wrong") from None

    def pages(self, position: Any, wanted: Sequence[str]) -> Iterator[Page]:
        """Yield the points after `position`, a point id, with the vectors `wanted`."""
        unnamed = UNNAMED in wanted and UNNAMED in self.vectors.dense
        body: dict[str, Any] = {"limit": self._rows, "with_payload": True}
        body["with_vector"] = unnamed or (list(wanted) if wanted else False)
        while True:
            if position is not None:
                body["offset"] = position
            answer = self._client.request("POST", f"{self._path}/points/scroll", body)
            try:
                rows = [row_of(point, wanted) for point in answer["result"]["points"]]
                position = answer["result"].get("next_page_offset")
            except (KeyError, TypeError, AttributeError) as error:
                raise SourceFailed(f"{self.name}: a point cannot be read: {error!r}") from None
            yield Page(rows, position)
            if position is None:
                return

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def vectors_of(parameters: Mapping[str, Any]) -> RemoteVectors:
    """Return the vectors that the parameters of a collection name."""
    dense = parameters.get("vectors") or {}
    if "size" in dense and not isinstance(dense["size"], Mapping):
        dense = {UNNAMED: dense}
    # A multi-vector has a list of vectors for each point; a collection here has one.
    single = {name: int(one["size"]) for name, one in dense.items() if not one.get("multivector_config")}
    return RemoteVectors(tuple(parameters.get("sparse_vectors") or {}), single)


def row_of(point: Mapping[str, Any], wanted: Sequence[str]) -> RemoteRow:
    """Return a point, as the HTTP API gives it, as a document."""
    vectors = point.get("vector") or {}
    if isinstance(vectors, list):
        vectors = {UNNAMED: vectors}
    chosen = {name: vectors[name] for name in wanted if vectors.get(name) is not None}
    identifier, payload = str(point["id"]), dict(point.get("payload") or {})
    external = payload.get("id")
    if isinstance(external, str) and str(uuid.uuid5(QDRANT_NAMESPACE, external)) == identifier:
        identifier = payload.pop("id")
    sparse = {name: vector for name, vector in chosen.items() if isinstance(vector, Mapping)}
    return RemoteRow(identifier, payload, sparse, {name: one for name, one in chosen.items() if name not in sparse})
