"""The service's answers, as models for the OpenAPI document. rendering.py writes the answers themselves."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class FieldErrorModel(BaseModel):
    """An error in one field."""

    field: str
    detail: str


class ProblemModel(BaseModel):
    """An error (RFC 9457)."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    request_id: str
    errors: list[FieldErrorModel] | None = None


class ObservedModel(BaseModel):
    """What a build saw of the documents, and of the sample queries, if it had any."""

    n_docs: int
    impacts: int
    concentration: float = Field(description="Share of the documents' mass in their heaviest terms; flat below 0.35")
    queries: int
    query_terms: float | None
    query_postings: float | None


class RecallModel(BaseModel):
    """What recall targets were measured on."""

    source: str
    queries: int
    made: str


class IndexModel(BaseModel):
    """The index of a sparse vector: its settings (null: the build decides), and what the build of the largest segment
    chose. `documents` is 0 without a segment; `observed` is null for a segment that an older version wrote."""

    settings: dict[str, Any]
    documents: int
    bytes: int
    structures: dict[str, bool]
    n_postings: int
    observed: ObservedModel | None
    reasons: dict[str, str]
    recall: RecallModel | None


class VectorModel(BaseModel):
    """A named vector of a collection. To a key that is bound to a filter, `index` is null."""

    encoder: str | None
    fingerprint: str | None
    dense: bool
    terms: int | None = None
    dimensions: int | None = None
    index: IndexModel | None = None


class DamageModel(BaseModel):
    """A damaged file, and the number of documents that cannot be found because of it."""

    file: str
    reason: str
    documents: int


class SampleModel(BaseModel):
    """The sample of real queries: by vector, how many it holds, and how many there were."""

    queries: dict[str, int]
    seen: dict[str, int]


class StoredModel(BaseModel):
    """The bytes of one kind of file, and the named vector that they belong to, if any."""

    kind: Literal["catalog", "documents", "forward", "candidates", "postings", "neighbours", "dense"]
    vector: str | None
    bytes: int


class CollectionModel(BaseModel):
    """A collection. While `damage` is not empty, searches return partial results and writes are refused.

    To a key that is bound to a filter, `segments`, `deleted`, `bytes` and `stored` are null; to any bound key
    `query_sample` is.
    """

    model_config = ConfigDict(populate_by_name=True)

    name: str
    documents: int
    segments: int | None
    pending: int
    deleted: int | None
    bytes: int | None
    stored: list[StoredModel] | None = Field(description="The same bytes by what the files hold")
    vectors: dict[str, VectorModel]
    fields: dict[str, str] = Field(alias="schema")
    seq: int
    damage: list[DamageModel]
    search: dict[str, Any]
    notes: list[str]
    read_only: str | None = Field(description="Why nothing can be written now; null where writes are accepted")
    query_sample: SampleModel | None = Field(description="null where no sample of queries is kept")


class BrokenModel(BaseModel):
    """A collection that could not be opened."""

    name: str
    reason: str


class LeftOutModel(BaseModel):
    """A folder that holds a collection but is not served."""

    folder: str
    reason: str


class CollectionsModel(BaseModel):
    """All collections."""

    collections: list[CollectionModel]
    broken: list[BrokenModel]
    left_out: list[LeftOutModel]


class DocumentModel(BaseModel):
    """A document."""

    id: str
    title: str
    text: str
    parent: str | None
    metadata: dict[str, Any]
    vectors: dict[str, SparseVectorModel | DenseVectorModel] | None = None


class SparseVectorModel(BaseModel):
    """A sparse vector by token."""

    sparse: dict[str, float]


class DenseVectorModel(BaseModel):
    """A dense vector, as it is kept: of length 1, in steps of int8."""

    dense: list[float]


class DocumentsModel(BaseModel):
    """A page of documents; `next_after` is null on the last one."""

    documents: list[DocumentModel]
    next_after: str | None


class FoundDocumentsModel(BaseModel):
    """The documents that exist, and the ids that do not."""

    documents: list[DocumentModel]
    missing: list[str]


class QueryTermModel(BaseModel):
    """A term of the query."""

    token: str
    id: int
    weight: float
    origin: Literal["input", "expansion", "prf"]
    using: str


class QueryModel(BaseModel):
    """The encoded query."""

    terms: list[QueryTermModel]


class MatchedModel(BaseModel):
    """A term that query and document share."""

    token: str
    query_weight: float
    doc_weight: float
    contribution: float


class MatchedWordModel(BaseModel):
    """A word of the document and its terms that are in `matched`; `word` is null for a term that is in no word."""

    word: str | None
    contribution: float
    tokens: list[str]


class HighlightModel(BaseModel):
    """The position of a matched term; `start` and `end` count Unicode characters of the field."""

    field: Literal["title", "text"]
    start: int
    end: int
    weight: float


class LegModel(BaseModel):
    """What one list gave a hit. The contributions of `matched`, or of `words`, plus `other_terms` are `score`."""

    using: str
    rank: int | None
    score: float
    contribution: float
    matched: list[MatchedModel] | None = None
    words: list[MatchedWordModel] | None = None
    other_terms: float | None = None


