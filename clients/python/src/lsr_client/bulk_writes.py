"""Any number of documents as requests of a bounded size."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from lsr_client import calls, models
from lsr_client.errors import LsrError

DOCUMENTS = 1000  # per request
BYTES = 4 << 20  # of a request; the service reads up to 32 MiB


@dataclass(frozen=True)
class Batch:
    """Lines of documents; `first` is the position of the first of them, from 0."""

    first: int
    lines: list[bytes]


@dataclass
class BulkResult:
    """What was written so far. `refused` has the position of each refused document in the iterable, from 0."""

    accepted: int = 0
    refused: list[tuple[int, models.WriteError]] = field(default_factory=list)
    sent: int = 0

    def add(self, batch: Batch, answer: models.WriteAnswer) -> None:
        """Note a batch's answer."""
        self.sent += len(batch.lines)
        self.accepted += answer.accepted
        self.refused.extend((batch.first + error.line - 1, error) for error in answer.errors)


class BulkFailed(LsrError):
    """A bulk write that ended early: `result` is what was acknowledged, `__cause__` the reason.

    Writing the same documents again is safe.
    """

    def __init__(self, result: BulkResult, cause: Exception) -> None:
        self.result = result
        super().__init__(f"{result.accepted} documents were written, then: {cause}")


def batches(
    documents: Iterable[Mapping[str, Any] | BaseModel], most_documents: int = DOCUMENTS, most_bytes: int = BYTES
) -> Iterator[Batch]:
    """Yield the documents as batches; one that is larger than `most_bytes` is a batch of its own."""
    first, size = 0, 0
    lines: list[bytes] = []
    for document in documents:
        line = calls.line_of(document)
        if lines and (len(lines) == most_documents or size + len(line) > most_bytes):
            yield Batch(first, lines)
            first, lines, size = first + len(lines), [], 0
        lines.append(line)
        size += len(line)
    if lines:
        yield Batch(first, lines)


def all_refused(batch: Batch, errors: Iterable[Mapping[str, Any]]) -> models.WriteAnswer | None:
    """Return the answer of a batch that the service refused as a whole because every document is wrong (422); it lists
    the first of them.

    None if the errors do not name lines, so the request itself is wrong.
    """
    found = []
    for error in errors:
        line = str(error.get("field", "")).removeprefix("line ")
        if not line.isdigit() or not 0 < int(line) <= len(batch.lines):
            return None
        code, _, detail = str(error.get("detail", "")).partition(": ")
        id = json.loads(batch.lines[int(line) - 1]).get("id")
        found.append(
            models.WriteError(line=int(line), id=id if isinstance(id, str) else None, code=code, detail=detail)
        )
    if not found:
        return None
    return models.WriteAnswer(seq=0, durable=True, accepted=0, failed=len(batch.lines), errors=found)
