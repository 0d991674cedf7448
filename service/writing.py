"""One write, from the body of a request to what the answer says. Runs in a worker thread."""

from __future__ import annotations

from typing import Any, Final

from lsr.collection import Collection
from lsr.errors import InvalidDocument
from service.document_bodies import WriteError, parse_batch
from service.problems import FieldError, ProblemError

MAX_LISTED: Final = 1_000


def write_body(collection: Collection, body: bytes, media_type: str) -> dict[str, Any]:
    """Write the good documents of `body` as one durable batch and report the others.

    Raises ProblemError when no document was accepted, and what the collection raises.
    """
    batch = parse_batch(body, media_type)
    errors = list(batch.errors)
    good = []
    for line, document in batch.documents:
        try:
            collection.check(document)
        except InvalidDocument as error:
            errors.append(WriteError(line, document.id, error.code, error.detail))
        else:
            good.append(document)
    errors.sort()
    if not good:
        raise _all_refused(errors)
    result = collection.write(good)
    return {
        "seq": result.seq,
        "durable": True,
        "accepted": result.accepted,
        "failed": len(errors),
        "errors": [error._asdict() for error in errors[:MAX_LISTED]],
    }


def _all_refused(errors: list[WriteError]) -> ProblemError:
    first = errors[0]
    return ProblemError(
        422,
        "invalid-document",
        "Invalid document",
        f"no document was accepted; line {first.line}: {first.code}: {first.detail}",
        errors=[FieldError(f"line {error.line}", f"{error.code}: {error.detail}") for error in errors],
    )