class BoostModel(BaseModel):
    """What a metadata field added to a hit's score."""

    field: str
    contribution: float


class GroupHitModel(BaseModel):
    """A further hit of a group."""

    id: str
    score: float


class GroupModel(BaseModel):
    """The group that a hit represents."""

    field: str
    value: str | int | bool | None
    hits: list[GroupHitModel]


class NeighbourModel(BaseModel):
    """A passage next to a hit; `position` -1 stands just before."""

    id: str
    position: int
    text: str


class HitModel(BaseModel):
    """A hit. The contributions of `legs` and `boosts` are the score; where one sparse list decides, those of `matched`,
    or of `words`, plus `other_terms` are, too."""

    id: str
    rank: int
    score: float
    title: str | None = None
    text: str | None = None
    parent: str | None = None
    metadata: dict[str, Any] | None = None
    rescored: bool
    legs: list[LegModel]
    boosts: list[BoostModel] | None = None
    group: GroupModel | None = None
    duplicates: list[str] | None = None
    neighbours: list[NeighbourModel] | None = None
    matched: list[MatchedModel] | None = None
    words: list[MatchedWordModel] | None = None
    other_terms: float | None = None
    highlights: list[HighlightModel] | None = None


class TimingsModel(BaseModel):
    """Milliseconds."""

    encode: float
    search: float
    rescore: float
    fetch: float
    explain: float


class CachedModel(BaseModel):
    """The query that a kept answer was computed for, and how near that is."""

    query: str | None
    similarity: float


class TotalModel(BaseModel):
    """The number of documents that match: exactly or at least."""

    value: int
    relation: Literal["eq", "gte"]


class SearchModel(BaseModel):
    """The answer to a search."""

    took_ms: float
    timings: TimingsModel
    query: QueryModel
    hits: list[HitModel]
    total: TotalModel
    facets: dict[str, Any]
    next_cursor: str | None
    approximate: bool
    expected_recall: float | None
    partial: bool
    warnings: list[str]
    cached: CachedModel | None = None


class BatchModel(BaseModel):
    """The answers to several searches, in the same order."""

    took_ms: float
    results: list[SearchModel]


class SparseValueModel(BaseModel):
    """A term's number and its weight."""

    index: int
    value: float


class WriteErrorModel(BaseModel):
    """An invalid document; `line` counts from 1."""

    line: int
    id: str | None
    code: str
    detail: str


class WriteModel(BaseModel):
    """The answer to a write."""

    seq: int
    durable: bool
    accepted: int
    failed: int
    errors: list[WriteErrorModel]


class DamagedModel(DamageModel):
    """A damaged file of a collection whose other files are served."""

    name: str


class ReadOnlyModel(BaseModel):
    """A collection that is searched here, and not written: another process writes it, or its disk is read-only."""

    name: str
    reason: str


class ReadyModel(BaseModel):
    """The service is ready."""

    status: Literal["ready"]
    collections: int
    broken: list[BrokenModel]
    damaged: list[DamagedModel]
    read_only: list[ReadOnlyModel]


class HealthModel(BaseModel):
    """The process is alive."""

    status: Literal["ok"]


class InfoModel(BaseModel):
    """What `/embed_sparse` encodes with; the fields of text-embeddings-inference, and `models`.

    Fields that are null here have no meaning in this service; clients of the other one require that they exist.
    """

    model_id: str
    served_model_name: str
    model_sha: str | None
    model_dtype: str
    model_type: dict[str, Any]
    models: list[str]
    max_concurrent_requests: int
    max_client_batch_size: int
    max_input_characters: int
    max_input_length: int | None
    max_batch_tokens: int | None
    max_batch_requests: int | None
    tokenization_workers: int | None
    auto_truncate: bool
    version: str
    sha: str | None
    docker_label: str | None


class DeleteModel(BaseModel):
    """The answer to a deletion."""

    seq: int
    durable: bool
    deleted: int
    matched: int | None = None


class PatchModel(BaseModel):
    """The answer to a change of metadata."""

    seq: int
    durable: bool


class JobModel(BaseModel):
    """A write that takes long. It is durable only when its status is `done`."""

    job: str
    collection: str
    status: Literal["waiting", "done", "failed"]
    durable: bool
    result: dict[str, Any] | None = None
    problem: dict[str, Any] | None = None


class AliasModel(BaseModel):
    """Another name for a collection; `previous` is what it stood for before, the way back."""

    alias: str
    collection: str
    previous: str | None


class AliasesModel(BaseModel):
    """All aliases."""

    aliases: list[AliasModel]


class SnapshotModel(BaseModel):
    """A snapshot of a collection. `size` is in bytes; `sha256` covers the catalog and the segments' manifests."""

    name: str
    created: str
    documents: int
    seq: int
    size: int
    sha256: str


class SnapshotsModel(BaseModel):
    """All snapshots of a collection, the oldest first."""

    snapshots: list[SnapshotModel]
