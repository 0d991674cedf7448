"""Canonical weights and scores: the numbers that every path of a search agrees on.

A segment keeps each impact as float16 (or float32). That is the truth, and every final score is the dot product with
it, summed in float64 by rising term id and rounded once to float32: so a document scores the same while it is pending,
when it is sealed, and after any merge.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from index.config import IMPACT_DTYPES
from index.errors import ConfigError, VectorError
from index.kernels.forward import score_range
from index.vectors import check_query, check_rows

_EVERYTHING = np.zeros(0, dtype=np.bool_)
_EVERYTHING.setflags(write=False)


def canonical(impacts: ArrayLike, dtype: str = "float16") -> NDArray[np.float32]:
    """Return the impacts as they are stored, as float32: rounded to `dtype` ("float16" or "float32").

    Raises VectorError for a negative, NaN or infinite impact, and for one that `dtype` cannot hold.
    """
    given = np.asarray(impacts)
    held: NDArray[Any] = stored(given, dtype).view(np.float16 if dtype == "float16" else np.float32)
    values: NDArray[np.float32] = held.astype(np.float32)
    return values


def stored(impacts: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return the impacts in their stored form: float16 as its bits in uint16[n], or float32[n].

    Raises VectorError as `canonical` does.
    """
    if dtype not in IMPACT_DTYPES:
        raise ConfigError(f"impact_dtype must be one of {', '.join(IMPACT_DTYPES)}, not {dtype!r}")
    with np.errstate(over="ignore", under="ignore"):
        rounded = impacts.astype(np.float32).astype(dtype)
    if not np.isfinite(rounded).all():
        raise VectorError(f"the weight {impacts[~np.isfinite(rounded)][0]} is not a finite {dtype}")
    if (rounded < 0).any():
        raise VectorError(f"the weight {impacts[rounded < 0][0]} is negative")
    # Minus zero compares as zero but has a bit that says otherwise.
    positive: NDArray[Any] = np.abs(rounded)
    return positive.view(np.uint16) if dtype == "float16" else positive


def score_rows(
    matrix: Any, term_ids: ArrayLike, weights: ArrayLike, *, impact_dtype: str = "float16"
) -> NDArray[np.float32]:
    """Return each row's canonical score, float32[n]; -1 for a row that shares no term with the query.

    matrix    csr_array float32 [n, terms], as given to `SparseIndex.build`
    term_ids  int[m], in any order; ids beyond the matrix's columns match nothing
    weights   float[m], finite and not negative

    For rows that are in no segment yet: they score as they will when they are. Raises VectorError.
    """
    ids, values = check_query(term_ids, weights)
    rows = check_rows(matrix)
    scores = np.full(len(rows.indptr) - 1, -1.0, dtype=np.float32)
    if len(rows.terms) == 0 or len(ids) == 0:
        return scores
    # The query's terms, numbered by their rank, stand in for a segment's: a table as wide as the vocabulary
    # would cost more than the scoring. Rank n is no query term; its weight is 0.
    rank = np.searchsorted(ids, rows.terms)
    rank[ids[np.minimum(rank, len(ids) - 1)] != rows.terms] = len(ids)
    table = np.zeros(1 << len(ids).bit_length(), dtype=np.float32)
    table[: len(ids)] = values
    impacts = stored(rows.values, impact_dtype)
    score_range(0, _fixed(rows.indptr), _fixed(rank.astype(np.uint32)), _fixed(impacts), table, _EVERYTHING, scores)
    return scores


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as read-only: a mapped file is, and one type is one compilation."""
    view = array.view()
    view.setflags(write=False)
    return view
