"""Documents as kernels read them, in 64-byte cache lines: a sketch of the heaviest terms, then further lines.

**The sketch**, or the document's line, holds `width` terms (20 of uint16 or 12 of uint32) by descending impact, a
one-byte impact for each, and in its last four bytes the number of the document's first further line (uint32; NO_LINE if
it has no other terms). Unused places hold term 0 with impact 0. A one-byte impact is in steps of its term's scale, at
least one step. At query time the scale is multiplied into the query's weight, so a sketch score costs one table
look-up, one multiplication and one addition per term. The canonical impacts of a sketch's terms are in an array of
their own.

**Further lines** of a document are consecutive, and hold its other terms by descending impact. Neighbours have nearly
the same impact, so a line holds 28 terms of uint16 and one byte for each four of them: a level, which says their mean
impact to 3 %. That is enough to rank candidates. The canonical impacts are in an array of their own, place by place,
which is read for the documents that may be returned. The first place of the first line is not a term: it says how many
terms the document's further lines hold, counted down from FREE, which also fills the unused places: no term has such a
number (see `has_levels`).

Indexes of version 3 and 4, and those of 32-bit terms or impacts, hold `further_width` terms in a line and their
canonical impacts after them, 16 terms of uint16 with float16, without levels.

Sketches are in the order of the documents' heaviest terms (`heaviest_terms`), so that those which a search reads
together are close together. Most documents are dropped by their sketch. Summaries of blocks are lines of the same form,
without further lines. Returned scores are computed from canonical impacts.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from index.kernels.prefetching import prefetch

LINE_BYTES = 64
NO_LINE = 2**32 - 1
# Terms in a further line with levels, and how many share one.
LEVELLED = 28
GROUP = 4
FREE = 2**16 - 1
# A level is the upper byte of a float16 without its sign: five bits of exponent, three of mantissa.
LEVEL_SHIFT = 7
TWO_TO_112 = np.float32(2.0**112)


class Documents(NamedTuple):
    """What a kernel reads of documents. There is a view of the lines for each type that they hold.

    line_terms       uint16[n_docs, 32]|uint32[n_docs, 16]     line_bytes  uint8[n_docs, 64]
    line_links       uint32[n_docs, 16], of which the last is the document's first further line
    impacts          uint16 (float16 bits)|float32[n_docs, width], the canonical impacts of a sketch's terms
    further_terms    uint16[n_further, 32]|uint32[n_further, 16], terms first, then the levels
    further_impacts  the canonical impacts, uint16[n_further, 28]; without levels the same lines as further_terms,
                     uint16[n_further, 32]|float32[n_further, 16], in which impacts come last: that of the first term is
                     `further_width` places from the end
    steps_per_unit   float32[n_terms], one over the impact of one step
    """

    line_terms: NDArray[Any]
    line_bytes: NDArray[np.uint8]
    line_links: NDArray[np.uint32]
    impacts: NDArray[Any]
    further_terms: NDArray[Any]
    further_impacts: NDArray[Any]
    steps_per_unit: NDArray[np.float32]


def documents_over(
    lines: NDArray[np.uint8],
    impacts: NDArray[Any],
    further: NDArray[np.uint8],
    further_impacts: NDArray[np.uint16],
    scale: NDArray[np.float32],
    term_type: np.dtype[Any],
) -> Documents:
    """Return Documents over lines, uint8[n_docs, 64], their impacts, further lines, uint8[n_further, 64], their
    impacts, uint16[n_further, 28], or uint16[0, 28] without levels, and the scale, float32[n_terms], the impact of one
    step."""
    return Documents(
        *line_views(lines, term_type), impacts, further.view(term_type),
        further_impacts if len(further_impacts) else further.view(impacts.dtype), steps_per_unit(scale),
    )  # fmt: skip


def has_levels(term_type: np.dtype[Any], impact_type: np.dtype[Any], n_terms: int, longest: int) -> bool:
    """Return whether the further lines of an index of n_terms terms get levels.

    longest   the most terms that a document's further lines hold: it is written as FREE - longest, which no term is
    """
    return term_type == np.uint16 and impact_type == np.uint16 and n_terms + longest <= FREE


def terms_per_line(dtype: np.dtype[Any]) -> int:
    """Return how many terms a sketch holds: 20 of uint16, 12 of uint32."""
    return 60 // (dtype.itemsize + 1)


def terms_per_further_line(term_type: np.dtype[Any], impact_type: np.dtype[Any]) -> int:
    """Return how many terms a further line without levels holds: 16 of uint16 with float16, else 10 or 8."""
    return LINE_BYTES // (term_type.itemsize + impact_type.itemsize)


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


def impact_values(stored: NDArray[Any]) -> NDArray[np.float32]:
    """Return stored impacts as float32."""
    return stored.view(np.float16).astype(np.float32) if stored.dtype == np.uint16 else stored


def impact_value(stored):
    """Return a stored impact as a float32. Oracle: numpy's view as float16.

    Numba's CPU target has no float16. Its bits, shifted to the place of float32's exponent, are the value times
    2**-112, subnormals included.
    """
    if isinstance(stored, np.uint16):
        return np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * TWO_TO_112
    return np.float32(stored)


@overload(impact_value, inline="always")
def _impact_value(stored):
    if stored == types.uint16:
        return lambda stored: np.uint32(np.uint32(stored) << np.uint32(13)).view(np.float32) * TWO_TO_112
    return lambda stored: np.float32(stored)


@njit(cache=True, nogil=True, inline="always")
def steps_of(value, steps_per_unit):
    """Return an impact in steps, an integer of 1 .. 255."""
    steps = np.int64(np.float64(value) * np.float64(steps_per_unit) + 0.5)
    return max(np.int64(1), min(np.int64(255), steps))


@njit(cache=True, nogil=True, inline="always")
def further_width(further_terms, further_impacts):
    """Return how many terms a further line holds."""
    if further_impacts.shape[1] == LEVELLED:
        return np.int64(LEVELLED)
    return np.int64(64 // (64 // further_terms.shape[1] + 64 // further_impacts.shape[1]))


@njit(cache=True, nogil=True, inline="always")
def further_lines(doc, line_links, further_terms, width):
    """Return (the document's first further line, the number of terms in its further lines).

    A damaged link leads to another document's terms or to none; a damaged number of terms is cut off at the last line.
    """
    line = np.int64(line_links[doc, 15])
    n_lines = np.int64(len(further_terms))
    if line >= n_lines:
        return np.int64(0), np.int64(0)
    held = np.int64(further_terms[line, 0])
    return line, min(np.int64(FREE) - held if width == LEVELLED else held, (n_lines - line) * width - 1)


@njit(cache=True, nogil=True, inline="always")
def level_of(line, group, further_terms):
    """Return the level of a group of a line with levels, uint32."""
    two = np.uint32(further_terms[line, LEVELLED + (group >> 1)])
    return (two >> np.uint32((group & 1) << 3)) & np.uint32(255)


@njit(cache=True, nogil=True, inline="always")
def level_at(line, group, further_terms):
    """Return the mean impact of a group of a line with levels, the middle of its level, times 2**-112: a float32."""
    level = level_of(line, group, further_terms)
    return np.uint32((level << np.uint32(LEVEL_SHIFT + 13)) | np.uint32(1 << (LEVEL_SHIFT + 12))).view(np.float32)


@njit(cache=True, nogil=True)
def write_levels(first, last, n_further, further_terms, further_impacts):
    """Write the levels of a document's further lines, first .. last, and FREE to their unused places.

    A level is the mean of the group's float16 bits, without its lower bits. Oracle: oracle.levels.
    """
    for line in range(first, last):
        for group in range(LEVELLED // GROUP):
            total, used = np.int64(0), np.int64(0)
            for place in range(group * GROUP, (group + 1) * GROUP):
                at = (line - first) * LEVELLED + place
                if at > n_further:
                    further_terms[line, place] = FREE
                elif at > 0:
                    total += np.int64(further_impacts[line, place])
                    used += 1
            level = (total // max(np.int64(1), used)) >> LEVEL_SHIFT
            further_terms[line, LEVELLED + (group >> 1)] |= level << ((group & 1) << 3)


@njit(cache=True, nogil=True, inline="always")
def prefetch_further(doc, line_links, further_terms):
    """Prefetch up to four of a document's further lines."""
    first = np.int64(line_links[doc, 15])
    for line in range(first, min(first + 4, np.int64(len(further_terms)))):
        prefetch(further_terms, line)


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
    """Fill the lines of some documents, and their further ones.

    lines    uint32[n]; the line of each
    indptr   int64[n + 1]                terms    uint32[nnz]
    values   float32[nnz], above 0       stored   uint16|float32[nnz], the same in their stored form
    links    uint32[n]; the first further line of each, or NO_LINE
    documents   zeroed

    Ties of impact are by ascending place in the row. Oracle: oracle.packed_document.
    """
    term_bytes = LINE_BYTES // documents.line_terms.shape[1]
    width = np.int64(documents.impacts.shape[1])
    per_further = further_width(documents.further_terms, documents.further_impacts)
    from_end = documents.further_impacts.shape[1] - per_further
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
            first = line = np.int64(links[i])
            n_further = np.int64(len(keys)) - width
            documents.further_terms[line, 0] = FREE - n_further if per_further == LEVELLED else n_further
            place = 1
            for key in keys[width:]:
                if place == per_further:
                    line += 1
                    place = 0
                j = start + (key & 0xFFFFFFFF)
                documents.further_terms[line, place] = terms[j]
                documents.further_impacts[line, from_end + place] = stored[j]
                place += 1
            if per_further == LEVELLED:
                write_levels(first, line + 1, n_further, documents.further_terms, documents.further_impacts)


@njit(cache=True, nogil=True)
def count_terms(lines, documents, counts):
    """Write to counts, int64[n], how many terms each of the documents with these lines, uint32[n], has."""
    line_links, impacts, further_terms = documents.line_links, documents.impacts, documents.further_terms
    width = further_width(further_terms, documents.further_impacts)
    for i in range(len(counts)):
        _, counts[i] = further_lines(lines[i], line_links, further_terms, width)
        for place in range(impacts.shape[1]):
            counts[i] += np.int64(impacts[lines[i], place] != 0)


@njit(cache=True, nogil=True)
def read_documents(lines, documents, terms, stored):
    """Write the terms and the canonical impacts of the documents with these lines, uint32[n], by descending impact.

    terms  uint16|uint32[the number that `count_terms` counted]     stored  uint16|float32[the same number]
    """
    line_terms, line_links, impacts = documents.line_terms, documents.line_links, documents.impacts
    further_terms, further_impacts = documents.further_terms, documents.further_impacts
    width = further_width(further_terms, further_impacts)
    from_end = further_impacts.shape[1] - width
    written = 0
    for line in lines:
        for place in range(impacts.shape[1]):
            if impacts[line, place] != 0:
                terms[written] = line_terms[line, place]
                stored[written] = impacts[line, place]
                written += 1
        further, n_further = further_lines(line, line_links, further_terms, width)
        for j in range(1, 1 + n_further):
            terms[written] = further_terms[further + j // width, j % width]
            stored[written] = further_impacts[further + j // width, from_end + j % width]
            written += 1
