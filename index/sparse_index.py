"""`SparseIndex`: the one public class of this package.

It holds a segment's arrays, in memory or mapped from a folder, checks the arguments, and calls the kernels. Searching
is safe from many threads; the arrays do not change after the index was built or opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Unpack

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from index.arrays.folder import (
    MANIFEST,
    Problem,
    new_folder,
    read_manifest,
    replace_manifest,
    verify_index,
    write_manifest,
)
from index.arrays.memory_advice import available_memory
from index.arrays.new_arrays import ArraysInFolder, ArraysInMemory
from index.arrays.segment import NEIGHBOURS, Segment, freeze, open_segment
from index.building.build import Progress, build_arrays
from index.building.choice import EXACT_ONLY, Choice
from index.building.graph import build_neighbours
from index.config import IndexConfig
from index.errors import IndexCorrupt, SearchParameterError
from index.kernels.candidate_arrays import Queries
from index.kernels.lines import count_terms, read_documents
from index.searching.calibration import BUILD_SAMPLE, SAMPLE, Calibration, calibrate, pseudo_queries
from index.searching.matching import matching
from index.searching.parameters import SearchOptions, SearchParameters, check_selection, positive_integer
from index.searching.searcher import Answer, Searcher
from index.vectors import Rows, check_rows

# Queries searched in one call; deadlines are checked between calls.
_CHUNK = 32
# Terms of a query built from a document: see docs/decisions/0110.
_PSEUDO_TERMS = 12


class TopK(NamedTuple):
    """The best documents of each query: ids int64[n, k], -1 in unused places; scores float32[n, k], 0 in these."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]


