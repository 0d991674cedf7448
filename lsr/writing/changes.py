"""Writes to a collection: upsert, delete, change metadata. Each is one transaction and one new generation.

Documents are checked and encoded before the lock is acquired. Under the lock the transaction is committed, and then the
next generation becomes visible. A write that fails leaves the catalog and the generation unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import DenseRows, PreparedRows
from lsr.documents import Document
from lsr.errors import InvalidDocument, TooManyPending
from lsr.metadata import MetadataSchema
from lsr.results import WriteResult
from lsr.storage.catalog_transaction import Transaction
from lsr.storage.generation import SegmentView, find_many
from lsr.storage.layout import dense_settings
from lsr.storage.live_state import LiveState
from lsr.storage.pending import ChunkContent, columns_of
from lsr.storage.pending_rows import encode_rows
from lsr.writing.document_vectors import check_document, document_vectors, settle_vectors

MAX_PENDING = 100_000  # documents; above it writes are refused until a seal has reduced the number
MAX_PENDING_BYTES = 512 << 20


OnProblem = Callable[[int, InvalidDocument], None]
_Numbered = tuple[int, Document]  # with its position in the caller's batch


class _SchemaChanged(Exception):
    """The collection got more metadata fields while this write was encoded."""


def write(state: LiveState, documents: Sequence[Document], on_problem: OnProblem | None = None) -> WriteResult:
    """Upsert a batch; see Collection.write."""
    numbered = list(enumerate(documents))
    while True:
        schema = state.schema
        numbered = _good_documents(state, schema, numbered, on_problem)
        try:
            return _write_good(state, schema, [document for _, document in numbered])
        except _SchemaChanged:
            continue  # the good ones are checked against the new schema


def _write_good(state: LiveState, schema: MetadataSchema, good: Sequence[Document]) -> WriteResult:
    """Upsert documents that were checked against `schema`; raises _SchemaChanged where that is not the present one."""
    latest = list({document.id: document for document in good}.values())
    if not latest:
        return WriteResult(state.generation.seq, 0)
    _check_room(state, len(latest))
    with state.new_terms():
        made = document_vectors(state.vectors, state.dense, latest)
        vectors = {name: PreparedRows.of(made.sparse[name], dtype) for name, dtype in state.impact_dtypes.items()}
        dense = {name: DenseRows(*rows) for name, rows in made.dense.items()}
        bare = [Document(d.id, d.title, d.text, d.parent, d.metadata) for d in latest]
        with state.changing:
            state.require_current()
            if state.schema is not schema:
                raise _SchemaChanged
            _check_room(state, len(latest))
            return WriteResult(_put(state, bare, vectors, dense), len(good))


def delete(state: LiveState, ids: Iterable[str]) -> WriteResult:
    """Delete by id; see Collection.delete."""
    wanted = list(dict.fromkeys(ids))
    with state.changing:
        state.require_current()
        before = state.generation
        rows = before.pending.rows_of(wanted)
        dead = find_many(before, wanted)
        count = len(rows) + sum(map(len, dead.values()))
        if not count:
            return WriteResult(before.seq, 0)
        with state.catalog.transaction() as change:
            change.remove_pending(rows)
            for segment, doc_ids in dead.items():
                change.add_deletions(segment, doc_ids)
            pending = before.pending.without_rows(rows)
            after = replace(before, seq=change.seq, segments=without(before.segments, dead), pending=pending)
        state.generation = after
    return WriteResult(after.seq, count)


def patch(state: LiveState, identifier: str, metadata: Mapping[str, Any]) -> WriteResult | None:
    """Change some metadata of a document, which keeps its vectors; see Collection.patch."""
    with state.new_terms(), state.changing:
        state.require_current()
        place = state.generation.find(identifier)
        if place is None:
            return None
        _check_room(state, 1)
        document = place.document()
        merged = {key: value for key, value in {**document.metadata, **metadata}.items() if value is not None}
        state.schema.check(merged)
        vectors = {}
        for name, dtype in state.impact_dtypes.items():
            term_ids, impacts = place.vector(name)
            width = int(term_ids.max(initial=0)) + 1
            vectors[name] = PreparedRows.of(csr_array((impacts, term_ids, [0, len(term_ids)]), shape=(1, width)), dtype)
        dense = {}
        for name in state.dense:
            steps, scale = place.dense(name)
            dense[name] = DenseRows(steps[None, :], np.array([scale], dtype=np.float32))
        return WriteResult(_put(state, [replace(document, metadata=merged)], vectors, dense), 1)


def without(segments: tuple[SegmentView, ...], dead: Mapping[int, NDArray[np.int64]]) -> tuple[SegmentView, ...]:
    """Return the views with more documents deleted; `dead` is by segment number."""
    nothing = np.empty(0, np.int64)
    return tuple(view.without(dead.get(view.segment.row.segment, nothing)) for view in segments)


def _put(
    state: LiveState,
    documents: Sequence[Document],
    vectors: Mapping[str, PreparedRows],
    dense: Mapping[str, DenseRows],
) -> int:
    """Commit documents with distinct ids over whatever had these ids, and return the change's number."""
    before = state.generation
    ids = [document.id for document in documents]
    replaced = before.pending.rows_of(ids)
    dead = find_many(before, ids)
    with state.catalog.transaction() as change:
        first = change.state.next_row
        terms = _write_terms(state, change)
        change.remove_pending(replaced)
        for segment, doc_ids in dead.items():
            change.add_deletions(segment, doc_ids)
        change.add_pending(encode_rows(first, documents, vectors, dense))
        rows = np.arange(first, first + len(documents), dtype=np.int64)
        content = ChunkContent(rows, documents, vectors, columns_of(documents, state.schema), dense)
        pending = before.pending.without_rows(replaced).add(content)
        after = replace(before, seq=change.seq, segments=without(before.segments, dead), pending=pending)
    # Nothing below fails: what is committed becomes visible.
    state.generation = after
    for name, count in terms.items():
        state.vectors[name].mark_stored(count)
    for vector in state.dense.values():
        vector.mark_stored()
    return after.seq


def _write_terms(state: LiveState, change: Transaction) -> dict[str, int]:
    """Store the new terms of the vocabularies, and return the number of terms of each."""
    counts = {}
    for name, vector in state.vectors.items():
        tokens = vector.new_tokens()
        change.append_terms(name, vector.persisted_terms, tokens)
        counts[name] = vector.persisted_terms + len(tokens)
    change.set_setting("vectors", {name: vector.setting() for name, vector in state.vectors.items()})
    for key, setting in dense_settings(state.dense).items():
        change.set_setting(key, setting)
    return counts


def _good_documents(
    state: LiveState, schema: MetadataSchema, numbered: Sequence[_Numbered], on_problem: OnProblem | None
) -> list[_Numbered]:
    good = []
    for position, document in numbered:
        try:
            settled = settle_vectors(document, state.vectors, state.dense)
            check_document(settled, schema, state.vectors, state.dense)
        except InvalidDocument as error:
            if on_problem is None:
                raise
            on_problem(position, error)
        else:
            good.append((position, settled))
    return good


def _check_room(state: LiveState, more: int) -> None:
    pending = state.generation.pending
    if len(pending) + more > MAX_PENDING or pending.bytes > MAX_PENDING_BYTES:
        raise TooManyPending(
            f"{state.path}: {len(pending)} documents ({pending.bytes >> 20} MiB) wait to be sealed; the limit is "
            f"{MAX_PENDING} ({MAX_PENDING_BYTES >> 20} MiB). Try again later, with smaller batches"
        )
