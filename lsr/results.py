"""What a collection returns: hits with scores and matched terms, receipts of writes, and its own description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from lsr.documents import Document


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the encoded query. `origin` says whether it comes from the user's query or was added."""

    token: str
    term_id: int
    weight: float
    origin: Literal["input", "expansion", "prf"]


@dataclass(frozen=True, slots=True)
class MatchedTerm:
    """A term that query and document share; `contribution` is the product of the two weights."""

    token: str
    query_weight: float
    doc_weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked document. The contributions of `matched` plus `other_terms` add up to `score`."""

    id: str
    rank: int  # from 1
    score: float
    document: Document
    matched: tuple[MatchedTerm, ...] = ()
    other_terms: float = 0.0


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock milliseconds of the three steps of a search."""

    encode: float
    search: float
    fetch: float

    @property
    def total(self) -> float:
        """The sum of the three, in milliseconds."""
        return self.encode + self.search + self.fetch


@dataclass(frozen=True, slots=True)
class Total:
    """The number of documents that match: exactly (`eq`) or at least (`gte`)."""

    value: int
    relation: Literal["eq", "gte"]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The ranked hits of one query, with warnings for the caller, such as a query without terms.

    `partial` means that a damaged segment was not searched: it may contain better documents.
    """

    hits: tuple[Hit, ...]
    query_terms: tuple[QueryTerm, ...]
    timings: Timings
    total: Total
    approximate: bool
    warnings: tuple[str, ...] = field(default=())
    partial: bool = False


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The receipt of a durable change. `seq` numbers the changes of a collection; `accepted` counts documents."""

    seq: int
    accepted: int


@dataclass(frozen=True, slots=True)
class VectorInfo:
    """One named vector: the encoder's name (None: ready-made vectors only), its fingerprint, the vocabulary's size."""

    encoder: str | None
    fingerprint: str | None
    terms: int


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """A collection's contents. `documents` counts the live ones, `deleted` those that a merge will drop.

    Damaged segments are counted in `damage` only.
    """

    name: str
    documents: int
    segments: int
    pending: int
    deleted: int
    bytes: int  # on disk
    vectors: Mapping[str, VectorInfo]
    schema: Mapping[str, str]
    seq: int
    damage: tuple[Damage, ...] = ()


@dataclass(frozen=True, slots=True)
class IndexReport:
    """The result of a load. Each line is accepted or failed; `empty` counts the accepted documents without a term."""

    accepted: int = 0
    failed: int = 0
    empty: int = 0
    segments: int = 0
    lines: int = 0
    seconds: float = 0.0  # of this run; a resumed load does not count the earlier ones


class Damage(NamedTuple):
    """A damaged file. `documents` is the number of live documents that cannot be found because of it."""

    path: Path
    reason: str
    documents: int
