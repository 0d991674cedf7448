"""Exact search: over the unpruned postings where the index has them, else by a scan of the documents.

The scan reads each document's sketch, which bounds the document's score, and the further lines of a few. Work is done
in chunks of documents, so that a deadline is kept while kernels run without the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from index.arrays.segment import Segment
from index.errors import SearchStopped
from index.kernels.block_bounds import BLOCKS
from index.kernels.block_max import MOST_TERMS, BlockScratch, search_blocks
from index.kernels.candidate_arrays import CandidateScratch
from index.kernels.exhaustive import WINDOW, search_windows
from index.kernels.few import may_be_best
from index.kernels.forward import scan_documents, score_documents
from index.kernels.heap import best_of
from index.kernels.superblock_scores import SUPERBLOCK

ShouldStop = Callable[[], bool]

# Documents scanned in one call: few at first, which set a threshold for the others.
_FIRST_CHUNK = 1 << 11
_CHUNK = 1 << 16
_WINDOWS = 16
# Keys collected beyond 2 k before the k best are selected: for a small k a selection has a fixed cost.
_ROOM = 64
# With block maxima, a quarter more, and at least this: the sooner the threshold rises, the less is visited.
_FEW_MORE = 16
# Nanoseconds, measured on two-core machines, for a posting added up and a document's sum (docs/decisions/0103, 0118);
# with block maxima, for a superblock visited and for a document and term of the bounds. A search that would visit more
# superblocks than are worth it adds up everything, and one for k hits is not begun where _VISITS_PER_HIT times k are
# too many (docs/decisions/0129).
POSTING_COST, SUM_COST = 2.0, 0.3
_VISIT_COST, _BOUND_COST = 400.0, 0.02
_VISITS_PER_HIT = 12
# Below this, float32 has too few bits for the bound to hold.
_TINY = 1e-30


class WindowScratch:
    """What a search of windows writes to: see `kernels.exhaustive.search_windows`."""

    def __init__(self) -> None:
        self.sums = np.zeros(WINDOW, dtype=np.float64)
        self.found = np.empty(WINDOW + 1, dtype=np.int32)
        self.found_sums = np.empty(WINDOW + 1, dtype=np.float64)
        self.sample = np.empty(WINDOW, dtype=np.int64)


class BlockTables:
    """What a search by block maxima writes to: see `kernels.block_max.BlockScratch`."""

    def __init__(self, n_docs: int) -> None:
        n = -(-n_docs // SUPERBLOCK)
        self.arrays = BlockScratch(
            np.zeros(n, np.uint16), np.zeros(min(n, WINDOW // SUPERBLOCK) * BLOCKS, np.uint16),
            np.empty(0, np.uint16), np.empty(n + 1, np.int32),
        )  # fmt: skip

    def with_room(self, others: int) -> BlockScratch:
        """Return the arrays with room for this many terms that are not frequent."""
        wanted = others * len(self.arrays.bounds)
        if len(self.arrays.starts) < wanted:
            self.arrays = self.arrays._replace(starts=np.empty(wanted, np.uint16))
        return self.arrays


class Tables(Protocol):
    """Tables that a search writes to, zeros between searches: see `kernels.forward` for their lengths."""

    places: NDArray[np.int32]
    bounds: NDArray[np.float32]
    windows: WindowScratch
    blocks: BlockTables
    candidates: CandidateScratch


def search_exact(
    segment: Segment,
    terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    tables: Tables,
    k: int,
    allowed: NDArray[np.bool_],
    ties: bool,
    should_stop: ShouldStop | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the best k (doc_ids, scores) over all documents, or the allowed ones if `allowed` is not empty.

    terms    the query's in the segment's numbers, by ascending collection term id
    ties     also every document whose score equals the k-th
    """
    if not segment.has_exact_lists:
        return scan(segment, terms, weights, tables, k, allowed, ties, should_stop)
    k = min(k, segment.n_docs)
    if not ties:
        return _search_postings(segment, terms, weights, tables, k, allowed, should_stop)
    wanted = k
    while True:
        # One more than wanted shows whether the last one ties with the next.
        ids, scores = _search_postings(
            segment, terms, weights, tables, min(wanted + 1, segment.n_docs), allowed, should_stop
        )
        if len(ids) <= k or scores[-1] < scores[k - 1]:
            enough = len(ids) if len(ids) <= k else int(np.searchsorted(-scores, -scores[k - 1], side="right"))
            return ids[:enough], scores[:enough]
        if len(ids) == segment.n_docs or len(ids) < wanted + 1:
            return ids, scores
        wanted *= 4


