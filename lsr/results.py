"""What a collection returns: hits with scores and matched terms, receipts of writes, and its own description."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lsr.documents import DEFAULT_VECTOR, Document


@dataclass(frozen=True, slots=True)
class QueryTerm:
    """A term of the encoded query. `origin` says whether it comes from the user's query or was added."""

    token: str
    term_id: int
    weight: float
    origin: Literal["input", "expansion", "prf"]
    using: str = DEFAULT_VECTOR  # whose term it is


@dataclass(frozen=True, slots=True)
class MatchedTerm:
    """A term that query and document share; `contribution` is the product of the two weights."""

    token: str
    query_weight: float
    doc_weight: float
    contribution: float


@dataclass(frozen=True, slots=True)
class LegScore:
    """What one list of a ranking gave a document: its raw `score` there, and what that contributed to the hit's.

    The contributions of `matched` plus `other_terms` add up to the raw score of a sparse list.
    """

    using: str  # the named vector; "scores" for scores from elsewhere
    rank: int | None  # from 1; None where the list does not hold the document
    score: float
    contribution: float
    matched: tuple[MatchedTerm, ...] = ()
    other_terms: float = 0.0


@dataclass(frozen=True, slots=True)
class BoostScore:
    """What a metadata field added to a hit's score."""

    field: str
    contribution: float


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A further hit of a group."""

    id: str
    score: float


@dataclass(frozen=True, slots=True)
class Group:
    """The group that a hit represents: the value of the field, and its next hits."""

    field: str
    value: Any
    hits: tuple[GroupMember, ...] = ()


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage next to a hit; `position` is relative to it: -1 stands just before."""

    id: str
    position: int
    text: str


@dataclass(frozen=True, slots=True)
class Hit:
    """One ranked document. The contributions of `legs` and `boosts` add up to `score`.

    Of a ranking by one sparse list, those of `matched` plus `other_terms` do so too.
    """

    id: str
    rank: int  # from 1
    score: float
    document: Document
    matched: tuple[MatchedTerm, ...] = ()
    other_terms: float = 0.0
    legs: tuple[LegScore, ...] = ()
    boosts: tuple[BoostScore, ...] = ()
    rescored: bool = False  # a dense vector's similarity is in the score
    group: Group | None = None
    duplicates: tuple[str, ...] = ()  # ids of near-duplicates that were folded into this hit
    passages: tuple[Passage, ...] = ()


@dataclass(frozen=True, slots=True)
class Timings:
    """Wall-clock milliseconds of the steps of a search."""

    encode: float
    search: float
    fetch: float
    rescore: float = 0.0
    explain: float = 0.0

    @property
    def total(self) -> float:
        """The sum of the steps, in milliseconds."""
        return self.encode + self.search + self.rescore + self.fetch + self.explain


@dataclass(frozen=True, slots=True)
class Total:
    """The number of documents that match: exactly (`eq`) or at least (`gte`)."""

    value: int
    relation: Literal["eq", "gte"]


@dataclass(frozen=True, slots=True)
class CachedFrom:
    """Where an answer from the cache comes from: the query that it was computed for, and how near that is."""

    query: str | None
    similarity: float


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The ranked hits of one query, with warnings for the caller, such as a query without terms.

    `partial` means that something is missing: a damaged segment was left out, or a late stage was skipped.
    `expected_recall` is the share of the true best documents that the first stages are expected to hold, the lowest of
    all of them: 1 after exact search, the measured recall for a recall target, None where nothing was measured.
    """

    hits: tuple[Hit, ...]
    query_terms: tuple[QueryTerm, ...]
    timings: Timings
    total: Total
    approximate: bool
    warnings: tuple[str, ...] = field(default=())
    partial: bool = False
    facets: Mapping[str, Any] = field(default_factory=dict)
    next_cursor: str | None = None
    cached: CachedFrom | None = None
    expected_recall: float | None = 1.0


@dataclass(frozen=True, slots=True)
class CacheLookups:
    """How often something was looked up in a cache; `category` is empty but for answers of near queries."""

    cache: str
    category: str
    hits: int
    misses: int


@dataclass(frozen=True, slots=True)
class CacheCounts:
    """What a collection's caches did since it was opened, and the bytes that they hold."""

    lookups: tuple[CacheLookups, ...]
    bytes: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The receipt of a durable change. `seq` numbers the changes of a collection; `accepted` counts documents."""

    seq: int
    accepted: int


@dataclass(frozen=True, slots=True)
class RecallInfo:
    """What recall targets were measured on: the queries' source and number, and when (ISO 8601, UTC)."""

    source: str
    queries: int
    made: str


@dataclass(frozen=True, slots=True)
class IndexInfo:
    """The index of a sparse vector: its settings (null: the build decides), and how the largest segment was built.

    `documents` is 0 without a segment. `observed` is what the build saw, `reasons` why it kept each structure or not;
    None and empty for a segment of an older version. `recall` is None where nothing was measured.
    """

    settings: Mapping[str, Any]
    documents: int = 0
    bytes: int = 0
    structures: Mapping[str, bool] = field(default_factory=dict)
    n_postings: int = 0  # that a candidate list keeps, times max_fraction
    observed: Mapping[str, Any] | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)
    recall: RecallInfo | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class VectorInfo:
    """One named vector: the encoder's name (None: ready-made vectors only), its fingerprint, the vocabulary's size.

    A dense one has no terms, but `dimensions`. `dtypes` are the precisions that a model computed the stored vectors in,
    `query_dtype` the one in which a model encodes queries here, None before it is loaded. The fingerprint covers
    neither. `index` describes the index of a sparse one; None for a part of the documents.
    """

    encoder: str | None
    fingerprint: str | None
    terms: int = 0
    kind: Literal["sparse", "dense"] = "sparse"
    dimensions: int | None = None
    dtypes: tuple[str, ...] = ()
    query_dtype: str | None = None
    index: IndexInfo | None = None


class StoredBytes(NamedTuple):
    """The bytes of one kind of file (see lsr/storage/sizes.py), and the named vector that they belong to, if any."""

    kind: str
    vector: str | None
    bytes: int


@dataclass(frozen=True, slots=True)
class SampleInfo:
    """The sample of real queries that a collection keeps: by vector, how many it holds, and how many there were."""

    queries: Mapping[str, int]
    seen: Mapping[str, int]


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
    stored: tuple[StoredBytes, ...]  # on disk
    vectors: Mapping[str, VectorInfo]
    schema: Mapping[str, str]
    seq: int
    damage: tuple[Damage, ...] = ()
    search: Mapping[str, Any] = field(default_factory=dict)  # the search defaults, as JSON
    notes: tuple[str, ...] = ()  # what its users should know
    read_only: str | None = None  # why nothing can be written, None where writes are accepted
    query_sample: SampleInfo | None = None
    is_part: bool = False  # of the documents that a filter matches: bytes, segments and deleted are not known

    @property
    def bytes(self) -> int:
        """The bytes of its files."""
        return sum(one.bytes for one in self.stored)


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
    what: str = "a damaged file"  # or a shard that does not answer
