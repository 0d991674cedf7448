"""What a search is asked for: the query in its forms, and the options that shape the ranking.

These are the types that Python users pass to `Collection.search`; the service and the shell build the same ones. Each
checks itself when it is made, and raises QueryError naming the field as the HTTP contract spells it (docs/http-api.md).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

import numpy as np

from index import SearchParameters
from index.searching.parameters import SearchOptions
from lsr.documents import DEFAULT_VECTOR, SparseInput
from lsr.errors import QueryError

MAX_LEGS: Final = 8
MAX_LIMIT: Final = 10_000  # hits of a leg, and of a ranking that is paged
MAX_CANDIDATES: Final = 1_000  # documents that a rescoring reads
MAX_IDS: Final = 10_000
MAX_WORDS: Final = 32
MAX_BOOSTS: Final = 8
MAX_FACETS: Final = 16
MAX_SCORE: Final = 1e30  # of a score from elsewhere, and of what a boost adds: a sum of weighted ones is finite
DEFAULT_LIMIT: Final = 100  # hits of each list of a fusion: as good as 1,000, see docs/results/ranking.md
RRF_K: Final = 60

Method = Literal["rrf", "scaled", "minmax", "zscore", "sum"]
OnLate = Literal["fail", "skip"]


@dataclass(frozen=True, slots=True)
class Like:
    """Documents as the query: near those of `ids`, away from those of `unlike`. They are not among the hits."""

    ids: tuple[str, ...]
    unlike: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.ids:
            raise QueryError("like needs at least one document id", field="query.like")
        if len(self.ids) + len(self.unlike) > MAX_CANDIDATES:
            raise QueryError(f"like takes at most {MAX_CANDIDATES} ids", field="query.like")


@dataclass(frozen=True, slots=True)
class Leg:
    """One query against one named vector: a list of the fusion."""

    query: str | SparseInput | Like
    using: str = DEFAULT_VECTOR
    limit: int | None = None  # hits of this leg that are fused; None: DEFAULT_LIMIT, and at least what is asked for

    def __post_init__(self) -> None:
        if self.limit is not None:
            check_integer("limit", self.limit, 1, MAX_LIMIT)


@dataclass(frozen=True, slots=True)
class ExternalScores:
    """Scores by document id from elsewhere, as a list of the fusion. Unknown ids are ignored, with a warning."""

    scores: Mapping[str, float]

    def __post_init__(self) -> None:
        if not self.scores or len(self.scores) > MAX_IDS:
            raise QueryError(f"scores needs 1 to {MAX_IDS} documents", field="scores")
        for identifier, score in self.scores.items():
            if not is_number(score) or abs(score) > MAX_SCORE:
                raise QueryError(
                    f"scores.{identifier}: {score!r:.80} is not a number from -{MAX_SCORE:g} to {MAX_SCORE:g}",
                    field="scores",
                )


@dataclass(frozen=True, slots=True)
class Fusion:
    """Several lists as one ranking, see fusion.py."""

    queries: Sequence[Leg | ExternalScores]
    method: Method = "scaled"
    weights: Sequence[float] | None = None  # one per list; None: 1 each
    k: int = RRF_K  # rrf: added to the rank

    def __post_init__(self) -> None:
        if not 1 <= len(self.queries) <= MAX_LEGS:
            raise QueryError(f"a fusion has 1 to {MAX_LEGS} queries, not {len(self.queries)}", field="query.fusion")
        check_fusion(self.method, self.weights, self.k, len(self.queries), "query.fusion")

    @property
    def leg_weights(self) -> tuple[float, ...]:
        """The weights, one per list."""
        return (1.0,) * len(self.queries) if self.weights is None else tuple(map(float, self.weights))


Query = str | SparseInput | Like | Fusion


@dataclass(frozen=True, slots=True)
class Rescore:
    """The first `candidates` documents get the similarity of a dense vector as one more list, see rescoring.py."""

    using: str
    candidates: int = 100
    weight: float = 1.0

    def __post_init__(self) -> None:
        check_integer("rescore.candidates", self.candidates, 1, MAX_CANDIDATES)
        if not is_number(self.weight) or not 0.0 < self.weight <= 1e6:
            raise QueryError(f"rescore.weight must be above 0, not {self.weight!r}", field="rescore.weight")


@dataclass(frozen=True, slots=True)
class Feedback:
    """Pseudo-relevance feedback (Rocchio): the query moves towards its first hits, see feedback.py."""

    docs: int = 3
    terms: int = 20
    alpha: float = 0.5  # the share of the query itself
    when: Literal["before", "after", "both"] = "before"  # the fusion

    def __post_init__(self) -> None:
        check_integer("prf.docs", self.docs, 1, 100)
        check_integer("prf.terms", self.terms, 1, 256)
        if not is_number(self.alpha) or not 0.0 <= self.alpha <= 1.0:
            raise QueryError(f"prf.alpha must be from 0 to 1, not {self.alpha!r}", field="prf.alpha")
        check_choice("prf.when", self.when, ("before", "after", "both"))


@dataclass(frozen=True, slots=True)
class Must:
    """Words that a hit must hold as written, see must.py."""

    words: tuple[str, ...]
    using: str | None = None  # whose analysis decides what a word is; None: the collection's most literal vector

    def __post_init__(self) -> None:
        if len(self.words) > MAX_WORDS or not all(isinstance(word, str) and word.strip() for word in self.words):
            raise QueryError(f"must takes up to {MAX_WORDS} words, none of them blank", field="must")


@dataclass(frozen=True, slots=True)
class GroupBy:
    """The best hits of each value of a field: one hit per group, with up to `size` more of the group."""

    field: str  # `parent`, or a keyword, int or bool field of the schema
    size: int = 1

    def __post_init__(self) -> None:
        check_integer("group_by.size", self.size, 1, 100)


@dataclass(frozen=True, slots=True)
class Collapse:
    """Near-duplicates of a better hit are folded into it: vectors whose cosine is at least `similarity`."""

    similarity: float = 0.95
    using: str | None = None  # None: the rescoring's dense vector where there is one, else the first leg's

    def __post_init__(self) -> None:
        if not is_number(self.similarity) or not 0.0 < self.similarity <= 1.0:
            raise QueryError(
                f"collapse.similarity must be above 0 and at most 1, not {self.similarity!r}", field="collapse"
            )


@dataclass(frozen=True, slots=True)
class Boost:
    """A number of the metadata, or the age of a date, added to the score, see boosts.py."""

    field: str
    weight: float = 1.0
    function: Literal["linear", "log", "saturation"] = "linear"  # of numbers
    pivot: float = 1.0  # saturation: the value at which half of the weight is reached
    half_life_days: float | None = None  # of dates: the age in days at which half of the weight is left
    now: datetime | None = None  # of dates: what age is counted from; None: the present moment

    def __post_init__(self) -> None:
        where = f"boosts.{self.field}"
        if not is_number(self.weight) or abs(self.weight) > 1e6:
            raise QueryError(f"{where}.weight must be a number, not {self.weight!r}", field=f"{where}.weight")
        check_choice(f"{where}.function", self.function, ("linear", "log", "saturation"))
        for name, value in (("pivot", self.pivot), ("half_life_days", self.half_life_days)):
            if value is not None and (not is_number(value) or not 0.0 < value <= 1e15):
                raise QueryError(f"{where}.{name} must be a number above 0, not {value!r}", field=f"{where}.{name}")
        if self.now is not None and self.now.tzinfo is None:
            object.__setattr__(self, "now", self.now.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Sort:
    """All matching documents by a metadata field instead of by score; those without it come last."""

    field: str
    order: Literal["asc", "desc"] = "asc"

    def __post_init__(self) -> None:
        check_choice("sort.order", self.order, ("asc", "desc"))


@dataclass(frozen=True, slots=True)
class Facets:
    """Counts of metadata values, see facets.py."""

    fields: tuple[str, ...]
    over: Literal["ranked", "matches"] = "ranked"
    size: int = 10  # values of a keyword field that are counted
    buckets: Mapping[str, Any] = field(default_factory=dict)  # by field: edges, or {"interval": …}

    def __post_init__(self) -> None:
        if not self.fields or len(self.fields) > MAX_FACETS or len(set(self.fields)) < len(self.fields):
            raise QueryError(f"facets.fields needs 1 to {MAX_FACETS} different fields", field="facets.fields")
        check_choice("facets.over", self.over, ("ranked", "matches"))
        check_integer("facets.size", self.size, 1, 1_000)
        for name in self.buckets:
            if name not in self.fields:
                raise QueryError(f"facets.buckets.{name}: no facet of that name is asked for", field="facets.buckets")


@dataclass(frozen=True, slots=True)
class RankingOptions:
    """Every argument of `Collection.search` except the query, see its docstring."""

    using: str | None = None
    k: int = 10
    rescore: Rescore | Literal[False] | None = None  # None: the collection's default, False: none
    filter: object = None
    must: Must | None = None
    prf: Feedback | None = None
    facets: Facets | None = None
    total: bool = False
    sort: Sort | None = None
    boosts: tuple[Boost, ...] = ()
    min_score: float | None = None
    group_by: GroupBy | None = None
    collapse: Collapse | None = None
    neighbours: int = 0  # words of the passages before and after each hit
    explain_terms: int = 0
    cursor: bool | str = False  # True begins pages, a string goes on with them
    on_late: OnLate = "fail"
    cache: bool = True

    def __post_init__(self) -> None:
        check_integer("k", self.k, 1, None)
        check_integer("explain_terms", self.explain_terms, 0, None)
        check_integer("neighbours", self.neighbours, 0, 10_000)
        check_choice("on_late", self.on_late, get_args(OnLate))
        if self.min_score is not None and not is_number(self.min_score):
            raise QueryError(f"min_score must be a number, not {self.min_score!r}", field="min_score")
        if len(self.boosts) > MAX_BOOSTS:
            raise QueryError(f"at most {MAX_BOOSTS} boosts can be given", field="boosts")
        if self.sort is not None:
            for name in ("boosts", "min_score", "group_by", "collapse", "prf", "rescore"):
                value = getattr(self, name)
                if value is not None and value is not False and value != ():
                    raise QueryError(f"{name} needs a ranking by score, and sort asks for another", field=name)


def check_fusion(method: object, weights: Sequence[float] | None, k: object, legs: int, where: str) -> None:
    """Raise QueryError unless method, weights (one per leg, none negative, not all 0) and k make sense together."""
    check_choice(f"{where}.method", method, get_args(Method))
    check_integer(f"{where}.k", k, 1, 10_000)
    if weights is None:
        return
    name = f"{where}.weights"
    if len(weights) != legs:
        raise QueryError(f"{name} has {len(weights)} numbers for {legs} queries", field=name)
    if not all(is_number(weight) and 0.0 <= weight <= 1e6 for weight in weights) or not any(weights):
        raise QueryError(f"{name} must be numbers of at least 0, and not all 0: {list(weights)!r}", field=name)


def check_integer(name: str, value: object, least: int, most: int | None) -> None:
    """Raise QueryError unless `value` is an integer from `least` to `most`."""
    right = not isinstance(value, bool) and isinstance(value, (int, np.integer)) and value >= least
    if right and (most is None or value <= most):  # type: ignore[operator] # it is an integer
        return
    limits = f"at least {least}" if most is None else f"from {least} to {most}"
    raise QueryError(f"{name} must be an integer, {limits}, not {value!r}", field=name)


def check_choice(name: str, value: object, choices: Sequence[str]) -> None:
    """Raise QueryError unless `value` is one of the choices."""
    if value not in choices:
        raise QueryError(f"{name} must be one of {', '.join(choices)}, not {value!r}", field=name)


def is_number(value: object) -> bool:
    """Whether `value` is a number that a finite float64 can hold: an integer may be too large for that."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


