"""Approximate search: candidates from blocks and sketches, then the best of them scored canonically."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays.segment import Segment
from index.kernels.approximate import search_approximately


class Knobs(NamedTuple):
    """How thorough a search is.

    query_cut     terms that lead to blocks
    heap_factor   share of the threshold that a block must promise
    beta          share of it that a document's line must reach; None: the share of the mass that lines hold
    n_knn         neighbours of each document found that are looked at
    """

    query_cut: int
    heap_factor: float
    beta: float | None = None
    n_knn: int = 0


class Queries(NamedTuple):
    """Checked queries in a segment's own term numbers; weights are above 0."""

    start: NDArray[np.int64]
    terms: NDArray[np.uint32]
    weights: NDArray[np.float32]


class Scratch:
    """What one search under way writes to. Made once, used by one search at a time, never cleared as a whole."""

    def __init__(self, segment: Segment) -> None:
        # A power of two above every number that the term arrays could hold, damaged or not (uint16), or a
        # mask that brings a damaged one (uint32) back inside.
        bits = 16 if segment.term_type == np.uint16 else len(segment.terms).bit_length()
        self.places = np.zeros(1 << bits, dtype=np.int32)  # 1 + where the query has each term
        self.bounds = np.zeros(1 << bits, dtype=np.float32)  # a query's weights times the terms' scales
        self.steps = np.zeros(1 << bits, dtype=np.uint16)  # the same as whole numbers
        self.per_unit = np.zeros(1 << bits, dtype=np.float32)  # its weights in the same measure
        self.visited = np.zeros(segment.n_docs, dtype=np.uint8)
        self.epoch = np.zeros(1, dtype=np.int64)
        self.estimates = np.empty(0, dtype=np.int64)
        self.order = np.empty(0, dtype=np.int64)
        self.batch = np.empty(257, dtype=np.int64)
        self.firsts = np.empty(256, dtype=np.int64)
        self.heap = np.empty(0, dtype=np.int64)
        self.ids, self.values = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        self.single = Queries(np.zeros(2, dtype=np.int64), np.empty(0, np.uint32), np.empty(0, np.float32))
        self.totals = np.zeros(2, dtype=np.float64)
        # Blocks estimated, blocks visited, documents looked at, documents looked at further; since it was made.
        self.counters = np.zeros(4, dtype=np.int64)

    def make_room(self, blocks: int, terms: int, keep: int) -> None:
        """Make room for queries of this many terms, whose lists have this many blocks, and so many candidates."""
        if len(self.estimates) < blocks:
            self.estimates = np.empty(blocks, dtype=np.int64)
            self.order = np.empty(blocks, dtype=np.int64)
        if len(self.batch) < terms:
            self.batch = np.empty(terms, dtype=np.int64)
        if len(self.heap) < keep:
            self.heap = np.empty(keep, dtype=np.int64)

    def make_room_for_query(self, terms: int) -> None:
        """Make room for one query of this many terms, as it was given and in the segment's numbers."""
        if len(self.ids) < terms:
            self.ids, self.values = np.empty(terms, dtype=np.int64), np.empty(terms, dtype=np.float32)
            self.single = Queries(self.single.start, np.empty(terms, np.uint32), np.empty(terms, np.float32))


class ScratchPool:
    """Scratch for as many searches as are under way at once, kept for the next ones."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._free: deque[Scratch] = deque()

    def take(self) -> Scratch:
        """Lend scratch whose tables are all zeros, and must be again when it is given back.

        After an error it is not given back: what it holds then is unknown.
        """
        try:
            return self._free.pop()
        except IndexError:
            return Scratch(self._segment)

    def give_back(self, scratch: Scratch) -> None:
        """Keep the scratch for the next search."""
        self._free.append(scratch)


def approximate_search(
    segment: Segment, scratch: Scratch, queries: Queries, k: int, knobs: Knobs, allowed: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return (doc_ids int64[n, k], canonical scores float32[n, k], how many of them int64[n]), best first."""
    n = len(queries.start) - 1
    k = min(k, segment.n_docs)
    n_keep = min(segment.n_docs, k + max(6, k // 5))
    longest = len(queries.terms) if n == 1 else int(np.diff(queries.start).max())
    scratch.make_room(min(longest, knobs.query_cut) * segment.most_blocks, longest, n_keep)
    beta = segment.beta if knobs.beta is None else knobs.beta
    ids = np.empty((n, k), dtype=np.int64)
    scores = np.empty((n, k), dtype=np.float32)
    found = np.empty(n, dtype=np.int64)
    search_approximately(
        *queries, knobs.query_cut, np.float32(knobs.heap_factor), np.float32(beta), allowed, segment.line_docs,
        segment.scale, segment.list_block, segment.list_summary, segment.block_start, segment.block_docs,
        *segment.summary_views, *segment.documents, segment.neighbours, knobs.n_knn,
        scratch.steps, scratch.per_unit, scratch.visited, scratch.epoch, scratch.estimates, scratch.order,
        scratch.batch, scratch.firsts, scratch.heap[:n_keep], scratch.places, ids, scores, found, scratch.counters,
    )  # fmt: skip
    return ids, scores, found
