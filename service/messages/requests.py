"""The bodies of requests other than searches. Unknown fields are refused, types are not converted."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from index.config import LIMITS
from lsr.documents import MAX_DIMENSIONS
from lsr.metadata import MAX_FIELDS
from lsr.search.filters import matches_everything
from service.messages.search_requests import MAX_QUERY_CHARACTERS
from service.messages.strict_model import Strict, Text, exactly_one_of

MAX_INPUTS: Final = 256
MAX_DELETED_IDS: Final = 100_000
MAX_READ_IDS: Final = 1_000
COLLECTION_NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"

SEARCH_EXAMPLE: Final = {
    "queries": [{"using": "default"}, {"using": "bm25"}],
    "method": "scaled",
    "weights": [1, 1],
    "rescore": {"using": "meaning", "candidates": 100, "weight": 5},
}
QUERY_SAMPLE: Final = "Keep a sample of real queries, to measure recall targets on: term numbers and weights, no text"
FieldType = Literal["int", "float", "bool", "date", "keyword", "keyword[]"]
InputText = Annotated[Text, Field(max_length=MAX_QUERY_CHARACTERS)]
Name = Annotated[str, Field(pattern=COLLECTION_NAME)]


def _check_inputs(value: Any) -> Any:
    inputs = [value] if isinstance(value, str) else value
    if not isinstance(inputs, list) or not inputs:
        raise PydanticCustomError("inputs", "must be a text, or a list of texts")
    if any(isinstance(one, (int, list)) for one in inputs[: MAX_INPUTS + 1]):
        raise PydanticCustomError("inputs", "must be texts: token numbers are not encoded here")
    return value


def _check_prompt(name: Any) -> Any:
    if name not in ("query", "document"):
        raise PydanticCustomError("prompt", "must be query or document, the sides that an encoder has")
    return name


def _check_direction(direction: Any) -> Any:
    if not isinstance(direction, str) or direction.lower() != "right":
        raise PydanticCustomError("direction", "must be Right: a text that is too long is cut at its end")
    return "Right"


def _check_normalize(normalize: bool) -> bool:
    if normalize:
        raise PydanticCustomError("normalize", "must be false: sparse vectors are returned as the encoder makes them")
    return normalize


def _check_kept(kind: Any) -> Any:
    if kind is None:
        detail = "must be a type: fields are not removed; `lsr reindex --schema` makes a collection with other fields"
        raise PydanticCustomError("kept", detail)
    return kind


class EmbedRequest(Strict):
    """Texts to encode, with the fields that clients of text-embeddings-inference send."""

    inputs: Annotated[
        InputText | Annotated[list[InputText], Field(min_length=1, max_length=MAX_INPUTS)],
        BeforeValidator(_check_inputs),
    ]
    model: Text | None = Field(
        default=None,
        description="An encoder's id, or COLLECTION or COLLECTION/VECTOR for the encoder of that; "
        "not needed when there is only one",
    )
    prompt_name: Annotated[Literal["query", "document"], BeforeValidator(_check_prompt)] = Field(
        default="document", description="Which side to encode for"
    )
    truncate: bool = Field(default=True, description="Taken for compatibility: what a model cannot read is always cut")
    truncation_direction: Annotated[Literal["Right"], BeforeValidator(_check_direction)] = Field(
        default="Right", description="Taken for compatibility: a text is cut at its end"
    )
    normalize: Annotated[bool, AfterValidator(_check_normalize)] = Field(
        default=False, description="Taken for compatibility: sparse vectors are not normalized"
    )


def _limits(name: str) -> Any:
    low, high = LIMITS[name]
    return Field(ge=low, le=high)


class IndexSettings(Strict):
    """Build parameters of an index, kept with the collection and used by every later seal and merge.

    What is not given is decided by the build. See `IndexConfig` in index/config.py.
    """

    n_postings: Annotated[int, _limits("n_postings")] | None = Field(
        default=None, description="Postings of a candidate list, times max_fraction; 0: every search is exact"
    )
    max_fraction: Annotated[float, Field(ge=1, le=1000)] | None = None
    centroid_fraction: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Blocks of a list, as a share of its postings"
    )
    min_cluster_size: Annotated[int, _limits("min_cluster_size")] | None = None
    summary_lines: Annotated[int, _limits("summary_lines")] | None = Field(
        default=None, description="64-byte lines of a block's summary"
    )
    short_list: Annotated[int, _limits("short_list")] | None = Field(
        default=None, description="A list of at most this many postings is one block without a summary"
    )
    doc_cut: Annotated[int, _limits("doc_cut")] | None = Field(
        default=None, description="Heaviest terms of a document that clustering compares"
    )
    impact_dtype: Literal["float16", "float32"] | None = None
    exact_lists: bool | None = Field(default=None, description="Keep unpruned postings for exact search")
    n_knn: Annotated[int, _limits("n_knn")] | None = Field(
        default=None, description="Nearest neighbours of each document to keep"
    )
    block_maxima: bool | None = Field(default=None, description="Keep bounds with which an exact search skips most")

    def given(self) -> dict[str, Any]:
        """Return the parameters that are given."""
        return self.model_dump(exclude_none=True)


class VectorRequest(Strict):
    """A named vector and what makes it."""

    encoder: Text | None = Field(description="An encoder's id; null for vectors that are always given ready-made")
    dense: bool = Field(default=False, description="A dense vector, which rescores what the sparse ones have found")
    dimensions: Annotated[int, Field(ge=1, le=MAX_DIMENSIONS)] | None = Field(
        default=None, description="Of a dense vector: how many numbers are kept; needed without an encoder"
    )
    index: IndexSettings | None = Field(default=None, description="Of a sparse vector")


class CollectionRequest(Strict):
    """A new collection. `encoder` alone means one vector, named `default`; without either the service's
    default encoder makes it."""

    encoder: Annotated[Text, Field(min_length=1)] | None = None
    vectors: dict[Name, VectorRequest] | None = Field(default=None, min_length=1, max_length=16)
    fields: dict[Text, FieldType] = Field(default={}, alias="schema", max_length=MAX_FIELDS)
    search: dict[str, Any] | None = Field(default=None, description="The search defaults", examples=[SEARCH_EXAMPLE])
    index: IndexSettings | None = Field(default=None, description="Of all sparse vectors that have none of their own")
    query_sample: bool = Field(default=False, description=QUERY_SAMPLE)

    @model_validator(mode="after")
    def _one_way(self) -> CollectionRequest:
        if self.encoder is not None and self.vectors is not None:
            raise PydanticCustomError("one_of", "give encoder or vectors, not both")
        return self


class CollectionChanges(Strict):
    """What changes in a collection: new metadata fields, its search defaults, whether it samples queries."""

    fields: dict[Text, Annotated[FieldType, BeforeValidator(_check_kept)]] | None = Field(
        default=None, alias="schema", max_length=MAX_FIELDS, description="Fields to add", examples=[{"lang": "keyword"}]
    )
    search: dict[str, Any] | None = Field(
        default=None,
        description="New search defaults: how a text is ranked that names no vector",
        examples=[SEARCH_EXAMPLE],
    )
    query_sample: bool | None = Field(default=None, description=QUERY_SAMPLE)

    @model_validator(mode="after")
    def _any(self) -> CollectionChanges:
        if self.fields is None and self.search is None and self.query_sample is None:
            raise PydanticCustomError("one_of", "give schema, search or query_sample, or several of them")
        return self


class DeleteRequest(Strict):
    """What to delete: exactly one of ids and filter."""

    model_config = ConfigDict(
        json_schema_extra=exactly_one_of(
            {"ids": "DeleteByIds", "filter": "DeleteByFilter"},
            ids={"type": "array", "items": {"type": "string"}, "maxItems": MAX_DELETED_IDS},
            filter={"type": "object", "minProperties": 1, "examples": [{"year": {"lt": 2000}}]},
        )
    )

    ids: list[Text] | None = Field(default=None, max_length=MAX_DELETED_IDS)
    filter: dict[str, Any] | None = None
    dry_run: bool = Field(default=False, description="Only count")

    @model_validator(mode="after")
    def _exactly_one(self) -> DeleteRequest:
        if (self.ids is None) == (self.filter is None):
            raise PydanticCustomError("one_of", "give exactly one of ids and filter")
        if self.filter is not None and matches_everything(self.filter):
            detail = "this filter matches everything, whatever the documents hold: drop the collection instead"
            raise PydanticCustomError("everything", detail)
        return self


class GetRequest(Strict):
    """The documents to show."""

    ids: list[Text] = Field(min_length=1, max_length=MAX_READ_IDS)
    vectors: bool = Field(default=False, description="Show the vectors, too")


class PatchRequest(Strict):
    """New metadata: given keys are set, keys given as null are removed."""

    metadata: dict[str, Any]


class SnapshotRequest(Strict):
    """What a new snapshot is called."""

    name: Name | None = Field(default=None, description="Default: derived from the time")


class AliasRequest(Strict):
    """The collection that an alias names."""

    collection: Name
