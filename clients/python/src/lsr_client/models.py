"""The service's answers. Fields that a newer service adds are kept (`model_extra`)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    model_config = ConfigDict(extra="allow", frozen=True)


class MatchedTerm(_Answer):
    """A term of the query that a document holds; `contribution` is the product of both weights."""

    token: str
    query_weight: float
    doc_weight: float
    contribution: float


class Leg(_Answer):
    """What one list added to a hit; `rank` is None where the list does not hold the document."""

    using: str
    rank: int | None
    score: float
    contribution: float
    matched: list[MatchedTerm] | None = None
    other_terms: float | None = None


class Highlight(_Answer):
    """A matched part of a field; `start` and `end` count Unicode characters."""

    field: str
    start: int
    end: int
    weight: float


class Hit(_Answer):
    """A document of the answer. What `include` left out is None."""

    id: str
    rank: int
    score: float
    title: str | None = None
    text: str | None = None
    parent: str | None = None
    metadata: dict[str, Any] | None = None
    rescored: bool
    legs: list[Leg]
    matched: list[MatchedTerm] | None = None
    other_terms: float | None = None
    highlights: list[Highlight] | None = None


class QueryTerm(_Answer):
    """A term of the encoded query; `origin` is input, expansion or prf."""

    token: str
    id: int
    weight: float
    origin: str
    using: str


class EncodedQuery(_Answer):
    """The query as it was searched."""

    terms: list[QueryTerm]


class Total(_Answer):
    """The number of matches: exact (eq), or at least `value` (gte)."""

    value: int
    relation: str


class SearchAnswer(_Answer):
    """The hits of a search, by descending score, then ascending id."""

    took_ms: float
    timings: dict[str, Any]
    query: EncodedQuery
    hits: list[Hit]
    total: Total
    facets: dict[str, Any]
    next_cursor: str | None
    approximate: bool
    partial: bool
    warnings: list[str]
    expected_recall: float | None = None


class BatchAnswer(_Answer):
    """The answers of several searches, in their order."""

    took_ms: float
    results: list[SearchAnswer]


class Document(_Answer):
    """A stored document; `vectors` where they were asked for."""

    id: str
    title: str
    text: str
    parent: str | None
    metadata: dict[str, Any]
    vectors: dict[str, Any] | None = None


class DocumentPage(_Answer):
    """Documents by ascending id; `next_after` continues, None on the last page."""

    documents: list[Document]
    next_after: str | None


class FoundDocuments(_Answer):
    """The documents of some ids, in their order, and the ids that do not exist."""

    documents: list[Document]
    missing: list[str]


class WriteError(_Answer):
    """A refused document; `line` counts from 1."""

    line: int
    id: str | None
    code: str
    detail: str


class WriteAnswer(_Answer):
    """Documents that are durable and visible, and those that were refused."""

    seq: int
    durable: bool
    accepted: int
    failed: int
    errors: list[WriteError]


class DeleteAnswer(_Answer):
    """A deletion, or with `dry_run` its count."""

    seq: int
    durable: bool
    deleted: int
    matched: int | None = None


class PatchAnswer(_Answer):
    """A change of metadata."""

    seq: int
    durable: bool


class Job(_Answer):
    """A write that takes longer; it is acknowledged when its status is done."""

    job: str
    collection: str
    status: Literal["waiting", "done", "failed"]
    durable: bool
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None


class Stored(_Answer):
    """The bytes of one kind of file, and the named vector that they belong to, if any."""

    kind: str
    vector: str | None
    bytes: int


class Collection(_Answer):
    """A collection's sizes, vectors, schema and search defaults.

    With a key that is bound to a filter, `segments`, `deleted`, `bytes` and `stored` are None.
    """

    name: str
    documents: int
    segments: int | None
    pending: int
    deleted: int | None
    bytes: int | None
    stored: list[Stored] | None = None
    vectors: dict[str, dict[str, Any]]
    fields: dict[str, str] = Field(alias="schema")
    seq: int
    damage: list[dict[str, Any]]
    search: dict[str, Any]
    notes: list[str]
    read_only: str | None = None


class Collections(_Answer):
    """All collections that open, and those that do not."""

    collections: list[Collection]
    broken: list[dict[str, Any]]


class Alias(_Answer):
    """A second name of a collection; `previous` is the one it pointed to before."""

    alias: str
    collection: str
    previous: str | None
