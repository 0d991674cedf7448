"""Further terms of indexes of version 3 and 4, which are read but not written any more: 64-byte lines.

A line holds `line_width` terms, by descending impact, and up to its end their canonical impacts: 16 terms of uint16
with float16, 10 or 8 of the other types. A document's lines are consecutive. The first place of the first one is not a
term: it says how many terms the lines hold. The place p of line l is number l * line_width + p.

further     uint16[n_lines, 32]|uint32[n_lines, 16], the lines as terms
impacts     uint16 (float16 bits)[n_lines, 32]|float32[n_lines, 16], the same lines as impacts
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True, inline="always")
def line_width(further, impacts):
    """Return how many terms a line holds."""
    return np.int64(64 // (64 // further.shape[1] + 64 // impacts.shape[1]))


@njit(cache=True, nogil=True)
def places_in_lines(doc, line_links, further, impacts):
    """Return (first, stop) of a document's places.

    A damaged link leads to another document's terms or to none; a damaged number of them is cut off at the last line.
    """
    width = line_width(further, impacts)
    line, n_lines = np.int64(line_links[doc, 15]), np.int64(len(further))
    if line >= n_lines:
        return np.int64(0), np.int64(0)
    first = line * width + 1
    return first, first + min(np.int64(further[line, 0]), (n_lines - line) * width - 1)


@njit(cache=True, nogil=True)
def place_in_line(j, further, impacts):
    """Return the term of place j, shifted by 9 bits, plus 256, which says that it has an impact."""
    width = line_width(further, impacts)
    return np.int64(further[j // width, j % width]) << 9 | 256


@njit(cache=True, nogil=True)
def impact_in_line(j, further, impacts):
    """Return the stored impact of place j."""
    width = line_width(further, impacts)
    return impacts[j // width, impacts.shape[1] - width + j % width]
