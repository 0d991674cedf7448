"""Reading documents of formats 1 and 2 (older_formats): all terms were in lines, each with the number of the next.

A line was as it is now (kernels.lines); a number that does not lead on to a later line ended the chain.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def count_chained(first, line_links, impacts, counts):
    """Write to counts, int64[n], how many terms the documents have that begin in lines first .. first + n."""
    for i in range(len(counts)):
        line = np.int64(first + i)
        counts[i] = 0
        while True:
            for place in range(impacts.shape[1]):
                counts[i] += np.int64(impacts[line, place] != 0)
            following = np.int64(line_links[line, 15])
            if following <= line or following >= len(line_links):
                break
            line = following


@njit(cache=True, nogil=True)
def read_chained(first, line_terms, line_links, impacts, indptr, terms, stored):
    """Write those documents' terms and impacts to terms, uint32[], and stored, uint16|float32[], as indptr says."""
    for i in range(len(indptr) - 1):
        line = np.int64(first + i)
        written = indptr[i]
        while True:
            for place in range(impacts.shape[1]):
                if impacts[line, place] != 0:
                    terms[written] = line_terms[line, place]
                    stored[written] = impacts[line, place]
                    written += 1
            following = np.int64(line_links[line, 15])
            if following <= line or following >= len(line_links):
                break
            line = following
