"""All live documents of a generation, each with one of its vectors, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from lsr.documents import Document
from lsr.storage.generation import Generation, SegmentView
from lsr.vectors import NamedVector

_BATCH = 1024

Scanned = tuple[Document, NDArray[np.int64], NDArray[np.float32]]


def scan(generation: Generation, vector: NamedVector) -> Iterator[Scanned]:
    """Yield (document, term numbers int64, impacts float32), segment by segment and then the pending documents.

    Raises CollectionCorrupt if a segment was taken out of use.
    """
    generation.require_whole()
    for view in generation.segments:
        yield from _scan_segment(view, vector)
    for chunk in generation.pending.chunks:
        for at in np.flatnonzero(chunk.live).tolist():
            yield chunk.content.documents[at], *chunk.content.vectors[vector.name].row(at)


def _scan_segment(view: SegmentView, vector: NamedVector) -> Iterator[Scanned]:
    segment = view.segment
    for start in range(0, len(segment), _BATCH):
        stop = min(start + _BATCH, len(segment))
        rows = segment.indexes[vector.name].rows(start, stop)
        for at, document in enumerate(segment.documents.documents(start, stop)):
            if view.live is None or view.live[start + at]:
                begin, end = int(rows.indptr[at]), int(rows.indptr[at + 1])
                yield document, rows.indices[begin:end].astype(np.int64), rows.data[begin:end]
