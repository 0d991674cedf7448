"""Checks of the vectors that a caller passes in, before a compiled kernel reads them.

A matrix of documents or queries is a `scipy.sparse.csr_array`: a row per text, a column per term. SciPy checks little
of it. An error names the row and the column.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from index.errors import VectorError

# Term ids and document ids are kept as uint32; one value is reserved.
MAX_TERMS = 2**32 - 1
# Of a document's and of a query's weight: with MAX_TERMS terms of this weight on both sides a score fits in a float32.
MAX_WEIGHT = 1e12
# Rows checked at once, where there are many.
_PIECE = 1 << 14


class Rows(NamedTuple):
    """Checked rows: sorted, no duplicates, finite, no negative weights, no zeros."""

    indptr: NDArray[np.int64]
    terms: NDArray[np.uint32]
    values: NDArray[np.float32]
    n_terms: int


def check_rows(matrix: Any, *, what: str = "row", first_row: int = 0) -> Rows:
    """Return the rows of a CSR matrix, checked and without zeros; raise VectorError naming the first bad row.

    `first_row` is the number of the matrix's first row in messages, for a matrix that is one batch of many.
    """
    indptr, indices, data, n_terms = _check_layout(matrix)
    return _check_entries(indptr, indices, data, n_terms, what, first_row)


def check_batch(matrix: Any, *, what: str = "row", first_row: int = 0) -> Iterator[Rows]:
    """Yield the same rows in pieces, so that a large matrix needs little memory in addition to its own."""
    indptr, indices, data, n_terms = _check_layout(matrix)
    for first in range(0, len(indptr) - 1, _PIECE):
        piece = indptr[first : first + _PIECE + 1]
        at = slice(int(piece[0]), int(piece[-1]))
        yield _check_entries(piece - piece[0], indices[at], data[at], n_terms, what, first_row + first)
    if len(indptr) == 1:
        yield _check_entries(indptr, indices, data, n_terms, what, first_row)


def _check_layout(matrix: Any) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any], int]:
    """Return (indptr, indices, data, columns) of a CSR matrix whose rows lie inside its arrays."""
    if not issparse(matrix) or getattr(matrix, "format", None) != "csr":
        kind = f"a {getattr(matrix, 'format', 'dense')} matrix" if issparse(matrix) else f"a {type(matrix).__name__}"
        raise VectorError(f"expected a scipy.sparse.csr_array, not {kind}")
    given: Any = matrix  # the type that issparse narrows it to lacks csr's attributes
    n_rows, n_terms = given.shape
    if n_terms > MAX_TERMS:
        raise VectorError(f"{n_terms} columns are more than the {MAX_TERMS} that term ids can number")
    if given.data.dtype.kind not in "biuf":
        raise VectorError(f"weights must be real numbers, not {given.data.dtype}")
    indptr = np.asarray(given.indptr, dtype=np.int64)
    indices = np.asarray(given.indices)
    if len(indptr) != n_rows + 1 or indptr[0] != 0 or (np.diff(indptr) < 0).any():
        raise VectorError("the matrix's indptr is not an ascending sequence of row starts")
    nnz = int(indptr[-1])
    if len(indices) < nnz or len(given.data) < nnz:
        raise VectorError(f"the matrix's indptr needs {nnz} entries, but it holds {len(indices)}")
    return indptr, indices[:nnz], given.data[:nnz], n_terms


def _check_entries(
    indptr: NDArray[np.int64], indices: NDArray[Any], data: NDArray[Any], n_terms: int, what: str, first_row: int
) -> Rows:
    nnz = len(indices)
    # Checked after the cast: the values that will be stored count.
    with np.errstate(over="ignore"):
        values = data.astype(np.float32)

    def refuse(bad: NDArray[np.bool_], reason: str) -> None:
        if bad.any():
            at = int(np.flatnonzero(bad)[0])
            row = int(np.searchsorted(indptr, at, side="right")) - 1
            raise VectorError(f"{what} {first_row + row}, term {int(indices[at])}: {reason.format(data[at])}")

    refuse(indices < 0, "a term id must not be negative")
    refuse(indices >= n_terms, f"the term id is not below the number of columns, {n_terms}")
    if nnz > 1:
        repeated = np.zeros(nnz, dtype=np.bool_)
        repeated[1:] = indices[1:] <= indices[:-1]
        repeated[indptr[:-1][indptr[:-1] < nnz]] = False
        refuse(repeated, "term ids must ascend within a row, without duplicates (see sort_indices, sum_duplicates)")
    refuse(~np.isfinite(values), "the weight {0} is not a finite float32")
    refuse(values < 0, "the weight {0} is negative")
    refuse(values > MAX_WEIGHT, f"the weight {{0}} is above {MAX_WEIGHT:g}: a score might not fit in a float32")
    terms = indices.astype(np.uint32)
    present = values > 0
    if present.all():
        return Rows(indptr, terms, values, n_terms)
    kept = np.zeros(nnz + 1, dtype=np.int64)
    np.cumsum(present, out=kept[1:])
    return Rows(kept[indptr], terms[present], values[present], n_terms)


def check_query(term_ids: ArrayLike, weights: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return one query's (term ids int64, ascending; weights float32, above 0); raise VectorError.

    The ids may come in any order, each only once.
    """
    ids = np.asarray(term_ids)
    given = np.asarray(weights)
    if ids.ndim != 1 or given.ndim != 1 or len(ids) != len(given):
        raise VectorError(f"a query needs one weight per term id, not arrays of shape {ids.shape} and {given.shape}")
    if len(ids) == 0:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
    if ids.dtype.kind not in "iu" or given.dtype.kind not in "biuf":
        raise VectorError(f"a query is integers and weights, not {ids.dtype} and {given.dtype}")
    with np.errstate(over="ignore"):
        values = given.astype(np.float32)
    if not np.isfinite(values).all():
        raise VectorError(f"the query's weight {given[~np.isfinite(values)][0]} is not a finite float32")
    if values.min() < 0:
        raise VectorError(f"the query's weight {given[values < 0][0]} is negative")
    if values.max() > MAX_WEIGHT:
        raise VectorError(
            f"the query's weight {given[values > MAX_WEIGHT][0]} is above {MAX_WEIGHT:g}: a score might not fit in a "
            "float32"
        )
    if ids.dtype.kind == "u" and ids.max() >= 2**63:
        raise VectorError(f"the query's term id {ids.max()} is out of range")
    numbers = ids.astype(np.int64)
    if len(numbers) > 1 and (numbers[1:] <= numbers[:-1]).any():
        order = np.argsort(numbers, kind="stable")
        numbers, values = numbers[order], values[order]
        same = np.flatnonzero(numbers[1:] == numbers[:-1])
        if len(same):
            raise VectorError(f"the query holds term id {numbers[same[0]]} twice")
    if numbers[0] < 0:
        raise VectorError(f"the query's term id {numbers[0]} is negative")
    if values.min() == 0:
        numbers, values = numbers[values > 0], values[values > 0]
    return numbers, values
