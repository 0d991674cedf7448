"""Lines: each document in 64-byte cache lines, heaviest terms first, so that one line tells most of it.

A line holds `width` terms (20 of uint16 or 12 of uint32), as many one-byte impacts, and in its last four bytes the
number of the document's next line (uint32; NO_LINE after the last). The first lines of all documents come first, in the
order of the documents' heaviest terms (`heaviest_terms`), so that those that a search looks at together lie close
together; further lines stand behind, those of one document together. Unused places hold term 0 with impact 0.

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
def heaviest_terms(indptr, terms, values, keys):
    """Write to keys, int64[n], each row's three heaviest terms: what its line is ordered by.

    indptr  int64[n + 1]     terms  uint32[nnz]     values  float32[nnz], above 0

    The heaviest is the uppermost of three numbers of 20 bits (those of a term above that are cut off), ties by rising
    place; all bits are set where there is none. Oracle: oracle.heaviest_terms.
    """
    for i in range(len(keys)):
        one, two, three = np.int64(-1), np.int64(-1), np.int64(-1)
        for j in range(indptr[i], indptr[i + 1]):
            if one < 0 or values[j] > values[one]:
                one, two, three = j, one, two
            elif two < 0 or values[j] > values[two]:
                two, three = j, two
            elif three < 0 or values[j] > values[three]:
                three = j
        key = np.int64(0)
        for j in (one, two, three):
            key = (key << 20) | (np.int64(terms[j]) & 0xFFFFF if j >= 0 else 0xFFFFF)
        keys[i] = key


@njit(cache=True, nogil=True)
def pack_lines(lines, indptr, terms, values, stored, inverse_scale, rest, line_terms, line_bytes, line_links, impacts):
    """Fill the lines of some documents.

    lines          uint32[n]; the first line of each
    indptr         int64[n + 1]                terms    uint32[nnz]
    values         float32[nnz], above 0       stored   uint16|float32[nnz], the same as they are kept
    inverse_scale  float32[n_terms], steps a unit of impact
    rest           int64[n]; where each document's further lines begin
    line_terms     uint16[n_lines, 32]|uint32[n_lines, 16]    line_bytes  uint8[n_lines, 64], zeroed
    line_links     uint32[n_lines, 16]         -- all three over the same memory
    impacts        uint16|float32[n_lines, width], zeroed

    Ties of impact go by rising place in the row. Oracle: oracle.packed_lines.
    """
    term_bytes = LINE_BYTES // line_terms.shape[1]
    width = np.int64(60 // (term_bytes + 1))
    for i in range(len(lines)):
        start, stop = indptr[i], indptr[i + 1]
        # Falling impact, then rising place: the impact's bits compare as the impact does.
        keys = np.empty(stop - start, dtype=np.int64)
        for j in range(stop - start):
            keys[j] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(values[start + j]).view(np.uint32))) << 32) | j
        keys.sort()
        line = np.int64(lines[i])
        following = np.int64(rest[i])
        line_links[line, 15] = NO_LINE
        place = 0
        for key in keys:
            if place == width:
                line_links[line, 15] = following
                line = following
                following += 1
                line_links[line, 15] = NO_LINE
                place = 0
            j = start + (key & 0xFFFFFFFF)
            term = terms[j]
            line_terms[line, place] = term
            steps = np.int64(np.float64(values[j]) * np.float64(inverse_scale[term]) + 0.5)
            line_bytes[line, width * term_bytes + place] = max(np.int64(1), min(np.int64(255), steps))
            impacts[line, place] = stored[j]
            place += 1


@njit(cache=True, nogil=True)
def count_terms(lines, line_links, impacts, counts):
    """Write to counts, int64[n], how many terms each of the documents with the first lines `lines`, uint32[n], has."""
    n_lines = len(line_links)
    for i in range(len(counts)):
        line = np.int64(lines[i])
        counts[i] = 0
        while True:
            for place in range(impacts.shape[1]):
                counts[i] += np.int64(impacts[line, place] != 0)
            following = np.int64(line_links[line, 15])
            if following <= line or following >= n_lines:
                break
            line = following


@njit(cache=True, nogil=True)
def read_lines(lines, line_terms, line_links, impacts, terms, stored):
    """Write the terms and the canonical impacts of the documents with these first lines, uint32[n], by falling impact.

    terms  uint16|uint32[as many as `count_terms` counted]     stored  uint16|float32[as many]
    """
    n_lines = len(line_links)
    written = 0
    for first in lines:
        line = np.int64(first)
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
