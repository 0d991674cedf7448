"""Scoring by dense vectors: a query's dot product with stored rows of int8, in one fixed order of additions.

A document's dense vector is a row of int8 and a scale; their product is its canonical form. Each product of a query's
float32 with an int8 is exact in float64 (24 bits times 8), and the order of the sum is fixed, so that a score depends
only on the numbers: eight lanes, as in a processor's registers, of which lane j adds the dimensions
j, j + 8, j + 16, ... in ascending order. The lanes are added as ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)).

Rows are read at random, so those of the next documents are prefetched.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.prefetching import prefetch

LANES = 8

_ROWS_AHEAD = 4
_LINE_BYTES = 64


@njit(cache=True, nogil=True)
def score_dense_rows(rows, values, scale, query, scores):
    """Write float32(scale * (values . query)) of each row to `scores`.

    rows    int64[m], each from 0 below n      values  int8[n, dims]
    scale   float32[n]; 0: no vector, the score is 0
    query   float64[dims], float32 numbers     scores  float32[m]

    Oracle: oracle.dense_scores.
    """
    dims = values.shape[1]
    whole = dims - dims % LANES
    lanes = np.zeros(LANES, dtype=np.float64)
    for i in range(len(rows)):
        if i + _ROWS_AHEAD < len(rows):
            ahead = values[rows[i + _ROWS_AHEAD]]
            for place in range(0, dims, _LINE_BYTES):
                prefetch(ahead, np.int64(place))
        factor = np.float64(scale[rows[i]])
        if factor == 0.0:
            scores[i] = np.float32(0.0)
            continue
        row = values[rows[i]]
        lanes[:] = 0.0
        for first in range(0, whole, LANES):
            for j in range(LANES):
                lanes[j] += query[first + j] * np.float64(row[first + j])
        for j in range(dims - whole):
            lanes[j] += query[whole + j] * np.float64(row[whole + j])
        total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]))
        scores[i] = np.float32(factor * total)
