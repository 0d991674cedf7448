"""An order of documents in which neighbours share their terms, for the bounds of blocks (kernels.block_max).

Recursive bisection: the documents, as points of few dimensions, are cut at the median of their first principal
component, each half again, down to a block. The points are the documents' rows, weighted by idf and scaled to length
one, on the first singular vectors of a sample (randomised SVD: Halko, Martinsson, Tropp, SIAM Review 2011).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index.building.incoming import Chunk, IncomingRows
from index.kernels.block_bounds import BLOCK
from index.kernels.lines import impact_values

_DIMENSIONS = 32
_MORE = 16  # additional random vectors, which make the first ones exact
_SAMPLE = 20_000
_POWER = 2
_CHUNK = 1 << 15
_SEED = 7
# Points from which a part's principal component is computed, and the steps of the power method.
_POINTS = 4000
_STEPS = 8

Points = NDArray[np.float32]


def coherent_order(rows: IncomingRows) -> NDArray[np.int64]:
    """Return the documents in a coherent order, int64[n_docs]; the same rows give the same order."""
    idf = np.log1p(rows.n_docs / (rows.frequencies + 0.5)).astype(np.float32)
    axes = _axes(_sample(rows, idf), len(idf))
    points = np.empty((rows.n_docs, _DIMENSIONS), dtype=np.float32)
    for chunk in rows.chunks(_CHUNK):
        points[chunk.first : chunk.first + len(chunk.indptr) - 1] = _matrix(chunk, idf) @ axes
    return bisected(points)


def bisected(points: Points) -> NDArray[np.int64]:
    """Return the points' numbers, cut in halves by the first principal component down to a block, int64[n]."""
    order = np.arange(len(points))
    parts = [(0, len(points))]
    while parts:
        first, stop = parts.pop()
        if stop - first <= BLOCK:
            continue
        part = points[order[first:stop]]
        # Halves are whole blocks, so that a block holds no documents of two.
        half = max(1, (stop - first + BLOCK) // (2 * BLOCK)) * BLOCK
        order[first:stop] = order[first:stop][np.argpartition(part @ _component(part), half - 1)]
        parts += [(first, first + half), (first + half, stop)]
    return order


def _component(part: Points) -> Points:
    """Return the first principal component of some points, by the power method."""
    points = part if len(part) <= _POINTS else part[np.linspace(0, len(part) - 1, _POINTS).astype(np.int64)]
    centred = points - points.mean(axis=0)
    covariance = centred.T @ centred
    vector: Points = covariance[:, np.argmax(np.diag(covariance))] + np.float32(1e-9)
    for _ in range(_STEPS):
        vector = covariance @ vector
        vector /= np.linalg.norm(vector) + np.float32(1e-30)
    return vector


def _sample(rows: IncomingRows, idf: NDArray[np.float32]) -> csr_array:
    """Return some evenly spaced rows."""
    step = max(1, rows.n_docs // _SAMPLE)
    parts: list[Any] = []
    for chunk in rows.chunks(_CHUNK):
        parts.append(_matrix(chunk, idf)[-chunk.first % step :: step])
    blocks = [part for part in parts if part.shape[0]]
    lengths = np.concatenate([np.diff(part.indptr) for part in blocks])
    values, terms = np.concatenate([part.data for part in blocks]), np.concatenate([part.indices for part in blocks])
    return csr_array((values, terms, np.concatenate([[0], np.cumsum(lengths)])), shape=(len(lengths), len(idf)))


def _axes(sample: csr_array, n_terms: int) -> Points:
    """Return the first right singular vectors of the sample, float32[n_terms, _DIMENSIONS]."""
    found = np.random.default_rng(_SEED).standard_normal((n_terms, _DIMENSIONS + _MORE)).astype(np.float32)
    for _ in range(1 + _POWER):
        found = np.linalg.qr(sample.T @ (sample @ found))[0]
    projected = sample @ found
    _, vectors = np.linalg.eigh(projected.T @ projected)
    axes: Points = (found @ vectors[:, ::-1][:, :_DIMENSIONS]).astype(np.float32)
    # Fewer terms than dimensions: the others are zeros.
    return np.pad(axes, ((0, 0), (0, _DIMENSIONS - axes.shape[1])))


def _matrix(chunk: Chunk, idf: NDArray[np.float32]) -> csr_array:
    """Return a chunk's rows, weighted by idf and scaled to length one, as float32 csr_array."""
    values = impact_values(chunk.impacts) * idf[chunk.terms]
    totals = np.concatenate([[0.0], np.cumsum(values.astype(np.float64) ** 2)])
    squares = totals[chunk.indptr[1:]] - totals[chunk.indptr[:-1]]
    lengths = np.sqrt(np.maximum(squares, 1e-30))
    values = (values / np.repeat(lengths, np.diff(chunk.indptr))).astype(np.float32)
    return csr_array((values, chunk.terms.astype(np.int32), chunk.indptr), shape=(len(lengths), len(idf)))
