"""Parts of the OpenAPI document that pydantic cannot derive: sparse vectors and documents (see lsr.documents)."""

from __future__ import annotations

from typing import Any, Final

from lsr.documents import MAX_DIMENSIONS, MAX_ID_BYTES

BY_TOKEN: Final = "SparseByToken"
_WEIGHT: Final = {"type": "number", "minimum": 0, "maximum": 3.4028234e38}
_INDEX: Final = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}


def sparse_schema(max_terms: int | None = None) -> dict[str, Any]:
    """Return the schema of a sparse vector in its two forms; `max_terms`: that of a query."""
    where = "" if max_terms is None else "Query"
    items = {} if max_terms is None else {"maxItems": max_terms}
    properties = {} if max_terms is None else {"maxProperties": max_terms}
    return {
        "anyOf": [
            {
                "type": "object",
                "title": f"{where}SparseByIndex",
                "properties": {
                    "indices": {"type": "array", "items": _INDEX, "uniqueItems": True, **items},
                    "values": {"type": "array", "items": _WEIGHT, **items},
                },
                "required": ["indices", "values"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "title": f"{where}{BY_TOKEN}",
                "propertyNames": {"minLength": 1},
                "additionalProperties": _WEIGHT,
                **properties,
            },
        ],
        "examples": [{"lobster": 2.1, "roll": 1.7}, {"indices": [17, 99], "values": [2.1, 1.7]}],
    }


def document_schema() -> dict[str, Any]:
    """Return the schema of a document."""
    sparse = sparse_schema()
    named = {
        "anyOf": [
            {
                "type": "object",
                "title": "SparseVectorInput",
                "properties": {"sparse": sparse},
                "required": ["sparse"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "title": "DenseVectorInput",
                "properties": {
                    "dense": {"type": "array", "items": {"type": "number"}, "minItems": 1, "maxItems": MAX_DIMENSIONS}
                },
                "required": ["dense"],
                "additionalProperties": False,
            },
            {"type": "null"},
        ]
    }
    return {
        "type": "object",
        "title": "Document",
        "properties": {
            "id": {"type": "string", "minLength": 1, "maxLength": MAX_ID_BYTES},
            "title": {"type": ["string", "null"]},
            "text": {"type": ["string", "null"]},
            "parent": {"type": ["string", "null"]},
            "metadata": {"type": ["object", "null"]},
            "sparse": {"anyOf": [*sparse["anyOf"], {"type": "null"}], "examples": sparse["examples"]},
            "vectors": {"anyOf": [{"type": "object", "additionalProperties": named}, {"type": "null"}]},
        },
        "required": ["id"],
        "additionalProperties": False,
    }
