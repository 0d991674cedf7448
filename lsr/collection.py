"""`Collection`: documents, their vectors and their encoders in one folder; write, search, get, explain.

    with Collection.create("papers", schema={"year": "int"}) as papers:
        papers.write([Document("d1", text="A lobster roll", metadata={"year": 2020})])
        papers.search("lobster").hits

A write is one durable batch: when `write` returns, the documents survive a crash, and every search that starts from
then on finds them. They wait in the catalog until `seal` puts them into a segment; `merge` joins segments and drops
what was deleted. None of this changes a result.

One process writes (it holds the folder's lock), any number read. All methods may be called from many threads: writes
take turns, a search works on the generation that was current when it began.
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders.encoder import CorpusStatistics, Encoder
from index import Problem
from lsr import ranking
from lsr.document_vectors import check_document, document_rows, settle_vectors
from lsr.documents import DEFAULT_VECTOR, Document, SparseInput
from lsr.errors import CollectionCorrupt, CollectionNotFound, InvalidDocument, LsrError, QueryError, TooManyPending
from lsr.metadata import MetadataSchema
from lsr.query_vectors import QueryVector, encode_queries
from lsr.results import CollectionInfo, SearchResult, VectorInfo, WriteResult
from lsr.storage import layout
from lsr.storage.catalog import Catalog, SegmentRow, Transaction
from lsr.storage.files import WriterLock
from lsr.storage.generation import Generation, SearchParameters, SegmentView, find_many
from lsr.storage.pending import ChunkContent, Pending, decode_rows, encode_row
from lsr.storage.sealing import write_merged, write_sealed
from lsr.storage.segment import Segment, verify_segment
from lsr.vectors import VectorConfig, vector_of

MAX_PENDING = 100_000  # documents; beyond it a write is refused until a seal has caught up


class Collection:
    """An open collection. Make one with `Collection.create` or `Collection.open`; close it, or use `with`."""

    def __init__(self, path: Path, catalog: Catalog, lock: WriterLock | None) -> None:
        """Not for users: `create` and `open` call it."""
        self.path = path
        self._catalog = catalog
        self._lock = lock
        self._closed = False
        self._changing = threading.RLock()  # held by whoever makes the next generation
        with catalog.reading():
            contents = layout.read_contents(catalog)
            self._schema = contents.schema
            self._vectors = dict(contents.vectors)
            if contents.load is not None:
                raise CollectionNotFound(
                    f"{path}: indexing was interrupted before its end; finish it with `lsr index … --resume`, "
                    "or remove the folder"
                )
            self._generation = self._read_generation()
        if lock is not None:
            layout.remove_leftovers(path, [view.segment.row.uuid for view in self._generation.segments])

    @classmethod
    def create(
        cls,
        path: Path | str,
        *,
        vectors: Mapping[str, VectorConfig] | None = None,
        schema: Mapping[str, str] | None = None,
    ) -> Collection:
        """Make a new, empty collection in a folder that is not there yet (or empty) and open it for writing.

        vectors  the named vectors; without it one, "default", made by BM25
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
            return cls(folder, layout.open_catalog(folder, "r"), None)
        if not layout.is_collection(folder):
            raise CollectionNotFound(f"{folder} is no collection: it holds no catalog")
        lock = WriterLock(folder)
        try:
            return cls(folder, layout.open_catalog(folder, "w"), lock)
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
        """Close the catalog and give the lock back. Nothing is lost without it; searches under way may finish."""
        with self._changing:
            self._closed = True
            self._catalog.close()
            if self._lock is not None:
                self._lock.release()

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.resolve().name

    @property
    def schema(self) -> MetadataSchema:
        """The metadata fields that can be filtered by."""
        return self._schema

    # --- writing

    def check(self, document: Document) -> None:
        """Raise InvalidDocument if the document cannot be written here; a bulk writer asks this line by line."""
        check_document(settle_vectors(document, self._vectors), self._schema, self._vectors)

    def write(
        self, documents: Sequence[Document], *, on_problem: Callable[[int, InvalidDocument], None] | None = None
    ) -> WriteResult:
        """Write documents as one batch: all durable when this returns, or none. One with a known id replaces the old.

        Of several with one id the last counts. A document that cannot be taken is left out and reported to
        `on_problem` with its position; without that nothing is written. Raises InvalidDocument, TooManyPending,
        StorageFull, EncoderError.
        """
        self._check_writable()
        good = self._good_documents(documents, on_problem)
        latest = list({document.id: document for document in good}.values())
        if not latest:
            return WriteResult(self._generation.seq, 0)
        if len(latest) + len(self._generation.pending) > MAX_PENDING:
            raise self._too_many()
        matrices = {name: document_rows(vector, latest) for name, vector in self._vectors.items()}
        with self._changing:
            before = self._generation
            if len(latest) + len(before.pending) > MAX_PENDING:
                raise self._too_many()
            ids = [document.id for document in latest]
            replaced = before.pending.rows_of(ids)
            dead = find_many(before, ids)
            with self._catalog.transaction() as change:
                first = change.state.next_row
                rows = np.arange(first, first + len(latest), dtype=np.int64)
                terms = self._write_terms(change)
                change.remove_pending(replaced)
                for segment, doc_ids in dead.items():
                    change.add_deletions(segment, doc_ids)
                change.add_pending(
                    [encode_row(first + at, document, matrices, at) for at, document in enumerate(latest)]
                )
                seq = change.seq
            for name, count in terms.items():
                self._vectors[name].persisted_terms = count
            bare = [replace(document, vectors={}) for document in latest]
            pending = before.pending.without_rows(replaced).add(ChunkContent(rows, bare, matrices, self._schema))
            self._generation = Generation(seq, _without(before.segments, dead), pending)
        return WriteResult(seq, len(good))

    def delete(self, ids: Iterable[str]) -> WriteResult:
        """Delete documents by id, as one durable batch; `accepted` counts those that were there. Raises StorageFull."""
        self._check_writable()
        wanted = list(dict.fromkeys(ids))
        with self._changing:
            before = self._generation
            rows = before.pending.rows_of(wanted)
            dead = find_many(before, wanted)
            count = len(rows) + sum(map(len, dead.values()))
            if not count:
                return WriteResult(before.seq, 0)
            with self._catalog.transaction() as change:
                change.remove_pending(rows)
                for segment, doc_ids in dead.items():
                    change.add_deletions(segment, doc_ids)
                seq = change.seq
            self._generation = Generation(seq, _without(before.segments, dead), before.pending.without_rows(rows))
        return WriteResult(seq, count)

    # --- reading

    def get(self, identifier: str) -> Document | None:
        """Return a document by its id, without its vectors; None when there is none."""
        place = self._generation.find(identifier)
        return None if place is None else place.document()

    def vector(self, identifier: str, using: str = DEFAULT_VECTOR) -> dict[str, float] | None:
        """Return a document's sparse vector by token; None when there is no such document. Raises QueryError."""
        vector = vector_of(self._vectors, using)
        place = self._generation.find(identifier)
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
        vector = vector_of(self._vectors, using)
        parameters = SearchParameters(exact, recall, query_cut, heap_factor, ranking.deadline(timeout_ms))
        request = ranking.SearchRequest(query, k, parameters, filter, explain_terms)
        return ranking.search(self._generation, vector, self._schema, request)

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
        vector = vector_of(self._vectors, using)
        ranking.check_count("k", k, least=1)
        generation = self._generation
        parameters = SearchParameters(exact, recall, query_cut, heap_factor)
        encoded = encode_queries(vector, queries, generation.statistics(vector.name))

        def one(query: QueryVector) -> tuple[list[str], NDArray[np.float32]]:
            ranked = generation.search(vector.name, query.term_ids, query.weights, k, parameters)
            return [hit.id for hit in ranked], np.array([hit.score for hit in ranked], dtype=np.float32)

        if threads == 1:
            return [one(query) for query in encoded]
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(one, encoded))

    def info(self) -> CollectionInfo:
        """Return what the collection holds."""
        generation = self._generation
        return CollectionInfo(
            name=self.name,
            documents=generation.document_count,
            segments=len(generation.segments),
            pending=len(generation.pending),
            deleted=sum(len(view.dead) for view in generation.segments),
            bytes=layout.size_on_disk(self.path),
            vectors={
                name: VectorInfo(vector.config.encoder, vector.fingerprint, vector.term_count)
                for name, vector in self._vectors.items()
            },
            schema=dict(self._schema.fields),
            seq=generation.seq,
        )

    def statistics(self, using: str = DEFAULT_VECTOR) -> CorpusStatistics:
        """Return the number of live documents and their document frequencies, at this moment. Raises QueryError."""
        return self._generation.statistics(vector_of(self._vectors, using).name)

    def encoder(self, using: str = DEFAULT_VECTOR) -> Encoder:
        """Return the encoder of a named vector; raises QueryError where there is none, EncoderMismatch."""
        vector = vector_of(self._vectors, using)
        if vector.config.encoder is None:
            raise QueryError(f"the vector {vector.name!r} has no encoder", field="using")
        return vector.encoder

    def warm(self) -> None:
        """Load encoders and compile what a search needs, so that the first query does not wait."""
        for name, vector in self._vectors.items():
            _ = vector.vocabulary
            for view in self._generation.segments:
                view.segment.indexes[name].warm()

    # --- upkeep

    def seal(self) -> bool:
        """Put the pending documents into a new segment; False when there are none. Results stay as they are."""
        self._check_writable()
        with self._changing:
            before = self._generation
            if not len(before.pending):
                return False
            last_row = int(before.pending.live_rows()[-1])
            finished = write_sealed(self.path, self._catalog, self._schema, self._vectors, last_row)
            with self._catalog.transaction() as change:
                number = change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
                change.remove_pending(before.pending.live_rows().tolist())
                seq = change.seq
            row = finished.row(number)
            view = SegmentView.of(self._open_segment(row), np.empty(0, np.int64))
            self._generation = Generation(seq, (*before.segments, view), Pending())
        return True

    def merge(self) -> bool:
        """Join all segments into one and drop what was deleted; False when there is nothing to do."""
        self._check_writable()
        with self._changing:
            before = self._generation
            if len(before.segments) < 2 and not any(len(view.dead) for view in before.segments):
                return False
            finished = write_merged(self.path, self._schema, self._vectors, before.segments)
            with self._catalog.transaction() as change:
                for view in before.segments:
                    change.remove_segment(view.segment.row.segment)
                number = change.add_segment(finished.uuid, finished.documents, finished.manifest_sha256)
                seq = change.seq
            view = SegmentView.of(self._open_segment(finished.row(number)), np.empty(0, np.int64))
            self._generation = Generation(seq, (view,), before.pending)
            for old in before.segments:
                shutil.rmtree(old.segment.folder, ignore_errors=True)
        return True

    def verify(self, level: Literal["metadata", "full"] = "full") -> list[Problem]:
        """Return what is damaged, by file. "full" reads every byte; "metadata" checks what `open` checks."""
        return verify_collection(self.path, level)

    # --- inside

    def _read_generation(self) -> Generation:
        state = self._catalog.state()
        deletions = self._catalog.deletions()
        views = []
        for row in self._catalog.segments():
            dead = deletions.pop(row.segment, np.empty(0, np.int64))
            if len(dead) and (dead[0] < 0 or dead[-1] >= row.documents):
                raise CollectionCorrupt(self._catalog.path, f"table deletions: a row of segment {row.segment} is wrong")
            views.append(SegmentView.of(self._open_segment(row), dead))
        if deletions:
            raise CollectionCorrupt(self._catalog.path, "table deletions names a segment that is not there")
        content = decode_rows(list(self._catalog.pending()), list(self._vectors), self._schema)
        return Generation(state.seq, tuple(views), Pending().add(content))

    def _open_segment(self, row: SegmentRow) -> Segment:
        return Segment(self.path, row, self._schema, list(self._vectors))

    def _good_documents(
        self, documents: Sequence[Document], on_problem: Callable[[int, InvalidDocument], None] | None
    ) -> list[Document]:
        good = []
        for position, document in enumerate(documents):
            try:
                settled = settle_vectors(document, self._vectors)
                check_document(settled, self._schema, self._vectors)
            except InvalidDocument as error:
                if on_problem is None:
                    raise
                on_problem(position, error)
            else:
                good.append(settled)
        return good

    def _write_terms(self, change: Transaction) -> dict[str, int]:
        """Store what the vocabularies have learnt, and return how many terms of each that makes."""
        counts = {}
        for name, vector in self._vectors.items():
            tokens = vector.new_tokens()
            change.append_terms(name, vector.persisted_terms, tokens)
            counts[name] = vector.persisted_terms + len(tokens)
        change.set_setting("vectors", {name: vector.setting() for name, vector in self._vectors.items()})
        return counts

    def _check_writable(self) -> None:
        if self._closed:
            raise CollectionNotFound(f"{self.path} is closed")
        if self._lock is None:
            raise LsrError(f"{self.path} is open for reading only: open it with mode='w'")

    def _too_many(self) -> TooManyPending:
        return TooManyPending(
            f"{self.path}: {len(self._generation.pending)} documents wait to be sealed and at most {MAX_PENDING} may; "
            "try again in a while, with smaller batches"
        )


def verify_collection(path: Path | str, level: Literal["metadata", "full"] = "full") -> list[Problem]:
    """Check a collection without opening it, so that a damaged one can be looked at; see `Collection.verify`.

    Raises CollectionNotFound.
    """
    folder = Path(path)
    problems: list[Problem] = []
    try:
        catalog = layout.open_catalog(folder, "r")
    except CollectionCorrupt as error:
        return [Problem(error.path, error.reason)]
    try:
        if level == "full":
            problems.extend(Problem(catalog.path, reason) for reason in catalog.problems())
            if not problems:
                for row in catalog.segments():
                    problems.extend(verify_segment(folder, row))
    finally:
        catalog.close()
    if not problems:
        try:
            Collection.open(folder, "r").close()
        except Exception as error:  # whatever stops it from opening is what is wrong with it
            problems.append(Problem(Path(getattr(error, "path", folder)), getattr(error, "reason", str(error))))
    return problems


def _without(segments: tuple[SegmentView, ...], dead: Mapping[int, NDArray[np.int64]]) -> tuple[SegmentView, ...]:
    nothing = np.empty(0, np.int64)
    return tuple(view.without(dead.get(view.segment.row.segment, nothing)) for view in segments)
