"""Rows of a sparse matrix without torch: built from terms and weights, windows merged, small weights pruned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.settings import SideSettings, Windows

_NO_IDS = np.empty(0, dtype=np.int64)
_NO_WEIGHTS = np.empty(0, dtype=np.float32)
_TOGETHER = 128  # rows whose largest weights are found together


def from_rows(rows: Sequence[NDArray[np.int64]], weights: Sequence[NDArray[np.float32]], n_terms: int) -> csr_array:
    """Return CSR [len(rows), n_terms] with the given ascending term ids and weights in each row."""
    indptr = np.concatenate(([0], np.cumsum([len(row) for row in rows], dtype=np.int64)))
    indices = np.concatenate([*rows, _NO_IDS])
    values = np.concatenate([*weights, _NO_WEIGHTS])
    return csr_array((values, indices, indptr), shape=(len(rows), n_terms))


def merge_windows(matrix: csr_array, owners: Sequence[int], n_rows: int, how: Windows) -> csr_array:
    """Return CSR [n_rows, terms]: row r is the maximum, or the sum, of the rows i of `matrix` with owners[i] == r.

    `owners` int, ascending, one per row of `matrix`.
    """
    n_terms = int(matrix.shape[1])
    of_entry = np.repeat(np.asarray(owners, dtype=np.int64), np.diff(matrix.indptr))
    keys = of_entry * n_terms + matrix.indices
    order = np.argsort(keys, kind="stable")
    distinct, first = np.unique(keys[order], return_index=True)
    if not len(distinct):
        return from_rows([_NO_IDS] * n_rows, [_NO_WEIGHTS] * n_rows, n_terms)
    reduce = np.maximum if how is Windows.MAX else np.add
    values = reduce.reduceat(matrix.data[order], first).astype(np.float32)
    indptr = np.searchsorted(distinct // n_terms, np.arange(n_rows + 1))
    return csr_array((values, distinct % n_terms, indptr), shape=(n_rows, n_terms))


def prune(matrix: csr_array, settings: SideSettings) -> csr_array:
    """Return `matrix` without weights at or below prune_ratio x row maximum, then with each row's max_active_dims
    largest; of equal weights at that cut, those of smaller term ids stay. With `cosine`, each row that is not empty
    then has length 1."""
    pruned = _without_small(matrix, settings)
    return _of_length_1(pruned) if settings.cosine else pruned


def _of_length_1(matrix: csr_array) -> csr_array:
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    squares = np.bincount(rows, weights=matrix.data.astype(np.float64) ** 2, minlength=matrix.shape[0])
    values = (matrix.data / np.sqrt(squares)[rows]).astype(np.float32)
    return csr_array((values, matrix.indices, matrix.indptr), shape=matrix.shape)


def _without_small(matrix: csr_array, settings: SideSettings) -> csr_array:
    if settings.prune_ratio == 0.0 and settings.max_active_dims is None:
        return matrix
    keep = np.ones(matrix.nnz, dtype=np.bool_)
    counts = np.diff(matrix.indptr)
    if settings.prune_ratio > 0.0 and matrix.nnz:
        filled = counts > 0
        largest = np.zeros(len(counts), dtype=matrix.data.dtype)
        largest[filled] = np.maximum.reduceat(matrix.data, matrix.indptr[:-1][filled])
        keep = matrix.data > np.repeat(settings.prune_ratio * largest, counts)
    limit = settings.max_active_dims
    if limit is not None:
        for first in range(0, len(counts), _TOGETHER):
            rows = np.flatnonzero(counts[first : first + _TOGETHER] > limit) + first
            if len(rows):
                _keep_largest(matrix, rows, limit, keep)
    if keep.all():
        return matrix
    indptr = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))[matrix.indptr]
    return csr_array((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)


def _keep_largest(matrix: csr_array, rows: NDArray[np.int64], limit: int, keep: NDArray[np.bool_]) -> None:
    """Clear `keep`, bool [nnz], for all but the `limit` largest weights of `rows`, which have more than `limit`; of
    equal weights at the cut those of smaller term ids stay."""
    starts, counts = matrix.indptr[:-1][rows].astype(np.int64), np.diff(matrix.indptr)[rows]
    width = int(counts.max())
    inside = np.arange(width) < counts[:, None]
    places = (starts[:, None] + np.arange(width))[inside]
    padded = np.full(inside.shape, -np.inf, dtype=matrix.data.dtype)
    padded[inside] = matrix.data[places]
    threshold = np.partition(padded, width - limit, axis=1)[:, width - limit, None]
    above, equal = padded > threshold, padded == threshold
    room = limit - above.sum(axis=1, keepdims=True)
    keep[places] &= (above | (equal & (np.cumsum(equal, axis=1) <= room)))[inside]
