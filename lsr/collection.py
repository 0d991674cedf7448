"""`Collection`: documents, their vectors and their encoders in one folder; write, search, get, explain.

    with Collection.create("papers", schema={"year": "int"}) as papers:
        papers.write([Document("d1", text="A lobster roll", metadata={"year": 2020})])
        papers.search("lobster").hits

A write is one durable batch: when `write` returns, the documents survive a crash, and every search that starts from
then on finds them. They wait in the catalog until they are sealed into a segment; segments are merged, which drops what
was deleted. Both happen in the background (upkeep/) or on request. None of it changes a result.

One process writes (it holds the folder's lock), any number read. All methods may be called from many threads: writes
take turns, a search works on the generation that was current when it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.encoder import CorpusStatistics, Encoder
from index import Problem
from lsr.documents import DEFAULT_VECTOR, Document, SparseInput
from lsr.errors import CollectionCorrupt, CollectionNotFound, InvalidDocument, LsrError, QueryError
from lsr.metadata import MetadataSchema
from lsr.results import CollectionInfo, Damage, SearchResult, VectorInfo, WriteResult
from lsr.search import ranking, scanning, warming
from lsr.search.filters import Filter
from lsr.storage import layout
from lsr.storage.catalog_digest import remove_digest, write_digest
from lsr.storage.files import OnRead, WriterLock
from lsr.storage.generation import SearchParameters
from lsr.storage.live_state import LiveState, open_state, open_to_read
from lsr.upkeep import scrubbing, snapshots
from lsr.upkeep.seal_and_merge import Upkeep
from lsr.upkeep.snapshots import SnapshotInfo
from lsr.upkeep.verification import verify_collection
from lsr.vectors import VectorConfig, vector_of
from lsr.writing import changes
from lsr.writing.document_vectors import check_document, settle_vectors

_T = TypeVar("_T")

__all__ = ["Collection", "verify_collection"]


class Collection:
    """An open collection. Make one with `Collection.create` or `Collection.open`; close it, or use `with`."""

    def __init__(self, state: LiveState, lock: WriterLock | None) -> None:
        """Not for users: `create` and `open` call it."""
        self.path = state.path
        self._state = state
        self._lock = lock
        self._closed = False
        self._upkeep = Upkeep(state)
        if lock is not None:
            remove_digest(self.path)
            layout.remove_leftovers(self.path, [view.segment.row.uuid for view in state.generation.segments])

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        vectors: Mapping[str, VectorConfig] | None = None,
        schema: Mapping[str, str] | None = None,
    ) -> Collection:
        """Make a new, empty collection in a folder that is not there yet (or empty) and open it for writing.

        vectors  the named vectors; without it one, "default", made by lsr-mini
        schema   the metadata fields that can be filtered by, see metadata.py

        Raises CollectionExists, UnknownEncoder, QueryError (a bad name or type), StorageFull.
        """
        folder = Path(path)
        layout.create_files(folder, vectors or {DEFAULT_VECTOR: VectorConfig()}, MetadataSchema(schema)).close()
        return cls.open(folder, "w")

    @classmethod
    def open(cls, path: Path | str, mode: Literal["r", "w"] = "r") -> Collection:
        """Open a collection to read, or to read and write.

        Raises CollectionNotFound, CollectionCorrupt, IndexCorrupt, and CollectionLocked when another process writes.
        """
        folder = Path(path)
        if mode == "r":
            return cls(open_to_read(folder), None)
        if not layout.is_collection(folder):
            raise CollectionNotFound(f"{folder} is no collection: it holds no catalog")
        lock = WriterLock(folder)
        try:
            return cls(open_state(folder, "w"), lock)
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
        """Stop the upkeep, close the catalog, give the lock back. Nothing is lost without it; searches may finish."""
        self._upkeep.stop()
        with self._state.changing:
            if self._closed:
                return
            self._closed = True
            self._state.retired = True
            self._state.catalog.close()
            if self._lock is not None:
                write_digest(self.path)
                self._lock.release()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def schema(self) -> MetadataSchema:
        """The metadata fields that can be filtered by."""
        return self._state.schema

    @property
    def damage(self) -> tuple[Damage, ...]:
        """What `scrub`, a merge or a search has found damaged since the collection was opened."""
        return self._state.generation.damage

    # --- writing

    def check(self, document: Document) -> None:
        """Raise InvalidDocument if the document cannot be written here."""
        check_document(settle_vectors(document, self._state.vectors), self._state.schema, self._state.vectors)

    def write(
        self, documents: Sequence[Document], *, on_problem: Callable[[int, InvalidDocument], None] | None = None
    ) -> WriteResult:
        """Write documents as one batch: all durable when this returns, or none. One with a known id replaces the old.

        Of several with one id the last counts. A document that cannot be taken is left out and reported to
        `on_problem` with its position; without that nothing is written. Raises InvalidDocument, TooManyPending,
        StorageFull, EncoderError.
        """
        return self._change(lambda state: changes.write(state, documents, on_problem))

    def delete(self, ids: Iterable[str]) -> WriteResult:
        """Delete documents by id, as one durable batch; `accepted` counts those that were there. Raises StorageFull."""
        wanted = list(ids)
        return self._change(lambda state: changes.delete(state, wanted))

    def patch(self, identifier: str, metadata: Mapping[str, Any]) -> WriteResult | None:
        """Set some metadata of a document, and remove the keys that are given as None; it is not encoded again.

        Returns None when there is no such document. Raises InvalidDocument, TooManyPending, StorageFull.
        """
        return self._change(lambda state: changes.patch(state, identifier, metadata))

    # --- reading

    def get(self, identifier: str) -> Document | None:
        """Return a document by its id, without its vectors; None when there is none.

        Raises CollectionCorrupt when it may be in a damaged segment.
        """
        place = self._state.generation.find(identifier)
        return None if place is None else place.document()

    def vector(self, identifier: str, using: str = DEFAULT_VECTOR) -> dict[str, float] | None:
        """Return a document's sparse vector by token; None when there is no such document. Raises QueryError."""
        state = self._state
        vector = vector_of(state.vectors, using)
        place = state.generation.find(identifier)
        if place is None:
            return None
        term_ids, impacts = place.vector(vector.name)
        try:
            return dict(zip(vector.vocabulary.tokens(term_ids), impacts.tolist(), strict=True))
        except IndexError as error:
            raise CollectionCorrupt(self.path, f"document {identifier!r}: {error}") from error

    def search(
        self,
        query: str | SparseInput,
        *,
        using: str = DEFAULT_VECTOR,
        k: int = 10,
        exact: bool = False,
        recall: float | None = None,
        query_cut: int | None = None,
        heap_factor: float | None = None,
        filter: object = None,  # noqa: A002 - the name users of search engines know
        explain_terms: int = 0,
        timeout_ms: float | None = None,
    ) -> SearchResult:
        """Return the best k documents for a text or a sparse query, by falling score, then rising id.

        exact                            rank-safe instead of approximate
        recall, query_cut, heap_factor   how thorough the approximate search is, see SparseIndex.search_one
        filter                           metadata conditions, see filters.py; exact: k come back when k match
        explain_terms                    how many matched terms to show for each hit
        timeout_ms                       give up after this time, with SearchStopped

        Raises QueryError, UnknownField, SearchParameterError, VectorError, SearchStopped, EncoderMismatch.
        """
        state = self._state
        vector = vector_of(state.vectors, using)
        parameters = SearchParameters(exact, recall, query_cut, heap_factor, ranking.deadline(timeout_ms))
        request = ranking.SearchRequest(query, k, parameters, filter, explain_terms)
        return ranking.search(state.generation, vector, state.schema, request)

    def rank(
        self,
        queries: Sequence[str | SparseInput] | csr_array,
        *,
        using: str = DEFAULT_VECTOR,
        k: int = 10,
        exact: bool = True,
        recall: float | None = None,
        query_cut: int | None = None,
        heap_factor: float | None = None,
        threads: int = 1,
    ) -> list[tuple[list[str], NDArray[np.float32]]]:
        """Return (external ids, scores float32) of the best k documents of each query, without fetching documents.

        `queries` are texts, sparse queries, or a float32 csr_array [n, terms] in the collection's term numbers. Raises
        as `search` does.
        """
        state = self._state
        vector = vector_of(state.vectors, using)
        parameters = SearchParameters(exact, recall, query_cut, heap_factor)
        return ranking.rank(state.generation, vector, queries, k, parameters, threads)

    def scan(self, using: str = DEFAULT_VECTOR) -> Iterator[scanning.Scanned]:
        """Yield every live document with a vector of it: (document, term numbers int64, impacts float32).

        All of one moment, segment by segment and then what is pending, at bounded memory. Raises QueryError, and
        CollectionCorrupt where a segment was found damaged.
        """
        state = self._state
        return scanning.scan(state.generation, vector_of(state.vectors, using))

    def matching(self, filter: object) -> list[str]:  # noqa: A002 - the name users of search engines know
        """Return the ids of all documents that match a filter, in no special order; raises QueryError, UnknownField."""
        state = self._state
        return list(state.generation.matching(Filter(filter, state.schema)))

    def tokens(self, term_ids: Sequence[int] | NDArray[np.int64], using: str = DEFAULT_VECTOR) -> list[str]:
        """Return the tokens of term numbers; raises QueryError, IndexError for a number that was never given."""
        return vector_of(self._state.vectors, using).vocabulary.tokens(term_ids)

    def info(self) -> CollectionInfo:
        """Return what the collection holds."""
        state = self._state
        generation = state.generation
        return CollectionInfo(
            name=self.name,
            documents=generation.document_count,
            segments=len(generation.segments),
            pending=len(generation.pending),
            deleted=sum(len(view.dead) for view in generation.segments),
            bytes=layout.size_on_disk(self.path),
            vectors={
                name: VectorInfo(
                    vector.config.encoder, vector.fingerprint, vector.term_count, vector.dtypes, vector.query_dtype
                )
                for name, vector in state.vectors.items()
            },
            schema=dict(state.schema.fields),
            seq=generation.seq,
            damage=generation.damage,
        )

    def statistics(self, using: str = DEFAULT_VECTOR) -> CorpusStatistics:
        """Return the number of live documents and their document frequencies, at this moment. Raises QueryError."""
        state = self._state
        return state.generation.statistics(vector_of(state.vectors, using).name)

    def encoder(self, using: str = DEFAULT_VECTOR) -> Encoder:
        """Return the encoder of a named vector; raises QueryError where there is none, EncoderMismatch."""
        encoder = self.find_encoder(using)
        if encoder is None:
            raise QueryError(f"the vector {using!r} has no encoder", field="using")
        return encoder

    def find_encoder(self, using: str = DEFAULT_VECTOR) -> Encoder | None:
        """Return the encoder of a named vector, None where vectors are always given ready-made.

        Raises QueryError for an unknown name, EncoderMismatch.
        """
        vector = vector_of(self._state.vectors, using)
        return None if vector.config.encoder is None else vector.encoder

    def warm(self) -> None:
        """Load encoders and run what a search runs, so that the first query does not wait."""
        warming.warm(self._state)

    # --- upkeep

    def seal(self) -> bool:
        """Put the pending documents into a new segment now; False when there are none. Raises StorageFull."""
        self._check_writable()
        return self._upkeep.seal()

    def merge(self) -> bool:
        """Join all segments into one now and drop what was deleted; False when there is nothing to do."""
        self._check_writable()
        return self._upkeep.merge()

    def wait_for_upkeep(self) -> None:
        """Return when no seal or merge is under way in the background."""
        self._upkeep.wait()

    def snapshot(self, name: str | None = None) -> SnapshotInfo:
        """Keep the collection as it is now, see snapshots.py; raises QueryError, CollectionExists, StorageFull."""
        self._check_writable()
        return snapshots.take(self._state, name)

    def snapshots(self) -> list[SnapshotInfo]:
        """Return the snapshots there are, oldest first."""
        return snapshots.listed(self.path)

    def delete_snapshot(self, name: str) -> None:
        """Remove a snapshot; raises CollectionNotFound."""
        self._check_writable()
        snapshots.remove(self.path, name)

    def restore(self, name: str) -> None:
        """Go back to a snapshot, at once for every search that begins afterwards.

        Raises CollectionNotFound, CollectionCorrupt for a damaged snapshot, StorageFull.
        """
        self._check_writable()
        self._upkeep.stop()
        old = self._state
        try:
            with old.changing:
                snapshots.restore(old, name)
                old.retired = True
                try:
                    self._state = LiveState(self.path, old.catalog)
                except BaseException:
                    self._closed = True  # the files are the snapshot's, what is in memory is not: nobody may write
                    raise
        finally:
            self._upkeep = Upkeep(self._state)

    def verify(self, level: Literal["metadata", "full"] = "full") -> list[Problem]:
        """Return what is damaged, by file. "full" reads every byte; "metadata" checks what `open` checks."""
        return verify_collection(self.path, level)

    def scrub(self, on_read: OnRead | None = None) -> list[Damage]:
        """Read every byte once more, take damaged segments out, and return what was found; see scrubbing.py.

        Searches go on over the other segments and say that they are partial; writes raise CollectionCorrupt. `on_read`
        is called with the number of bytes after each piece read: it may wait, or raise to stop.
        """
        return scrubbing.scrub(self._state, on_read)

    def _change(self, change: Callable[[LiveState], _T]) -> _T:
        """Make a change to the current state, or to the one that a restore puts in its place meanwhile."""
        while True:
            self._check_writable()
            try:
                result = change(self._state)
            except changes.StateRetired:
                continue
            self._upkeep.wake()
            return result

    def _check_writable(self) -> None:
        if self._closed:
            raise CollectionNotFound(f"{self.path} is closed")
        if self._lock is None:
            raise LsrError(f"{self.path} is open for reading only: open it with mode='w'")
