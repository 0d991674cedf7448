"""A block's summary: the coordinate-wise maximum of its documents, cut to its largest values.

Where Seismic keeps a share of the mass (Bruch, Nardini, Rulli, Venturini, SIGIR 2024), here every summary has the same
number of values: as many as fill one or two 64-byte lines, which look like a document's (kernels.lines) and are scored
by the same code, one list's summaries in one sweep (docs/decisions/0100).

A value is in steps of its term's scale, 1 .. 255, as in a sketch. Summaries are compared by impact, steps times scale.
A damaged term reads another term's values, never what is past the arrays.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.lines import further_lines, further_width, impact_value, prefetch_further, steps_of

# Steps of the histogram that finds how far the kept keys reach; the last one holds all that is smaller.
_STEPS = 256
_LAST_KEY = 2**63 - 1


@njit(cache=True, nogil=True)
def summarise_block(docs, n_lines, documents, scale, maxima, touched, out_terms, out_bytes, first):
    """Write the summary of the block with these documents to lines first .. first + n_lines of the output.

    docs       uint32[n]          n_lines  lines a summary has
    documents  kernels.lines.Documents     scale  float32[power of two above every term]
    maxima     uint8[the same length], zeroed, and left so        touched  int64[one more], for use here
    out_terms, out_bytes   the output as terms and as bytes, zeroed

    Of the coordinate-wise maximum the largest values are kept, up to the number that the lines hold, by descending
    value, then ascending term. Of each document as many terms are read as a summary holds: a later one is no larger
    than any of these, so it could only tie with the last that is kept. Oracle: oracle.block_summary.
    """
    term_bytes = 64 // documents.line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    n_touched = raise_maxima(docs, n_lines, documents, maxima, touched)
    # Descending value, then ascending term: the value's bits compare as the value does.
    keys = np.empty(n_touched + 1, dtype=np.int64)
    for j in range(n_touched):
        value = np.float32(maxima[touched[j]]) * scale[touched[j]]
        keys[j] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(value).view(np.uint32))) << 32) | touched[j]
    room = min(np.int64(n_touched), n_lines * width)
    keys = smallest_sorted(keys, n_touched, room)
    for place in range(room):
        term = keys[place] & 0xFFFFFFFF
        line = first + place // width
        out_terms[line, place % width] = term
        out_bytes[line, width * term_bytes + place % width] = maxima[term]
    for j in range(n_touched):
        maxima[touched[j]] = 0


@njit(cache=True, nogil=True)
def raise_maxima(docs, n_lines, documents, maxima, touched):
    """Raise `maxima` to the documents' values, write to `touched` the terms that were 0, and return how many."""
    line_terms, line_bytes, line_links = documents.line_terms, documents.line_bytes, documents.line_links
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    steps_per_unit = documents.steps_per_unit
    term_bytes = 64 // line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    mask = len(maxima) - 1
    last_term = np.int64(len(steps_per_unit) - 1)
    per_further = further_width(further_terms, further_impacts)
    from_end = further_impacts.shape[1] - per_further
    # Further lines are nowhere near the documents' lines.
    if n_lines > 1:
        for i in range(len(docs)):
            prefetch_further(np.int64(docs[i]), line_links, further_terms)
    n_touched = 0
    for i in range(len(docs)):
        doc = np.int64(docs[i])
        for p in range(width):
            steps = line_bytes[doc, width * term_bytes + p]
            if steps == 0:
                break
            term = np.int64(line_terms[doc, p]) & mask
            # Without a branch, which no processor would predict.
            touched[n_touched] = term
            n_touched += np.int64(maxima[term] == 0)
            maxima[term] = max(maxima[term], steps)
        line, left = further_lines(doc, line_links, further_terms, per_further)
        left = min(left, (n_lines - 1) * width)
        place = 1
        while left > 0:
            if place == per_further:
                line += 1
                place = 0
            term = min(np.int64(further_terms[line, place]) & mask, last_term)
            impact = impact_value(further_impacts[line, from_end + place])
            steps = steps_of(impact, steps_per_unit[term])
            touched[n_touched] = term
            n_touched += np.int64(maxima[term] == 0)
            maxima[term] = max(np.int64(maxima[term]), steps)
            place += 1
            left -= 1
    return n_touched


@njit(cache=True, nogil=True)
def smallest_sorted(keys, n, wanted):
    """Return at least the `wanted` smallest of the first n keys, ascending; the keys are moved.

    A histogram says roughly how far the wanted keys reach, and only those are sorted.
    """
    least = np.int64(_LAST_KEY)
    for j in range(n):
        least = min(least, keys[j])
    histogram = np.zeros(_STEPS, dtype=np.int32)
    for j in range(n):
        histogram[step_below(keys[j], least)] += 1
    step = -1
    above = 0
    while above < wanted:
        step += 1
        above += histogram[step]
    found = 0
    for j in range(n):
        key = keys[j]
        keys[found] = key
        found += np.int64(step_below(key, least) <= step)
    kept = keys[:found]
    kept.sort()
    return kept


@njit(cache=True, nogil=True)
def step_below(key, least):
    """Return by how many 64ths of an octave a key's value is below that of the least key; _STEPS - 1 if more."""
    return min(np.int64(_STEPS - 1), ((key >> 32) - (least >> 32)) >> 17)
