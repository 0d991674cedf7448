"""Scoring a few given documents exactly, most of them only coarsely.

For a filter that allows few documents, each of these is scored by its sketch and its coarse impacts, as in candidate
search (kernels.sketches), which reads no canonical impact. How far such a score may be from the canonical one is known:
a step is off by at most half a step, or by one where an impact is less than half a step; a coarse impact is off by at
most a share of it; products are rounded down. So the k-th largest lower bound is a threshold, and only documents whose
upper bound reaches it need a canonical score.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.candidate_arrays import Query
from index.kernels.further import further_places, prefetch_further
from index.kernels.heap import offer
from index.kernels.prefetching import prefetch
from index.kernels.sketches import clear_tables, fill_tables, score_line, score_places

_LINES_AHEAD = 10
_DOCUMENTS_AHEAD = 3


@njit(cache=True, nogil=True)
def list_allowed(allowed, ids):
    """Write the places of the true values of allowed, bool[n], to ids, int64[their number], ascending; return how many.

    No more are written than there is room for: a caller may change its array meanwhile.

    Oracle: numpy.flatnonzero.
    """
    n = 0
    whole = len(allowed) // 64 * 64
    for first in range(0, whole, 64):
        some = np.uint8(0)
        for i in range(64):
            some |= np.uint8(allowed[first + i])
        if some:
            for i in range(first, first + 64):
                if allowed[i] and n < len(ids):
                    ids[n] = i
                    n += 1
    for i in range(whole, len(allowed)):
        if allowed[i] and n < len(ids):
            ids[n] = i
            n += 1
    return n


@njit(cache=True, nogil=True)
def may_be_best(lines, k, coarse_error, documents, scale, terms, weights, per_step, per_unit, chosen):
    """Write to chosen, int64[n], the places in `lines` of documents that may be among the k best; return how many.

    lines          uint32[n], documents by their lines, each once
    coarse_error   the largest share of an impact by which a coarse one is off, see `further.coarse_error`
    documents      kernels.lines.Documents      scale  float32[n_terms], the impact of one step
    terms, weights   uint32[m], float32[m], the query, its terms in the segment's numbers
    per_step, per_unit   as in candidate_arrays.CandidateScratch

    All documents whose canonical score is at least the k-th best one's are among them. Oracle: oracle.brute_force over
    oracle.canonical_scores.
    """
    query = Query(terms, weights)
    fill_tables(query, scale, per_step, per_unit)
    # Of the tables' integers each is up to 1 too large, times 255 steps.
    rounding = np.float64(256 * len(terms))
    steps = 0.0
    for i in range(len(terms)):
        steps += np.float64(per_step[terms[i]])
    n = len(lines)
    uppers = np.empty(n, dtype=np.float64)
    heap = np.empty(min(k, max(1, n)), dtype=np.int64)
    size = 0
    line_bytes, line_links = documents.line_bytes, documents.line_links
    further, remainders, coarse = documents.further, documents.remainders, documents.coarse
    for i in range(n):
        if i + _LINES_AHEAD < n:
            prefetch(line_bytes, np.int64(lines[i + _LINES_AHEAD]))
        if i + _DOCUMENTS_AHEAD < n:
            prefetch_further(np.int64(lines[i + _DOCUMENTS_AHEAD]), line_links, further)
        line = np.int64(lines[i])
        sketch = np.float64(score_line(line, documents.line_terms, line_bytes, per_step))
        first, stop = further_places(line, line_links, further, remainders)
        rest = np.float64(score_places(first, stop, further, remainders, coarse, per_unit))
        lost = np.float64(stop - first)
        uppers[i] = (sketch + 0.5 * steps + (rest + lost) * (1.0 + coarse_error) + rounding) * (1.0 + 1e-5)
        lower = (sketch - steps + rest * (1.0 - coarse_error) - rounding) * (1.0 - 1e-5)
        if lower >= 1.0:
            size = offer(np.int64(lower), heap, size)
    clear_tables(query, per_step, per_unit)
    threshold = np.float64(heap[0]) if size == k else 0.0
    found = 0
    for i in range(n):
        chosen[found] = i
        found += np.int64(uppers[i] >= threshold)
    return found
