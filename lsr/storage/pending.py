"""The documents that are committed but in no segment yet: in memory, searchable.

`Pending` is immutable: a write creates a new one, so a reader's view does not change. It is a list of chunks, each at
most half as large as the one before; adding documents merges the small chunks, so that n single writes cost O(n log n)
and a search reads few chunks. A replaced or deleted document is masked in its chunk and dropped when the chunk is
merged.

pending_rows.py defines how a pending document is stored in the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, compress

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from index import DenseRows, PreparedRows
from lsr.documents import Document
from lsr.metadata import MetadataSchema


class ChunkContent:
    """What a chunk holds, deleted or not; immutable. `vectors[name]` and `dense[name]` have a row for each document.

    The writer prepares here everything that a search needs, so that no search waits for it.
    """

    def __init__(
        self,
        rows: NDArray[np.int64],
        documents: Sequence[Document],
        vectors: Mapping[str, PreparedRows],
        columns: pa.Table,
        dense: Mapping[str, DenseRows] | None = None,
    ) -> None:
        """`rows` are the catalog's row numbers, ascending; ids are distinct; `columns` come from `columns_of`."""
        self.rows = rows
        self.documents = documents
        self.vectors = vectors
        self.columns = columns
        self.dense: Mapping[str, DenseRows] = dense or {}
        texts = sum(len(document.title) + len(document.text) for document in documents)
        weights = sum(12 * vector.nnz for vector in vectors.values())
        self.bytes = texts + weights + sum(rows.bytes for rows in self.dense.values())  # about what memory it takes
        self.positions = {document.id: position for position, document in enumerate(documents)}

    def with_columns(self, added: pa.Table, schema: MetadataSchema) -> ChunkContent:
        """Return the same documents with more metadata columns, those of `schema`."""
        wanted = _columns(schema)
        known = self.columns.column_names
        arrays = [(self.columns if name in known else added).column(name) for name in wanted.names]
        columns = pa.Table.from_arrays(arrays, schema=wanted)
        return ChunkContent(self.rows, self.documents, self.vectors, columns, self.dense)


def columns_of(documents: Sequence[Document], schema: MetadataSchema) -> pa.Table:
    """Return the metadata columns for filters, and the ids: without a column the table would have no rows."""
    ids = pa.array([document.id for document in documents], pa.large_string())
    arrays = schema.columns([document.metadata for document in documents])
    return pa.Table.from_arrays([ids, *arrays], schema=_columns(schema))


def _columns(schema: MetadataSchema) -> pa.Schema:
    return pa.schema([pa.field("id", pa.large_string()), *schema.arrow_fields])


@dataclass(frozen=True)
class PendingChunk:
    """A chunk as one reader sees it. `live` bool[n] masks replaced and deleted documents."""

    content: ChunkContent
    live: NDArray[np.bool_]
    live_count: int

    def find(self, identifier: str) -> int | None:
        """Return the position of a live document, or None."""
        position = self.content.positions.get(identifier)
        return position if position is not None and self.live[position] else None

    def without(self, positions: Sequence[int]) -> PendingChunk:
        """Return the chunk with these live positions masked."""
        live = self.live.copy()
        live[list(positions)] = False
        return PendingChunk(self.content, live, self.live_count - len(positions))

    def document_frequencies(self, name: str, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many live documents each term occurs."""
        vectors = self.content.vectors[name]
        frequencies = vectors.document_frequencies(term_ids)
        if self.live_count < len(self.live):
            frequencies = frequencies - vectors.document_frequencies(term_ids, np.flatnonzero(~self.live))
        return frequencies


@dataclass(frozen=True)
class Pending:
    """All pending documents as one reader sees them."""

    chunks: tuple[PendingChunk, ...] = ()

    def __len__(self) -> int:
        return sum(chunk.live_count for chunk in self.chunks)

    @property
    def bytes(self) -> int:
        """Their approximate memory."""
        return sum(chunk.content.bytes for chunk in self.chunks)

    def ids_without_rows(self, rows: NDArray[np.int64], last_row: int) -> list[str]:
        """Return the external ids of the documents whose row number is at most `last_row` and not in `rows`."""
        return [
            chunk.content.documents[position].id
            for chunk in self.chunks
            for position in np.flatnonzero(
                chunk.live & (chunk.content.rows <= last_row) & ~np.isin(chunk.content.rows, rows)
            ).tolist()
        ]

    def find(self, identifier: str) -> tuple[PendingChunk, int] | None:
        """Return where a document is, or None."""
        for chunk in reversed(self.chunks):
            position = chunk.find(identifier)
            if position is not None:
                return chunk, position
        return None

    def rows_of(self, identifiers: Iterable[str]) -> list[int]:
        """Return the catalog's row numbers of those documents that are pending."""
        places = (self.find(identifier) for identifier in identifiers)
        return [int(place[0].content.rows[place[1]]) for place in places if place is not None]

    def live_rows(self) -> NDArray[np.int64]:
        """Return the catalog's row numbers of all live documents, int64, ascending."""
        rows = [chunk.content.rows[chunk.live] for chunk in self.chunks]
        return np.concatenate(rows) if rows else np.empty(0, np.int64)

    def without_rows(self, rows: Sequence[int] | NDArray[np.int64]) -> Pending:
        """Return the pending documents without these catalog rows; unknown rows are ignored."""
        if not len(rows):
            return self
        wanted = np.asarray(rows, dtype=np.int64)
        chunks = []
        for chunk in self.chunks:
            hit = np.flatnonzero(np.isin(chunk.content.rows, wanted) & chunk.live)
            kept = chunk.without(hit.tolist()) if len(hit) else chunk
            if kept.live_count:
                chunks.append(kept)
        return Pending(tuple(chunks))

    def after(self, last_row: int) -> Pending:
        """Return the documents with a row number above `last_row`."""
        kept = []
        for chunk in self.chunks:
            live = chunk.live & (chunk.content.rows > last_row)
            count = int(live.sum())
            if count:
                kept.append(chunk if count == chunk.live_count else PendingChunk(chunk.content, live, count))
        return Pending(tuple(kept))

    def add(self, content: ChunkContent) -> Pending:
        """Return these documents plus new ones, whose row numbers are higher than all others and whose ids are not
        live here."""
        if not len(content.rows):
            return self
        newest = PendingChunk(content, np.ones(len(content.rows), dtype=np.bool_), len(content.rows))
        chunks = list(self.chunks)
        merged = [newest]
        size = newest.live_count
        while chunks and chunks[-1].live_count <= 2 * size:
            merged.insert(0, chunks.pop())
            size += merged[0].live_count
        return Pending((*chunks, _merge(merged) if len(merged) > 1 else newest))


def _merge(chunks: Sequence[PendingChunk]) -> PendingChunk:
    rows = np.concatenate([chunk.content.rows[chunk.live] for chunk in chunks])
    documents = list(chain.from_iterable(compress(chunk.content.documents, chunk.live.tolist()) for chunk in chunks))
    vectors = {
        name: PreparedRows.join([(chunk.content.vectors[name], chunk.live) for chunk in chunks])
        for name in chunks[0].content.vectors
    }
    dense = {
        name: DenseRows.join([(chunk.content.dense[name], chunk.live) for chunk in chunks])
        for name in chunks[0].content.dense
    }
    columns = pa.concat_tables([chunk.content.columns.filter(pa.array(chunk.live)) for chunk in chunks])
    content = ChunkContent(rows, documents, vectors, columns.combine_chunks(), dense)
    return PendingChunk(content, np.ones(len(rows), dtype=np.bool_), len(rows))