class SparseIndex:
    """An immutable index over sparse vectors. Create one with `build` or `open`."""

    def __init__(
        self,
        segment: Segment,
        config: IndexConfig,
        path: Path | None,
        calibration: Calibration | None = None,
        choice: Choice | None = None,
    ) -> None:
        self._segment = segment
        self._config = config
        self._path = path
        self._choice = choice
        self._searcher = Searcher(segment, calibration)

    @classmethod
    def build(
        cls,
        vectors: csr_array | Iterable[csr_array],
        config: IndexConfig | None = None,
        path: Path | str | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
        queries: csr_array | None = None,
        source: str | None = None,
    ) -> SparseIndex:
        """Build an index over the rows of `vectors`; row i becomes doc_id i.

        vectors    float32 csr_array [n, terms], or an iterable of them, numbered consecutively; later batches may be
                   wider. Weights are finite and not negative, term ids ascend within a row.
        path       the folder to write to, which must not exist yet; None: the index is built in memory
        threads    the number of threads; the result does not depend on it. None: all cores
        progress   called with (stage, done, total)
        queries    the sample that recall targets are measured on, see `calibrate`, and that the build decides by (see
                   `choice`); None: a build that makes blocks measures them on queries built from documents, unless
                   exact search is as good at its size
        source     where the queries come from, for the record

        Raises VectorError, ConfigError, FileExistsError, OSError (a full disk). A build that stops leaves no file.
        """
        config = IndexConfig() if config is None else config
        workers = len(os.sched_getaffinity(0)) if threads is None else positive_integer("threads", threads)
        sample = None if queries is None else check_rows(queries, what="query")
        if path is None:
            memory = ArraysInMemory()
            counts, config = build_arrays(vectors, config, workers, memory, progress, sample)
            segment = freeze(counts, memory.arrays)
            if config.n_knn and segment.has_blocks:
                segment = replace(segment, neighbours=build_neighbours(segment, config.n_knn, workers, progress))
            index = cls(segment, config, None, choice=Choice.from_json(counts["choice"]))
            index._calibrate_build(queries, source, workers)
            return index
        target = Path(path)
        with new_folder(target) as folder:
            counts, config = build_arrays(vectors, config, workers, ArraysInFolder(folder), progress, sample)
            manifest = write_manifest(folder, {**counts, "config": config.to_json()})
            if config.n_knn and (segment := open_segment(folder, manifest)).has_blocks:
                neighbours = build_neighbours(segment, config.n_knn, workers, progress)
                np.save(folder / f"{NEIGHBOURS}.npy", neighbours, allow_pickle=False)
                write_manifest(folder, {**counts, "config": config.to_json()})
            cls.open(folder)._calibrate_build(queries, source, workers)
        return cls.open(target)

    @classmethod
    def open(
        cls, path: Path | str, verify: Literal["metadata", "full"] = "metadata", *, resident: bool = False
    ) -> SparseIndex:
        """Map the index in folder `path`.

        verify     "metadata" checks sizes, headers and offsets; "full" reads every byte and compares the checksums
        resident   copy the arrays that approximate search reads into memory: up to a third faster, at about a second
                   per gigabyte

        Where what candidate search reads is larger than the memory that is left, the kernel is advised not to read
        ahead. Raises IndexCorrupt naming the file, IndexFormatUnsupported for another format.
        """
        folder = Path(path)
        if verify not in ("metadata", "full"):
            raise SearchParameterError(f'verify must be "metadata" or "full", not {verify!r}')
        manifest = read_manifest(folder)
        if verify == "full" and (problems := verify_index(folder)):
            raise IndexCorrupt(*problems[0])
        segment = open_segment(folder, manifest)
        if resident:
            segment = segment.resident()
        elif (left := available_memory()) is not None and segment.candidate_bytes > left:
            segment.read_at_random()
        return cls(
            segment,
            IndexConfig.from_json(manifest["config"]),
            folder,
            _stored_calibration(folder, manifest),
            _stored_choice(folder, manifest),
        )

    @property
    def n_docs(self) -> int:
        """Documents, empty ones included."""
        return self._segment.n_docs

    @property
    def n_terms(self) -> int:
        """Columns of the indexed vectors."""
        return self._segment.n_terms

    @property
    def nnz(self) -> int:
        """Impacts stored."""
        return self._segment.nnz

    @property
    def candidate_bytes(self) -> int:
        """Size of the arrays that candidate search reads all over, which should be in memory."""
        return self._segment.candidate_bytes

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return self._segment.bytes

    @property
    def config(self) -> IndexConfig:
        """The configuration that it was built with."""
        return self._config

    @property
    def choice(self) -> Choice | None:
        """What the build saw and why it kept which structures; None for an index of an older version."""
        return self._choice

    @property
    def structures(self) -> dict[str, bool]:
        """Which structures it has: candidate lists, unpruned postings, block maxima, a graph of neighbours."""
        return {
            "candidate_lists": self._segment.has_blocks,
            "unpruned_postings": self._segment.has_exact_lists,
            "block_maxima": self._segment.has_block_maxima,
            "graph": self._segment.neighbours.size > 0,
        }

    @property
    def _neighbours(self) -> int:
        # Without blocks every search is exact, and there is no graph to follow.
        return int(self._segment.neighbours.shape[1]) if self._segment.has_blocks else self._config.n_knn

    @property
    def path(self) -> Path | None:
        """The folder it is mapped from, or None."""
        return self._path

    def __repr__(self) -> str:
        where = "in memory" if self._path is None else str(self._path)
        return f"SparseIndex({self.n_docs} documents, {self.n_terms} terms, {self.nnz} impacts, {where})"

    def verify(self) -> list[Problem]:
        """Return the damaged files of the folder, each with the reason; none for an index in memory."""
        return [] if self._path is None else verify_index(self._path)

    def search(
        self,
        queries: csr_array,
        k: int = 10,
        *,
        allowed: NDArray[np.bool_] | None = None,
        threads: int = 1,
        should_stop: Callable[[], bool] | None = None,
        **options: Unpack[SearchOptions],
    ) -> TopK:
        """Return the best k documents of each row of `queries`, a csr_array [n, terms]. Keywords as in `search_one`.

        Columns that the index does not hold match nothing. Raises VectorError, SearchParameterError, SearchStopped.
        """
        rows = check_rows(queries, what="query")
        threads = positive_integer("threads", threads)
        selection = check_selection(self.n_docs, k, allowed)
        parameters = SearchParameters(**options)
        parameters.check(self._neighbours)
        k = selection.k
        start, numbers, weights = self._numbered(rows)
        n = len(start) - 1
        top = TopK(np.full((n, k), -1, dtype=np.int64), np.zeros((n, k), dtype=np.float32))

        def work(first: int) -> None:
            stop = min(n, first + _CHUNK)
            at = slice(int(start[first]), int(start[stop]))
            chunk = Queries(start[first : stop + 1] - start[first], numbers[at], weights[at])
            for i, (ids, scores) in enumerate(self._searcher.search_many(chunk, selection, parameters, should_stop)):
                top.ids[first + i, : len(ids)] = ids
                top.scores[first + i, : len(ids)] = scores

        chunks = range(0, n, _CHUNK)
        if threads == 1 or len(chunks) < 2:
            for first in chunks:
                work(first)
        else:
            with ThreadPoolExecutor(min(threads, len(chunks))) as pool:
                list(pool.map(work, chunks))
        return top

    def search_one(
        self,
        term_ids: ArrayLike,
        weights: ArrayLike,
        k: int = 10,
        *,
        allowed: NDArray[np.bool_] | None = None,
        ties: bool = False,
        should_stop: Callable[[], bool] | None = None,
        **options: Unpack[SearchOptions],
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the best documents of one query: (doc_ids int64[m], canonical scores float32[m]), m <= k.

        term_ids, weights   the query, in any order, each term once; ids that the index does not hold match nothing
        options             exact, recall, query_cut, heap_factor, n_knn: see index.SearchParameters
        allowed             bool[n_docs]: search only these documents
        ties                with exact, also all that score as the k-th does, so m may exceed k
        should_stop         called between chunks of work; True raises SearchStopped

        Without options the search is exact where that is as fast: for a query whose lists are short, and for all
        queries of a collection of flat impacts, such as BM25's.

        By descending score, then ascending doc_id. A document that shares no term with the query does not match;
        m < k means that no more match. Safe to call from many threads. Raises VectorError, SearchParameterError.
        """
        parameters = SearchParameters(**options)
        answer = self.answer_one(term_ids, weights, k, parameters, allowed=allowed, ties=ties, should_stop=should_stop)
        return answer.ids, answer.scores

    def answer_one(
        self,
        term_ids: ArrayLike,
        weights: ArrayLike,
        k: int,
        parameters: SearchParameters,
        *,
        allowed: NDArray[np.bool_] | None = None,
        ties: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> Answer:
        """Return what `search_one` returns, whether a candidate search found it, and the recall that is expected.

        Raises as `search_one` does.
        """
        selection = check_selection(self.n_docs, k, allowed, ties=ties)
        parameters.check(self._neighbours)
        return self._searcher.search_one(np.asarray(term_ids), np.asarray(weights), selection, parameters, should_stop)

    def score(self, term_ids: ArrayLike, weights: ArrayLike, doc_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the canonical scores of some documents, float32[n]; -1 for one that shares no term with the query.

        Raises VectorError, and IndexError for a document that the index does not hold.
        """
        if len(doc_ids) and not 0 <= doc_ids.min() <= doc_ids.max() < self.n_docs:
            raise IndexError(f"documents {doc_ids.min()} to {doc_ids.max()} are not in an index of {self.n_docs}")
        return self._searcher.score(np.asarray(term_ids), np.asarray(weights), doc_ids)

    def matching(self, term_ids: ArrayLike) -> NDArray[np.bool_]:
        """Return which documents hold one of the terms, bool[n_docs]. Reads the terms' postings, or every document."""
        _, numbers = self._numbers(np.atleast_1d(np.asarray(term_ids)).astype(np.int64))
        return matching(self._segment, numbers)

    @property
    def calibration(self) -> Calibration | None:
        """The measured curve that recall targets are read from, or None."""
        return self._searcher.calibration

    def calibrate(
        self, queries: csr_array | None = None, *, source: str | None = None, threads: int = 1
    ) -> Calibration:
        """Measure which search parameters reach which recall on a sample of `queries`; store the curve with the index.

        queries   float32 csr_array [n, terms], like those that will be searched: a few hundred. None: queries built
                  from documents, which is a guess
        source    where they come from, for the record

        From then on `search(..., recall=r)` uses the curve. An index of flat impacts has no curve, and needs none.
        Takes seconds per million documents. Raises VectorError, OSError.
        """
        found = self.measure(queries, source=source, threads=threads)
        self._store_calibration(found)
        return found

    def measure(self, queries: csr_array | None = None, *, source: str | None = None, threads: int = 1) -> Calibration:
        """Return what `calibrate` measures, without using or storing it. Raises VectorError."""
        threads = positive_integer("threads", threads)
        if queries is None:
            return self._measure_on_documents(SAMPLE, source, threads)
        return self._measure(queries, source or "queries given to calibrate", threads)

    def use_calibration(self, calibration: Calibration) -> None:
        """Use a curve that `measure` gave, of this index, from now on; nothing is stored. Safe during searches."""
        self._searcher.calibration = calibration

    @property
    def needs_calibration(self) -> bool:
        """Whether a recall target can lead to a candidate search, so that a curve has a meaning."""
        return self._segment.has_blocks and not self._segment.is_flat

    def _store_calibration(self, found: Calibration) -> None:
        if self._path is not None:
            replace_manifest(self._path, {"calibration": found.to_json()})
        self._searcher.calibration = found

    def _calibrate_build(self, queries: csr_array | None, source: str | None, threads: int) -> None:
        """Measure recall targets as the last step of a build."""
        if queries is not None:
            self.calibrate(queries, source=source, threads=threads)
        elif self.needs_calibration and self.nnz > EXACT_ONLY:
            self._store_calibration(self._measure_on_documents(BUILD_SAMPLE, None, threads))

    def _measure_on_documents(self, sizes: Mapping[int, int], source: str | None, threads: int) -> Calibration:
        queries = pseudo_queries(self._segment, self.rows, max(sizes.values()), _PSEUDO_TERMS)
        source = source or f"the {_PSEUDO_TERMS} heaviest terms of documents"
        return self._measure(queries, source, threads, from_documents=True, sizes=sizes)

    def _measure(
        self,
        queries: csr_array,
        source: str,
        threads: int,
        *,
        from_documents: bool = False,
        sizes: Mapping[int, int] = SAMPLE,
    ) -> Calibration:
        given = check_rows(queries, what="query")
        if len(given.indptr) - 1 > max(SAMPLE.values()):
            chosen = np.linspace(0, len(given.indptr) - 2, max(SAMPLE.values())).astype(np.int64)
            given = check_rows(queries[chosen], what="query")
        within = given.terms < self.n_terms
        kept = np.concatenate([[0], np.cumsum(within)])[given.indptr]
        sample = csr_array(
            (given.values[within], given.terms[within].astype(np.int64), kept), (len(kept) - 1, self.n_terms)
        )
        return calibrate(
            self._segment, self.rows, sample, self._numbered(given), source, threads, from_documents=from_documents,
            sizes=sizes,
        )  # fmt: skip

    def document(self, doc_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return a document's (collection term ids int64, ascending; canonical impacts float32); raises IndexError."""
        row = self.rows(doc_id, doc_id + 1)
        return row.indices.astype(np.int64), row.data

    def rows(self, start: int, stop: int) -> csr_array:
        """Return documents start .. stop as float32 csr_array [stop - start, n_terms]: canonical impacts, terms
        ascending.

        Raises IndexError for a range outside the collection.
        """
        if not 0 <= start <= stop <= self.n_docs:
            raise IndexError(f"documents {start} to {stop} are not in an index of {self.n_docs}")
        segment = self._segment
        indptr = np.zeros(stop - start + 1, dtype=np.int64)
        lines = segment.lines_of(slice(start, stop))
        count_terms(lines, segment.documents, indptr[1:])
        np.cumsum(indptr, out=indptr)
        numbers = np.empty(int(indptr[-1]), dtype=segment.term_type)
        impacts = np.empty(int(indptr[-1]), dtype=segment.impacts.dtype)
        read_documents(lines, segment.documents, numbers, impacts)
        values = impacts.view(np.float16) if impacts.dtype == np.uint16 else impacts
        # A damaged file may hold any number: it is cut off, as in a kernel.
        terms = segment.terms[np.minimum(numbers, max(0, len(segment.terms) - 1))].astype(np.int64)
        rows = csr_array((values.astype(np.float32), terms, indptr), shape=(stop - start, self.n_terms))
        rows.sort_indices()
        return rows

    def document_frequencies(self, term_ids: ArrayLike) -> NDArray[np.int64]:
        """Return in how many documents each term occurs, int64[len(term_ids)]; 0 for an unknown term."""
        ids = np.atleast_1d(np.asarray(term_ids)).astype(np.int64)
        found, numbers = self._numbers(ids)
        result = np.zeros(len(ids), dtype=np.int64)
        result[found] = self._segment.frequencies[numbers]
        return result

    def warm(self) -> None:
        """Compile or load every kernel that a search of this index may need, so that the first query does not wait."""
        if self.n_docs == 0 or self.nnz == 0:
            return
        term = self._segment.terms[:1].astype(np.int64)
        weight = np.ones(1, dtype=np.float32)
        self.search_one(term, weight, 1)
        self.search_one(term, weight, 1, exact=True)
        self.search_one(term, weight, 1, allowed=np.ones(self.n_docs, dtype=np.bool_))
        self.score(term, weight, np.zeros(1, dtype=np.int64))
        self.matching(term)

    def _numbered(self, rows: Rows) -> Queries:
        """Return checked rows in the segment's numbers, without the terms that the segment does not hold."""
        found, numbers = self._numbers(rows.terms)
        kept = np.zeros(len(rows.terms) + 1, dtype=np.int64)
        np.cumsum(found, out=kept[1:])
        return Queries(kept[rows.indptr], numbers, rows.values[found])

    def _numbers(self, ids: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
        """Return (which of `ids` the segment holds bool[n], the segment's numbers of those)."""
        lookup = self._segment.lookup_ids
        if len(lookup) == 0:
            return np.zeros(len(ids), dtype=np.bool_), np.empty(0, dtype=np.uint32)
        at = np.minimum(np.searchsorted(lookup, ids), len(lookup) - 1)
        found = lookup[at] == ids
        return found, self._segment.lookup_numbers[at[found]]


def _stored_calibration(folder: Path, manifest: dict[str, Any]) -> Calibration | None:
    if "calibration" not in manifest:
        return None
    try:
        return Calibration.from_json(manifest["calibration"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IndexCorrupt(folder / MANIFEST, f"the calibration is not readable ({error!r})") from None


def _stored_choice(folder: Path, manifest: dict[str, Any]) -> Choice | None:
    if "choice" not in manifest:  # an older version built it
        return None
    try:
        return Choice.from_json(manifest["choice"])
    except (KeyError, TypeError, AttributeError) as error:
        raise IndexCorrupt(folder / MANIFEST, f"the choice is not readable ({error!r})") from None
