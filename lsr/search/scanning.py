"""Every live document of a generation with one of its vectors, and dense ones if asked for, at bounded memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from index import DenseRows
from lsr.documents import DenseInput, Document
from lsr.storage.generation import Generation, SegmentView
from lsr.vectors import NamedVector

_BATCH = 1024

Scanned = tuple[Document, NDArray[np.int64], NDArray[np.float32]]


def scan(generation: Generation, vector: NamedVector, dense: Sequence[str] = ()) -> Iterator[Scanned]:
    """Yield (document, term numbers int64, impacts float32), segment by segment and then what is pending.

    A document's `vectors` hold those of its dense vectors that `dense` names, as they are kept (int8 * scale). Raises
    CollectionCorrupt where a segment was taken out.
    """
    generation.require_whole()
    for view in generation.segments:
        yield from _scan_segment(view, vector, dense)
    for chunk in generation.pending.chunks:
        for at in np.flatnonzero(chunk.live).tolist():
            document = _with_dense(chunk.content.documents[at], chunk.content.dense, dense, at)
            yield document, *chunk.content.vectors[vector.name].row(at)


def _with_dense(document: Document, rows: Mapping[str, DenseRows], names: Sequence[str], at: int) -> Document:
    present = [name for name in names if rows[name].present([at])[0]]
    if not present:
        return document
    return replace(document, vectors={name: DenseInput(tuple(rows[name].values(at).tolist())) for name in present})


def _scan_segment(view: SegmentView, vector: NamedVector, dense: Sequence[str]) -> Iterator[Scanned]:
    segment = view.segment
    for start in range(0, len(segment), _BATCH):
        stop = min(start + _BATCH, len(segment))
        rows = segment.indexes[vector.name].rows(start, stop)
        for at, document in enumerate(segment.documents.documents(start, stop)):
            if view.live is None or view.live[start + at]:
                begin, end = int(rows.indptr[at]), int(rows.indptr[at + 1])
                document = _with_dense(document, segment.dense, dense, start + at)
                yield document, rows.indices[begin:end].astype(np.int64), rows.data[begin:end]
