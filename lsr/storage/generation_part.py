"""A part of a generation: the documents that a filter matches; all others are masked as deleted ones are.

Whatever reads a generation (searches, facets, documents by id, suggestions, document frequencies) therefore sees the
part alone, and needs to know nothing of it. Masks are made once for each segment and each chunk of pending documents,
and shared by all generations that have it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lsr.storage.generation import Generation, RowFilter, SegmentView
from lsr.storage.pending import Pending, PendingChunk

Home = SegmentView | PendingChunk
Masked = Mapping[int, tuple[Home, Home]]  # by the home's id(): the home, which keeps the id taken, and its part


class PartView(SegmentView):
    """A segment's documents that belong to the part."""

    def __init__(self, view: SegmentView, row_filter: RowFilter) -> None:
        live = view.allowed(row_filter)
        if live is None:
            live = np.ones(len(view.segment), dtype=np.bool_)
        super().__init__(view.segment, live, np.flatnonzero(~live))
        self._inside = live
        self._counted: dict[tuple[str, int], int] = {}

    def document_frequencies(self, name: str, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many documents of the part each term occurs, int64[len(term_ids)].

        Counted term by term when asked for: the documents outside are too many to be subtracted.
        """
        index = self.segment.indexes[name]
        counts = np.empty(len(term_ids), dtype=np.int64)
        for at, term in enumerate(term_ids.tolist()):
            known = self._counted.get((name, term))
            if known is None:
                known = int(np.count_nonzero(index.matching([term]) & self._inside))
                self._counted[name, term] = known
            counts[at] = known
        return counts


def part_of(generation: Generation, row_filter: RowFilter, masked: Masked) -> tuple[Generation, Masked]:
    """Return the part of a generation, and what to pass as `masked` for the next generation of the same filter."""
    made: dict[int, tuple[Home, Home]] = {}

    def part(home: Home) -> Home:
        known = masked.get(id(home))
        found = known[1] if known is not None and known[0] is home else _part(home, row_filter)
        made[id(home)] = (home, found)
        return found

    segments = tuple(part(view) for view in generation.segments)
    chunks = tuple(part(chunk) for chunk in generation.pending.chunks)
    kept = Pending(tuple(chunk for chunk in chunks if isinstance(chunk, PendingChunk)))
    views = tuple(view for view in segments if isinstance(view, SegmentView))
    return replace(generation, segments=views, pending=kept, is_part=True), made


def _part(home: Home, row_filter: RowFilter) -> Home:
    if isinstance(home, SegmentView):
        return PartView(home, row_filter)
    live = home.live & row_filter.mask(home.content.columns)
    return PendingChunk(home.content, live, int(np.count_nonzero(live)))
