"""More metadata fields for an open collection: every document gets their columns, in one change.

The segments with the new columns are written first, without blocking anything. Then one transaction, under the lock,
puts them in place of the old ones, with the new schema; pending documents get their columns there, too. A generation
holds the schema and the columns, so a search sees the old schema or the new one, never half. The caller sees to it that
no seal or merge runs meanwhile. A segment keeps its number, its doc_ids and its deletions.
"""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lsr.metadata import MetadataSchema
from lsr.storage.files import storage_errors
from lsr.storage.generation import SegmentView
from lsr.storage.layout import SCHEMA_SETTING, SEARCH_SETTING
from lsr.storage.live_state import LiveState
from lsr.storage.pending import Pending
from lsr.storage.recall_curves import use_curves
from lsr.storage.segment import SEGMENTS_FOLDER, FinishedSegment, Segment, SegmentShape
from lsr.storage.segment_fields import NewColumns, check_documents, extend_segment
from lsr.storage.segment_writer import NewSegment

Listing = Callable[[Sequence[FinishedSegment]], contextlib.AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class _Prepared:
    """What the transaction stores, and what becomes visible after it."""

    schema: MetadataSchema
    shape: SegmentShape
    segments: dict[int, Segment]  # by their number
    pending: Pending


def extend_schema(
    state: LiveState, fields: Mapping[str, str], search: Any, listing: Listing
) -> tuple[MetadataSchema, list[SegmentView]]:
    """Add metadata fields; return the new schema, and the segments that were replaced, whose files are to be removed.

    search   new search defaults as they are stored, for the same transaction; None: the old ones stay
    listing  surrounds the transaction that lists these segments

    Does nothing where all fields exist with their types and `search` is None. Raises QueryError for bad fields and for
    a document with a value that does not fit, StateRetired, CollectionCorrupt, StorageFull; then nothing has changed.
    """
    state.require_current()
    schema = state.schema.extended(fields)
    if schema.fields == state.schema.fields and search is None:
        return schema, []
    views = state.generation.segments if schema.fields != state.schema.fields else ()
    finished = _write_extended(state, schema, views)
    with state.changing:
        try:
            state.require_current()
            prepared = _prepare(state, schema, views, finished)
        except BaseException:
            _remove(state, finished)
            raise
        with listing(finished):
            _put(state, prepared, search)
    return schema, list(views)


def _write_extended(state: LiveState, schema: MetadataSchema, views: Sequence[SegmentView]) -> list[FinishedSegment]:
    """Write the segments again with the columns of `schema`; nothing is listed yet."""
    columns = _new_columns(state, schema)
    for view in views:
        with storage_errors(view.segment.folder):
            check_documents(view.segment)
    added = [columns.of_segment(view) for view in views]
    for chunk in state.generation.pending.chunks:
        columns.of_chunk(chunk)  # refused before anything is written
    columns.require_fit()
    shape = replace(state.shape, schema=schema)
    finished: list[FinishedSegment] = []
    try:
        for view, table in zip(views, added, strict=True):
            new = NewSegment(state.path, str(uuid.uuid4()), shape)
            finished.append(extend_segment(new, view.segment, table))
    except BaseException:
        _remove(state, finished)
        raise
    return finished


def _prepare(
    state: LiveState, schema: MetadataSchema, views: Sequence[SegmentView], finished: Sequence[FinishedSegment]
) -> _Prepared:
    """Open the written segments, and make the columns of the documents that are pending now; the lock is held."""
    columns = _new_columns(state, schema)
    chunks = tuple(
        replace(chunk, content=chunk.content.with_columns(columns.of_chunk(chunk), schema))
        for chunk in state.generation.pending.chunks
    )
    columns.require_fit()
    shape = replace(state.shape, schema=schema)
    numbers = [view.segment.row.segment for view in views]
    segments = {
        number: Segment(state.path, one.row(number), shape) for number, one in zip(numbers, finished, strict=True)
    }
    return _Prepared(schema, shape, segments, Pending(chunks))


def _put(state: LiveState, prepared: _Prepared, search: Any) -> None:
    """Commit, and make the new generation; the lock is held."""
    before, schema = state.generation, prepared.schema
    with state.catalog.transaction() as change:
        for number, segment in prepared.segments.items():
            change.replace_segment(number, segment.row.uuid, segment.row.manifest_sha256)
        change.set_setting(SCHEMA_SETTING, dict(schema.fields))
        if search is not None:
            change.set_setting(SEARCH_SETTING, search)
        seq = change.seq
    segments = tuple(
        view.moved_to(prepared.segments.get(view.segment.row.segment, view.segment)) for view in before.segments
    )
    use_curves(state.curves, segments)
    if search is not None:
        state.search = search
    state.shape = prepared.shape
    state.generation = replace(before, seq=seq, schema=schema, segments=segments, pending=prepared.pending)


def _new_columns(state: LiveState, schema: MetadataSchema) -> NewColumns:
    old = state.schema.fields
    return NewColumns({name: kind for name, kind in schema.fields.items() if name not in old})


def _remove(state: LiveState, finished: Sequence[FinishedSegment]) -> None:
    for one in finished:
        shutil.rmtree(state.path / SEGMENTS_FOLDER / one.uuid, ignore_errors=True)
