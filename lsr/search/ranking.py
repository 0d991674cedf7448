"""Rankings of many queries without documents: what evaluation, tuning and exports ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.models_extra import INSTALL
from index import SearchParameters
from lsr.documents import SparseInput
from lsr.errors import QueryError
from lsr.search import rescoring
from lsr.search.defaults import LegDefault, SearchDefaults, check_dense
from lsr.search.pipeline import answer, dense_query
from lsr.search.plan import Searched
from lsr.search.query_vectors import QueryVector, encode_queries
from lsr.search.request import MAX_CANDIDATES, RankingOptions, check_integer
from lsr.vectors import NamedVector, vector_of

_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(frozen=True, slots=True)
class Candidates:
    """The documents that the lists of one query find, with every score that a fusion and a rescoring can use.

    ids      n external ids, ascending
    raw      float32[lists, n]   each list's own score, also of a document that is not among the list's best
    ranks    int32[lists, n]     from 1; 0 for a document that is not among the list's best
    cosines  float32[n]          the dense similarity; 0 without one
    present  bool[n]             whether there is a dense similarity
    """

    ids: list[str]
    raw: NDArray[np.float32]
    ranks: NDArray[np.int32]
    cosines: NDArray[np.float32]
    present: NDArray[np.bool_]


def rank(
    searched: Searched,
    vector: NamedVector,
    queries: Sequence[str | SparseInput] | csr_array,
    k: int,
    parameters: SearchParameters,
    threads: int,
) -> list[tuple[list[str], NDArray[np.float32]]]:
    """Return (external ids, scores) of the best k of each query; see Collection.rank.

    Raises CollectionCorrupt where a segment was taken out, since a list has no place to say so.
    """
    check_integer("k", k, 1, None)
    searched.generation.require_whole()
    encoded = encode_queries(vector, queries, searched.generation.statistics(vector.name))

    space = searched.rows()
    everything = space.everything()

    def one(query: QueryVector) -> tuple[list[str], NDArray[np.float32]]:
        found = space.search(vector.name, query, k, parameters, everything)
        return space.ids(found.rows), found.scores

    return _mapped(one, encoded, threads)


def rank_by_pipeline(
    searched: Searched,
    queries: Sequence[str | SparseInput] | csr_array,
    options: RankingOptions,
    parameters: SearchParameters,
    threads: int,
) -> list[tuple[list[str], NDArray[np.float32]]]:
    """Return (external ids, scores) of the best `options.k` of each query, in the order of a search.

    By the search defaults of `searched`, or by the vector `options.using`. A document below the rescored ones may have
    a higher score than they have. Raises QueryError for a query that is not a text, or a rescoring that no model can
    run: a list has no place to say so; CollectionCorrupt where a segment was taken out.
    """
    searched.generation.require_whole()
    if isinstance(queries, csr_array):
        raise QueryError("a pipeline reads texts, not encoded queries", field="queries")
    rescore = searched.defaults.rescore
    if options.using is None:
        if not all(isinstance(query, str) for query in queries):
            raise QueryError("a pipeline reads texts: a sparse query belongs to one vector", field="queries")
        if rescore is not None and options.rescore is None:
            require_model(searched, rescore.using)

    def one(query: str | SparseInput) -> tuple[list[str], NDArray[np.float32]]:
        answered = answer(searched, query, options, parameters, None)
        best = answered.ranked.rows[: options.k]
        return answered.space.ids(best), answered.ranked.scores[: options.k].astype(np.float32)

    return _mapped(one, queries, threads)


def candidates(
    searched: Searched,
    texts: Sequence[str],
    using: Sequence[str],
    dense: str | None,
    depth: int,
    parameters: SearchParameters,
) -> Iterator[Candidates]:
    """Yield the candidates of each text: the union of the best `depth` documents of each sparse vector in `using`.

    `dense` names the vector of the similarities; None: none are computed. Raises QueryError for an unknown name or a
    vector that cannot encode a text, CollectionCorrupt where a segment was taken out.
    """
    check_integer("depth", depth, 1, MAX_CANDIDATES)
    for name in using:
        vector_of(searched.vectors, name)
    if dense is not None:
        check_dense(dense, searched.dense)
        require_model(searched, dense)
    searched.generation.require_whole()
    every = SearchDefaults(tuple(LegDefault(name, depth) for name in using))
    listed = replace(searched, defaults=every)
    options = RankingOptions(k=depth, rescore=False)
    for text in texts:
        answered = answer(listed, text, options, parameters, None)
        space, ranked = answered.space, answered.ranked
        ids = space.ids(ranked.rows)
        order = np.array(sorted(range(len(ids)), key=ids.__getitem__), dtype=np.int64)
        cosines, present = np.zeros(len(ids)), np.zeros(len(ids), dtype=np.bool_)
        if dense is not None and len(ids):
            query = dense_query(searched, dense, text)
            if query.any():
                cosines, present = rescoring.similarities(space, dense, ranked.rows, query)
        yield Candidates(
            [ids[at] for at in order.tolist()],
            ranked.raw[:, order].astype(np.float32),
            ranked.ranks[:, order].astype(np.int32),
            cosines[order].astype(np.float32),
            present[order],
        )


def require_model(searched: Searched, using: str) -> None:
    """Raise QueryError unless the queries of a dense vector can be encoded here."""
    if not searched.dense[using].can_encode:
        raise QueryError(
            f"queries cannot be rescored by {using!r}, since no model can run here: {INSTALL}", field="rescore.using"
        )


def _mapped(one: Callable[[_In], _Out], queries: Sequence[_In], threads: int) -> list[_Out]:
    if threads == 1:
        return [one(query) for query in queries]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, queries))
