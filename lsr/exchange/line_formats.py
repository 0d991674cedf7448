"""The formats with JSON lines: our own, Anserini's, OpenSearch's bulk body, Qdrant's points, Milvus's entities."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

import orjson

from lsr.documents import Document
from lsr.exchange.rows import VectorRow, VectorSource, dense_of, fields_of, in_batches

QDRANT_POINTS_A_LINE: Final = 256
# Qdrant's ids are numbers or UUIDs: an external id becomes a UUID in this namespace, the same in every export.
QDRANT_NAMESPACE: Final = uuid.UUID("8a1b7a0e-4c1f-5c7e-9d5e-6f1f0c2b9a77")


def jsonl_lines(source: VectorSource) -> Iterator[str]:
    """Yield our own lines: the document's fields, its vector by token, and its dense vectors."""
    for document, vector in source.by_token():
        dense = {name: {"dense": values} for name, values in _dense(document).items()}
        named = {"vectors": dense} if dense else {}
        yield _line({"id": document.id, **fields_of(document), "sparse": vector, **named})


def anserini_lines(source: VectorSource, scale: float) -> Iterator[str]:
    """Yield Anserini's JSON vectors: `contents`, and integer weights (weight × scale, rounded).

    A weight that rounds to 0 is dropped; Lucene's impacts start at 1.
    """
    for document, vector in source.by_token():
        impacts = {token: round(weight * scale) for token, weight in vector.items()}
        kept = {token: impact for token, impact in impacts.items() if impact > 0}
        yield _line({"id": document.id, "contents": document.full_text, "vector": kept})


def opensearch_lines(source: VectorSource) -> Iterator[str]:
    """Yield pairs of lines for POST /{index}/_bulk; the field of a vector has the vector's name.

    OpenSearch accepts it as rank_features or sparse_vector. Elasticsearch refuses tokens that contain a dot.
    """
    for document, vector in source.by_token():
        yield _line({"index": {"_id": document.id}})
        yield _line({**fields_of(document), source.vector_name: vector, **_dense(document)})


def qdrant_lines(source: VectorSource) -> Iterator[str]:
    """Yield bodies for PUT /collections/{name}/points; the document, with its id, is the payload."""
    for rows in in_batches(source.rows, QDRANT_POINTS_A_LINE):
        yield _line({"points": [_point(row, source) for row in rows]})


def milvus_lines(source: VectorSource) -> Iterator[str]:
    """Yield entities, elements of `data` in POST /v2/vectordb/entities/upsert; the sparse vector is {number: weight}.

    Milvus refuses a vector without a term: such documents are left out before. `metadata` is a field of type JSON.
    """
    for document, term_ids, weights in source.rows:
        numbers = map(str, source.numbers(term_ids).tolist())
        sparse = dict(zip(numbers, weights.tolist(), strict=True))
        yield _line({"id": document.id, **fields_of(document), source.vector_name: sparse, **_dense(document)})


def _point(row: VectorRow, source: VectorSource) -> dict[str, Any]:
    document: Document = row.document
    sparse = {"indices": source.numbers(row.term_ids).tolist(), "values": row.weights.tolist()}
    return {
        "id": str(uuid.uuid5(QDRANT_NAMESPACE, document.id)),
        "vector": {source.vector_name: sparse, **_dense(document)},
        "payload": {"id": document.id, **fields_of(document)},
    }


def _dense(document: Document) -> dict[str, Any]:
    """Return a document's dense vectors by name, with the shortest numbers that are those float32."""
    return {
        name: orjson.loads(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY))
        for name, values in dense_of(document).items()
    }


def _line(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
