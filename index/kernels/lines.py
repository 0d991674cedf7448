"""Documents as kernels read them: a sketch of the heaviest terms in a 64-byte cache line, then further terms.

**The sketch**, or the document's line, holds `width` terms (20 of uint16 or 12 of uint32) by descending impact, a
one-byte impact for each, and in its last four bytes where the document's further terms begin (uint32; NO_LINE if it
has no other terms). Unused places hold term 0 with impact 0. A one-byte impact is in steps of its term's scale, at
least one step. At query time the scale is multiplied into the query's weight, so a sketch score costs one table
look-up, one multiplication and one addition per term. The canonical impacts of a sketch's terms are in an array of
their own.

The other terms, two bytes each, are in `kernels.further`.

Sketches are in the order of the documents' heaviest terms (`heaviest_terms`), so that those which a search reads
together are close together. Most documents are dropped by their sketch. Summaries of blocks are lines of the same form,
without further terms. Returned scores are computed from canonical impacts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from index.kernels.further import coarse_values, further_places, impact_at, place_at, term_after, write_further

LINE_BYTES = 64
NO_LINE = 2**32 - 1


class Documents(NamedTuple):
    """What a kernel reads of documents. There is a view of the lines for each type that they hold.

    line_terms       uint16[n_docs, 32]|uint32[n_docs, 16]     line_bytes  uint8[n_docs, 64]
    line_links       uint32[n_docs, 16], of which the last is the first place of the document's further terms
    impacts          uint16 (float16 bits)|float32[n_docs, width], the canonical impacts of a sketch's terms
    further          uint16[n_places], remainders  uint8|uint32[n_places]: the further terms, see kernels.further
    code             int64[2], how their impacts are divided
    coarse           float32[256], the impact that a place's upper byte stands for
    steps_per_unit   float32[n_terms], one over the impact of one step
    """

    line_terms: NDArray[Any]
    line_bytes: NDArray[np.uint8]
    line_links: NDArray[np.uint32]
    impacts: NDArray[Any]
    further: NDArray[np.uint16]
    remainders: NDArray[Any]
    code: NDArray[np.int64]
    coarse: NDArray[np.float32]
    steps_per_unit: NDArray[np.float32]


def documents_over(
    lines: NDArray[np.uint8],
    impacts: NDArray[Any],
    further: NDArray[np.uint16],
    remainders: NDArray[Any],
    code: NDArray[np.int64],
    scale: NDArray[np.float32],
    term_type: np.dtype[Any],
) -> Documents:
    """Return Documents over lines, uint8[n_docs, 64], the arrays of Documents, and the scale, float32[n_terms], the
    impact of one step."""
    coarse = coarse_values(code, impacts.dtype)
    return Documents(*line_views(lines, term_type), impacts, further, remainders, code, coarse, steps_per_unit(scale))


def terms_per_line(dtype: np.dtype[Any]) -> int:
    """Return how many terms a sketch holds: 20 of uint16, 12 of uint32."""
    return 60 // (dtype.itemsize + 1)


def line_views(
    lines: NDArray[np.uint8], dtype: np.dtype[Any]
) -> tuple[NDArray[Any], NDArray[np.uint8], NDArray[np.uint32]]:
    """Return the lines as terms of `dtype`, as bytes, and as uint32."""
    return lines.view(dtype), lines, lines.view(np.uint32)


def steps_per_unit(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return one over each term's impact of one step, float32[n_terms]; 0 for a scale of 0."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse: NDArray[np.float32] = np.where(scale > 0, np.float32(1.0) / scale, np.float32(0.0)).astype(np.float32)
    return inverse


@njit(cache=True, nogil=True, inline="always")
def steps_of(value, steps_per_unit):
    """Return an impact in steps, an integer of 1 .. 255."""
    steps = np.int64(np.float64(value) * np.float64(steps_per_unit) + 0.5)
    return max(np.int64(1), min(np.int64(255), steps))


@njit(cache=True, nogil=True)
def heaviest_terms(indptr, terms, values, keys):
    """Write to keys, int64[n], each row's three heaviest terms, which order the lines.

    indptr  int64[n + 1]     terms  uint32[nnz]     values  float32[nnz], above 0

    A key is three numbers of 20 bits, the heaviest term in the upper ones (higher bits of a term are cut off), ties by
    ascending place; all 20 bits are set for a missing term. Oracle: oracle.heaviest_terms.
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
def pack_documents(lines, indptr, terms, values, stored, links, documents):
    """Fill the lines of some documents, and write their further terms.

    lines    uint32[n]; the line of each
    indptr   int64[n + 1]                terms    uint32[nnz]
    values   float32[nnz], above 0       stored   uint16|float32[nnz], the same in their stored form
    links    uint32[n]; where the further terms of each begin, or NO_LINE
    documents   zeroed

    Ties of impact are by ascending place in the row. Oracle: oracle.packed_document.
    """
    term_bytes = LINE_BYTES // documents.line_terms.shape[1]
    width = np.int64(documents.impacts.shape[1])
    base, shift = documents.code[0], documents.code[1]
    for i in range(len(lines)):
        start, stop = indptr[i], indptr[i + 1]
        # Descending impact, then ascending place: the impact's bits compare as the impact does.
        keys = np.empty(stop - start, dtype=np.int64)
        for j in range(stop - start):
            keys[j] = ((np.int64(0x7FFFFFFF) - np.int64(np.float32(values[start + j]).view(np.uint32))) << 32) | j
        keys.sort()
        line = np.int64(lines[i])
        documents.line_links[line, 15] = links[i]
        n_here = min(width, np.int64(len(keys)))
        for place in range(n_here):
            j = start + (keys[place] & 0xFFFFFFFF)
            term = terms[j]
            documents.line_terms[line, place] = term
            documents.line_bytes[line, width * term_bytes + place] = steps_of(values[j], documents.steps_per_unit[term])
            documents.impacts[line, place] = stored[j]
        if len(keys) > width:
            rest = start + (keys[width:] & 0xFFFFFFFF)
            write_further(np.int64(links[i]), rest, terms, stored, documents.further, documents.remainders, base, shift)


