"""The documents that are committed but in no segment yet, in memory, ready to be searched.

`Pending` is immutable: a write makes a new one, so a reader's view stays whole. It is a row of chunks whose sizes
fall by half or more; adding merges the small ones, so that n single writes cost O(n log n) and a search touches few
chunks. A replaced or deleted document is masked in its chunk and dropped when the chunk is merged.

The catalog keeps each document as JSON and each vector as term numbers and weights; `encode_row` and `decode_rows`
are the two directions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import orjson
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import PreparedRows
from lsr.documents import Document
from lsr.errors import CollectionCorrupt
from lsr.metadata import MetadataSchema
from lsr.storage.catalog_schema import PendingRow
from lsr.storage.sparse_rows import join_rows, take_rows
from lsr.storage.term_counts import TermCounts


class ChunkContent:
    """What a chunk holds, deleted or not; immutable. `matrices[name]` has a row for each document."""

    def __init__(
        self,
        rows: NDArray[np.int64],
        documents: Sequence[Document],
        matrices: Mapping[str, csr_array],
        schema: MetadataSchema,
        impact_dtypes: Mapping[str, str],
    ) -> None:
        """`rows` are the catalog's numbers, rising; the ids of `documents` are distinct; a dtype for each vector."""
        self.rows = rows
        self.documents = documents
        self.matrices = matrices
        self.schema = schema
        texts = sum(len(document.title) + len(document.text) for document in documents)
        self.bytes = texts + sum(12 * matrix.nnz for matrix in matrices.values())  # about what memory it takes
        self.positions = {document.id: position for position, document in enumerate(documents)}
        self.impact_dtypes = impact_dtypes
        self._counts: dict[str, TermCounts] = {}
        self._prepared: dict[str, PreparedRows] = {}

    @cached_property
    def columns(self) -> pa.Table:
        """The metadata columns that filters run over, and the ids: a table without a column has no rows either."""
        ids = pa.array([document.id for document in self.documents], pa.large_string())
        arrays = self.schema.columns([document.metadata for document in self.documents])
        fields = [pa.field("id", pa.large_string()), *self.schema.arrow_fields]
        return pa.Table.from_arrays([ids, *arrays], schema=pa.schema(fields))

    def prepared(self, name: str) -> PreparedRows:
        """The vectors of a name, ready to be scored."""
        if name not in self._prepared:
            self._prepared[name] = PreparedRows(self.matrices[name], self.impact_dtypes[name])
        return self._prepared[name]

    def counts(self, name: str) -> TermCounts:
        """Count the documents of each term."""
        if name not in self._counts:
            self._counts[name] = TermCounts().add(self.matrices[name].indices.astype(np.int64))
        return self._counts[name]


@dataclass(frozen=True)
class PendingChunk:
    """A chunk as one reader sees it. `live` bool[n] masks what was replaced or deleted."""

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
        frequencies = self.content.counts(name).of(term_ids)
        dead = np.flatnonzero(~self.live)
        if len(dead):
            frequencies -= TermCounts().add(self.content.matrices[name][dead].indices.astype(np.int64)).of(term_ids)
        return frequencies


@dataclass(frozen=True)
class Pending:
    """All pending documents as one reader sees them."""

    chunks: tuple[PendingChunk, ...] = ()

    def __len__(self) -> int:
        return sum(chunk.live_count for chunk in self.chunks)

    @property
    def bytes(self) -> int:
        """About how much memory they take."""
        return sum(chunk.content.bytes for chunk in self.chunks)

    def ids_without_rows(self, rows: NDArray[np.int64], last_row: int) -> list[str]:
        """Return the external ids of those with a row number up to `last_row` that is not among `rows`."""
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
        """Return the catalog's row numbers of those of the documents that are pending."""
        places = (self.find(identifier) for identifier in identifiers)
        return [int(place[0].content.rows[place[1]]) for place in places if place is not None]

    def live_rows(self) -> NDArray[np.int64]:
        """Return the catalog's row numbers of all of them, int64, rising."""
        rows = [chunk.content.rows[chunk.live] for chunk in self.chunks]
        return np.concatenate(rows) if rows else np.empty(0, np.int64)

    def without_rows(self, rows: Sequence[int] | NDArray[np.int64]) -> Pending:
        """Return what is left without these catalog rows; rows that are not there are passed over."""
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
        """Return those with a row number above `last_row`."""
        kept = []
        for chunk in self.chunks:
            live = chunk.live & (chunk.content.rows > last_row)
            count = int(live.sum())
            if count:
                kept.append(chunk if count == chunk.live_count else PendingChunk(chunk.content, live, count))
        return Pending(tuple(kept))

    def add(self, content: ChunkContent) -> Pending:
        """Return the documents with more of them; their row numbers are higher than all before, their ids not live."""
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


