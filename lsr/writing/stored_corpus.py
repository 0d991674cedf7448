"""A collection as the corpus of another one: its documents, and the vectors that the other takes over as they are.

Impacts, int8 rows and term numbers are copied, not computed again, so every score by such a vector stays the same to
the last bit. No encoder is loaded for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Final, Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from lsr.corpora import CorpusLine
from lsr.dense_vectors import DenseVector, Vectors
from lsr.documents import Document, SparseByToken
from lsr.errors import CollectionCorrupt
from lsr.storage.generation import Place, SegmentView
from lsr.storage.live_state import LiveState
from lsr.storage.pending import PendingChunk
from lsr.storage.sorted_runs import Quantised, join_rows, take_rows
from lsr.vectors import NamedVector
from lsr.writing.document_vectors import NewVectors, document_vectors

_BATCH: Final = 1024
_KEPT: Final = SparseByToken({})  # stands for a vector that is copied: nothing is encoded for it


class StoredCorpus:
    """The live documents of a collection at one moment, without their vectors."""

    unit: Literal["bytes", "documents"] = "documents"

    def __init__(self, state: LiveState, kept: Vectors, made: Sequence[str]) -> None:
        """`kept` are those of the collection's vectors that are copied; `made` names those that are encoded.

        Raises CollectionCorrupt where a segment was taken out.
        """
        state.generation.require_whole()
        self.name = str(state.path)
        self.position = 0
        self._path = state.path
        self._generation = state.generation
        self.size: int | None = state.generation.document_count
        self._kept = kept
        self._made = sorted(made)

    def identity(self) -> str | None:
        """Return the collection's path, the number of its last change, and what is encoded."""
        return f"{self._path.resolve()}:{self._generation.seq}:{','.join(self._made)}"

    def __iter__(self) -> Iterator[CorpusLine]:
        """Yield the documents, segment by segment and then what is pending."""
        self.position = 0
        for document in self._documents():
            self.position += 1
            yield CorpusLine(self.position, document)

    def vectors(
        self, sparse: Mapping[str, NamedVector], dense: Mapping[str, DenseVector], documents: Sequence[Document]
    ) -> NewVectors:
        """Return the vectors of documents of this collection: `kept` ones as they are stored, the others encoded.

        `sparse` and `dense` are the vectors of the new collection. Raises EncoderError, EncoderMismatch,
        CollectionCorrupt.
        """
        runs = self._runs(documents)
        copied = NewVectors(
            {name: _sparse_rows(name, runs) for name in self._kept.sparse},
            {name: _dense_rows(name, runs, vector.dims) for name, vector in self._kept.dense.items()},
        )
        marks = dict.fromkeys(self._kept.sparse, _KEPT)
        encoded = document_vectors(
            {name: vector for name, vector in sparse.items() if name not in self._kept.sparse},
            {name: vector for name, vector in dense.items() if name not in self._kept.dense},
            [replace(document, vectors=marks) for document in documents],
        )
        return NewVectors({**copied.sparse, **encoded.sparse}, {**copied.dense, **encoded.dense})

    def _documents(self) -> Iterator[Document]:
        for view in self._generation.segments:
            for start in range(0, len(view.segment), _BATCH):
                stop = min(start + _BATCH, len(view.segment))
                for at, document in enumerate(view.segment.documents.documents(start, stop), start):
                    if view.live is None or view.live[at]:
                        yield document
        for chunk in self._generation.pending.chunks:
            for at in np.flatnonzero(chunk.live).tolist():
                yield replace(chunk.content.documents[at], vectors={})

    def _runs(self, documents: Sequence[Document]) -> list[_Run]:
        """Return where the documents are, in their order; those next to each other in one segment or chunk together."""
        places = [self._place(document.id) for document in documents]
        groups = (list(group) for _, group in groupby(places, key=lambda place: id(place.home)))
        return [_Run(group[0].home, [place.position for place in group]) for group in groups]

    def _place(self, identifier: str) -> Place:
        place = self._generation.find(identifier)
        if place is None:
            raise CollectionCorrupt(self._path, f"document {identifier!r} is not found by its id")
        return place


class _Run(NamedTuple):
    home: SegmentView | PendingChunk
    positions: list[int]


def _sparse_rows(name: str, runs: Sequence[_Run]) -> csr_array:
    """Return csr_array float32 [documents, terms]: the impacts and term numbers as they are stored."""
    parts = []
    for home, positions in runs:
        if isinstance(home, SegmentView):
            parts.append(_segment_rows(home, name, positions))
            continue
        for at in positions:
            numbers, impacts = home.content.vectors[name].row(at)
            shape = (1, int(numbers.max(initial=-1)) + 1)
            parts.append(csr_array((impacts, numbers, np.array([0, len(numbers)])), shape=shape))
    return join_rows(parts)


def _segment_rows(view: SegmentView, name: str, positions: Sequence[int]) -> csr_array:
    first, last = min(positions), max(positions)
    try:
        rows = view.segment.indexes[name].rows(first, last + 1)
    except IndexError as error:
        raise CollectionCorrupt(view.segment.folder / "vectors" / name, str(error)) from error
    chosen = np.array(positions, dtype=np.int64) - first
    return rows if np.array_equal(chosen, np.arange(rows.shape[0])) else take_rows(rows, chosen)


def _dense_rows(name: str, runs: Sequence[_Run], dims: int) -> Quantised:
    """Return int8[documents, dims] and float32[documents] as they are stored."""
    rows = [
        (home.segment.dense[name] if isinstance(home, SegmentView) else home.content.dense[name]).row(at)
        for home, positions in runs
        for at in positions
    ]
    values = np.empty((len(rows), dims), np.int8)
    for number, (steps, _) in enumerate(rows):
        values[number] = steps
    return values, np.array([scale for _, scale in rows], np.float32)
