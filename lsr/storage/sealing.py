"""Writing a segment from what a collection holds already: pending documents, or the live rows of other segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import SparseIndex
from lsr.metadata import MetadataSchema
from lsr.storage.catalog import Catalog
from lsr.storage.generation import SegmentView
from lsr.storage.pending import decode_rows
from lsr.storage.segment import FinishedSegment, SegmentWriter
from lsr.vectors import NamedVector

_BATCH = 4096  # documents read at a time


def write_sealed(
    collection: Path, catalog: Catalog, schema: MetadataSchema, vectors: Mapping[str, NamedVector], last_row: int
) -> FinishedSegment:
    """Write the pending documents up to row `last_row` as a segment; raises StorageFull."""
    writer = _writer(collection, schema, vectors)
    try:
        rows = catalog.pending(last_row)
        while batch := list(islice(rows, _BATCH)):
            content = decode_rows(batch, list(vectors), schema)
            writer.add(content.documents, content.matrices)
        return writer.finish()
    except BaseException:
        writer.abandon()
        raise


def write_merged(
    collection: Path,
    schema: MetadataSchema,
    vectors: Mapping[str, NamedVector],
    views: Sequence[SegmentView],
) -> FinishedSegment:
    """Write the live documents of several segments as one; raises StorageFull, CollectionCorrupt."""
    writer = _writer(collection, schema, vectors)
    try:
        for view in views:
            live = np.arange(len(view.segment)) if view.live is None else np.flatnonzero(view.live)
            for start in range(0, len(live), _BATCH):
                rows = live[start : start + _BATCH]
                table = view.segment.documents.table.take(rows)
                writer.add_table(table, {name: _rows(view.segment.indexes[name], rows) for name in vectors})
        return writer.finish()
    except BaseException:
        writer.abandon()
        raise


def _writer(collection: Path, schema: MetadataSchema, vectors: Mapping[str, NamedVector]) -> SegmentWriter:
    return SegmentWriter(collection, schema, {name: vector.config.index for name, vector in vectors.items()})


def _rows(index: SparseIndex, rows: NDArray[np.int64]) -> csr_array:
    """Return some documents' vectors as csr_array float32 [len(rows), terms]."""
    vectors = [index.document(int(row)) for row in rows]
    indptr = np.zeros(len(rows) + 1, dtype=np.int64)
    np.cumsum([len(term_ids) for term_ids, _ in vectors], out=indptr[1:])
    term_ids = np.concatenate([term_ids for term_ids, _ in vectors])
    impacts = np.concatenate([impacts for _, impacts in vectors])
    return csr_array((impacts, term_ids, indptr), shape=(len(rows), max(index.n_terms, 1)))
