"""Approximate search: candidates from blocks and sketches, then the best of them scored canonically."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from index.arrays.segment import Segment
from index.kernels.approximate import search_approximately
from index.kernels.candidate_arrays import CandidateParameters, CandidateScratch, Queries
from index.kernels.sketches import BATCH
from index.searching.exact import BlockTables, WindowScratch


class Scratch:
    """The arrays that a search writes to. Allocated once, used by one search at a time, never cleared as a whole."""

    def __init__(self, segment: Segment) -> None:
        # A power of two. Above every uint16, damaged or not; a damaged uint32 is brought below it by a mask.
        bits = 16 if segment.term_type == np.uint16 else len(segment.terms).bit_length()
        self.places = np.zeros(1 << bits, dtype=np.int32)  # 1 + where the query has each term
        self.bounds = np.zeros(1 << bits, dtype=np.float32)  # a query's weights times the terms' scales
        self.candidates = CandidateScratch(
            per_step=np.zeros(1 << bits, dtype=np.uint16),
            per_unit=np.zeros(1 << bits, dtype=np.float32),
            visited=np.zeros(segment.n_docs, dtype=np.uint8),
            epoch=np.zeros(1, dtype=np.int64),
            estimates=np.empty(0, dtype=np.int64),
            order=np.empty(0, dtype=np.int64),
            batch=np.empty(BATCH + 1, dtype=np.int64),
            firsts=np.empty(BATCH, dtype=np.int64),
            heap=np.empty(0, dtype=np.int64),
            counters=np.zeros(4, dtype=np.int64),
        )
        self.ids, self.values = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        self.single = Queries(np.zeros(2, dtype=np.int64), np.empty(0, np.uint32), np.empty(0, np.float32))
        self.totals = np.zeros(2, dtype=np.float64)
        self.windows = WindowScratch()
        self.blocks = BlockTables(segment.n_docs if segment.has_block_maxima else 0)

    def make_room(self, blocks: int, terms: int, keep: int) -> None:
        """Make room for queries of at most `terms` terms, whose lists have at most `blocks` blocks, and exactly `keep`
        candidates."""
        held = self.candidates
        if len(held.estimates) < blocks:
            held = held._replace(estimates=np.empty(blocks, dtype=np.int64), order=np.empty(blocks, dtype=np.int64))
        if len(held.batch) < terms:
            held = held._replace(batch=np.empty(terms, dtype=np.int64))
        if len(held.heap) != keep:
            held = held._replace(heap=np.empty(keep, dtype=np.int64))
        self.candidates = held

    def make_room_for_query(self, terms: int) -> None:
        """Make room for one query of this many terms, as it was given and in the segment's numbers."""
        if len(self.ids) < terms:
            self.ids, self.values = np.empty(terms, dtype=np.int64), np.empty(terms, dtype=np.float32)
            self.single = Queries(self.single.start, np.empty(terms, np.uint32), np.empty(terms, np.float32))


class ScratchPool:
    """Scratch for the searches that run at the same time, kept for the next ones."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._free: deque[Scratch] = deque()

    def take(self) -> Scratch:
        """Lend scratch whose tables are all zeros, as they must be when it is put back.

        After an error it is not put back: its content is then unknown.
        """
        try:
            return self._free.pop()
        except IndexError:
            return Scratch(self._segment)

    def put_back(self, scratch: Scratch) -> None:
        """Keep the scratch for the next search."""
        self._free.append(scratch)


def approximate_search(
    segment: Segment,
    scratch: Scratch,
    queries: Queries,
    k: int,
    parameters: CandidateParameters,
    allowed: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return (doc_ids int64[n, k], canonical scores float32[n, k], how many of them int64[n]), best first."""
    n = len(queries.start) - 1
    k = min(k, segment.n_docs)
    longest = len(queries.terms) if n == 1 else int(np.diff(queries.start).max())
    scratch.make_room(
        min(longest, parameters.query_cut) * segment.most_blocks, longest, min(segment.n_docs, k + max(6, k // 5))
    )
    ids = np.empty((n, k), dtype=np.int64)
    scores = np.empty((n, k), dtype=np.float32)
    found = np.empty(n, dtype=np.int64)
    search_approximately(
        *queries,
        parameters.query_cut, np.float32(parameters.heap_factor), np.float32(parameters.beta), parameters.n_knn,
        allowed, segment.line_docs,
        *segment.candidate_lists,
        *segment.documents,
        segment.scale, segment.neighbours,
        *scratch.candidates,
        scratch.places, ids, scores, found,
    )  # fmt: skip
    return ids, scores, found
