"""Documents as they are read back: one, many by id, or a page of all, with their vectors if asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lsr import strict_json
from lsr.documents import Document
from lsr.errors import InvalidJson
from lsr.reading import Reader
from service.messages.rendering import render_document
from service.problems import FieldProblem


def read_documents(collection: Reader, ids: Sequence[str], *, vectors: bool) -> dict[str, Any]:
    """Return the documents with these ids, in their order, and the ids that do not exist."""
    found, missing = [], []
    kinds = vector_kinds(collection) if vectors else None
    for identifier in dict.fromkeys(ids):
        document = collection.get(identifier)
        if document is None:
            missing.append(identifier)
        else:
            found.append(render_with(collection, document, kinds))
    return {"documents": found, "missing": missing}


def parse_condition(text: str | None) -> dict[str, Any] | None:
    """Return the filter that a query string holds as JSON. Raises FieldProblem for anything but an object."""
    if text is None:
        return None
    try:
        condition = strict_json.loads(text)
    except InvalidJson as error:
        raise FieldProblem("filter", str(error)) from None
    if not isinstance(condition, dict):
        raise FieldProblem("filter", 'a JSON object is needed, such as {"year": 2020}')
    return condition


def list_documents(
    collection: Reader, after: str | None, size: int, *, vectors: bool, condition: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return a page of the documents by ascending id, and the id after which the next page begins.

    condition   list only the documents that match this filter

    Raises QueryError, UnknownField.
    """
    page = collection.page(after, size + 1, filter=condition)
    kinds = vector_kinds(collection) if vectors else None
    shown = [render_with(collection, document, kinds) for document in page[:size]]
    return {"documents": shown, "next_after": page[size - 1].id if len(page) > size else None}


def vector_kinds(collection: Reader) -> dict[str, str]:
    """Return `sparse` or `dense` for each named vector."""
    return {name: info.kind for name, info in collection.info().vectors.items()}


def render_with(collection: Reader, document: Document, kinds: Mapping[str, str] | None) -> dict[str, Any]:
    """Return a document; with the `kinds` of the vectors, in the form in which it can be written again."""
    rendered = render_document(document)
    if kinds is not None:
        rendered["vectors"] = {
            name: {kind: values}
            for name, kind in kinds.items()
            if (values := _values(collection, document.id, name, kind))
        }
    return rendered


def _values(collection: Reader, identifier: str, name: str, kind: str) -> dict[str, float] | list[float] | None:
    """Return a vector by token, or as a list of numbers; nothing where the document has none."""
    if kind == "sparse":
        return collection.vector(identifier, name)
    numbers = collection.dense_vector(identifier, name)
    return numbers.tolist() if numbers is not None and numbers.any() else None
