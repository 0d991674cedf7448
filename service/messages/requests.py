"""The bodies of requests, as `API.md` of the design has them. Unknown fields are refused, types are not converted.

A field that the contract has and this version has not is refused by name (`NotYet`), never ignored: a filter that
silently does nothing would be worse than none. It is left out of the OpenAPI document until it works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic.json_schema import SkipJsonSchema
from pydantic_core import PydanticCustomError

from service.messages.json_schemas import sparse_schema

MAX_K: Final = 1_000
MAX_QUERY_TERMS: Final = 1_024
MAX_QUERY_CHARACTERS: Final = 32_768
MAX_SEARCHES: Final = 100
MAX_INPUTS: Final = 256
MAX_DELETED_IDS: Final = 100_000
COLLECTION_NAME: Final = r"^[a-z0-9][a-z0-9_-]{0,62}$"

Included = Literal["title", "text", "parent", "metadata"]
FieldType = Literal["int", "float", "bool", "date", "keyword", "keyword[]"]


T = TypeVar("T", str, str | None)


def _refuse(value: object) -> None:
    if value not in (None, False, [], {}):
        raise PydanticCustomError("not_supported", "is not supported by this version")


def _refuse_nul(text: T) -> T:
    if text is not None and "\0" in text:
        raise PydanticCustomError("nul_character", "holds a NUL character")
    return text


NotYet = SkipJsonSchema[Annotated[Any, AfterValidator(_refuse)]]
Text = Annotated[str, AfterValidator(_refuse_nul)]
OptionalText = Annotated[str | None, AfterValidator(_refuse_nul)]
InputText = Annotated[str, Field(max_length=MAX_QUERY_CHARACTERS), AfterValidator(_refuse_nul)]
Name = Annotated[str, Field(pattern=COLLECTION_NAME)]


class Strict(BaseModel):
    """A JSON object whose fields are all known and of the right type."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, protected_namespaces=())


def _exactly_one_of(**given: dict[str, Any]) -> Callable[[dict[str, Any]], None]:
    """Say "exactly one of these properties" in JSON Schema, where null is as good as nothing."""

    def write(schema: dict[str, Any]) -> None:
        shared = {name: one for name, one in schema.pop("properties").items() if name not in given}
        for name in ("additionalProperties", "required"):
            schema.pop(name, None)
        schema["anyOf"] = [
            {
                "type": "object",
                "properties": {other: given[other] if other == name else {"type": "null"} for other in given} | shared,
                "required": [name],
                "additionalProperties": False,
            }
            for name in given
        ]

    return write


class QueryInput(Strict):
    """What to look for: exactly one of the fields."""

    model_config = ConfigDict(
        json_schema_extra=_exactly_one_of(
            text={"type": "string", "maxLength": MAX_QUERY_CHARACTERS, "description": "Encoded by the encoder"},
            sparse=sparse_schema(MAX_QUERY_TERMS),
        )
    )

    text: OptionalText = Field(default=None, max_length=MAX_QUERY_CHARACTERS)
    sparse: dict[str, Any] | None = None
    like: NotYet = None
    fusion: NotYet = None

    @model_validator(mode="after")
    def _exactly_one(self) -> QueryInput:
        if (self.text is None) == (self.sparse is None):
            raise PydanticCustomError("one_of", "give exactly one of text and sparse")
        return self


class Explain(Strict):
    """How much of the score to explain."""

    max_terms: Annotated[int, Field(ge=1, le=MAX_QUERY_TERMS)] = 8
    words: bool = Field(default=False, description="Fold the shown terms into the words of the document, as `words`")


class SearchParams(Strict):
    """How to search; see docs of the index for what each does."""

    exact: bool = False
    recall: Annotated[float, Field(gt=0, le=1)] | None = None
    query_cut: Annotated[int, Field(ge=1, le=MAX_QUERY_TERMS)] | None = None
    heap_factor: Annotated[float, Field(gt=0, le=1)] | None = None
    n_knn: Annotated[int, Field(ge=0)] | None = None


class SearchRequest(Strict):
    """One search."""

    query: QueryInput
    using: Text = Field(default="default", description="Which of the collection's vectors")
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10
    include: list[Included] | None = Field(
        default=None, max_length=8, description="Which parts of a document come with a hit; all of them if not given"
    )
    filter: dict[str, Any] | None = Field(
        default=None,
        description="Conditions on metadata fields of the schema",
        examples=[{"year": {"gte": 2019}, "tag": {"in": ["food"]}, "not": {"lang": "fr"}}],
    )
    explain: Explain | None = Field(default=None, description="Show what each matched term contributed to the score")
    highlight: bool = Field(default=False, description="Show where in title and text the matched terms stand")
    params: SearchParams = SearchParams()
    timeout_ms: Annotated[int, Field(ge=1, le=60_000)] | None = None
    cursor: NotYet = None
    must: NotYet = None
    group_by: NotYet = None
    facets: NotYet = None
    prf: NotYet = None


class BatchRequest(Strict):
    """Several searches of one collection."""

    searches: list[SearchRequest] = Field(min_length=1, max_length=MAX_SEARCHES)


class EmbedRequest(Strict):
    """Texts to encode, as text-embeddings-inference takes them."""

    inputs: InputText | Annotated[list[InputText], Field(min_length=1, max_length=MAX_INPUTS)]
    model: OptionalText = Field(
        default=None,
        description="An encoder's id, or COLLECTION or COLLECTION/VECTOR for the encoder of that; "
        "not needed when there is only one",
    )
    prompt_name: Literal["query", "document"] = Field(default="document", description="Which side to encode for")
    truncate: bool = Field(default=True, description="Taken for compatibility: what a model cannot read is always cut")


class VectorRequest(Strict):
    """A named vector and what makes it."""

    encoder: OptionalText = Field(description="An encoder's id; null for vectors that are always given ready-made")


class CollectionRequest(Strict):
    """A new collection. `encoder` alone means one vector, named `default`; without either the service's
    default encoder makes it."""

    encoder: OptionalText = Field(default=None, min_length=1)
    vectors: dict[Name, VectorRequest] | None = Field(default=None, min_length=1, max_length=16)
    fields: dict[Text, FieldType] = Field(default={}, alias="schema", max_length=256)

    @model_validator(mode="after")
    def _one_way(self) -> CollectionRequest:
        if self.encoder is not None and self.vectors is not None:
            raise PydanticCustomError("one_of", "give encoder or vectors, not both")
        return self


class DeleteRequest(Strict):
    """What to delete: exactly one of ids and filter."""

    model_config = ConfigDict(
        json_schema_extra=_exactly_one_of(
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
        if self.filter == {}:
            raise PydanticCustomError("everything", "an empty filter matches everything: drop the collection instead")
        return self


class PatchRequest(Strict):
    """New metadata: given keys are set, keys given as null are removed."""

    metadata: dict[str, Any]


class SnapshotRequest(Strict):
    """What a new snapshot is called."""

    name: Name | None = Field(default=None, description="Made of the time if not given")


class AliasRequest(Strict):
    """The collection that an alias stands for."""

    collection: Name
