"""Lines: each document in 64-byte cache lines, heaviest terms first, so that one line tells most of it.

A line holds `width` terms (20 of uint16 or 12 of uint32), as many one-byte impacts, and in its last four bytes the
number of the document's next line (uint32; NO_LINE after the last). Line d is the first line of document d; further
lines stand behind all first ones, those of one document together. Unused places hold term 0 with impact 0.

An impact is kept twice. In the line itself in steps of its term's scale, at least one step: a sketch. At query time the
scale is folded into the query's weight, so a sketch score costs one table look-up, one multiplication and one addition
a term. And, line by line and place by place in an array beside, the canonical impact, from which what is returned is
scored.

The same bytes are handed to kernels as three arrays: as terms, as bytes and as uint32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LINE_BYTES = 64
NO_LINE = 2**32 - 1


@njit(cache=True, nogil=True)
def pack_lines(
    first_doc, indptr, terms, values, stored, inverse_scale, first_rest, line_terms, line_bytes, line_links, impacts
):
    """Fill the lines of the documents first_doc .. first_doc + n, and return the first free line behind.

    indptr         int64[n + 1]                terms    uint32[nnz]
    values         float32[nnz], above 0       stored   uint16|float32[nnz], the same as they are kept
    inverse_scale  float32[n_terms], steps a unit of impact
    first_rest     int64, the first free line behind the first ones
    line_terms     uint16[n_lines, 32]|uint32[n_lines, 16]    line_bytes  uint8[n_lines, 64], zeroed
    line_links     uint32[n_lines, 16]         -- all three over the same memory
    impacts        uint16|float32[n_lines, width], zeroed

    Ties of impact go by rising place in the row. Oracle: oracle.packed_lines.
    """
    term_bytes = LINE_BYTES // line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    rest = np.int64(first_rest)
    for i in range(len(indptr) - 1):
        start, stop = indptr[i], indptr[i + 1]
        # Falling impact, then rising place: the impact's bits compare as the impact does.
        keys = np.empty(stop - start, dtype=np.int64)
        for j in range(stop - start):
            keys[j] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(values[start + j]).view(np.uint32))) << 32) | j
        keys.sort()
        line = np.int64(first_doc + i)
        line_links[line, 15] = NO_LINE
        place = 0
        for key in keys:
            if place == width:
                line_links[line, 15] = rest
                line = rest
                rest += 1
                line_links[line, 15] = NO_LINE
                place = 0
            j = start + (key & 0xFFFFFFFF)
            term = terms[j]
            line_terms[line, place] = term
            steps = np.int64(np.float64(values[j]) * np.float64(inverse_scale[term]) + 0.5)
            line_bytes[line, width * term_bytes + place] = max(np.int64(1), min(np.int64(255), steps))
            impacts[line, place] = stored[j]
            place += 1
    return rest


@njit(cache=True, nogil=True)
def count_terms(first_doc, line_links, impacts, counts):
    """Write to counts, int64[n], how many terms each of the documents first_doc .. first_doc + n has."""
    n_lines = len(line_links)
    for i in range(len(counts)):
        line = np.int64(first_doc + i)
        counts[i] = 0
        while True:
            for place in range(impacts.shape[1]):
                counts[i] += np.int64(impacts[line, place] != 0)
            following = np.int64(line_links[line, 15])
            if following <= line or following >= n_lines:
                break
            line = following


@njit(cache=True, nogil=True)
def read_lines(first_doc, last_doc, line_terms, line_links, impacts, terms, stored):
    """Write the terms and the canonical impacts of the documents first_doc .. last_doc, in the lines' order.

    terms  uint16|uint32[as many as `count_terms` counted]     stored  uint16|float32[as many]
    """
    n_lines = len(line_links)
    written = 0
    for doc in range(first_doc, last_doc):
        line = np.int64(doc)
        while True:
            for place in range(impacts.shape[1]):
                if impacts[line, place] != 0:
                    terms[written] = line_terms[line, place]
                    stored[written] = impacts[line, place]
                    written += 1
            following = np.int64(line_links[line, 15])
            if following <= line or following >= n_lines:
                break
            line = following
