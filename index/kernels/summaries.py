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

from index.kernels.further import further_places, impact_at, place_at, prefetch_further, term_after
from index.kernels.impacts import impact_value
from index.kernels.lines import steps_of

# Steps of the histogram that finds how far the kept keys reach; the last one holds all that is smaller.
_STEPS = 256
_LAST_KEY = 2**63 - 1


@njit(cache=True, nogil=True)
def summarise_block(docs, n_lines, documents, scale, largest, maxima, touched, out_terms, out_bytes, first):
    """Write the summary of the block with these documents to lines first .. first + n_lines of the output.

    docs       uint32[n]          n_lines  lines a summary has
    documents  kernels.lines.Documents     scale  float32[power of two above every term], `largest` the largest of it
    maxima     uint8[the same length], zeroed, and left so        touched  int64[one more], for use here
    out_terms, out_bytes   the output as terms and as bytes, zeroed

    Of the coordinate-wise maximum the largest values are kept, up to the number that the lines hold, by descending
    value, then ascending term. Of the documents' further terms only those are decoded that may be among them.
    Oracle: oracle.block_summary.
    """
    term_bytes = 64 // documents.line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    n_touched = raise_by_sketches(docs, n_lines, documents, maxima, touched)
    # The first line of a summary has room for as many values as a sketch holds: a further term is no larger.
    if n_lines > 1:
        reached = reached_by(n_lines * width, maxima, touched, n_touched, scale)
        # One step is the least that an impact counts, and half a step is what rounding adds.
        needed = np.float32(0.0) if reached <= largest else np.float32(0.9999) * reached - np.float32(0.5) * largest
        n_touched = raise_by_further(docs, needed, documents, maxima, touched, n_touched)
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
def raise_by_sketches(docs, n_lines, documents, maxima, touched):
    """Raise `maxima` to the values of the documents' sketches, write to `touched` the terms that were 0; return how
    many these are."""
    line_terms, line_bytes = documents.line_terms, documents.line_bytes
    term_bytes = 64 // line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    mask = len(maxima) - 1
    # Further terms are nowhere near the documents' lines.
    if n_lines > 1:
        for i in range(len(docs)):
            prefetch_further(np.int64(docs[i]), documents.line_links, documents.further)
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
    return n_touched


@njit(cache=True, nogil=True)
def reached_by(wanted, maxima, touched, n_touched, scale):
    """Return a value that at least `wanted` of the touched maxima reach, a little below the largest such; else 0."""
    if n_touched < wanted:
        return np.float32(0.0)
    bits = np.empty(n_touched, dtype=np.int64)
    highest = np.int64(0)
    for j in range(n_touched):
        value = np.float32(maxima[touched[j]]) * scale[touched[j]]
        bits[j] = np.int64(np.float32(value).view(np.uint32))
        highest = max(highest, bits[j])
    histogram = np.zeros(_STEPS, dtype=np.int32)
    for j in range(n_touched):
        histogram[min(np.int64(_STEPS - 1), (highest - bits[j]) >> 17)] += 1
    step = 0
    above = histogram[0]
    while above < wanted:
        step += 1
        above += histogram[step]
    if step == _STEPS - 1:
        return np.float32(0.0)
    return np.uint32(max(np.int64(0), highest - ((step + 1) << 17))).view(np.float32)


@njit(cache=True, nogil=True)
def raise_by_further(docs, needed, documents, maxima, touched, n_touched):
    """Raise `maxima` to the values of those further terms whose impacts may reach `needed`, a float32; return the
    number of touched terms."""
    line_links, further, remainders = documents.line_links, documents.further, documents.remainders
    coarse, steps_per_unit = documents.coarse, documents.steps_per_unit
    code = documents.code
    # The middle of the next byte's range is above the range of a byte.
    least = 1
    while least < 255 and coarse[least + 1] < needed:
        least += 1
    for i in range(len(docs)):
        first, stop = further_places(np.int64(docs[i]), line_links, further, remainders)
        term = np.int64(0)
        for j in range(first, stop):
            place = place_at(j, further, remainders)
            term = term_after(term, place, further)
            if place >> 8 >= least:
                impact = impact_value(impact_at(j, place, further, remainders, code))
                steps = steps_of(impact, steps_per_unit[term])
                touched[n_touched] = term
                n_touched += np.int64(maxima[term] == 0)
                maxima[term] = max(np.int64(maxima[term]), steps)
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
