"""What a collection hands back: hits with scores and what matched, receipts of writes, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

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
    """The ranked hits of one query; `warnings` tells what the caller should know, such as a query without terms.

    `partial` means that a damaged segment was left out: better documents than these may be in it.
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
    """One named vector: the encoder's name (None: ready-made vectors only), its fingerprint, the vocabulary's size.

    `dtypes` are the precisions that a model has made the stored vectors in, `query_dtype` the one in which a model
    encodes queries here, None before it is loaded. The fingerprint covers neither.
    """

    encoder: str | None
    fingerprint: str | None
    terms: int
    dtypes: tuple[str, ...] = ()
    query_dtype: str | None = None


@dataclass(frozen=True, slots=True)
class CollectionInfo:
    """What a collection holds. `documents` counts the live ones, `deleted` those that a merge will drop.

    Segments with damage are taken out, and counted nowhere else.
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
    """What a load did. Lines are accepted or failed; `empty` of the accepted documents have no term at all."""

    accepted: int = 0
    failed: int = 0
    empty: int = 0
    segments: int = 0
    lines: int = 0
    seconds: float = 0.0  # of this run; a resumed load does not count the earlier ones


class Damage(NamedTuple):
    """A file that is not what was written. `documents` is how many live ones cannot be found because of it."""

    path: Path
    reason: str
    documents: int
