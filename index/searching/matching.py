"""Which documents share a term with a query, without ranking them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from index.arrays.segment import Segment
from index.kernels.matching import mark_in_lines, mark_in_windows


def matching(segment: Segment, terms: NDArray[np.uint32]) -> NDArray[np.bool_]:
    """Return which documents hold one of the terms, bool[n_docs]; `terms` are the segment's own numbers.

    Reads the terms' postings where the index has unpruned ones, otherwise every document.
    """
    found = np.zeros(segment.n_docs, dtype=np.bool_)
    if not len(terms):
        return found
    if segment.has_exact_lists:
        mark_in_windows(
            0, len(segment.window_entry) - 1, segment.n_docs, segment.window_lines, segment.window_entry,
            segment.entry_terms, segment.entry_start, segment.posting_docs, terms, found,
        )  # fmt: skip
    else:
        wanted = np.zeros(1 << max(16, len(segment.terms).bit_length()), dtype=np.bool_)
        wanted[terms] = True
        mark_in_lines(0, segment.n_docs, segment.documents, segment.line_docs, wanted, found)
    return found