class SearchKeywords(SearchOptions, total=False):
    """The keyword arguments of `Collection.search`: the fields of RankingOptions and of index.SearchParameters."""

    using: str | None
    k: int
    rescore: Rescore | Literal[False] | None
    filter: object
    must: Must | None
    prf: Feedback | None
    facets: Facets | None
    total: bool
    sort: Sort | None
    boosts: tuple[Boost, ...]
    min_score: float | None
    group_by: GroupBy | None
    collapse: Collapse | None
    neighbours: int
    explain_terms: int
    cursor: bool | str
    on_late: OnLate
    cache: bool


def split_keywords(keywords: SearchKeywords) -> tuple[RankingOptions, SearchParameters]:
    """Return the options of the ranking, and how thorough its first stages are. Raises QueryError."""
    thorough = {name: value for name, value in keywords.items() if name in SearchParameters._fields}
    ranking = {name: value for name, value in keywords.items() if name not in thorough}
    return RankingOptions(**ranking), SearchParameters(**thorough)  # type: ignore[arg-type] # as the TypedDict has them


def request_key(query: Query, options: RankingOptions, parameters: SearchParameters) -> tuple[Hashable, ...]:
    """Return what two requests for the same answer have in common."""
    given: list[Hashable] = [query if isinstance(query, str) else repr(query), parameters]
    for one in _FIELDS:
        value = getattr(options, one.name)
        if value != one.default:
            given.append((one.name, value if isinstance(value, (str, int, float)) else repr(value)))
    return tuple(given)


_FIELDS: Final = tuple(one for one in fields(RankingOptions) if one.name not in ("cache", "cursor"))
