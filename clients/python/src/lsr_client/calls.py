"""Every call of the API as data: what is sent, and what its answer becomes. The clients only send them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter, ValidationError

from lsr_client import models
from lsr_client.errors import UnexpectedAnswer

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request. `answer` is the type of its answer; `repeatable` if doing it twice is the same as once."""

    method: str
    path: str
    answer: Any
    body: Any = None
    lines: Sequence[bytes] | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    repeatable: bool = True

    def content(self) -> tuple[bytes | None, dict[str, str]]:
        """Return the body and its headers."""
        if self.lines is not None:
            return b"".join(self.lines), {"Content-Type": "application/x-ndjson"}
        if self.body is None:
            return None, {}
        return _json(self.body), {"Content-Type": "application/json"}

    def read(self, content: bytes) -> T:
        """Return the answer; raise UnexpectedAnswer for a body of another form."""
        if self.answer is None:
            return None  # type: ignore[return-value]
        try:
            read: T = TypeAdapter(self.answer).validate_json(content)
        except ValidationError as error:
            raise UnexpectedAnswer(f"{self.method} {self.path}: {error}") from None
        return read


def search(collection: str, query: Any, options: Mapping[str, Any]) -> Call[models.SearchAnswer]:
    """Search."""
    return Call("POST", _path("collections", collection, "search"), models.SearchAnswer, search_body(query, options))


def search_many(collection: str, searches: Sequence[Mapping[str, Any]]) -> Call[models.BatchAnswer]:
    """Several searches in one request."""
    return Call(
        "POST", _path("collections", collection, "search:batch"), models.BatchAnswer, {"searches": list(searches)}
    )


def search_body(query: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request of a search; a string is a text."""
    return {"query": {"text": query} if isinstance(query, str) else query, **options}


def write(collection: str, documents: Iterable[Mapping[str, Any] | BaseModel]) -> Call[models.WriteAnswer | models.Job]:
    """Write documents; each replaces the one with its id."""
    return write_lines(collection, [line_of(one) for one in documents])


def write_lines(collection: str, lines: Sequence[bytes]) -> Call[models.WriteAnswer | models.Job]:
    """Write documents that are lines already."""
    return Call("POST", _path("collections", collection, "documents"), models.WriteAnswer | models.Job, lines=lines)


def line_of(document: Mapping[str, Any] | BaseModel) -> bytes:
    """Return a document as a line of NDJSON; a document that was read can be written again."""
    if isinstance(document, BaseModel):
        document = document.model_dump(exclude_none=True)
    return _json(document) + b"\n"


def get(collection: str, id: str, *, vectors: bool = False) -> Call[models.Document]:
    """A document."""
    path = _path("collections", collection, "documents", id)
    return Call("GET", path, models.Document, parameters={"vectors": "true"} if vectors else {})


def get_many(collection: str, ids: Sequence[str], *, vectors: bool = False) -> Call[models.FoundDocuments]:
    """Documents by id."""
    path = _path("collections", collection, "documents:get")
    return Call("POST", path, models.FoundDocuments, {"ids": list(ids), "vectors": vectors})


def page(
    collection: str,
    after: str | None,
    size: int,
    *,
    vectors: bool = False,
    filter: Mapping[str, Any] | None = None,
) -> Call[models.DocumentPage]:
    """The documents behind an id; with `filter` those that match it."""
    parameters = {"size": size, "vectors": str(vectors).lower(), **({} if after is None else {"after": after})}
    if filter is not None:
        parameters["filter"] = _json(filter).decode()
    return Call("GET", _path("collections", collection, "documents"), models.DocumentPage, parameters=parameters)


def patch(collection: str, id: str, metadata: Mapping[str, Any]) -> Call[models.PatchAnswer | models.Job]:
    """Set metadata; a value of None removes the key."""
    path = _path("collections", collection, "documents", id)
    return Call("PATCH", path, models.PatchAnswer | models.Job, {"metadata": dict(metadata)})


def delete(
    collection: str, ids: Sequence[str] | None, filter: Mapping[str, Any] | None, *, dry_run: bool
) -> Call[models.DeleteAnswer | models.Job]:
    """Delete by ids or by a filter."""
    if (ids is None) == (filter is None):
        raise ValueError("give either ids or a filter")
    chosen = {"filter": dict(filter)} if filter is not None else {"ids": list(ids or ())}
    path = _path("collections", collection, "documents:delete")
    return Call("POST", path, models.DeleteAnswer | models.Job, {**chosen, "dry_run": dry_run})


def job(id: str) -> Call[models.Job]:
    """A job."""
    return Call("GET", _path("jobs", id), models.Job)


def collections() -> Call[models.Collections]:
    """All collections."""
    return Call("GET", _path("collections"), models.Collections)


def collection(name: str) -> Call[models.Collection]:
    """One collection."""
    return Call("GET", _path("collections", name), models.Collection)


def create(name: str, config: Mapping[str, Any]) -> Call[models.Collection]:
    """A new collection. A repetition could find its own work, so it is not repeated."""
    return Call("PUT", _path("collections", name), models.Collection, dict(config), repeatable=False)


def change(name: str, changes: Mapping[str, Any]) -> Call[models.Collection]:
    """Other search defaults, or further fields of the schema."""
    return Call("PATCH", _path("collections", name), models.Collection, dict(changes))


def drop(name: str) -> Call[None]:
    """Remove a collection."""
    return Call("DELETE", _path("collections", name), None, repeatable=False)


def alias(name: str, target: str) -> Call[models.Alias]:
    """Let a name point to a collection."""
    return Call("PUT", _path("aliases", name), models.Alias, {"collection": target})


def suggest(name: str, text: str) -> Call[dict[str, Any]]:
    """Titles and words that begin as the text ends."""
    return Call("GET", _path("collections", name, "suggest"), dict[str, Any], parameters={"prefix": text})


def _path(*parts: str) -> str:
    """Return a path; its first and third part are ours, the others are names of users and are quoted."""
    return "v1/" + "/".join(part if at % 2 == 0 else quote(part, safe="") for at, part in enumerate(parts))


def _json(value: Any) -> bytes:
    """Return strict JSON: no NaN, and text as UTF-8."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()


def answer_of(content: Mapping[str, Any], answer: type[T]) -> T:
    """Return a job's result as the answer of its call; raise UnexpectedAnswer."""
    try:
        return TypeAdapter(answer).validate_python(content)
    except ValidationError as error:
        raise UnexpectedAnswer(f"the result of a job: {error}") from None
