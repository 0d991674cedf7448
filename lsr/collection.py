"""`Collection`: documents, their vectors and their encoders in one folder; write, search, get, explain.

    with Collection.create("papers", schema={"year": "int"}) as papers:
        papers.write([Document("d1", text="A lobster roll", metadata={"year": 2020})])
        papers.search("lobster").hits

A write is one durable batch: when `write` returns, the documents survive a crash, and every later search finds them.
They stay in the catalog until they are sealed into a segment; a merge joins segments and drops deleted documents. Both
run in the background (upkeep/) or on request. Neither changes a result.

One process writes (it holds the folder's lock), any number of processes read. All methods may be called from many
threads: writes run one at a time, a search uses the generation that was current when it started.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from index import Problem
from lsr.default_pipeline import vectors_for
from lsr.documents import Document
from lsr.errors import (
    CollectionLocked,
    CollectionNotFound,
    CollectionReadOnly,
    InvalidDocument,
    LsrError,
    StorageFull,
)
from lsr.metadata import MetadataSchema
from lsr.reading import Reader
from lsr.results import Damage, SampleInfo, WriteResult
from lsr.search import warming
from lsr.search.answers import Answers
from lsr.search.defaults import SearchDefaults, parse_defaults, store_defaults, stored_defaults
from lsr.search.plan import OnQuery
from lsr.storage import layout
from lsr.storage.catalog_digest import remove_digest, write_digest
from lsr.storage.files import OnRead, WriterLock, storage_errors
from lsr.storage.live_state import LiveState, StateRetired, open_state, open_to_read
from lsr.storage.query_sample import QuerySample, open_or_replace
from lsr.upkeep import scrubbing, snapshots
from lsr.upkeep.seal_and_merge import Upkeep
from lsr.upkeep.snapshots import SnapshotInfo
from lsr.upkeep.verification import verify_collection
from lsr.vectors import VectorConfig
from lsr.writing import changes
from lsr.writing.document_vectors import check_document, settle_vectors

_T = TypeVar("_T")
_log = logging.getLogger(__name__)

__all__ = ["Collection", "verify_collection"]


class Collection(Reader):
    """An open collection, from `Collection.create` or `Collection.open`. Close it, or use `with`."""

    has_parts = True  # whether the documents that a filter matches can be opened as a `Part`

    def __init__(self, state: LiveState, lock: WriterLock | None, name: str | None = None) -> None:
        """Internal: use `create` or `open`."""
        super().__init__(state.path, name, Answers())
        self._live = state
        self._lock = lock
        self._closed = False
        self._refusal: LsrError | None = None  # why another mode than the wanted one
        self._sample: QuerySample | None = None  # of the writer
        self._upkeep = self._new_upkeep(state)
        if lock is not None:
            _tidy(state)
            self._sample = open_or_replace(self.path)

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        vectors: Mapping[str, VectorConfig] | None = None,
        schema: Mapping[str, str] | None = None,
        search: Mapping[str, Any] | None = None,
    ) -> Collection:
        """Create a new, empty collection and open it for writing. The folder must not exist yet, or must be empty.

        vectors  the named vectors, of which one at least is sparse; without it those of default_pipeline.py
        schema   the metadata fields that can be filtered by, see metadata.py
        search   the search defaults as JSON, see search/defaults.py; without it those of default_pipeline.py

        Raises CollectionExists, UnknownEncoder, QueryError (a bad name or type), StorageFull.
        """
        folder = Path(path)
        configs, declared = vectors or vectors_for(), MetadataSchema(schema)
        declared.check_size()
        extra = stored_defaults(configs, search)
        catalog, lock = layout.create_files(folder, configs, declared, extra)
        catalog.close()
        return cls._open_locked(folder, lock, None)

    @classmethod
    def open(cls, path: Path | str, mode: Literal["r", "w", "any"] = "r", *, name: str | None = None) -> Collection:
        """Open a collection for reading, or for reading and writing.

        mode  "any": for reading and writing, or only for reading where another process writes or the files cannot be
              changed: then `read_only` says why, and `begin_writing` tries again
        name  what it is called; without it the folder's name

        Raises CollectionNotFound, CollectionCorrupt, IndexCorrupt; with mode "w" CollectionLocked if another process
        writes, CollectionReadOnly if the files cannot be changed.
        """
        folder = Path(path)
        if mode == "r":
            return cls(open_to_read(folder), None, name)
        if not layout.is_collection(folder):
            raise CollectionNotFound(f"{folder} is not a collection: it has no catalog")
        if mode == "any" and layout.is_unfinished(folder):  # found out without the lock, which the load needs
            open_to_read(folder).catalog.close()  # raises the reason
        try:
            return cls._open_locked(folder, WriterLock(folder), name)
        except (CollectionLocked, CollectionReadOnly) as error:
            if mode == "w":
                raise
            opened = cls(open_to_read(folder), None, name)
            opened._refusal = error.with_traceback(None)
            return opened

    @classmethod
    def _open_locked(cls, folder: Path, lock: WriterLock, name: str | None) -> Collection:
        try:
            return cls(open_state(folder, "w"), lock, name)
        except BaseException:
            lock.release()
            raise

    def __enter__(self) -> Collection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the upkeep, close the catalog, release the lock. Running searches may finish; without it no data is
        lost."""
        self._upkeep.stop()
        with self._state.changing:
            if self._closed:
                return
            self._closed = True
            self._state.retired = True
            self._state.catalog.close()
            self._save_sample()
            if self._lock is not None:
                write_digest(self.path)
                self._lock.release()

    @property
    def _state(self) -> LiveState:
        return self._live

    @property
    def read_only(self) -> str | None:
        """Why nothing can be written here now; None where writes are accepted."""
        return None if self._lock is not None else str(self._not_writable())

    def begin_writing(self) -> bool:
        """Become the writer of a collection that was opened for reading; False if it is the writer already.

        Everything that another process has committed is read first. Searches go on meanwhile; cursors stay valid.
        Raises CollectionLocked, CollectionReadOnly while that is not possible, and what `open` raises.
        """
        if self._lock is not None or self._closed:
            return False
        try:
            lock = WriterLock(self.path)
        except (CollectionLocked, CollectionReadOnly) as error:
            self._refusal = error.with_traceback(None)
            raise
        try:
            state = open_state(self.path, "w")
            _tidy(state)
            sample = open_or_replace(self.path)
            # Not warmed: the kernels are compiled, the encoders loaded and the files in memory, and writers wait.
            self._replace_state(state)
        except BaseException:
            lock.release()
            raise
        self._lock, self._sample = lock, sample
        return True

    def follow(self) -> bool:
        """Read what the writing process has committed since; False where that is nothing, or this is the writer.

        Raises what `open` raises; the documents of before then stay in use.
        """
        if self._lock is not None or self._closed or self._live.generation.damage:
            return False
        if self._live.catalog.state().seq == self._live.generation.seq:
            return False
        self._replace_state(open_to_read(self.path))
        return True

    def _replace_state(self, state: LiveState) -> None:
        """Use another state of the same collection from now on; what was kept of the old one is found by its `seq`."""
        old, self._live = self._live, state
        self._upkeep = self._new_upkeep(state)
        with old.changing:
            old.retired = True
            old.catalog.close()

    # --- writing

    def check(self, document: Document) -> None:
        """Raise InvalidDocument if the document cannot be written here."""
        state = self._state
        settled = settle_vectors(document, state.vectors, state.dense)
        check_document(settled, state.schema, state.vectors, state.dense)

    def write(
        self, documents: Sequence[Document], *, on_problem: Callable[[int, InvalidDocument], None] | None = None
    ) -> WriteResult:
        """Write documents as one batch: all are durable when this returns, or none. An existing id is replaced.

        If several documents have the same id, the last one is kept. An invalid document is skipped and reported to
        `on_problem` with its position; without `on_problem` it raises InvalidDocument and nothing is written. Raises
        TooManyPending, StorageFull, EncoderError.
        """
        return self._change(lambda state: changes.write(state, documents, on_problem))

    def delete(self, ids: Iterable[str]) -> WriteResult:
        """Delete documents by id, as one durable batch; `accepted` counts those that existed. Raises StorageFull."""
        wanted = list(ids)
        return self._change(lambda state: changes.delete(state, wanted))

    def patch(self, identifier: str, metadata: Mapping[str, Any]) -> WriteResult | None:
        """Set some metadata keys of a document and remove the keys given as None; it is not encoded again.

        Returns None if the document does not exist. Raises InvalidDocument, TooManyPending, StorageFull.
        """
        return self._change(lambda state: changes.patch(state, identifier, metadata))

    def set_search_defaults(self, defaults: Mapping[str, Any]) -> SearchDefaults:
        """Change the search defaults, given as JSON (see search/defaults.py). Raises QueryError, StorageFull."""
        return self._change(lambda state: store_defaults(state, defaults))

    def extend_schema(self, fields: Mapping[str, str], *, search: Mapping[str, Any] | None = None) -> MetadataSchema:
        """Add metadata fields, `{"lang": "keyword"}`, and return the whole schema; durable when this returns.

        Every document has the new fields at once: the values that its metadata already has under their names, or none.
        Searches go on meanwhile, and see the old schema or the new one. A field that exists with the same type stays as
        it is. `search` are new search defaults, which are stored in the same transaction.

        Raises QueryError, which names the field, for a bad name or type, another type of a field that exists, more than
        256 fields, and a document with a value of another type; CollectionCorrupt, StorageFull.
        """

        def change(state: LiveState) -> MetadataSchema:
            stored = None if search is None else parse_defaults(search, state.vectors, state.dense).to_json()
            return self._upkeep.extend_schema(fields, stored)

        return self._change(change)

    def warm(self) -> None:
        """Load the encoders and run every search path once, so that the first query does not wait."""
        warming.warm(self._state)

    # --- upkeep

    def seal(self) -> bool:
        """Write the pending documents to a new segment now; False if there are none. Raises StorageFull."""
        self.require_writable()
        return self._upkeep.seal()

    def merge(self) -> bool:
        """Merge all segments into one now and drop the deleted documents; False if there is nothing to do."""
        self.require_writable()
        return self._upkeep.merge()

    def wait_for_upkeep(self) -> None:
        """Wait until no seal or merge runs in the background."""
        self._upkeep.wait()

    def snapshot(self, name: str | None = None) -> SnapshotInfo:
        """Take a snapshot, see snapshots.py; raises QueryError, CollectionExists, StorageFull."""
        self.require_writable()
        return snapshots.take(self._state, name)

    def snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots, oldest first."""
        return snapshots.listed(self.path)

    def snapshot_files(self, name: str) -> tuple[SnapshotInfo, dict[str, Path]]:
        """Return a snapshot and its files by their paths in it. Raises CollectionNotFound, CollectionCorrupt."""
        return snapshots.files_of(self.path, name)

    def delete_snapshot(self, name: str) -> None:
        """Remove a snapshot; raises CollectionNotFound."""
        self.require_writable()
        snapshots.remove(self.path, name)

    def restore(self, name: str) -> None:
        """Restore a snapshot. Every search that starts afterwards sees the restored state.

        Raises CollectionNotFound, CollectionCorrupt for a damaged snapshot, StorageFull.
        """
        self.require_writable()
        self._upkeep.stop()
        old = self._state
        try:
            with old.changing:
                snapshots.restore(old, name)
                old.retired = True
                try:
                    self._live = LiveState(self.path, old.catalog)
                except BaseException:
                    self._closed = True  # the files are the snapshot's, the memory is not: no write is allowed
                    raise
            if self._sample is not None:
                self._sample.clear()  # a term's number may have another meaning in the restored state
        finally:
            self._answers.forget()
            self._upkeep = self._new_upkeep(self._state)

    # --- the sample of real queries

    def keep_query_sample(self, wanted: bool) -> None:
        """Begin to keep a sample of real queries, or stop and delete it; see storage/query_sample.py.

        Recall targets are then measured on it. Raises StorageFull, LsrError where nothing can be written.
        """
        self.require_writable()
        with self._state.changing:
            if wanted and self._sample is None:
                self._sample = QuerySample.create(self.path)
            elif not wanted and self._sample is not None:
                sample, self._sample = self._sample, None
                sample.remove()

    def measure_recall(self) -> int:
        """Measure recall targets on the sample of queries where that is due (upkeep/recall.py), in this process.

        Return how many curves are new. The background does the same, after writes and searches.
        """
        self.require_writable()
        return self._upkeep.measure_recall()

    @property
    def query_sample(self) -> SampleInfo | None:
        """The sample of real queries that the collection keeps; None if it keeps none, or is not written here."""
        sample = self._sample
        return None if sample is None else SampleInfo(sample.counts(), sample.seen())

    @property
    def curves_measured(self) -> int:
        """How many recall curves were measured on sampled queries since the collection was opened."""
        return self._upkeep.curves_measured

    def _on_query(self) -> OnQuery | None:
        return None if self._sample is None else self._take_query

    def _take_query(self, vector: str, term_ids: NDArray[np.int64], weights: NDArray[np.float32]) -> None:
        sample = self._sample
        if sample is not None and sample.add(vector, term_ids, weights):
            self._upkeep.wake()

    def _save_sample(self) -> None:
        if self._sample is not None:
            try:
                self._sample.save()
            except (StorageFull, CollectionReadOnly) as error:  # closing goes on: nothing of it was promised
                _log.warning("the last sampled queries are lost: %s", error)

    def _new_upkeep(self, state: LiveState) -> Upkeep:
        return Upkeep(state, lambda: self._sample)

    def verify(self, level: Literal["metadata", "full"] = "full") -> list[Problem]:
        """Return the damage, by file. "full" reads every byte; "metadata" checks only what `open` checks."""
        return verify_collection(self.path, level)

    def scrub(self, on_read: OnRead | None = None) -> list[Damage]:
        """Read every byte again, take damaged segments out of use, and return the damage found; see scrubbing.py.

        Searches continue over the other segments and report partial results; writes raise CollectionCorrupt. `on_read`
        is called after each piece with its number of bytes: it may wait, or raise to stop.
        """
        return scrubbing.scrub(self._state, on_read)

    def _change(self, change: Callable[[LiveState], _T]) -> _T:
        """Apply a change to the current state; if a restore replaces the state meanwhile, to the new one."""
        while True:
            self.require_writable()
            try:
                result = change(self._state)
            except StateRetired:
                continue
            self._upkeep.wake()
            return result

    def require_writable(self) -> None:
        """Raise the reason why nothing can be written: CollectionLocked, CollectionReadOnly, or another LsrError."""
        if self._closed:
            raise CollectionNotFound(f"{self.path} is closed")
        if self._lock is None:
            raise self._not_writable()

    def _not_writable(self) -> LsrError:
        """Return a new error that says why nothing can be written."""
        if self._refusal is None:
            return LsrError(f"{self.path} is open for reading only: open it with mode='w'")
        return type(self._refusal)(str(self._refusal))


def _tidy(state: LiveState) -> None:
    """Remove what a former writer left behind; the lock is held. Raises CollectionReadOnly, StorageFull."""
    with storage_errors(state.path):
        remove_digest(state.path)
        layout.remove_leftovers(state.path, [view.segment.row.uuid for view in state.generation.segments])
