"""Exact search: the ranking is by definition, over full postings lists where the index has them, else by a scan.

Work is done in chunks of documents, so that a deadline is honoured while a kernel runs without the GIL.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index.errors import SearchStopped
from index.kernels.exhaustive import best_of, search_lists
from index.kernels.forward import score_documents, score_range
from index.segment import Segment

ShouldStop = Callable[[], bool]

_CHUNK = 1 << 16
# Documents whose sums are held at once: 512 kB of float64, which fits a core's second-level cache.
_WINDOW = 1 << 16
_LISTS_CHUNK = 1 << 20


def search_exact(
    segment: Segment,
    terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    table: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_],
    ties: bool,
    should_stop: ShouldStop | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the best k (doc_ids, scores) over all documents, or the allowed ones if `allowed` is not empty.

    terms    the query's in the segment's numbers, by rising collection term id
    table    zeros, as long as `rank_candidates` wants it, and left so
    ties     also every document whose score equals the k-th
    """
    if not segment.has_exact_lists:
        table[terms] = weights
        found = scan(segment, table, k, allowed, ties, should_stop)
        table[terms] = 0
        return found
    k = min(k, segment.n_docs)
    if not ties:
        return _search_lists(segment, terms, weights, k, allowed, should_stop)
    wanted = k
    while True:
        # One more than wanted tells whether the last one ties with what comes next.
        ids, scores = _search_lists(segment, terms, weights, min(wanted + 1, segment.n_docs), allowed, should_stop)
        if len(ids) <= k or scores[-1] < scores[k - 1]:
            enough = len(ids) if len(ids) <= k else int(np.searchsorted(-scores, -scores[k - 1], side="right"))
            return ids[:enough], scores[:enough]
        if len(ids) == segment.n_docs or len(ids) < wanted + 1:
            return ids, scores
        wanted *= 4


def _search_lists(
    segment: Segment,
    terms: NDArray[np.uint32],
    weights: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_],
    should_stop: ShouldStop | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    cursors = segment.posting_start[terms]
    stops = segment.posting_start[terms + np.int64(1)]
    width = min(_WINDOW, segment.n_docs)
    sums = np.zeros(width, dtype=np.float64)
    touched = np.empty(width + 1, dtype=np.int64)
    heap = np.empty(k, dtype=np.int64)
    size = 0
    for first in range(0, segment.n_docs, _LISTS_CHUNK):
        if should_stop is not None and should_stop():
            raise SearchStopped("the search was stopped before it was done")
        last = min(first + _LISTS_CHUNK, segment.n_docs)
        size = search_lists(
            first, last, segment.posting_docs, segment.posting_impacts, weights, cursors, stops, allowed, sums,
            touched, heap, size,
        )  # fmt: skip
    ids, scores = np.empty(size, dtype=np.int64), np.empty(size, dtype=np.float32)
    best_of(heap[:size], ids, scores)
    return ids, scores


def scan(
    segment: Segment,
    table: NDArray[np.float32],
    k: int,
    allowed: NDArray[np.bool_],
    ties: bool,
    should_stop: ShouldStop | None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the best k (doc_ids, scores) over all documents, or the allowed ones if `allowed` is not empty.

    With `ties`, also every document whose score equals the k-th.
    """
    ids = np.empty(0, dtype=np.int64)
    scores = np.empty(0, dtype=np.float32)
    buffer = np.empty(min(_CHUNK, segment.n_docs), dtype=np.float32)
    for start in range(0, segment.n_docs, _CHUNK):
        if should_stop is not None and should_stop():
            raise SearchStopped("the search was stopped before it was done")
        chunk = buffer[: min(_CHUNK, segment.n_docs - start)]
        score_range(start, segment.forward_start, segment.forward_terms, segment.forward_impacts, table, allowed, chunk)
        found = np.flatnonzero(chunk >= 0)
        ids = np.concatenate([ids, found + start])
        scores = np.concatenate([scores, chunk[found]])
        ids, scores = best(ids, scores, k, ties=True)
    return best(ids, scores, k, ties=ties)


def score_few(
    segment: Segment, table: NDArray[np.float32], k: int, doc_ids: NDArray[np.int64], ties: bool
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the best k of `doc_ids` (int64, each once), as `scan` does."""
    scores = np.empty(len(doc_ids), dtype=np.float32)
    score_documents(doc_ids, segment.forward_start, segment.forward_terms, segment.forward_impacts, table, scores)
    matching = scores >= 0
    return best(doc_ids[matching], scores[matching], k, ties=ties)


def best(
    ids: NDArray[np.int64], scores: NDArray[np.float32], k: int, *, ties: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the k best by falling score, then rising id; with `ties`, all that score as the k-th does."""
    if len(ids) > k:
        kth = np.partition(scores, len(scores) - k)[len(scores) - k]
        enough = scores >= kth
        ids, scores = ids[enough], scores[enough]
    order = np.lexsort((ids, -scores))
    if not ties:
        order = order[:k]
    return ids[order], scores[order]
