"""The shared state of an open collection: its catalog, its vectors, and the current generation."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from index import DenseRows, PreparedRows
from index.errors import IndexCorrupt
from lsr.dense_vectors import DenseVector
from lsr.errors import CollectionCorrupt, CollectionNotFound
from lsr.metadata import MetadataSchema
from lsr.storage import layout
from lsr.storage.catalog import Catalog
from lsr.storage.catalog_schema import SegmentRow
from lsr.storage.generation import Generation, SegmentView
from lsr.storage.pending import ChunkContent, Pending, columns_of
from lsr.storage.pending_rows import decode_rows
from lsr.storage.recall_curves import Curves, curves_from_setting, use_curves
from lsr.storage.segment import Segment
from lsr.vectors import NamedVector

_OPEN_ATTEMPTS = 5  # a merge may remove a segment between reading the catalog and opening it


class StateRetired(Exception):
    """The collection was restored or closed while this change waited: the change starts again."""


class ReadState(Protocol):
    """What reading needs of a collection's state."""

    @property
    def generation(self) -> Generation:
        """The documents."""
        ...

    @property
    def vectors(self) -> Mapping[str, NamedVector]:
        """The sparse vectors."""
        ...

    @property
    def dense(self) -> Mapping[str, DenseVector]:
        """The dense vectors."""
        ...

    @property
    def search(self) -> Any:
        """The search defaults as they are stored, None for none."""
        ...


class LiveState:
    """The current state of an open collection.

    `generation` is replaced, never changed. A thread that replaces it holds `changing` from reading the old generation,
    through the commit, to setting the new one.
    """

    def __init__(self, path: Path, catalog: Catalog) -> None:
        """Read the catalog, open the segments; raises CollectionCorrupt, CollectionNotFound for an unfinished load."""
        self.path = path
        self.catalog = catalog
        self.changing = threading.RLock()
        self._writes = 0  # that are being encoded or committed
        self._counting = threading.Lock()
        self.retired = False  # True: the collection was closed or restored, and this state must not change any more
        with catalog.reading():
            contents = layout.read_contents(catalog)
            self.vectors: Mapping[str, NamedVector] = contents.vectors  # the sparse ones
            self.dense: Mapping[str, DenseVector] = contents.dense
            self.shape = layout.shape_of(contents)
            self.search: Any = contents.search  # the search defaults as they are stored, None for none
            if contents.load is not None:
                raise CollectionNotFound(
                    f"{path}: indexing has not finished: it still runs, or it was interrupted (finish it with "
                    "`lsr index … --resume`, or remove the folder)"
                )
            self.generation = self._read_generation(contents.schema)
        self.curves: Curves = curves_from_setting(catalog.path, contents.recall)
        use_curves(self.curves, self.generation.segments)

    @property
    def schema(self) -> MetadataSchema:
        """The metadata fields that filters can use; the generation has them, so that its columns always fit."""
        return self.generation.schema

    @property
    def impact_dtypes(self) -> dict[str, str]:
        """The storage type of each named vector's canonical weights."""
        return {name: vector.config.index.impact_dtype for name, vector in self.vectors.items()}

    def require_current(self) -> None:
        """Raise StateRetired if another state has replaced this one, CollectionCorrupt if something is damaged."""
        if self.retired:
            raise StateRetired
        self.generation.require_whole()

    @contextlib.contextmanager
    def new_terms(self) -> Iterator[None]:
        """Surround a write from its encoding to its commit: encoding adds terms to vocabularies, before the commit.

        Where a write fails, the last of those that run at the same time removes what no commit has stored. (Another
        one may use, and then stores, a term that the failed one has added.)
        """
        with self._counting:
            self._writes += 1
        try:
            yield
        finally:
            with self._counting:
                self._writes -= 1
                if not self._writes:
                    for vector in self.vectors.values():
                        vector.forget_unstored()
                    for dense in self.dense.values():
                        dense.forget_unstored()

    def open_segment(self, row: SegmentRow) -> Segment:
        """Open a segment of this collection; raises CollectionCorrupt, IndexCorrupt."""
        return Segment(self.path, row, self.shape)

    def _read_generation(self, schema: MetadataSchema) -> Generation:
        state = self.catalog.state()
        deletions = self.catalog.deletions()
        views = []
        for row in self.catalog.segments():
            dead = deletions.pop(row.segment, np.empty(0, np.int64))
            if len(dead) and (dead[0] < 0 or dead[-1] >= row.documents):
                raise CollectionCorrupt(self.catalog.path, f"table deletions: a row of segment {row.segment} is wrong")
            views.append(SegmentView.of(self.open_segment(row), dead))
        if deletions:
            raise CollectionCorrupt(self.catalog.path, "table deletions contains a segment that does not exist")
        return Generation(state.seq, tuple(views), self._read_pending(schema), schema=schema)

    def _read_pending(self, schema: MetadataSchema) -> Pending:
        rows = list(self.catalog.pending())
        if not rows:
            return Pending()
        documents, matrices, quantised = decode_rows(rows, list(self.vectors), self.shape.dense)
        vectors = {name: PreparedRows.of(matrices[name], dtype) for name, dtype in self.impact_dtypes.items()}
        numbers = np.array([row.row for row in rows], dtype=np.int64)
        dense = {name: DenseRows(*rows_of) for name, rows_of in quantised.items()}
        return Pending().add(ChunkContent(numbers, documents, vectors, columns_of(documents, schema), dense))


def open_state(folder: Path, mode: Literal["r", "w"]) -> LiveState:
    """Open a collection's state; writing needs the writer's lock. Raises what LiveState raises."""
    catalog = layout.open_catalog(folder, mode)
    try:
        return LiveState(folder, catalog)
    except BaseException:
        catalog.close()
        raise


def open_to_read(folder: Path) -> LiveState:
    """Open without the lock; start again if a writer has removed a segment meanwhile."""
    for _ in range(_OPEN_ATTEMPTS - 1):
        before = _seq(folder)
        try:
            return open_state(folder, "r")
        except (CollectionCorrupt, IndexCorrupt):
            if _seq(folder) == before:
                raise
    return open_state(folder, "r")


def _seq(folder: Path) -> int:
    catalog = layout.open_catalog(folder, "r")
    try:
        return catalog.state().seq
    finally:
        catalog.close()
