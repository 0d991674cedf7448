"""A static body learned from a sentence encoder: the vectors of tokens whose weighted mean is nearest to its vectors.

    weight[t] = a / (a + share of t among all tokens)              SIF, Arora et al. 2017; 0 for special tokens
    offset    = mean of the encoder's vectors of the texts
    vector[t] = s * (own[t] - mean of own) + D[t]                  own[t]: the encoder's vector of the token alone
    D minimises   sum over texts |offset + X vector - vector of the text|^2  +  ridge * |D|^2

X is the matrix of weighted means. A token of no text keeps what the encoder says of it alone, as in Model2Vec; one of
many texts is learned from them. The minimum is found by conjugate gradients, all columns at once: a step costs two
products with X, which is sparse. The vectors may then be cut to the `size` main directions of what texts have.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.compute.static_body import StaticBody
from encoders.errors import SettingError

Floats = NDArray[np.float32]

COMMON = 1e-3  # a: the share of all tokens at which a token's weight is one half
RIDGE = 1e-2
STEPS = 8  # of conjugate gradients


class Distilled(NamedTuple):
    """A static body, and `directions` float32 [d, size]: a vector of the encoder times them is one of the body's."""

    body: StaticBody
    directions: Floats


def distil(
    ids: Sequence[Sequence[int]],
    wanted: NDArray[np.floating],
    own: NDArray[np.floating],
    special: Collection[int],
    *,
    size: int | None = None,
    ridge: float = RIDGE,
    steps: int = STEPS,
) -> Distilled:
    """Return the static body and what cuts a vector of the encoder to its size.

    ids      tokens of each text, as the body will read them
    wanted   [len(ids), d], the encoder's vectors of the texts, of length 1
    own      [tokens, d], its vectors of each token alone
    special  tokens that have no weight
    size     numbers in a vector; None: d

    Raises SettingError for no texts, and for a size that is not in 1 .. d.
    """
    dimensions = own.shape[1]
    if size is not None and not 1 <= size <= dimensions:
        raise SettingError(f"a static body of {size} numbers: the encoder's vectors have {dimensions}")
    counts = _counts(ids, len(own), special)
    if counts.nnz == 0:
        raise SettingError("a static body needs texts with tokens to learn from")
    weights = _token_weights(counts, special)
    means = _means(counts, weights)
    offset = wanted.mean(axis=0, dtype=np.float64).astype(np.float32)
    target = wanted.astype(np.float32) - offset
    start = own.astype(np.float32) - own.mean(axis=0, dtype=np.float64).astype(np.float32)
    reached = means @ start
    scale = float((target * reached).sum() / max(float((reached * reached).sum()), 1e-12))
    vectors = scale * start + _ridge(means, target - scale * reached, ridge, steps)
    directions = np.eye(dimensions, dtype=np.float32)
    if size is not None and size < dimensions:
        directions = main_directions(means @ vectors + offset, size)
    parts = (vectors @ directions, weights, offset @ directions)
    return Distilled(StaticBody(*map(torch.from_numpy, parts)), directions)


def main_directions(vectors: Floats, size: int) -> Floats:
    """Return orthonormal float32 [d, size]: the directions with the most of the vectors' squares, float32 [n, d]."""
    _, found = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    directions: Floats = np.ascontiguousarray(found[:, ::-1][:, :size], dtype=np.float32)
    return directions


def _counts(ids: Sequence[Sequence[int]], n_tokens: int, special: Collection[int]) -> csr_array:
    flat = np.array([token for one in ids for token in one], dtype=np.int64)
    rows = np.repeat(np.arange(len(ids)), [len(one) for one in ids])
    kept = ~np.isin(flat, list(special))
    ones = np.ones(int(kept.sum()), dtype=np.float32)
    return csr_array((ones, (rows[kept], flat[kept])), shape=(len(ids), n_tokens))


def _token_weights(counts: csr_array, special: Collection[int]) -> Floats:
    """Return the weight of each token, float32 [tokens]."""
    totals = np.asarray(counts.sum(axis=0), dtype=np.float64)
    weights: Floats = (COMMON / (COMMON + totals / totals.sum())).astype(np.float32)
    weights[list(special)] = 0.0
    return weights


def _means(counts: csr_array, weights: Floats) -> csr_array:
    """Return X, whose product with vectors of tokens is the weighted mean of each text."""
    values = counts.data * weights[counts.indices]
    rows = np.repeat(np.arange(counts.shape[0]), np.diff(counts.indptr))
    sums = np.bincount(rows, weights=values, minlength=counts.shape[0])
    return csr_array(((values / sums[rows]).astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)


def _ridge(means: csr_array, target: Floats, ridge: float, steps: int) -> Floats:
    """Return D [tokens, d] near the minimum of |means D - target|^2 + ridge |D|^2, from D = 0."""
    transposed = csr_array(means.T)
    squares = means.multiply(means).sum(axis=0)
    inverse = (1.0 / (np.asarray(squares, dtype=np.float32) + np.float32(ridge)))[:, None]  # the preconditioner
    found = np.zeros((means.shape[1], target.shape[1]), dtype=np.float32)
    residual: Floats = transposed @ target
    step = direction = inverse * residual
    size = (residual * step).sum(axis=0)
    for _ in range(steps):
        image = transposed @ (means @ direction) + np.float32(ridge) * direction
        length = size / np.maximum((direction * image).sum(axis=0), 1e-20)
        found += length * direction
        residual -= length * image
        step = inverse * residual
        before, size = size, (residual * step).sum(axis=0)
        direction = step + (size / np.maximum(before, 1e-20)) * direction
    return found
