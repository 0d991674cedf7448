"""Words that every hit must hold as written.

A word is analysed as a query of one named vector: BM25 stems it, a model cuts it into pieces. A document holds the word
when it holds all of its terms. In a literal vector (BM25's, or one that documents bring) that is what the index says. A
model's document vector holds terms of its expansion as well, so there the document's own text is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from encoders.bm25 import BM25Encoder
from index.errors import SearchStopped
from lsr.documents import DEFAULT_VECTOR
from lsr.search.query_vectors import QueryVector
from lsr.search.request import Must
from lsr.search.rows import Allowed, Rows, RowSpace
from lsr.vectors import NamedVector, vector_of

ShouldStop = Callable[[], bool]
_LITERAL: Final = "bm25"
_PIECE: Final = 32  # documents


def holding(
    space: RowSpace,
    vectors: Mapping[str, NamedVector],
    must: Must,
    using: str | None,
    allowed: Allowed,
    should_stop: ShouldStop | None,
) -> tuple[Allowed, list[str]]:
    """Return (the mask of the allowed documents that hold every word, warnings).

    using  the search's own leg, asked where the collection has no literal vector. Raises QueryError, SearchStopped.
    """
    vector = _vector(vectors, must, using)
    terms: set[int] = set()
    warnings = []
    for word in must.words:
        found = _terms(vector, word)
        if found is None or (vector.vocabulary.grows and _is_in_none(space, vector, found)):
            return space.only(np.empty(0, np.int64)), [f"must: no document holds {word!r}"]
        if not found:
            warnings.append(f"must: {word!r} has no term in {vector.name!r} (a stop word, or punctuation): ignored")
        terms |= found
    for term in sorted(terms):
        one = QueryVector(np.array([term], dtype=np.int64), np.ones(1, dtype=np.float32))
        allowed = space.matching(vector.name, one, allowed, should_stop)
    if terms and not _is_literal(vector):
        rows = allowed.rows(space)
        allowed = space.only(rows[_written(space, vector, rows, terms, should_stop)])
    return allowed, warnings


def _vector(vectors: Mapping[str, NamedVector], must: Must, using: str | None) -> NamedVector:
    if must.using is not None:
        return vector_of(vectors, must.using)
    own = vector_of(vectors, using or (DEFAULT_VECTOR if DEFAULT_VECTOR in vectors else next(iter(vectors))))
    if using is not None and _is_literal(own):
        return own
    return next((vector for vector in vectors.values() if _is_literal(vector)), own)


def _is_literal(vector: NamedVector) -> bool:
    return vector.config.encoder in (_LITERAL, None)


def _terms(vector: NamedVector, word: str) -> set[int] | None:
    """Return the word's terms; None for one that the collection has never seen."""
    if vector.config.encoder is None:
        ids = vector.vocabulary.ids([word])
    elif isinstance(vector.encoder, BM25Encoder):
        ids = vector.vocabulary.ids(vector.encoder.terms(word))
    else:
        ids = vector.encoder.input_term_ids(word)
    return None if (ids < 0).any() else set(ids.tolist())


def _is_in_none(space: RowSpace, vector: NamedVector, terms: set[int]) -> bool:
    """Whether one of the terms is in no document: of deleted documents, or of those outside a part."""
    numbers = np.array(sorted(terms), dtype=np.int64)
    return bool((space.generation.statistics(vector.name).document_frequencies(numbers) == 0).any())


def _written(
    space: RowSpace, vector: NamedVector, rows: Rows, terms: set[int], should_stop: ShouldStop | None
) -> NDArray[np.bool_]:
    """Return which documents' own words have all the terms."""
    written = np.zeros(len(rows), dtype=np.bool_)
    for first in range(0, len(rows), _PIECE):
        if should_stop is not None and should_stop():
            raise SearchStopped("the search was stopped while it looked for the words of `must`")
        for at, place in enumerate(space.places(rows[first : first + _PIECE]), start=first):
            words = vector.encoder.words(place.document().full_text, terms)
            written[at] = terms <= {term for word in words for term in word.term_ids}
    return written
