"""Scoring candidates by their sketches, in integers, while most are dropped on the way.

A sketch holds a document's heaviest terms (kernels.lines). The query is a table of integers, each a weight times its
term's scale, so a line's score is 20 table look-ups, multiplications and additions of integers: the same on every
machine, whatever the order, and without a branch. Further lines hold impacts, and each product is rounded down to an
integer.

A document's sketch is scored first. If its score reaches `beta` times the threshold, its first further line is read,
which must bring it half of the remaining way, and so on; otherwise the document is dropped. The lines of the next
documents are prefetched, which hides the memory's latency.

A sketch score only ranks candidates. Returned scores are computed from canonical impacts (kernels.forward).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.heap import offer, sketch_key_of, sketch_threshold_of
from index.kernels.lines import (
    GROUP,
    LEVELLED,
    TWO_TO_112,
    further_lines,
    further_width,
    impact_value,
    level_at,
    prefetch_further,
)
from index.kernels.prefetching import prefetch

# Documents in a batch: what CandidateScratch has room for.
BATCH = 256
# How far ahead a line is prefetched: processors drop requests beyond some 20 (measured: 22 ns a random line 12 ahead,
# 60 ns 24 ahead, 103 ns without).
LINES_AHEAD = 10
_DOCUMENTS_AHEAD = 3
# The largest weight per unit of impact: for impacts so small that it, or a sum of four, would be infinite.
_LARGEST = 7e37


@njit(cache=True, nogil=True)
def fill_tables(query, scale, per_step, per_unit):
    """Write what a step, and what a unit of impact, of each of the query's terms adds to a sketch score.

    per_step[t]   weight * scale as an integer, 1 .. 65535, so small that a sum of 255 steps of every term passes
                  2**31 by at most 255 for each
    per_unit[t]   the weight, in the same measure

    scale  float32[n_terms], impact of one step of each term
    """
    terms, weights = query.terms, query.weights
    largest = 0.0
    total = 0.0
    for i in range(len(terms)):
        value = np.float64(weights[i]) * np.float64(scale[terms[i]])
        largest = max(largest, value)
        total += value
    if largest > 0:
        factor = min(65534.0 / largest, 2.0**31 / (255.0 * total))
        for i in range(len(terms)):
            per_step[terms[i]] = 1 + np.int64(np.float64(weights[i]) * np.float64(scale[terms[i]]) * factor)
            per_unit[terms[i]] = min(np.float64(weights[i]) * factor, _LARGEST)


@njit(cache=True, nogil=True)
def clear_tables(query, per_step, per_unit):
    """Set to 0 what `fill_tables` wrote."""
    terms = query.terms
    for i in range(len(terms)):
        per_step[terms[i]] = 0
        per_unit[terms[i]] = 0


@njit(cache=True, nogil=True, inline="always")
def score_line(line, line_terms, line_bytes, per_step):
    """Return the sum over the line's places of per_step[term] * steps."""
    total = np.int64(0)
    # The number of places is written out, so that the loops are unrolled. No 16-bit term is outside of its table.
    if line_terms.shape[1] == 32:
        for p in range(20):
            total += np.int64(per_step[line_terms[line, p]]) * np.int64(line_bytes[line, 40 + p])
    else:
        mask = np.int64(len(per_step) - 1)
        for p in range(12):
            total += np.int64(per_step[np.int64(line_terms[line, p]) & mask]) * np.int64(line_bytes[line, 48 + p])
    return total


