"""The documents of a generation in the order of their ids, a page at a time.

Each segment numbers its documents by ascending id, so a page begins with a bisection in each segment; the pending
documents are few enough to be looked through. A page costs the same wherever it begins.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from heapq import merge, nsmallest
from itertools import islice

import numpy as np

from lsr.storage.generation import Generation, Place, RowFilter, SegmentView


def page(generation: Generation, after: str | None, size: int, row_filter: RowFilter | None = None) -> list[Place]:
    """Return where the first `size` live documents with an id above `after` are, by ascending id (code points).

    after       an id, which need not exist; None: from the first document
    row_filter  only documents that match

    Raises CollectionCorrupt where a segment is damaged: a page must not leave out documents in silence.
    """
    generation.require_whole()
    lists = [_in_segment(view, after, row_filter) for view in generation.segments]
    pending = [
        (chunk.content.documents[at].id, Place(chunk, at))
        for chunk in generation.pending.chunks
        for at in np.flatnonzero(
            chunk.live if row_filter is None else chunk.live & row_filter.mask(chunk.content.columns)
        ).tolist()
        if after is None or chunk.content.documents[at].id > after
    ]
    first = nsmallest(size, pending, key=lambda entry: entry[0])
    return [place for _, place in islice(merge(*lists, first, key=lambda entry: entry[0]), size)]


def _in_segment(view: SegmentView, after: str | None, row_filter: RowFilter | None) -> Iterator[tuple[str, Place]]:
    documents = view.segment.documents
    start = 0 if after is None else bisect_right(range(len(view.segment)), after, key=documents.id)
    allowed = view.allowed(row_filter)
    rows = range(start, len(view.segment)) if allowed is None else (start + np.flatnonzero(allowed[start:])).tolist()
    for row in rows:
        yield documents.id(row), Place(view, row)
