"""Exact search: every allowed document is scored canonically, so the ranking is the definition.

Work is done in chunks of documents, so that a deadline is honoured while a kernel runs without the GIL.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from index.errors import SearchStopped
from index.kernels.forward import score_documents, score_range
from index.segment import Segment

ShouldStop = Callable[[], bool]

_CHUNK = 1 << 16


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
