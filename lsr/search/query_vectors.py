"""Encoding a query: a text or a sparse query becomes term numbers and weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.encoder import CorpusStatistics
from index import MAX_WEIGHT
from lsr.documents import SparseByIndex, SparseByToken, SparseInput, check_terms, weights_of
from lsr.errors import InvalidDocument, QueryError
from lsr.vectors import NamedVector

MAX_QUERY_TERMS = 1024


@dataclass(frozen=True, slots=True)
class QueryVector:
    """An encoded query: distinct term numbers, ascending, with weights above 0."""

    term_ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    unknown: tuple[str, ...] = ()  # tokens that the collection does not have, so they match nothing


def encode_query(vector: NamedVector, query: str | SparseInput, statistics: CorpusStatistics) -> QueryVector:
    """Encode a text, or number the terms of a sparse query.

    Raises QueryError for a text without an encoder, an unknown term of a fixed vocabulary, an invalid weight, or too
    many terms.
    """
    if isinstance(query, str):
        if vector.config.encoder is None:
            raise QueryError(
                f"the vector {vector.name!r} has no encoder: give a sparse query, or another vector in `using`",
                field="query.text",
            )
        if not query.strip():
            return _query_vector(np.empty(0, np.int64), np.empty(0, np.float32), ())
        return _query_vectors(vector.encoder.encode_queries([query], statistics))[0]
    count = len(query.weights) if isinstance(query, SparseByToken) else len(query.indices)
    if count > MAX_QUERY_TERMS:
        raise QueryError(f"the query has {count} terms; at most {MAX_QUERY_TERMS} are allowed", field="query.sparse")
    try:
        check_terms(query, "query.sparse")
    except InvalidDocument as error:
        raise QueryError(str(error), field=error.field) from None
    _check_weights(list(query.weights.values() if isinstance(query, SparseByToken) else query.values))
    weights = weights_of([query], count)
    term_ids, tokens = _query_numbers(vector, query)
    unknown = term_ids < 0
    names = tuple(tokens[position] for position in np.flatnonzero(unknown).tolist())
    if names and not vector.vocabulary.grows:
        raise QueryError(
            f"{names[0]!r} is not in the vocabulary of {vector.config.encoder!r}", field=f"query.sparse.{names[0]}"
        )
    return _query_vector(term_ids[~unknown], weights[~unknown], names)


def encode_queries(
    vector: NamedVector, queries: Sequence[str | SparseInput] | csr_array, statistics: CorpusStatistics
) -> list[QueryVector]:
    """Encode many queries, texts in batches; a csr_array [n, terms] is already encoded. Raises as `encode_query`."""
    if isinstance(queries, csr_array):
        _check_weights(queries.data.tolist())
        return _query_vectors(queries)
    texts = [query for query in queries if isinstance(query, str)]
    if vector.config.encoder is None or len(texts) < len(queries) or not all(text.strip() for text in texts):
        return [encode_query(vector, query, statistics) for query in queries]
    return _query_vectors(vector.encoder.encode_queries(texts, statistics)) if texts else []


def without_absent(
    vector: NamedVector, query: QueryVector, statistics: CorpusStatistics, *, is_text: bool
) -> QueryVector:
    """Return the query without the terms that no document holds, as if they had never been seen.

    In a part of a collection: else an answer would show that a document outside of it holds the term. A term that was
    never seen is dropped from a text and named as unknown in a sparse query.
    """
    absent = statistics.document_frequencies(query.term_ids) == 0
    if not absent.any():
        return query
    names = () if is_text else tuple(vector.vocabulary.tokens(query.term_ids[absent]))
    return QueryVector(query.term_ids[~absent], query.weights[~absent], (*query.unknown, *names))


def input_term_ids(vector: NamedVector, query: str | SparseInput, encoded: QueryVector) -> set[int]:
    """Return the numbers of the terms in the user's query; the encoder added the others."""
    if isinstance(query, str):
        return set(vector.encoder.input_term_ids(query).tolist())
    return set(encoded.term_ids.tolist())


def _query_numbers(vector: NamedVector, query: SparseInput) -> tuple[NDArray[np.int64], Sequence[str]]:
    if isinstance(query, SparseByIndex) and vector.config.encoder is not None:
        numbers = np.array(query.indices, dtype=np.int64)
        if numbers.size and int(numbers.max()) >= len(vector.vocabulary):
            raise QueryError(
                f"term {int(numbers.max())} is not in a vocabulary of {len(vector.vocabulary)} terms",
                field="query.sparse.indices",
            )
        return numbers, ()
    tokens = vector.tokens_of(query)
    return vector.vocabulary.ids(tokens), tokens


def bounded(weights: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return computed weights of a query as float32, none above MAX_WEIGHT, so that every score is finite."""
    return np.minimum(weights, MAX_WEIGHT).astype(np.float32)


def _check_weights(weights: list[Any]) -> None:
    """Raise QueryError unless all weights are numbers from 0 to MAX_WEIGHT."""
    wrong = [weight for weight in weights if not 0 <= weight <= MAX_WEIGHT]  # a NaN is not, either
    if wrong:
        detail = f"query.sparse: a weight is a number from 0 to {MAX_WEIGHT:g}, not {wrong[0]!r:.80}"
        raise QueryError(detail, field="query.sparse")


def _query_vectors(rows: csr_array) -> list[QueryVector]:
    ends = rows.indptr.tolist()
    return [
        _query_vector(rows.indices[start:stop].astype(np.int64), rows.data[start:stop].astype(np.float32), ())
        for start, stop in pairwise(ends)
    ]


def _query_vector(term_ids: NDArray[np.int64], weights: NDArray[np.float32], unknown: tuple[str, ...]) -> QueryVector:
    kept = np.flatnonzero(weights > 0)
    order = kept[np.argsort(term_ids[kept], kind="stable")]
    return QueryVector(term_ids[order], weights[order], unknown)
