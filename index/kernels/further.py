"""A document's further terms: those that its sketch does not hold, two bytes each, by ascending term.

A place is 16 bits: in the lower byte a step from the term before, in the upper one the impact, coarsely. An upper byte
of 0 means that the place holds no impact and that its step counts 256 times: the terms lie too far apart for a byte. A
document's places are consecutive; two places before the first say how many there are (lower, then upper 16 bits).

Impacts compare as their bits do, so the upper byte is 1 plus the upper bits of what an impact's bits exceed those of
the smallest; the lower bits of it, the remainder, are in an array of their own, place by place. The byte alone says an
impact to about 3 %, which is enough to rank candidates. Both together are the canonical impact, bit by bit, and only
the documents that may be returned need the remainders: they may stay on disk (docs/decisions/0121).

Indexes of version 3 hold lines in place of places (kernels.further_lines). The functions that read work with both: the
type of the arrays decides when they are compiled.
"""

# The signatures of an overload are those of the function, used or not.
# ruff: noqa: ARG001, ARG005

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from index.kernels.further_lines import impact_in_line, place_in_line, places_in_lines
from index.kernels.impacts import impact_bits, impact_value
from index.kernels.prefetching import prefetch

HEADER = 2  # places before a document's first that say how many it has
_LEVELS = 255
_CACHE_LINE = 32  # places in 64 bytes
_PREFETCHED = 4 * _CACHE_LINE


def impact_code(smallest: int, largest: int) -> NDArray[np.int64]:
    """Return how impacts are divided, int64[2]: the bits of the smallest, and how many lower bits are the remainder.

    smallest, largest   the bits of the smallest and of the largest impact
    """
    shift = 0
    while (largest - smallest) >> shift >= _LEVELS:
        shift += 1
    return np.array([smallest, shift], dtype=np.int64)


def largest_shift(impact_type: np.dtype[Any]) -> int:
    """Return the most bits that a remainder may have: 7 of a float16, 23 of a float32."""
    return 7 if impact_type == np.uint16 else 23


