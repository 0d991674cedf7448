"""The body of a search, as docs/http-api.md has it, and what it means to a collection.

The models check types and say in the OpenAPI document what there is; what depends on the collection (its vectors and
fields) and the ranges of numbers are checked once more where they are used, in lsr/search/request.py.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Literal, cast

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from lsr.documents import SparseByToken, SparseInput, parse_sparse
from lsr.errors import InvalidDocument, QueryError
from lsr.metadata import parse_value
from lsr.search import request as ranking
from service.messages.json_schemas import sparse_schema
from service.messages.strict_model import Strict, Text, exactly_one_of

MAX_K: Final = 1_000
MAX_QUERY_TERMS: Final = 1_024
MAX_QUERY_CHARACTERS: Final = 32_768
MAX_SEARCHES: Final = 100

Method = Literal["rrf", "scaled", "minmax", "zscore", "sum"]
Weight = Annotated[float, Field(ge=0, le=1e6)]
PARTS: Final = ("title", "text", "parent", "metadata")


def _check_path(path: str) -> str:
    if path not in PARTS and not (path.startswith("metadata.") and path != "metadata."):
        raise PydanticCustomError("path", "is not one of title, text, parent, metadata, metadata.FIELD")
    return path


PartPath = Annotated[Text, AfterValidator(_check_path)]


def _check_off(value: object) -> object:
    if value is not False:  # 0 equals it
        raise PydanticCustomError("off", "is an object, false or null")
    return value


Off = Annotated[Literal[False], BeforeValidator(_check_off)]
QueryText = Annotated[Text, Field(max_length=MAX_QUERY_CHARACTERS)] | None


class LikeInput(Strict):
    """Documents to be near to, and others to be away from."""

    ids: list[Text] = Field(min_length=1, max_length=100)
    unlike: list[Text] = Field(default=[], max_length=100)


Like = Text | Annotated[list[Text], Field(min_length=1, max_length=100)] | LikeInput


class LegInput(Strict):
    """One list of a fusion: exactly one of text, sparse, like and scores; all but scores with `using`."""

    using: Text = Field(default="default", description="Which of the collection's sparse vectors")
    text: QueryText = None
    sparse: dict[str, Any] | None = None
    like: Like | None = None
    scores: dict[str, float] | None = Field(default=None, description="Scores by document id, from elsewhere")
    limit: Annotated[int, Field(ge=1, le=ranking.MAX_LIMIT)] | None = Field(
        default=None, description="How many documents this list brings; 100 if not given"
    )

    @model_validator(mode="after")
    def _exactly_one(self) -> LegInput:
        if sum(one is not None for one in (self.text, self.sparse, self.like, self.scores)) != 1:
            raise PydanticCustomError("one_of", "give exactly one of text, sparse, like and scores")
        return self


class FusionInput(Strict):
    """Several lists in one ranking."""

    queries: list[LegInput] = Field(min_length=1, max_length=ranking.MAX_LEGS)
    method: Method = "scaled"
    weights: list[Weight] | None = Field(default=None, description="One per query; 1 each if not given")
    k: Annotated[int, Field(ge=1, le=10_000)] = Field(default=ranking.RRF_K, description="rrf: added to the rank")


class QueryInput(Strict):
    """What to look for: exactly one of the fields, or a text alone."""

    model_config = ConfigDict(
        json_schema_extra=exactly_one_of(
            {"text": "TextQuery", "sparse": "SparseQuery", "like": "LikeQuery", "fusion": "FusionQuery"},
            or_text={"type": "string", "maxLength": MAX_QUERY_CHARACTERS},
            text={"type": "string", "maxLength": MAX_QUERY_CHARACTERS, "description": "Encoded by the encoder"},
            sparse=sparse_schema(MAX_QUERY_TERMS),
            like={
                "description": "Documents: an id, ids, or ids with others to stay away from",
                "anyOf": [
                    {"type": "string"},
                    {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": 100},
                    {"$ref": "#/components/schemas/LikeInput"},
                ],
            },
            fusion={"$ref": "#/components/schemas/FusionInput"},
        )
    )

    text: QueryText = None
    sparse: dict[str, Any] | None = None
    like: Like | None = None
    fusion: FusionInput | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _exactly_one(self) -> QueryInput:
        if sum(one is not None for one in (self.text, self.sparse, self.like, self.fusion)) != 1:
            raise PydanticCustomError("one_of", "give exactly one of text, sparse, like and fusion")
        return self


class Explain(Strict):
    """How much of the score to explain."""

    max_terms: Annotated[int, Field(ge=1, le=MAX_QUERY_TERMS)] = 8
    words: bool = Field(default=False, description="Fold the shown terms into the words of the document, as `words`")


class SearchParams(Strict):
    """How thorough the first stages are."""

    exact: bool = False
    recall: Annotated[float, Field(gt=0, le=1)] | None = None
    query_cut: Annotated[int, Field(ge=1, le=MAX_QUERY_TERMS)] | None = None
    heap_factor: Annotated[float, Field(gt=0, le=1)] | None = None
    n_knn: Annotated[int, Field(ge=0)] | None = None


class RescoreInput(Strict):
    """A dense vector that the first candidates are compared by."""

    using: Text
    candidates: Annotated[int, Field(ge=1, le=ranking.MAX_CANDIDATES)] = 100
    weight: Annotated[float, Field(gt=0, le=1e6)] = 1.0


class FeedbackInput(Strict):
    """The query moves towards its first hits."""

    docs: Annotated[int, Field(ge=1, le=100)] = 3
    terms: Annotated[int, Field(ge=1, le=256)] = 20
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    when: Literal["before", "after", "both"] = Field(default="before", description="The fusion")


class MustInput(Strict):
    """Words that a hit holds as written."""

    words: list[Text] = Field(max_length=ranking.MAX_WORDS)
    using: Text | None = Field(default=None, description="Whose analysis decides what a word is")


class FacetsInput(Strict):
    """Counts of metadata values."""

    fields: list[Text] = Field(min_length=1, max_length=ranking.MAX_FACETS)
    over: Literal["ranked", "matches"] = "ranked"
    size: Annotated[int, Field(ge=1, le=1_000)] = 10
    buckets: dict[Text, Any] = Field(
        default={},
        description="Ranges of int, float and date fields: their edges, or an interval",
        examples=[{"year": {"interval": 10}, "price": [0, 10, 100]}],
    )


class SortInput(Strict):
    """An order by a metadata field."""

    field: Text
    order: Literal["asc", "desc"] = "asc"


class BoostInput(Strict):
    """A metadata field that is added to the score."""

    field: Text
    weight: Annotated[float, Field(ge=-1e6, le=1e6)] = 1.0
    function: Literal["linear", "log", "saturation"] = "linear"
    pivot: Annotated[float, Field(gt=0, le=1e15)] = 1.0
    half_life_days: Annotated[float, Field(gt=0, le=1e15)] | None = None
    now: Text | None = Field(default=None, description="ISO 8601; what the age of a date is counted from")


class GroupByInput(Strict):
    """One hit per value of a field."""

    field: Text
    size: Annotated[int, Field(ge=1, le=100)] = 1


class CollapseInput(Strict):
    """Near-duplicates folded into the better hit."""

    similarity: Annotated[float, Field(gt=0, le=1)] = 0.95
    using: Text | None = None


class NeighboursInput(Strict):
    """Passages before and after each hit."""

    words: Annotated[int, Field(ge=1, le=10_000)]


class SearchRequest(Strict):
    """One search."""

    query: QueryInput
    using: Text | None = Field(
        default=None,
        description="Rank by this vector alone, unrescored. Without it a text is ranked by the collection's defaults",
    )
    k: Annotated[int, Field(ge=1, le=MAX_K)] = 10
    include: list[PartPath] | None = Field(
        default=None, max_length=64, description="Which parts of a document come with a hit; all of them if not given"
    )
    exclude: list[PartPath] | None = Field(default=None, max_length=64, description="Parts that are left out")
    filter: dict[str, Any] | None = Field(
        default=None,
        description="Conditions on metadata fields of the schema, and `ids`",
        examples=[{"year": {"gte": 2019}, "tag": {"in": ["food"]}, "not": {"lang": "fr"}}],
    )
    rescore: RescoreInput | Off | None = Field(default=None, description="false leaves out the default one")
    must: list[Text] | MustInput | None = Field(default=None, description="Words that a hit holds as written")
    prf: FeedbackInput | None = Field(default=None, description="Feedback from the first hits")
    facets: FacetsInput | list[Text] | None = Field(default=None, description="Counts, or the fields to count")
    total: bool = Field(default=False, description="Count all matches exactly")
    sort: SortInput | None = None
    boosts: list[BoostInput] | None = Field(default=None, max_length=ranking.MAX_BOOSTS)
    min_score: float | None = None
    group_by: Text | GroupByInput | None = None
    collapse: CollapseInput | None = None
    neighbours: NeighboursInput | None = Field(default=None, description="Passages before and after each hit")
    cursor: bool | Annotated[Text, Field(max_length=200)] | None = Field(
        default=None, description="true begins pages; the `next_cursor` of an answer goes on with them"
    )
    explain: Explain | bool | None = Field(
        default=None, description="Show what each matched term contributed to the score; true: with the defaults"
    )
    highlight: bool = Field(default=False, description="Show where in title and text the matched terms stand")
    params: SearchParams | None = None
    timeout_ms: Annotated[int, Field(ge=1, le=60_000)] | None = None
    on_late: Literal["fail", "skip"] = Field(default="fail", description="What becomes of a stage that is out of time")
    cache: bool = True

    @property
    def explanation(self) -> Explain | None:
        """How much of the score to explain; None: nothing."""
        if isinstance(self.explain, bool):
            return Explain() if self.explain else None
        return self.explain


class BatchRequest(Strict):
    """Several searches of one collection."""

    searches: list[SearchRequest] = Field(min_length=1, max_length=MAX_SEARCHES)


def query_of(query: QueryInput) -> ranking.Query:
    """Return the query as the collection takes it; raises QueryError naming the field."""
    if query.fusion is None:
        return _single(query.text, query.sparse, query.like, "query")
    fusion = query.fusion
    legs = [_leg(one, f"query.fusion.queries[{at}]") for at, one in enumerate(fusion.queries)]
    weights = None if fusion.weights is None else tuple(fusion.weights)
    return ranking.Fusion(tuple(legs), fusion.method, weights, fusion.k)


def keywords_of(request: SearchRequest, explain_terms: int) -> ranking.SearchKeywords:
    """Return the keyword arguments of `Collection.search`; raises QueryError naming the field."""
    rescore, must, group_by = request.rescore, request.must, request.group_by
    keywords: ranking.SearchKeywords = {
        "using": request.using,
        "k": request.k,
        "filter": request.filter,
        "explain_terms": explain_terms,
        "total": request.total,
        "min_score": request.min_score,
        "on_late": request.on_late,
        "cache": request.cache,
    }
    if request.params is not None:
        keywords.update(cast(ranking.SearchKeywords, request.params.model_dump()))
    if rescore is False:
        keywords["rescore"] = False
    elif rescore is not None:
        keywords["rescore"] = ranking.Rescore(rescore.using, rescore.candidates, rescore.weight)
    if must is not None:
        keywords["must"] = (
            ranking.Must(tuple(must)) if isinstance(must, list) else ranking.Must(tuple(must.words), must.using)
        )
    if request.prf is not None:
        keywords["prf"] = ranking.Feedback(request.prf.docs, request.prf.terms, request.prf.alpha, request.prf.when)
    if request.facets:
        facets = FacetsInput(fields=request.facets) if isinstance(request.facets, list) else request.facets
        keywords["facets"] = ranking.Facets(tuple(facets.fields), facets.over, facets.size, facets.buckets)
    if request.sort is not None:
        keywords["sort"] = ranking.Sort(request.sort.field, request.sort.order)
    if request.boosts:
        keywords["boosts"] = tuple(_boost(one, at) for at, one in enumerate(request.boosts))
    if group_by is not None:
        keywords["group_by"] = (
            ranking.GroupBy(group_by) if isinstance(group_by, str) else ranking.GroupBy(group_by.field, group_by.size)
        )
    if request.collapse is not None:
        keywords["collapse"] = ranking.Collapse(request.collapse.similarity, request.collapse.using)
    if request.neighbours is not None:
        keywords["neighbours"] = request.neighbours.words
    if request.cursor:
        keywords["cursor"] = request.cursor
    return keywords


def _leg(one: LegInput, where: str) -> ranking.Leg | ranking.ExternalScores:
    if one.scores is not None:
        return ranking.ExternalScores(one.scores)
    return ranking.Leg(_single(one.text, one.sparse, one.like, where), one.using, one.limit)


def _single(
    text: str | None, sparse: dict[str, Any] | None, like: str | list[str] | LikeInput | None, where: str
) -> str | SparseInput | ranking.Like:
    if text is not None:
        return text
    if isinstance(like, LikeInput):
        return ranking.Like(tuple(like.ids), tuple(like.unlike))
    if like is not None:
        return ranking.Like((like,) if isinstance(like, str) else tuple(like))
    name = f"{where}.sparse"
    try:
        parsed = parse_sparse(sparse, name)
    except InvalidDocument as error:
        raise QueryError(error.detail, field=error.field) from None
    terms = parsed.weights if isinstance(parsed, SparseByToken) else parsed.indices
    if len(terms) > MAX_QUERY_TERMS:
        raise QueryError(f"a query has at most {MAX_QUERY_TERMS} terms, not {len(terms)}", field=name)
    if isinstance(parsed, SparseByToken) and any("\0" in token for token in parsed.weights):
        raise QueryError("a token holds a NUL character", field=name)
    return parsed


def _boost(one: BoostInput, at: int) -> ranking.Boost:
    now: datetime | None = None
    if one.now is not None:
        try:
            now = parse_value("date", one.now, f"boosts[{at}].now")
        except InvalidDocument as error:
            raise QueryError(error.detail, field=error.field) from None
    return ranking.Boost(one.field, one.weight, one.function, one.pivot, one.half_life_days, now)
