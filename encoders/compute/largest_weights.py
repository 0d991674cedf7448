"""From a block of products to the largest weights of each text, in one pass over the block.

    weight[v] = max(scale[v] * product[v] + bias[v], 0) + literal[v]          the `limit` largest above zero are kept

Of 30,000 terms a text keeps hundreds. Separate passes of torch over the block (bias, relu, comparison, count, places,
values, then the cut) take three times as long as the product itself. Here 16 terms are computed at a time, and groups
without a weight above zero, which are four in five, are left at once. Oracle: `PooledSide.weights_of`, `to_csr` and
`prune`, which compute the same in separate passes.
"""

from __future__ import annotations

import numba
import numpy as np

_GROUP = 16  # terms: one register of AVX-512, two of AVX2


@numba.njit(cache=True, nogil=True)
def largest_weights(  # type: ignore[no-untyped-def]
    products,
    halves,
    scale,
    bias,
    has_expansion,
    literal_starts,
    literal_terms,
    literal,
    limit,
    indptr,
    terms,
    weights,
):
    """Write the largest weights of each text to `terms` and `weights`, ascending by term, and their rows to `indptr`.

    products        float32[rows, n_terms], or with 0 rows:
    halves          uint16[rows, n_terms], products in bfloat16, which are the upper halves of float32 numbers
    scale, bias     float32[n_terms]; a bias of -inf: no expansion by this term
    has_expansion   bool[rows]; False: the products of this row are left out
    literal_starts  int64[rows + 1], each text's entries in literal_terms int64 (ascending in a text), literal float32
    limit           weights per text; of equal ones at the cut those of smaller terms stay
    indptr          int64[rows + 1]
    terms, weights  int32, float32 [rows * limit]
    """
    n_terms = len(scale)
    widened = np.zeros(n_terms, np.float32)
    row_terms = np.empty(n_terms, np.int32)
    row_weights = np.empty(n_terms, np.float32)
    nothing = np.full(n_terms, -1.0, np.float32)
    indptr[0] = 0
    for row in range(len(has_expansion)):
        values, offset = widened, bias
        if not has_expansion[row]:
            values, offset = nothing, nothing
        elif len(products):
            values = products[row]
        else:
            _widen(halves[row], widened)
        start, end = literal_starts[row], literal_starts[row + 1]
        found = _collect(values, scale, offset, literal_terms[start:end], literal[start:end], row_terms, row_weights)
        indptr[row + 1] = _keep(row_terms, row_weights, found, limit, indptr[row], terms, weights)


@numba.njit(cache=True, nogil=True)
def _widen(halves, values):  # type: ignore[no-untyped-def]
    bits = values.view(np.uint32)
    for i in range(len(halves)):
        bits[i] = np.uint32(halves[i]) << np.uint32(16)


@numba.njit(cache=True, nogil=True)
def _collect(values, scale, bias, literal_terms, literal, terms, weights):  # type: ignore[no-untyped-def]
    """Write a text's weights above zero; return their number."""
    n_terms = len(values)
    group = np.empty(_GROUP, np.float32)
    found = at = 0
    for first in range(0, n_terms, _GROUP):
        width = min(_GROUP, n_terms - first)
        hits = np.int32(0)
        if width == _GROUP:  # a loop of known length is vectorised
            for j in range(_GROUP):
                value = values[first + j] * scale[first + j] + bias[first + j]
                group[j] = value
                hits += np.int32(value > 0)
        else:
            for j in range(width):
                group[j] = values[first + j] * scale[first + j] + bias[first + j]
                hits += np.int32(group[j] > 0)
        has_literal = at < len(literal_terms) and literal_terms[at] < first + width
        if hits == 0 and not has_literal:
            continue
        if has_literal:
            for j in range(width):
                group[j] = max(group[j], np.float32(0.0))
            while at < len(literal_terms) and literal_terms[at] < first + width:
                group[literal_terms[at] - first] += literal[at]
                at += 1
        for j in range(width):
            if group[j] > 0:
                terms[found] = first + j
                weights[found] = group[j]
                found += 1
    return found


@numba.njit(cache=True, nogil=True)
def _keep(row_terms, row_weights, found, limit, start, terms, weights):  # type: ignore[no-untyped-def]
    """Append the `limit` largest of a row's `found` weights at `start`; return the end."""
    if found <= limit:
        for i in range(found):
            terms[start + i] = row_terms[i]
            weights[start + i] = row_weights[i]
        return start + found
    threshold = np.partition(row_weights[:found], found - limit)[found - limit]
    room = limit
    for i in range(found):
        room -= row_weights[i] > threshold
    at = start
    for i in range(found):
        if row_weights[i] > threshold or (row_weights[i] == threshold and room > 0):
            room -= row_weights[i] == threshold
            terms[at] = row_terms[i]
            weights[at] = row_weights[i]
            at += 1
    return at