def remainder_type(impact_type: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type of remainders: uint8 for float16, whose remainders have at most 7 bits, uint32 for float32."""
    return np.dtype(np.uint8 if impact_type == np.uint16 else np.uint32)


def coarse_values(code: NDArray[np.int64], impact_type: np.dtype[Any]) -> NDArray[np.float32]:
    """Return the impact that each upper byte stands for, float32[256]: the middle of its range; 0 for byte 0."""
    return _level_values(code, impact_type, (1 << int(code[1])) >> 1)


def coarse_error(code: NDArray[np.int64], impact_type: np.dtype[Any]) -> float:
    """Return the largest share of a coarse impact by which the canonical one may differ from it."""
    middle = coarse_values(code, impact_type)[1:].astype(np.float64)
    lowest = _level_values(code, impact_type, 0)[1:]
    highest = _level_values(code, impact_type, (1 << int(code[1])) - 1)[1:]
    return float(np.maximum(1.0 - lowest / middle, highest / middle - 1.0).max()) if middle.all() else 1.0


def _level_values(code: NDArray[np.int64], impact_type: np.dtype[Any], remainder: int) -> NDArray[np.float32]:
    """Return the impact with this remainder for each upper byte, float32[256]; 0 for byte 0."""
    bits = int(code[0]) + (np.arange(-1, _LEVELS, dtype=np.int64) << int(code[1])) + remainder
    bits[0] = 0
    if impact_type == np.uint16:
        return np.minimum(bits, 0x7BFF).astype(np.uint16).view(np.float16).astype(np.float32)
    return np.minimum(bits, 0x7F7FFFFF).astype(np.uint32).view(np.float32)


def most_places(lengths: NDArray[np.int64], n_terms: int) -> NDArray[np.int64]:
    """Return how many places documents of this many further terms need at most, header included, int64[n]."""
    steps = np.minimum(lengths, n_terms >> 8) + n_terms // 65280
    return np.where(lengths > 0, HEADER + lengths + steps, 0)


def place_at(j, further, remainders):
    """Return what the arrays hold at j, an int64 above 255 if that is an impact."""
    return np.int64(further[j]) if further.ndim == 1 else place_in_line(j, further, remainders)


@overload(place_at, inline="always")
def _place_at(j, further, remainders):
    if further.ndim == 1:
        return lambda j, further, remainders: np.int64(further[j])
    return lambda j, further, remainders: place_in_line(j, further, remainders)


def term_after(term, place, further):
    """Return the term of a place, an int64, from that of the place before; 0 comes before the first."""
    return term + ((place & 255) << (np.int64(place < 256) << 3)) if further.ndim == 1 else place >> 9


@overload(term_after, inline="always")
def _term_after(term, place, further):
    if further.ndim == 1:
        return lambda term, place, further: term + ((place & 255) << (np.int64(place < 256) << 3))
    return lambda term, place, further: place >> 9


def impact_at(j, place, further, remainders, code):
    """Return the stored impact, uint16|float32, of the place at j, which holds one."""
    if remainders.ndim == 2:
        return impact_in_line(j, further, remainders)
    bits = code[0] + (((place >> 8) - 1) << code[1]) + np.int64(remainders[j])
    return np.uint16(bits & 0xFFFF) if remainders.dtype == np.uint8 else np.uint32(bits & 0xFFFFFFFF).view(np.float32)


@overload(impact_at, inline="always")
def _impact_at(j, place, further, remainders, code):
    if remainders.ndim == 2:
        return lambda j, place, further, remainders, code: impact_in_line(j, further, remainders)
    if remainders.dtype == types.uint8:
        return lambda j, place, further, remainders, code: np.uint16(
            (code[0] + (((place >> 8) - 1) << code[1]) + np.int64(remainders[j])) & 0xFFFF
        )
    return lambda j, place, further, remainders, code: np.uint32(
        (code[0] + (((place >> 8) - 1) << code[1]) + np.int64(remainders[j])) & 0xFFFFFFFF
    ).view(np.float32)


def coarse_impact(j, place, further, remainders, coarse):
    """Return about the impact of the place at j, a float32; 0 for one that holds none."""
    return coarse[place >> 8] if remainders.ndim == 1 else impact_value(impact_in_line(j, further, remainders))


@overload(coarse_impact, inline="always")
def _coarse_impact(j, place, further, remainders, coarse):
    if remainders.ndim == 1:
        return lambda j, place, further, remainders, coarse: coarse[place >> 8]
    return lambda j, place, further, remainders, coarse: impact_value(impact_in_line(j, further, remainders))


def further_places(doc, line_links, further, remainders):
    """Return (first, stop) of a document's places.

    A damaged link leads to another document's places or to none; a damaged number of them is cut off at the end.
    """
    if further.ndim == 1:
        return packed_places(doc, line_links, further)
    return places_in_lines(doc, line_links, further, remainders)


@overload(further_places, inline="always")
def _further_places(doc, line_links, further, remainders):
    if further.ndim == 1:
        return lambda doc, line_links, further, remainders: packed_places(doc, line_links, further)
    return lambda doc, line_links, further, remainders: places_in_lines(doc, line_links, further, remainders)


@njit(cache=True, nogil=True, inline="always")
def packed_places(doc, line_links, further):
    """See `further_places`."""
    n = np.int64(len(further))
    first = np.int64(line_links[doc, 15]) + HEADER
    if first > n:
        return np.int64(0), np.int64(0)
    count = np.int64(further[first - 2]) | (np.int64(further[first - 1]) << 16)
    return first, min(first + count, n)


def prefetch_further(doc, line_links, further):
    """Prefetch up to four cache lines of a document's places."""
    first = np.int64(line_links[doc, 15])
    for place in range(first, min(first + _PREFETCHED, np.int64(len(further))), _CACHE_LINE):
        prefetch(further, place)


@overload(prefetch_further, inline="always")
def _prefetch_further(doc, line_links, further):
    if further.ndim == 1:
        step, count = _CACHE_LINE, _PREFETCHED
    else:
        step, count = 1, 4

    def prefetch_lines(doc, line_links, further):
        first = np.int64(line_links[doc, 15])
        for place in range(first, min(first + count, np.int64(len(further))), step):
            prefetch(further, place)

    return prefetch_lines


@njit(cache=True, nogil=True)
def write_further(first, keys, terms, stored, further, remainders, base, shift):
    """Write a document's header and places from `first` on.

    keys     int64[m], of each term to write its place in terms; sorted here by term
    terms    uint32[]        stored  uint16|float32[], the impacts of the terms
    further, remainders   as in kernels.lines.Documents, with room for `most_places`

    Oracle: oracle.further_places.
    """
    for i in range(len(keys)):
        keys[i] |= np.int64(terms[keys[i]]) << 32
    keys.sort()
    at = first + HEADER
    last = np.int64(0)
    for key in keys:
        term, j = key >> 32, key & 0xFFFFFFFF
        step = term - last
        last = term
        while step > 255:
            far = min(np.int64(255), step >> 8)
            further[at] = far
            at += 1
            step -= far << 8
        above = impact_bits(stored[j]) - base
        further[at] = step | ((1 + (above >> shift)) << 8)
        remainders[at] = above & ((np.int64(1) << shift) - 1)
        at += 1
    count = at - first - HEADER
    further[first] = count & 0xFFFF
    further[first + 1] = count >> 16


@njit(cache=True, nogil=True)
def close_gaps(line_links, further, remainders):
    """Move each document's places to the end of those before, in the order of the links; return how many are used.

    The links ascend, apart from those of documents without further terms, and are written anew.
    """
    n = np.int64(len(further))
    used = np.int64(0)
    for doc in range(len(line_links)):
        first = np.int64(line_links[doc, 15])
        if first >= n:
            continue
        count = HEADER + (np.int64(further[first]) | (np.int64(further[first + 1]) << 16))
        line_links[doc, 15] = used
        for j in range(count):
            further[used + j] = further[first + j]
            remainders[used + j] = remainders[first + j]
        used += count
    return used
