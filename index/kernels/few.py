"""Scoring a few given documents: bounds of all of them, so that few need a canonical score.

For a filter that allows few documents each of these is bounded by its sketch and the levels of its further lines
(kernels.lines), which reads no canonical impact:

* An impact of a sketch is at most half a step more than it says, and at most a step less.
* Further terms are by descending impact. So an impact is at most the level of the group before, the first group's at
  most the sketch's last, and at least the level of the group after; a level is a range of float16 bits.

The k-th largest lower bound is a threshold: only documents whose upper bound reaches it may be among the k best.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.heap import offer
from index.kernels.lines import GROUP, LEVEL_SHIFT, LEVELLED, TWO_TO_112, further_lines, prefetch_further
from index.kernels.prefetching import prefetch

_LINES_AHEAD = 10
_DOCUMENTS_AHEAD = 3
# More than all roundings of a bound together.
_UP, _DOWN = np.float64(1.0 + 1e-5), np.float64(1.0 - 1e-5)
_FLOAT16_TO_FLOAT32 = 13


@njit(cache=True, nogil=True)
def may_be_best(lines, k, documents, scale, terms, weights, per_step, per_unit, uppers, chosen):
    """Write to chosen, int64[n], the places in `lines` of documents that may be among the k best; return how many.

    lines      uint32[n], documents by their lines, each once
    documents  kernels.lines.Documents, whose further lines have levels      scale  float32[n_terms]
    terms, weights      uint32[m], float32[m], the query's, in the segment's numbers
    per_step, per_unit  float32[2**16], zeroed, and left so
    uppers     float64[n], written

    All documents whose canonical score is at least the k-th best one's are among them. Oracle: oracle.brute_force over
    oracle.canonical_scores.
    """
    total = 0.0
    for i in range(len(terms)):
        per_step[terms[i]] = weights[i] * scale[terms[i]]
        per_unit[terms[i]] = weights[i]
        total += np.float64(per_step[terms[i]])
    n = len(lines)
    heap = np.empty(min(k, max(1, n)), dtype=np.int64)
    size = 0
    line_bytes, line_links, further = documents.line_bytes, documents.line_links, documents.further_terms
    for i in range(n):
        if i + _LINES_AHEAD < n:
            prefetch(line_bytes, np.int64(lines[i + _LINES_AHEAD]))
        if i + _DOCUMENTS_AHEAD < n:
            prefetch_further(np.int64(lines[i + _DOCUMENTS_AHEAD]), line_links, further)
        lower, upper = bounds_of(np.int64(lines[i]), documents, scale, per_step, per_unit)
        uppers[i] = (upper + 0.5 * total) * _UP
        lower = (lower - total) * _DOWN
        if lower > 0.0:
            size = offer(np.float64(lower).view(np.int64), heap, size)
    for i in range(len(terms)):
        per_step[terms[i]] = 0.0
        per_unit[terms[i]] = 0.0
    threshold = np.int64(heap[0]).view(np.float64) if size == k else 0.0
    found = 0
    for i in range(n):
        chosen[found] = i
        found += np.int64(uppers[i] >= threshold)
    return found


@njit(cache=True, nogil=True, inline="always")
def bounds_of(line, documents, scale, per_step, per_unit):
    """Return (at least, at most) a document's score, but for what the steps of its sketch are off."""
    line_terms, line_bytes, further = documents.line_terms, documents.line_bytes, documents.further_terms
    sketch = np.float32(0.0)
    for p in range(20):
        sketch += per_step[line_terms[line, p]] * np.float32(line_bytes[line, 40 + p])
    row, left = further_lines(line, documents.line_links, further, np.int64(LEVELLED))
    if left <= 0:
        return np.float64(sketch), np.float64(sketch)
    last = min(np.int64(line_terms[line, 19]), np.int64(len(scale)) - 1)
    # Impacts below are times 2**-112, as levels are.
    above = (np.float32(line_bytes[line, 59]) + np.float32(0.5)) * scale[last] / TWO_TO_112
    most, least, waiting = np.float32(0.0), np.float32(0.0), np.float32(0.0)
    left += 1  # the number of terms takes a place
    while left > 0:
        for group in range(LEVELLED // GROUP):
            at = group * GROUP
            weight = per_unit[further[row, at]] + per_unit[further[row, at + 1]]
            weight += per_unit[further[row, at + 2]] + per_unit[further[row, at + 3]]
            two = np.uint32(further[row, LEVELLED + (group >> 1)])
            level = (two >> np.uint32((group & 1) << 3)) & np.uint32(255)
            least += waiting * np.uint32(level << np.uint32(LEVEL_SHIFT + _FLOAT16_TO_FLOAT32)).view(np.float32)
            most += weight * above
            above = np.uint32((level + np.uint32(1)) << np.uint32(LEVEL_SHIFT + _FLOAT16_TO_FLOAT32)).view(np.float32)
            waiting = weight
        left -= LEVELLED
        row += 1
    return np.float64(sketch) + np.float64(least * TWO_TO_112), np.float64(sketch) + np.float64(most * TWO_TO_112)