@njit(cache=True, nogil=True)
def count_terms(lines, documents, counts):
    """Write to counts, int64[n], how many terms each of the documents with these lines, uint32[n], has."""
    line_links, impacts = documents.line_links, documents.impacts
    further, remainders = documents.further, documents.remainders
    for i in range(len(counts)):
        counts[i] = 0
        for place in range(impacts.shape[1]):
            counts[i] += np.int64(impacts[lines[i], place] != 0)
        first, stop = further_places(lines[i], line_links, further, remainders)
        for j in range(first, stop):
            counts[i] += np.int64(place_at(j, further, remainders) > 255)


@njit(cache=True, nogil=True)
def read_documents(lines, documents, terms, stored):
    """Write the terms and the canonical impacts of the documents with these lines, uint32[n]: first those of the
    sketch, by descending impact, then the others, by ascending term.

    terms  uint16|uint32[the number that `count_terms` counted]     stored  uint16|float32[the same number]
    """
    line_terms, line_links, impacts = documents.line_terms, documents.line_links, documents.impacts
    further, remainders, code = documents.further, documents.remainders, documents.code
    written = 0
    for line in lines:
        for place in range(impacts.shape[1]):
            if impacts[line, place] != 0:
                terms[written] = line_terms[line, place]
                stored[written] = impacts[line, place]
                written += 1
        first, stop = further_places(line, line_links, further, remainders)
        term = np.int64(0)
        for j in range(first, stop):
            place = place_at(j, further, remainders)
            term = term_after(term, place, further)
            if place > 255:
                terms[written] = term
                stored[written] = impact_at(j, place, further, remainders, code)
                written += 1
