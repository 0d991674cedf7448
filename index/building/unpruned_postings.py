"""Building the unpruned postings of exact search: window by window, each by itself (see kernels.exhaustive)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays.new_arrays import NewArrays
from index.building.packing import Packed, in_order
from index.kernels.block_bounds import BLOCKS
from index.kernels.block_max import fill_maxima
from index.kernels.exhaustive import WINDOW, Windows
from index.kernels.postings import count_postings, fill_postings
from index.kernels.superblock_scores import SUPERBLOCK

# A term that at least one in so many documents holds has block maxima.
FREQUENT = 64


class _Window(NamedTuple):
    """One window's terms, the number of postings of each, and the postings."""

    terms: NDArray[Any]
    counts: NDArray[np.int64]
    docs: NDArray[np.uint16]
    impacts: NDArray[Any]


def build_windows(
    packed: Packed,
    n_terms: int,
    nnz: int,
    arrays: NewArrays,
    threads: int,
    progress: Callable[[int], None],
    *,
    by_lines: bool = False,
) -> Windows:
    """Create and fill `window_entry`, `entry_terms`, `entry_start`, `posting_docs` and `posting_impacts`.

    by_lines   the windows hold lines instead of documents: for block maxima
    """
    n_docs = len(packed.doc_lines)
    docs = arrays.create("posting_docs", (nnz,), np.uint16)
    impacts = arrays.create("posting_impacts", (nnz,), packed.impact_type)

    def work(first: int) -> _Window:
        lines = packed.doc_lines[first : first + WINDOW]
        if by_lines:
            lines = np.arange(first, min(first + WINDOW, n_docs), dtype=np.uint32)
        counts = np.empty(n_terms, dtype=np.int64)
        count_postings(lines, packed.documents, counts)
        cursors = np.cumsum(counts) - counts
        size = int(counts.sum())
        window_docs = np.empty(size, dtype=np.uint16)
        window_impacts = np.empty(size, dtype=packed.impact_type)
        fill_postings(lines, packed.documents, cursors, window_docs, window_impacts)
        held = np.flatnonzero(counts)
        return _Window(held.astype(packed.term_type), counts[held], window_docs, window_impacts)

    terms, counts, entries, written = [], [], [0], 0
    for number, window in enumerate(in_order(work, iter(range(0, n_docs, WINDOW)), threads)):
        docs[written : written + len(window.docs)] = window.docs
        impacts[written : written + len(window.docs)] = window.impacts
        written += len(window.docs)
        terms.append(window.terms)
        counts.append(window.counts)
        entries.append(entries[-1] + len(window.terms))
        progress(min(n_docs, (number + 1) * WINDOW))
    window_entry = arrays.create("window_entry", (len(entries),), np.int64)
    window_entry[:] = entries
    entry_terms = arrays.create("entry_terms", (entries[-1],), packed.term_type)
    entry_terms[:] = np.concatenate(terms) if terms else []
    start = arrays.create("entry_start", (entries[-1] + 1,), np.int64)
    np.cumsum(np.concatenate(counts) if counts else [], out=start[1:])
    return Windows(window_entry, entry_terms, start, docs, impacts)


def build_block_maxima(
    windows: Windows, n_docs: int, frequencies: NDArray[np.int64], scale: NDArray[np.float32], arrays: NewArrays
) -> None:
    """Create and fill `superblock_starts` and `block_maxima` over windows in the order of lines.

    frequencies   int64[n_terms], descending      scale  float32[n_terms]
    """
    n_superblocks = -(-n_docs // SUPERBLOCK)
    n_frequent = max(1, int(np.count_nonzero(frequencies * FREQUENT >= n_docs)))
    starts = arrays.create("superblock_starts", (n_frequent, n_superblocks), np.uint16)
    blocks = arrays.create("block_maxima", (n_frequent, BLOCKS * n_superblocks), np.uint8)
    fill_maxima(n_frequent, *windows, scale, starts.reshape(-1), blocks.reshape(-1))


def create_empty_windows(packed: Packed, arrays: NewArrays) -> None:
    """Create the same arrays without postings."""
    n_windows = -(-len(packed.doc_lines) // WINDOW)
    arrays.create("window_entry", (n_windows + 1,), np.int64)
    arrays.create("entry_terms", (0,), packed.term_type)
    arrays.create("entry_start", (1,), np.int64)
    arrays.create("posting_docs", (0,), np.uint16)
    arrays.create("posting_impacts", (0,), packed.impact_type)
