"""One search, from the query as the user gave it to hits with documents: encode, search, fetch, explain.

Works on one generation from start to end, so what it returns belongs to one moment of the collection.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import SearchParameters
from lsr.documents import SparseInput
from lsr.errors import QueryError
from lsr.metadata import MetadataSchema
from lsr.results import Hit, MatchedTerm, QueryTerm, SearchResult, Timings, Total
from lsr.search.filters import Filter
from lsr.search.query_vectors import QueryVector, encode_queries, encode_query, input_term_ids
from lsr.storage.generation import Generation, Place
from lsr.vectors import NamedVector


def search(
    generation: Generation,
    vector: NamedVector,
    schema: MetadataSchema,
    query: str | SparseInput,
    k: int,
    parameters: SearchParameters,
    *,
    conditions: object = None,
    explain_terms: int = 0,
    timeout_ms: float | None = None,
) -> SearchResult:
    """Run one search, as `Collection.search` describes it; `conditions` are its `filter`.

    Raises QueryError, VectorError, SearchParameterError, SearchStopped, EncoderError.
    """
    should_stop = deadline(timeout_ms)
    check_count("k", k, least=1)
    check_count("explain_terms", explain_terms, least=0)
    row_filter = None if conditions is None else Filter(conditions, schema)
    started = time.perf_counter()
    encoded = encode_query(vector, query, generation.statistics(vector.name))
    given = input_term_ids(vector, query, encoded)
    after_encode = time.perf_counter()
    ranked = generation.search(vector.name, encoded.term_ids, encoded.weights, k, parameters, row_filter, should_stop)
    after_search = time.perf_counter()
    hits = []
    for rank, (score, identifier, place) in enumerate(ranked, start=1):
        matched, other = ((), score) if not explain_terms else _explain(vector, encoded, place, score, explain_terms)
        hits.append(Hit(identifier, rank, score, place.document(), matched, other))
    after_fetch = time.perf_counter()
    return SearchResult(
        hits=tuple(hits),
        query_terms=_query_terms(vector, encoded, given),
        timings=Timings(
            encode=(after_encode - started) * 1e3,
            search=(after_search - after_encode) * 1e3,
            fetch=(after_fetch - after_search) * 1e3,
        ),
        # Fewer than k means that no more match: the index fills up exactly before it returns less.
        total=Total(len(hits), "eq" if len(hits) < k else "gte"),
        approximate=not parameters.exact,
        warnings=(*_damage_warnings(generation), *_warnings(query, encoded)),
        partial=any(damage.documents for damage in generation.damage),
    )


def rank(
    generation: Generation,
    vector: NamedVector,
    queries: Sequence[str | SparseInput] | csr_array,
    k: int,
    parameters: SearchParameters,
    threads: int,
) -> list[tuple[list[str], NDArray[np.float32]]]:
    """Return (external ids, scores) of the best k of each query; see Collection.rank.

    Raises CollectionCorrupt where a segment was taken out, since a list has no place to say so.
    """
    check_count("k", k, least=1)
    generation.require_whole()
    encoded = encode_queries(vector, queries, generation.statistics(vector.name))

    def one(query: QueryVector) -> tuple[list[str], NDArray[np.float32]]:
        ranked = generation.search(vector.name, query.term_ids, query.weights, k, parameters)
        return [hit.id for hit in ranked], np.array([hit.score for hit in ranked], dtype=np.float32)

    if threads == 1:
        return [one(query) for query in encoded]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, encoded))


def check_count(name: str, value: object, least: int) -> None:
    """Raise QueryError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise QueryError(f"{name} must be a whole number of at least {least}, not {value!r}", field=name)


def deadline(timeout_ms: float | None) -> Callable[[], bool] | None:
    """Return a function that tells whether `timeout_ms` milliseconds have passed since now; None without a limit."""
    if timeout_ms is None:
        return None
    if isinstance(timeout_ms, bool) or not isinstance(timeout_ms, (int, float)) or not 0 < timeout_ms < 1e12:
        raise QueryError(f"timeout_ms must be a number above 0, not {timeout_ms!r}", field="timeout_ms")
    end = time.monotonic() + timeout_ms / 1e3
    return lambda: time.monotonic() > end


def _query_terms(vector: NamedVector, encoded: QueryVector, given: set[int]) -> tuple[QueryTerm, ...]:
    tokens = vector.vocabulary.tokens(encoded.term_ids)
    terms = [
        QueryTerm(token, term_id, weight, "input" if term_id in given else "expansion")
        for token, term_id, weight in zip(tokens, encoded.term_ids.tolist(), encoded.weights.tolist(), strict=True)
    ]
    return tuple(sorted(terms, key=lambda term: (-term.weight, term.term_id)))


def _explain(
    vector: NamedVector, encoded: QueryVector, place: Place, score: float, limit: int
) -> tuple[tuple[MatchedTerm, ...], float]:
    term_ids, impacts = place.vector(vector.name)
    # Both rise, so a binary search finds each of the query's few terms; intersect1d would sort the two together.
    near = np.minimum(np.searchsorted(term_ids, encoded.term_ids), max(len(term_ids) - 1, 0))
    in_query = np.flatnonzero(term_ids[near] == encoded.term_ids) if len(term_ids) else near[:0]
    shared = encoded.term_ids[in_query]
    query_weights = encoded.weights[in_query].astype(np.float64)
    document_weights = impacts[near[in_query]].astype(np.float64)
    contributions = query_weights * document_weights
    best = np.argsort(-contributions, kind="stable")[:limit]
    tokens = vector.vocabulary.tokens(shared[best])
    matched = tuple(
        MatchedTerm(token, float(query_weights[at]), float(document_weights[at]), float(contributions[at]))
        for token, at in zip(tokens, best, strict=True)
    )
    return matched, score - sum(term.contribution for term in matched)


def _warnings(query: str | SparseInput, encoded: QueryVector) -> tuple[str, ...]:
    warnings = []
    if encoded.unknown:
        shown = ", ".join(repr(token) for token in encoded.unknown[:5])
        warnings.append(f"{len(encoded.unknown)} query terms occur in no document: {shown}")
    if not len(encoded.term_ids):
        blank = isinstance(query, str) and not query.strip()
        warnings.append("the query is empty" if blank else "no term of the query is known to the collection")
    return tuple(warnings)


def _damage_warnings(generation: Generation) -> list[str]:
    return [
        f"a damaged file ({damage.path.name}) puts {damage.documents} documents out of reach"
        for damage in generation.damage
        if damage.documents
    ]
