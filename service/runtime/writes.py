"""The changes that writes make to a collection, and their answers. Runs in a thread of the write queue."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from lsr.collection import Collection
from lsr.errors import EXPECTED_ERRORS, InvalidDocument
from lsr.part import Part
from lsr.results import WriteResult
from service.messages.document_bodies import Batch, WriteErrors, parse_batch
from service.problems import MAX_LISTED_ERRORS, FieldError, ProblemError


class Upsert(NamedTuple):
    """The body of a request with documents."""

    body: bytes
    media_type: str


def upsert_together(collection: Collection | Part, upserts: Sequence[Upsert]) -> list[dict[str, Any] | Exception]:
    """Write the documents of several requests as one batch; return the answer of each, or its error.

    If the whole batch is refused (too many pending writes, a full disk), each request is tried separately.
    """
    answers: list[dict[str, Any] | Exception] = []
    batches: list[Batch] = []
    for upsert in upserts:
        try:
            batches.append(parse_batch(upsert.body, upsert.media_type))
        except ProblemError as error:
            batches.append(Batch([], WriteErrors()))
            answers.append(error)
        else:
            answers.append({})
    documents = [numbered for batch in batches for numbered in batch.documents]
    ends = list(accumulate(len(batch.documents) for batch in batches))

    def refuse(position: int, error: InvalidDocument) -> None:
        line, document = documents[position]
        errors = batches[bisect_right(ends, position)].errors
        errors.add_refused(line, document.id, error.code, error.detail)

    try:
        result = collection.write([numbered.document for numbered in documents], on_problem=refuse)
    except EXPECTED_ERRORS as error:
        if len(upserts) == 1:
            return [answers[0] if isinstance(answers[0], Exception) else error]
        return [upsert_together(collection, [upsert])[0] for upsert in upserts]
    for at, batch in enumerate(batches):
        if not isinstance(answers[at], Exception):
            answers[at] = _answer(result, batch)
    return answers


def delete_documents(collection: Collection | Part, ids: Sequence[str], *, dry_run: bool) -> dict[str, Any]:
    """Delete by id, or only count the documents that would be deleted."""
    if dry_run:
        matched = sum(collection.get(identifier) is not None for identifier in dict.fromkeys(ids))
        return {"seq": collection.info().seq, "durable": True, "matched": matched, "deleted": 0}
    result = collection.delete(ids)
    return {"seq": result.seq, "durable": True, "matched": result.accepted, "deleted": result.accepted}


def delete_matching(collection: Collection | Part, condition: Mapping[str, Any], *, dry_run: bool) -> dict[str, Any]:
    """Delete the documents that match a filter, or only count them."""
    ids = collection.matching(condition)
    if dry_run:
        return {"seq": collection.info().seq, "durable": True, "matched": len(ids), "deleted": 0}
    return delete_documents(collection, ids, dry_run=False)


def delete_document(collection: Collection | Part, identifier: str) -> dict[str, Any]:
    """Delete one document; raises a 404 problem if it does not exist."""
    result = collection.delete([identifier])
    if not result.accepted:
        raise document_not_found(collection.name, identifier)
    return {"seq": result.seq, "durable": True, "deleted": 1}


def patch_document(collection: Collection | Part, identifier: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Change some metadata of a document; raises a 404 problem if it does not exist."""
    result = collection.patch(identifier, metadata)
    if result is None:
        raise document_not_found(collection.name, identifier)
    return {"seq": result.seq, "durable": True}


def document_not_found(collection: str, identifier: str) -> ProblemError:
    """Return the 404 problem for a document."""
    return ProblemError(
        404,
        "document-not-found",
        "Document not found",
        f"collection {collection!r} has no document {identifier!r:.200}",
    )


def _answer(result: WriteResult, batch: Batch) -> dict[str, Any] | ProblemError:
    errors = batch.errors
    accepted = len(batch.documents) - errors.writing
    listed = errors.listed()
    if not accepted:
        first = listed[0]
        return ProblemError(
            422,
            "invalid-document",
            "Invalid document",
            f"no document was accepted; line {first.line}: {first.code}: {first.detail}",
            errors=[
                FieldError(f"line {error.line}", f"{error.code}: {error.detail}")
                for error in listed[:MAX_LISTED_ERRORS]
            ],
        )
    return {
        "seq": result.seq,
        "durable": True,
        "accepted": accepted,
        "failed": errors.count,
        "errors": [error._asdict() for error in listed],
    }
