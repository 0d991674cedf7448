"""Sketch lines: each document in 64-byte cache lines, heaviest terms first, so that one line tells most of it.

A line holds `width` terms (20 of uint16 or 12 of uint32), as many one-byte impacts, and in its last four bytes the
number of the document's next line (uint32; NO_LINE after the last). Line d is the first line of document d; further
lines stand behind all first ones, those of one document together. Unused places hold term 0 with impact 0.

An impact is kept in steps of its term's scale, at least one step. At query time the scale is folded into the query's
weight, so a sketch score costs one table look-up, one multiplication and one addition a term. A sketch only finds
candidates; what is returned is scored from the canonical weights.

The same bytes are handed to kernels as three arrays: as terms, as bytes and as uint32.
"""

from __future__ import annotations

import numpy as np
from numba import njit

LINE_BYTES = 64
NO_LINE = 2**32 - 1


@njit(cache=True, nogil=True)
def pack_lines(first_doc, indptr, terms, impacts, inverse_scale, first_rest, line_terms, line_bytes, line_links):
    """Fill the lines of the documents first_doc .. first_doc + n, and return the number of lines used behind.

    indptr         int64[n + 1]                terms    uint32[nnz]     impacts  float32[nnz], above 0
    inverse_scale  float32[n_terms], steps a unit of impact
    first_rest     int64, the first free line behind the first ones
    line_terms     uint16[n_lines, 32]|uint32[n_lines, 16]    line_bytes  uint8[n_lines, 64], zeroed
    line_links     uint32[n_lines, 16]         -- all three over the same memory

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
            keys[j] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(impacts[start + j]).view(np.uint32))) << 24) | j
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
            j = start + (key & 0xFFFFFF)
            term = terms[j]
            line_terms[line, place] = term
            steps = np.int64(np.float64(impacts[j]) * np.float64(inverse_scale[term]) + 0.5)
            line_bytes[line, width * term_bytes + place] = max(np.int64(1), min(np.int64(255), steps))
            place += 1
    return rest
