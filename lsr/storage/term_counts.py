"""Term counts of a set of documents that grows by a few documents at a time.

Used to correct document frequencies for deleted documents. Immutable, so that a reader's view does not change. Stored
as runs of (terms, counts), each at most half as large as the one before: adding merges the small runs, like an LSM
tree, so n additions cost O(n log n) for any size of the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class TermCounts:
    """Counts by term. A run is (term_ids int64 ascending and distinct, counts int64)."""

    runs: tuple[tuple[NDArray[np.int64], NDArray[np.int64]], ...] = ()

    def add(self, term_ids: NDArray[np.int64]) -> TermCounts:
        """Return the counts with 1 added for each occurrence in `term_ids` (repeated terms count again)."""
        if not len(term_ids):
            return self
        terms, counts = np.unique(term_ids, return_counts=True)
        runs = list(self.runs)
        counts = counts.astype(np.int64)
        while runs and len(runs[-1][0]) <= 2 * len(terms):
            older_terms, older_counts = runs.pop()
            both = np.concatenate([older_terms, terms])
            terms, position = np.unique(both, return_inverse=True)
            counts = np.bincount(position, weights=np.concatenate([older_counts, counts])).astype(np.int64)
        return TermCounts((*runs, (terms, counts)))

    def of(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the count of each term, int64[len(term_ids)]."""
        total = np.zeros(len(term_ids), dtype=np.int64)
        for terms, counts in self.runs:
            position = np.minimum(np.searchsorted(terms, term_ids), len(terms) - 1)
            total += np.where(terms[position] == term_ids, counts[position], 0)
        return total