def encode_row(row: int, document: Document, vectors: Mapping[str, csr_array], position: int) -> PendingRow:
    """Return a document and its vectors (row `position` of each matrix) as the catalog keeps them.

    The vectors' bytes: for each name in alphabetical order its number of terms (uint32), the term numbers (uint32),
    the weights (float32), all little-endian.
    """
    content = orjson.dumps(
        {
            "id": document.id,
            "title": document.title,
            "text": document.text,
            "parent": document.parent,
            "metadata": dict(document.metadata),
        }
    )
    packed = []
    for name in sorted(vectors):
        matrix = vectors[name]
        start, stop = int(matrix.indptr[position]), int(matrix.indptr[position + 1])
        packed.append((stop - start).to_bytes(4, "little"))
        packed.append(matrix.indices[start:stop].astype("<u4").tobytes())
        packed.append(matrix.data[start:stop].astype("<f4").tobytes())
    return PendingRow(row, document.id, content, b"".join(packed))


def decode_rows(rows: Sequence[PendingRow], impact_dtypes: Mapping[str, str], schema: MetadataSchema) -> ChunkContent:
    """Return catalog rows as a chunk; raises CollectionCorrupt for content that `encode_row` cannot have made."""
    documents = []
    found: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = {name: [] for name in impact_dtypes}
    for row in rows:
        try:
            documents.append(Document(**orjson.loads(row.document)))
            for name, vector in zip(sorted(impact_dtypes), _unpack(row.vectors), strict=True):
                found[name].append(vector)
        except (ValueError, TypeError) as error:
            raise CollectionCorrupt("catalog.sqlite", f"table pending, row {row.row}: {error}") from error
    matrices = {name: _matrix(vectors) for name, vectors in found.items()}
    return ChunkContent(np.array([row.row for row in rows], dtype=np.int64), documents, matrices, schema, impact_dtypes)


def _unpack(packed: bytes) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    position = 0
    while position < len(packed):
        count = int.from_bytes(packed[position : position + 4], "little")
        term_ids = np.frombuffer(packed, dtype="<u4", count=count, offset=position + 4)
        weights = np.frombuffer(packed, dtype="<f4", count=count, offset=position + 4 + 4 * count)
        yield term_ids.astype(np.int64), weights.astype(np.float32)
        position += 4 + 8 * count


def _matrix(vectors: Sequence[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> csr_array:
    indptr = np.zeros(len(vectors) + 1, dtype=np.int64)
    np.cumsum([len(term_ids) for term_ids, _ in vectors], out=indptr[1:])
    term_ids = np.concatenate([term_ids for term_ids, _ in vectors]) if vectors else np.empty(0, np.int64)
    weights = np.concatenate([weights for _, weights in vectors]) if vectors else np.empty(0, np.float32)
    width = int(term_ids.max()) + 1 if len(term_ids) else 1
    return csr_array((weights, term_ids, indptr), shape=(len(vectors), width))


def _merge(chunks: Sequence[PendingChunk]) -> PendingChunk:
    rows = np.concatenate([chunk.content.rows[chunk.live] for chunk in chunks])
    documents = [
        document
        for chunk in chunks
        for document, live in zip(chunk.content.documents, chunk.live.tolist(), strict=True)
        if live
    ]
    first = chunks[0].content
    matrices = {}
    for name in first.matrices:
        parts = [take_rows(chunk.content.matrices[name], np.flatnonzero(chunk.live)) for chunk in chunks]
        matrices[name] = join_rows(parts)
    content = ChunkContent(rows, documents, matrices, first.schema, first.impact_dtypes)
    return PendingChunk(content, np.ones(len(rows), dtype=np.bool_), len(rows))
