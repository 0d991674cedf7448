"""Approximate search: candidates from blocks and sketches, then the best of them scored canonically."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from index.exact import best
from index.inverted import line_views
from index.kernels.candidates import find_candidates
from index.kernels.forward import score_documents
from index.segment import Segment

QUERY_CUT = 12
HEAP_FACTOR = 0.7


class Scratch:
    """What one search under way writes to. Made once, used by one search at a time, never cleared as a whole."""

    def __init__(self, segment: Segment) -> None:
        # A power of two above every number that the term arrays could hold, damaged or not (uint16), or a
        # mask that brings a damaged one (uint32) back inside.
        bits = 16 if segment.forward_terms.dtype == np.uint16 else len(segment.terms).bit_length()
        self.table = np.zeros(1 << bits, dtype=np.float32)  # the query's weights
        self.steps = np.zeros(1 << bits, dtype=np.uint16)  # the query's weights times the terms' scales
        self.visited = np.zeros(segment.n_docs, dtype=np.uint8)
        self.epoch = 0
        self.estimates = np.empty(0, dtype=np.int64)
        self.order = np.empty(0, dtype=np.int64)
        self.batch = np.empty(257, dtype=np.int64)
        self.firsts = np.empty(256, dtype=np.int64)
        # Blocks estimated, blocks visited, documents looked at, documents looked at further; since it was made.
        self.counters = np.zeros(4, dtype=np.int64)

    def next_epoch(self) -> int:
        """Return a number that no visited document is marked with."""
        self.epoch += 1
        if self.epoch == 256:
            self.visited[:] = 0
            self.epoch = 1
        return self.epoch


class ScratchPool:
    """Scratch for as many searches as are under way at once, kept for the next ones."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._free: deque[Scratch] = deque()

    @contextmanager
    def take(self, numbers: NDArray[np.uint32], weights: NDArray[np.float32]) -> Iterator[Scratch]:
        """Lend scratch whose table holds the query's weights."""
        try:
            scratch = self._free.pop()
        except IndexError:
            scratch = Scratch(self._segment)
        scratch.table[numbers] = weights
        try:
            yield scratch
        finally:
            scratch.table[numbers] = 0
        # Not after an error: what it holds then is unknown.
        self._free.append(scratch)


def approximate_search(
    segment: Segment,
    scratch: Scratch,
    numbers: NDArray[np.uint32],
    weights: NDArray[np.float32],
    k: int,
    query_cut: int,
    heap_factor: float,
    allowed: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return up to k (doc_ids, canonical scores), best first; fewer if no more were found."""
    n_keep = min(segment.n_docs, k + max(6, k // 5))
    heap_scores = np.empty(n_keep, dtype=np.int64)
    heap_docs = np.empty(n_keep, dtype=np.uint32)
    lists = numbers.astype(np.int64)
    room = int((segment.list_block[lists + 1] - segment.list_block[lists]).sum())
    if len(scratch.estimates) < room:
        scratch.estimates = np.empty(2 * room, dtype=np.int64)
        scratch.order = np.empty(2 * room, dtype=np.int64)
    if len(scratch.batch) < len(numbers):
        scratch.batch = np.empty(len(numbers), dtype=np.int64)
    found = find_candidates(
        numbers, weights, query_cut, np.float32(heap_factor), np.float32(segment.beta), allowed,
        segment.scale, segment.list_block, segment.list_summary, segment.block_start, segment.block_docs,
        *line_views(segment.summaries, segment.forward_terms.dtype)[:2],
        *line_views(segment.lines, segment.forward_terms.dtype),
        scratch.steps, scratch.visited, scratch.next_epoch(), scratch.estimates, scratch.order, scratch.batch,
        scratch.firsts, heap_scores, heap_docs, scratch.counters,
    )  # fmt: skip
    doc_ids = heap_docs[:found].astype(np.int64)
    scores = np.empty(found, dtype=np.float32)
    score_documents(
        doc_ids, segment.forward_start, segment.forward_terms, segment.forward_impacts, scratch.table, scores
    )
    matching = scores >= 0
    return best(doc_ids[matching], scores[matching], k)