@njit(cache=True, nogil=True, inline="always")
def score_further_line(line, terms, impacts, width, per_unit):
    """Return the sum over a further line's places of per_unit[term] * impact, each product as an integer; with levels,
    over its groups, of the sum of per_unit[term] times the level, and the line's sum as an integer.

    Neither an unused place nor the number of terms, which stands in the place of a term, has an impact, or else a
    weight.
    """
    if width == LEVELLED:
        # One conversion for a line: a conversion for each group takes six times as long (docs/decisions/0127).
        said = np.float32(0.0)
        for group in range(LEVELLED // GROUP):
            at = group * GROUP
            weight = per_unit[terms[line, at]] + per_unit[terms[line, at + 1]]
            weight += per_unit[terms[line, at + 2]] + per_unit[terms[line, at + 3]]
            said += weight * level_at(line, group, terms)
        return np.int64(said * TWO_TO_112)
    total = np.int64(0)
    if width == 16:
        for p in range(16):
            total += np.int64(per_unit[terms[line, p]] * impact_value(impacts[line, 16 + p]))
    else:
        mask = np.int64(len(per_unit) - 1)
        from_end = impacts.shape[1] - width
        for p in range(width):
            weight = per_unit[np.int64(terms[line, p]) & mask]
            total += np.int64(weight * impact_value(impacts[line, from_end + p]))
    return total


@njit(cache=True, nogil=True)
def score_batch(n, size, beta, documents, scratch):
    """Offer the first n documents of scratch.batch, at most 256, to the heap of `size`; return its new size."""
    batch, firsts, heap, per_step = scratch.batch, scratch.firsts, scratch.heap, scratch.per_step
    per_unit, counters = scratch.per_unit, scratch.counters
    line_terms, line_bytes = documents.line_terms, documents.line_bytes
    counters[2] += n
    for i in range(min(n, LINES_AHEAD)):
        prefetch(line_bytes, batch[i])
    for i in range(n):
        if i + LINES_AHEAD < n:
            prefetch(line_bytes, batch[i + LINES_AHEAD])
        firsts[i] = score_line(batch[i], line_terms, line_bytes, per_step)
    if size == 0 and n > len(heap):
        # The best sketches go first, as many as the heap holds: they make a good threshold for the others.
        for i in range(n):
            if firsts[i] > 0:
                size = offer(sketch_key_of(batch[i], firsts[i]), heap, size)
        smallest = heap[0] >> 32 if size > 0 else np.int64(1)
        size = 0
        kept = 0
        for i in range(n):
            if firsts[i] >= smallest:
                batch[kept], batch[i] = batch[i], batch[kept]
                firsts[kept], firsts[i] = firsts[i], firsts[kept]
                kept += 1
        size = score_further(batch[:kept], firsts, size, beta, documents, per_unit, heap)
        counters[3] += kept
        firsts[:kept] = -1
    needed = np.int64(beta * sketch_threshold_of(heap, size))
    kept = 0
    for i in range(n):
        if firsts[i] >= needed:
            batch[kept] = batch[i]
            firsts[kept] = firsts[i]
            kept += 1
    counters[3] += kept
    return score_further(batch[:kept], firsts, size, beta, documents, per_unit, heap)


@njit(cache=True, nogil=True)
def score_further(batch, firsts, size, beta, documents, per_unit, heap):
    """Offer the documents of `batch`, whose sketches score `firsts`, to the heap; return its new size."""
    n = len(batch)
    line_links, terms, impacts = documents.line_links, documents.further_terms, documents.further_impacts
    width = further_width(terms, impacts)
    for i in range(min(n, _DOCUMENTS_AHEAD)):
        prefetch_further(batch[i], line_links, terms)
    for i in range(n):
        if i + _DOCUMENTS_AHEAD < n:
            prefetch_further(batch[i + _DOCUMENTS_AHEAD], line_links, terms)
        threshold = sketch_threshold_of(heap, size)
        total = score_rest(batch[i], firsts[i], beta, threshold, line_links, terms, impacts, width, per_unit)
        if total > 0:
            size = offer(sketch_key_of(batch[i], total), heap, size)
    return size


@njit(cache=True, nogil=True)
def score_rest(doc, total, beta, threshold, line_links, terms, impacts, width, per_unit):
    """Return a document's whole sketch score, of which `total` is its sketch's share; or -1 if the document is dropped.

    terms, impacts   Documents' further_terms and further_impacts
    """
    line, left = further_lines(doc, line_links, terms, width)
    left += np.int64(left > 0)  # the number of terms takes a place
    share = np.float64(beta)
    towards = 0.5 if share > 0.0 else 0.0  # with 0 no document is dropped, wherever its match is
    while True:
        if total < share * threshold:
            return np.int64(-1)
        share = towards + share / 2.0
        if left <= 0:
            return total
        total += score_further_line(line, terms, impacts, width, per_unit)
        left -= width
        line += 1
