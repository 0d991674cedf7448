"""Documents in a request's body: a JSON list, or one document per line (NDJSON).

Each document is checked separately: an invalid one is reported with its line, and the others are kept. In a JSON body a
document's line is its position, from 1. If an id occurs twice in one request, the later document wins, as if the two
had been sent one after the other.

What a body becomes in memory is limited: a line of three bytes can cost a hundred times as much. Errors are counted,
and the first MAX_LISTED of them are kept, shortened. A body of more than MAX_DOCUMENTS
documents, valid or not, is refused as soon as that is known.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from lsr import strict_json
from lsr.documents import Document, parse_document
from lsr.errors import InvalidDocument, InvalidJson
from lsr.upkeep.seal_and_merge import SEAL_DOCUMENTS
from lsr.writing.changes import MAX_PENDING
from service.messages.json_schemas import document_schema
from service.problems import OTHER_NAMES, FieldProblem, ProblemError, problem_of, shortened

MAX_LISTED: Final = 1_000  # errors
# More could never be accepted: fewer than SEAL_DOCUMENTS may wait to be sealed for as long as no more come.
MAX_DOCUMENTS: Final = MAX_PENDING - SEAL_DOCUMENTS
NDJSON: Final = "application/x-ndjson"
MEDIA_TYPES: Final = (NDJSON, "application/json")
REQUEST_BODY: Final[dict[str, Any]] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "title": "DocumentBatch",
                "properties": {"documents": {"type": "array", "items": document_schema(), "minItems": 1}},
                "required": ["documents"],
                "additionalProperties": False,
            }
        },
        NDJSON: {
            "schema": {
                "type": "string",
                "description": "One document per line, each a JSON object as #/components/schemas/Document describes "
                "it. Lines end with a line feed; blank lines do not count, but have a number.",
                "contentMediaType": NDJSON,
            },
            "example": '{"id": "d1", "text": "a lobster roll"}\n{"id": "d2", "sparse": {"lobster": 2.1}}\n',
        },
    },
}


class WriteError(NamedTuple):
    """The error of the document on `line`."""

    line: int
    id: str | None
    code: str
    detail: str


class WriteErrors:
    """The errors of one request: their number, and the first MAX_LISTED by line.

    Errors are added in ascending order of lines by each of two sources: reading the body, and writing the documents.
    """

    def __init__(self) -> None:
        self.reading = 0
        self.writing = 0
        self._read: list[WriteError] = []
        self._written: list[WriteError] = []

    @property
    def count(self) -> int:
        """The number of all errors."""
        return self.reading + self.writing

    def add_unreadable(self, line: int, identifier: str | None, code: str, detail: str) -> None:
        """Add a line that is not a document."""
        self.reading += 1
        if len(self._read) < MAX_LISTED:
            self._read.append(WriteError(line, identifier, code, shortened(detail)))

    def add_refused(self, line: int, identifier: str, code: str, detail: str) -> None:
        """Add a document that the collection refused."""
        self.writing += 1
        if len(self._written) < MAX_LISTED:
            self._written.append(WriteError(line, identifier, code, shortened(detail)))

    def listed(self) -> list[WriteError]:
        """Return the errors that are kept, by line."""
        return sorted(self._read + self._written, key=lambda error: error.line)[:MAX_LISTED]


class NumberedDocument(NamedTuple):
    """A document and its line."""

    line: int
    document: Document


class Batch(NamedTuple):
    """The valid documents of a body, and the errors of the others."""

    documents: list[NumberedDocument]
    errors: WriteErrors


def parse_batch(body: bytes, media_type: str) -> Batch:
    """Read the documents of a body.

    Raises ProblemError if the whole body does not have the format of `media_type`, and if it has too many documents.
    """
    batch = Batch([], WriteErrors())
    body = body.removeprefix(BOM_UTF8)
    if media_type == NDJSON:
        _check_size(body)
        for line, raw in _lines(body):
            _check_room(batch)
            try:
                value = strict_json.loads(raw)
            except InvalidJson as error:
                batch.errors.add_unreadable(line, None, "malformed_json", str(error))
            else:
                _add(batch, line, value)
    else:
        for line, value in enumerate(_listed(body), 1):
            _check_room(batch)
            _add(batch, line, value)
    if not batch.documents and not batch.errors.count:
        raise FieldProblem("documents", "this request has no document")
    return batch


def identifier(value: object) -> str | None:
    """Return the id of a refused document, if it has one."""
    if not isinstance(value, dict):
        return None
    found = value.get("id", value.get("_id"))
    return found[:512] if isinstance(found, str) else None


def _check_size(body: bytes) -> None:
    """Raise a 400 problem for lines that together have too many values: what one line has, `loads` checks."""
    try:
        strict_json.check_size(body)
    except InvalidJson as error:
        raise problem_of(error) from None


def _check_room(batch: Batch) -> None:
    if len(batch.documents) + batch.errors.reading >= MAX_DOCUMENTS:
        raise ProblemError(
            413,
            "batch-too-large",
            "Batch too large",
            f"a request may have at most {MAX_DOCUMENTS} documents; send them in several requests. Nothing was written",
        )


def _add(batch: Batch, line: int, value: object) -> None:
    try:
        batch.documents.append(NumberedDocument(line, parse_document(value)))
    except InvalidDocument as error:
        batch.errors.add_unreadable(line, identifier(value), error.code, error.detail)


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
        raise FieldProblem("body", 'must be an object {"documents": […]}')
    unknown = sorted(set(value) - {"documents"})
    if unknown:
        hint = OTHER_NAMES.get(unknown[0])
        raise FieldProblem(unknown[0], f"unknown field; {hint}" if hint else "unknown field")
    documents = value.get("documents")
    if not isinstance(documents, list):
        raise FieldProblem("documents", "must be a list of documents")
    return documents
