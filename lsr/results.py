"""What a search hands back: hits with scores, what matched, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from lsr.documents import Document


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the encoded query. `origin` says whether the user typed it."""

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
    """How many documents match: exactly (`eq`) or at least (`gte`)."""

    value: int
    relation: Literal["eq", "gte"]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The ranked hits of one query; `warnings` tells what the caller should know, such as a query without terms."""

    hits: tuple[Hit, ...]
    query_terms: tuple[QueryTerm, ...]
    timings: Timings
    total: Total
    approximate: bool
    warnings: tuple[str, ...] = field(default=())