def _search_postings(
    segment: Segment,
    terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    tables: Tables,
    k: int,
    allowed: NDArray[np.bool_],
    should_stop: ShouldStop | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    if segment.has_block_maxima:
        found = _search_blocks(segment, terms, weights, tables.blocks, k, allowed)
        if found is not None:
            return found
    scratch = tables.windows
    keys = np.empty(2 * k + _ROOM, dtype=np.int64)
    size = 0
    n_windows = len(segment.window_entry) - 1
    for first in range(0, n_windows, _WINDOWS):
        if should_stop is not None and should_stop():
            raise SearchStopped("the search was stopped before it was finished")
        last = min(first + _WINDOWS, n_windows)
        size = search_windows(
            first, last, segment.n_docs, segment.window_lines, *segment.windows, terms, weights, allowed,
            scratch.sums, scratch.found, scratch.found_sums, scratch.sample, k, keys, size,
        )  # fmt: skip
    return _ranked(keys[:size])


def _search_blocks(
    segment: Segment,
    terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    tables: BlockTables,
    k: int,
    allowed: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """Return the best k by block maxima; None if too many superblocks would be visited, or bounds cannot hold."""
    frequencies = segment.frequencies[terms]
    worth = POSTING_COST * float(frequencies.sum(dtype=np.int64)) + SUM_COST * segment.n_docs
    most_visits = int((worth - _BOUND_COST * len(terms) * segment.n_docs) / _VISIT_COST)
    scale = segment.scale[terms]
    if len(terms) > MOST_TERMS or min(float(scale.min()), float((weights * scale).min())) <= _TINY:
        return None
    if most_visits < _VISITS_PER_HIT * k:
        return None
    others = int(np.count_nonzero(terms >= len(segment.superblock_starts)))
    keys = np.empty(k + max(_FEW_MORE, k // 4), dtype=np.int64)
    size = search_blocks(
        segment.n_docs, *segment.windows, *segment.maxima, segment.scale, segment.line_docs, terms, weights,
        allowed, *tables.with_room(others), most_visits, k, keys,
    )  # fmt: skip
    return None if size < 0 else _ranked(keys[:size])


def _ranked(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    ids, scores = np.empty(len(keys), dtype=np.int64), np.empty(len(keys), dtype=np.float32)
    best_of(keys, ids, scores)
    return ids, scores


def scan(
    segment: Segment,
    terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    tables: Tables,
    k: int,
    allowed: NDArray[np.bool_],
    ties: bool,
    should_stop: ShouldStop | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return what `search_exact` returns, without unpruned postings."""
    ids = np.empty(0, dtype=np.int64)
    scores = np.empty(0, dtype=np.float32)
    smallest = min(float(segment.scale[terms].min()), float((weights * segment.scale[terms]).min()))
    start, size = 0, _FIRST_CHUNK
    while start < segment.n_docs:
        if should_stop is not None and should_stop():
            raise SearchStopped("the search was stopped before it was finished")
        chunk = np.empty(min(size, segment.n_docs - start), dtype=np.float32)
        threshold = np.float32(scores[k - 1] if len(scores) >= k and smallest > _TINY else 0.0)
        scan_documents(
            start, threshold, segment.documents, segment.scale, terms, weights, tables.places, tables.bounds, allowed,
            segment.line_docs, chunk,
        )  # fmt: skip
        found = np.flatnonzero(chunk >= 0)
        ids = np.concatenate([ids, np.minimum(segment.line_docs[start + found], segment.n_docs - 1)])
        scores = np.concatenate([scores, chunk[found]])
        ids, scores = best(ids, scores, k, ties=True)
        start, size = start + size, min(_CHUNK, 2 * size)
    return best(ids, scores, k, ties=ties)


def score_few(
    segment: Segment,
    terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    tables: Tables,
    k: int,
    doc_ids: NDArray[np.int64],
    ties: bool,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the best k of `doc_ids` (int64, each once), ranked as by `scan`."""
    lines = segment.lines_of(doc_ids)
    if segment.has_levels and len(doc_ids) > k:
        chosen = np.empty(len(lines), dtype=np.uint32)
        n = may_be_best(
            np.sort(lines), k, segment.documents, segment.scale, terms, weights, tables.bounds,
            tables.candidates.per_unit, np.empty(len(lines), dtype=np.float64), chosen,
        )  # fmt: skip
        lines = chosen[:n]
        doc_ids = np.minimum(segment.line_docs[lines], segment.n_docs - 1).astype(np.int64)
    scores = np.empty(len(doc_ids), dtype=np.float32)
    score_documents(lines, segment.documents, terms, weights, tables.places, scores)
    matching = scores >= 0
    return best(doc_ids[matching], scores[matching], k, ties=ties)


def best(
    ids: NDArray[np.int64], scores: NDArray[np.float32], k: int, *, ties: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the k best by descending score, then ascending id; with `ties`, all that score as the k-th does."""
    if len(ids) > k:
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        enough = scores >= kth
        ids, scores = ids[enough], scores[enough]
    order = np.lexsort((ids, -scores))
    if not ties:
        order = order[:k]
    return ids[order], scores[order]
