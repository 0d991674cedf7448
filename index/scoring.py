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
from index.kernels.forward import score_rows as score_in_kernel
from index.vectors import check_query, check_rows


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


class PreparedRows:
    """Rows that are in no segment yet, checked once and scored by every query until they are. Never changes."""

    def __init__(self, matrix: Any, impact_dtype: str = "float16") -> None:
        """Take a csr_array float32 [n, terms], as given to `SparseIndex.build`; raises VectorError, ConfigError."""
        rows = check_rows(matrix)
        # Numbered by their rank among the rows' own terms: a table as wide as the vocabulary would cost more to
        # make than the scoring does.
        self._ids, numbers = np.unique(rows.terms, return_inverse=True)
        self._start = _fixed(rows.indptr)
        self._terms = _fixed(numbers.astype(np.uint32))
        self._impacts = _fixed(stored(rows.values, impact_dtype))

    def __len__(self) -> int:
        return len(self._start) - 1

    def score(self, term_ids: ArrayLike, weights: ArrayLike) -> NDArray[np.float32]:
        """Return each row's canonical score, float32[n]; -1 for a row that shares no term with the query.

        term_ids  int[m], in any order; ids that no row holds match nothing     weights  float[m], not negative

        Safe to call from many threads; the work is done without the GIL. Raises VectorError.
        """
        ids, values = check_query(term_ids, weights)
        scores = np.full(len(self), -1.0, dtype=np.float32)
        if len(ids) == 0 or len(self._ids) == 0:
            return scores
        at = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        found = self._ids[at] == ids
        table = np.zeros(1 << len(self._ids).bit_length(), dtype=np.float32)
        table[at[found]] = values[found]
        score_in_kernel(self._start, self._terms, self._impacts, table, scores)
        return scores


def score_rows(
    matrix: Any, term_ids: ArrayLike, weights: ArrayLike, *, impact_dtype: str = "float16"
) -> NDArray[np.float32]:
    """Return `PreparedRows(matrix, impact_dtype).score(term_ids, weights)`: for rows that are scored only once."""
    return PreparedRows(matrix, impact_dtype).score(term_ids, weights)


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """Return the array as read-only: a mapped file is, and one type is one compilation."""
    view = array.view()
    view.setflags(write=False)
    return view
