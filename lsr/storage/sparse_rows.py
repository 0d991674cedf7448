"""Sparse matrices put together row by row: the few operations on csr_array that SciPy makes awkward.

Matrices of one named vector differ in width, since the vocabulary grows; a joined one is as wide as the widest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array


def join_rows(parts: Sequence[csr_array]) -> csr_array:
    """Return the rows of all parts, one after the other, as float32 csr_array [rows, widest]; at least one column."""
    width = max([part.shape[1] for part in parts], default=1) or 1
    lengths = [np.diff(part.indptr) for part in parts]
    indptr = np.zeros(sum(map(len, lengths)) + 1, dtype=np.int64)
    if parts:
        np.cumsum(np.concatenate(lengths), out=indptr[1:])
    indices = np.concatenate([part.indices for part in parts]) if parts else np.empty(0, np.int32)
    weights = np.concatenate([part.data for part in parts]) if parts else np.empty(0, np.float32)
    return csr_array((weights.astype(np.float32, copy=False), indices, indptr), shape=(len(indptr) - 1, width))


def take_rows(matrix: csr_array, rows: NDArray[np.int64]) -> csr_array:
    """Return some rows, in the order given, as csr_array [len(rows), columns]."""
    taken: csr_array[Any, tuple[int, int]] = matrix[rows]
    return taken


def with_small_indices(matrix: csr_array) -> csr_array:
    """Return the matrix with int32 term numbers, half of SciPy's memory; term numbers stay below 2**31."""
    return csr_array((matrix.data, matrix.indices.astype(np.int32), matrix.indptr.astype(np.int64)), shape=matrix.shape)
