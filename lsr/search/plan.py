"""How a query is ranked: its lists, their fusion, the rescoring; resolved against the collection's defaults."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lsr.dense_vectors import DenseVector
from lsr.errors import QueryError
from lsr.metadata import MetadataSchema
from lsr.search.boosts import check_boosts
from lsr.search.cache import BoundedCache
from lsr.search.defaults import SearchDefaults, check_dense
from lsr.search.facets import check_facets
from lsr.search.grouping import check_group_by
from lsr.search.request import (
    DEFAULT_LIMIT,
    MAX_LIMIT,
    ExternalScores,
    Fusion,
    Leg,
    Like,
    Method,
    Query,
    RankingOptions,
    Rescore,
)
from lsr.search.rows import RowSpace
from lsr.search.sorting import check_sort
from lsr.storage.generation import Generation
from lsr.vectors import NamedVector, vector_of

OnQuery = Callable[[str, NDArray[np.int64], NDArray[np.float32]], None]


@dataclass(frozen=True, slots=True)
class Searched:
    """What is searched: a generation, and what its vectors and metadata mean."""

    generation: Generation
    vectors: Mapping[str, NamedVector]
    dense: Mapping[str, DenseVector]
    defaults: SearchDefaults
    encodings: BoundedCache[Any] | None = None  # queries that a model has encoded
    on_query: OnQuery | None = None  # called with a sparse vector's name, and a query's term numbers and weights
    open_rows: Callable[[], RowSpace] | None = None  # where the documents are not in this process

    def rows(self) -> RowSpace:
        """Return the rows of the generation, for one search."""
        return RowSpace(self.generation) if self.open_rows is None else self.open_rows()

    @property
    def schema(self) -> MetadataSchema:
        """The metadata fields that every document of the generation has a column for."""
        return self.generation.schema


@dataclass(slots=True)
class Plan:
    """How a query is ranked."""

    lists: list[Leg | ExternalScores]
    weights: tuple[float, ...]
    method: Method
    k: int
    rescore: Rescore | None
    text: str | None  # what a dense query is encoded from
    like: Like | None
    raw: bool  # one list decides, by its raw scores
    notes: list[str] = field(default_factory=list)


def make_plan(searched: Searched, query: Query, options: RankingOptions) -> Plan:
    """Resolve the query and the options against the collection's defaults; raises QueryError."""
    defaults = searched.defaults
    text = query if isinstance(query, str) else None
    like = query if isinstance(query, Like) else None
    if isinstance(query, Fusion):
        if options.using is not None:
            raise QueryError("using names one vector, and a fusion names its own: give one of them", field="using")
        texts = [one.query for one in query.queries if isinstance(one, Leg) and isinstance(one.query, str)]
        likes = [one.query for one in query.queries if isinstance(one, Leg) and isinstance(one.query, Like)]
        plan = Plan(
            list(query.queries),
            query.leg_weights,
            query.method,
            query.k,
            None,
            texts[0] if texts else None,
            likes[0] if likes else None,
            raw=False,
        )
        plan.rescore = options.rescore or None
    elif options.using is not None or (text is None and like is None):
        leg = Leg(query, vector_of(searched.vectors, options.using or _plain_leg(defaults)).name)
        rescore = options.rescore or None
        plan = Plan([leg], (1.0,), "scaled", defaults.k, rescore, text, like, raw=rescore is None)
    else:
        lists = [Leg(query, leg.using, leg.limit) for leg in defaults.queries]
        weights = defaults.weights or (1.0,) * len(lists)
        rescore = _default_rescore(searched, options, like=like is not None)
        raw = len(lists) == 1 and rescore is None
        plan = Plan(list(lists), weights, defaults.method, defaults.k, rescore, text, like, raw=raw)
    if plan.rescore is not None:
        check_dense(plan.rescore.using, searched.dense)
        if plan.text is None and plan.like is None:
            raise QueryError(
                "rescore needs a text, or documents to be like: a sparse query has no dense vector", field="rescore"
            )
    for one in plan.lists:
        if isinstance(one, Leg):
            if one.using in searched.dense:
                raise QueryError(
                    f"{one.using!r} is a dense vector, which scores the candidates of others: give it as `rescore`",
                    field="using",
                )
            vector_of(searched.vectors, one.using)
    return plan


def _plain_leg(defaults: SearchDefaults) -> str:
    return defaults.queries[0].using


def _default_rescore(searched: Searched, options: RankingOptions, *, like: bool) -> Rescore | None:
    if options.rescore is False or options.sort is not None:
        return None
    if options.rescore is not None:
        return options.rescore
    rescore = searched.defaults.rescore
    # What is only a default goes without the dense vector where no model can be run (see CollectionInfo).
    return rescore if rescore is not None and (like or searched.dense[rescore.using].can_encode) else None


def limit_of(one: Leg, plan: Plan, options: RankingOptions) -> int:
    """Return how many documents a list must find."""
    if plan.raw:
        depth = MAX_LIMIT if options.cursor or options.group_by or options.collapse else options.k
        wanted = max(options.k, depth)
    else:
        wanted = max(one.limit or DEFAULT_LIMIT, options.k, plan.rescore.candidates if plan.rescore else 0)
    if options.facets is not None and options.facets.over == "ranked":
        wanted = max(wanted, DEFAULT_LIMIT)
    return max(wanted, options.prf.docs if options.prf is not None else 0, DEFAULT_LIMIT if options.boosts else 0)


def check_fields(searched: Searched, options: RankingOptions) -> None:
    """Raise QueryError, UnknownField for options that name what the collection does not have."""
    schema = searched.schema
    check_boosts(options.boosts, schema)
    if options.facets is not None:
        check_facets(options.facets, schema)
    if options.group_by is not None:
        check_group_by(options.group_by, schema)
    if options.sort is not None:
        check_sort(options.sort, schema)
    if options.must is not None and options.must.using is not None:
        vector_of(searched.vectors, options.must.using)
    if options.collapse is not None and options.collapse.using is not None:
        using = options.collapse.using
        if using not in searched.dense and using not in searched.vectors:
            raise QueryError(f"collapse.using: vector {using!r} does not exist", field="collapse.using")
