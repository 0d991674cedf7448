"""A block's summary: the coordinate-wise maximum of its documents' sketches."""

from __future__ import annotations

import numpy as np
from numba import njit

from index.kernels.lines import further_lines, further_width, impact_value, prefetch_further, steps_of

_STEPS = 256


_LAST_KEY = 2**63 - 1


@njit(cache=True, nogil=True)
def summarise_block(docs, n_lines, documents, scale, maxima, touched, out_terms, out_bytes, first):
    """Write the summary of the block with these documents to lines first .. first + n_lines of the output.

    docs       uint32[n]          n_lines  lines a summary has
    documents  kernels.lines.Documents     scale  float32[power of two above every term]
    maxima     uint8[the same length], zeroed, and left so        touched  int64[one more], for use here
    out_terms, out_bytes   the output as terms and as bytes, zeroed

    Of the coordinate-wise maximum the largest values are kept, as many as the lines hold, by falling value, then
    rising term. Of each document as many terms are read as a summary has: what lies behind them is no larger than any
    of as many values, so it could only tie with the last that is kept. Oracle: oracle.block_summary.
    """
    term_bytes = 64 // documents.line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    mask = len(maxima) - 1
    # Taken out once: an array taken out of a tuple is counted as a reference, atomically.
    line_terms, line_bytes, line_links = documents.line_terms, documents.line_bytes, documents.line_links
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    steps_per_unit = documents.steps_per_unit
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
            # Without a branch, which no processor would foresee.
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
    room = min(np.int64(n_touched), n_lines * width)
    # Falling value, then rising term: the value's bits compare as the value does.
    keys = np.empty(n_touched + 1, dtype=np.int64)
    least = np.int64(_LAST_KEY)
    for j in range(n_touched):
        value = np.float32(maxima[touched[j]]) * scale[touched[j]]
        keys[j] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(value).view(np.uint32))) << 32) | touched[j]
        least = min(least, keys[j])
    # How far the keys that are kept go, roughly, by a histogram; only those are sorted.
    histogram = np.zeros(_STEPS, dtype=np.int32)
    for j in range(n_touched):
        histogram[_step(keys[j], least)] += 1
    step = -1
    above = 0
    while above < room:
        step += 1
        above += histogram[step]
    found = 0
    for j in range(n_touched):
        key = keys[j]
        keys[found] = key
        found += np.int64(_step(key, least) <= step)
    keys = keys[:found]
    keys.sort()
    for place in range(room):
        term = keys[place] & 0xFFFFFFFF
        line = first + place // width
        out_terms[line, place % width] = term
        out_bytes[line, width * term_bytes + place % width] = maxima[term]
    for j in range(n_touched):
        maxima[touched[j]] = 0


@njit(cache=True, nogil=True)
def _step(key, least):
    """Return by how many 64ths of an octave a key's value is below that of the least key; _STEPS - 1 if more."""
    return min(np.int64(_STEPS - 1), ((key >> 32) - (least >> 32)) >> 17)
