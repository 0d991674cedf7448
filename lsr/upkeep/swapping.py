"""Puts a finished segment in place of its inputs, in one transaction and one new generation.

Writes continue while a segment is written, so some of its documents may be deleted or replaced meanwhile. The
transaction that lists the segment also marks those documents as deleted in it. All functions raise StorageFull, and
then leave the catalog and the generation unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lsr.errors import CollectionCorrupt
from lsr.storage.generation import Generation, SegmentView
from lsr.storage.id_file import hash_ids
from lsr.storage.live_state import LiveState
from lsr.storage.pending import Pending
from lsr.storage.segment import FinishedSegment

_NOTHING = np.empty(0, np.int64)
_Find = Callable[[list[str], NDArray[np.uint64]], NDArray[np.int64]]


def put_sealed(state: LiveState, finished: FinishedSegment, sealed: Pending, last_row: int) -> None:
    """List the segment of the pending documents up to `last_row`; `sealed`: the pending documents at the start."""
    segment = state.open_segment(finished.row(0))
    with state.changing:
        before = state.generation
        gone = sealed.ids_without_rows(before.pending.live_rows(), last_row)
        # Documents removed before the segment was read are not in it, so they are not found.
        found = segment.find(gone, hash_ids(gone)) if gone else _NOTHING
        dead = np.sort(found[found >= 0])
        with state.catalog.transaction() as change:
            number = change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
            change.add_deletions(number, dead)
            change.remove_pending_up_to(last_row)
            seq = change.seq
        segment.row = finished.row(number)
        view = SegmentView.of(segment, dead)
        pending = before.pending.after(last_row)
        state.generation = replace(before, seq=seq, segments=(*before.segments, view), pending=pending)


def put_merged(state: LiveState, finished: FinishedSegment, views: Sequence[SegmentView]) -> None:
    """List the merged segment and remove its inputs; `views` are the inputs at the start of the merge."""
    segment = state.open_segment(finished.row(0))
    began_with = {view.segment.row.segment: len(view.dead) for view in views}
    with state.changing:
        before = state.generation
        if not began_with.keys() <= {view.segment.row.segment for view in before.segments}:
            raise CollectionCorrupt(state.path, "a segment was found damaged while it was merged")
        dead = _deleted_since(before, began_with, segment.find)
        with state.catalog.transaction() as change:
            for number in began_with:
                change.remove_segment(number)
            number = change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
            change.add_deletions(number, dead)
            seq = change.seq
        segment.row = finished.row(number)
        others = tuple(view for view in before.segments if view.segment.row.segment not in began_with)
        state.generation = replace(before, seq=seq, segments=(*others, SegmentView.of(segment, dead)))


def remove(state: LiveState, views: Sequence[SegmentView]) -> None:
    """Remove segments in which every document is deleted."""
    numbers = {view.segment.row.segment for view in views}
    with state.changing:
        before = state.generation
        with state.catalog.transaction() as change:
            for number in numbers:
                change.remove_segment(number)
            seq = change.seq
        kept = tuple(view for view in before.segments if view.segment.row.segment not in numbers)
        state.generation = replace(before, seq=seq, segments=kept)


def _deleted_since(generation: Generation, began_with: dict[int, int], find: _Find) -> NDArray[np.int64]:
    """Return the merged segment's doc_ids of the documents that were deleted while it was written.

    `began_with` is the number of deletions of each input at the start of the merge; later ones follow in `dead`.
    """
    found = []
    for view in generation.segments:
        since = view.dead[began_with.get(view.segment.row.segment, len(view.dead)) :]
        if len(since):
            ids = view.segment.documents.ids(since)
            found.append(find(ids, hash_ids(ids)))
    return np.sort(np.concatenate(found)) if found else _NOTHING
