"""Documents as they come in a request's body: a JSON list, or one document a line (NDJSON).

Each document is checked on its own, so that a bad one is reported by its line and the others are kept. In a JSON body
the documents are counted as lines, from 1. The same id twice in one request: the later one wins, as if they had been
sent one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lsr import strict_json
from lsr.documents import Document, parse_document
from lsr.errors import InvalidDocument, InvalidJson
from service.messages.json_schemas import document_schema
from service.problems import FieldProblem, problem_of

NDJSON: Final = "application/x-ndjson"
MEDIA_TYPES: Final = (NDJSON, "application/json")
REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"documents": {"type": "array", "items": document_schema(), "minItems": 1}},
                "required": ["documents"],
                "additionalProperties": False,
            }
        },
        NDJSON: {"schema": {"type": "string", "description": "A document a line"}},
    },
}


class WriteError(NamedTuple):
    """Why the document on `line` was refused."""

    line: int
    id: str | None
    code: str
    detail: str


class NumberedDocument(NamedTuple):
    """A document and the line it came from."""

    line: int
    document: Document


class Batch(NamedTuple):
    """The good documents of a body, and what is wrong with the others."""

    documents: list[NumberedDocument]
    errors: list[WriteError]


def parse_batch(body: bytes, media_type: str) -> Batch:
    """Read the documents of a body.

    Raises ProblemError when the body as a whole is not what `media_type` says.
    """
    batch = Batch([], [])
    if media_type == NDJSON:
        for line, raw in _lines(body):
            try:
                value = strict_json.loads(raw)
            except InvalidJson as error:
                batch.errors.append(WriteError(line, None, "malformed_json", str(error)))
            else:
                _add(batch, line, value)
    else:
        for line, value in enumerate(_listed(body), 1):
            _add(batch, line, value)
    if not batch.documents and not batch.errors:
        raise FieldProblem("documents", "there is no document in this request")
    return batch


def identifier(value: object) -> str | None:
    """Return the id that a refused document seems to have."""
    if not isinstance(value, dict):
        return None
    found = value.get("id", value.get("_id"))
    return found[:512] if isinstance(found, str) else None


def _add(batch: Batch, line: int, value: object) -> None:
    try:
        batch.documents.append(NumberedDocument(line, parse_document(value)))
    except InvalidDocument as error:
        batch.errors.append(WriteError(line, identifier(value), error.code, error.detail))


def _lines(body: bytes) -> Iterator[tuple[int, memoryview]]:
    """Yield the numbers and contents of the lines that are not blank, without copying the body."""
    view = memoryview(body)
    start, number = 0, 0
    while start < len(body):
        end = body.find(b"\n", start)
        end = len(body) if end < 0 else end
        number += 1
        if body[start:end].strip() if end - start < 8 else True:
            yield number, view[start:end]
        start = end + 1


def _listed(body: bytes) -> list[Any]:
    try:
        value = strict_json.loads(body)
    except InvalidJson as error:
        raise problem_of(error) from None
    if not isinstance(value, dict):
        raise FieldProblem("body", 'is an object {"documents": […]}')
    unknown = sorted(set(value) - {"documents"})
    if unknown:
        raise FieldProblem(unknown[0], "unknown field")
    documents = value.get("documents")
    if not isinstance(documents, list):
        raise FieldProblem("documents", "is a list of documents")
    return documents
