"""Rows of a sparse matrix without torch: built from terms and weights, windows merged, small weights pruned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.settings import SideSettings, Windows

_NO_IDS = np.empty(0, dtype=np.int64)
_NO_WEIGHTS = np.empty(0, dtype=np.float32)


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
    for row in range(matrix.shape[0]):
        span = slice(matrix.indptr[row], matrix.indptr[row + 1])
        weights = matrix.data[span]
        if settings.prune_ratio > 0.0 and weights.size:
            keep[span] = weights > settings.prune_ratio * weights.max()
        limit = settings.max_active_dims
        if limit is not None and weights.size > limit:
            # A stable sort of ascending term ids: equal weights stay in that order.
            keep[span][np.argsort(-weights, kind="stable")[limit:]] = False
    if keep.all():
        return matrix
    indptr = np.concatenate(([0], np.cumsum(keep, dtype=np.int64)))[matrix.indptr]
    return csr_array((matrix.data[keep], matrix.indices[keep], indptr), shape=matrix.shape)
