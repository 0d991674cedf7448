"""`SparseIndex`: the one public class of this package.

It holds a segment's arrays, in memory or mapped from a folder, checks what it is asked, and hands the work to the
kernels. Searching is safe from many threads; nothing it holds changes after it was built or opened.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from index import exact as exact_search
from index.approximate import HEAP_FACTOR, QUERY_CUT, Queries, ScratchPool, approximate_search
from index.build import Progress, build_arrays
from index.config import IMPACT_DTYPES, IndexConfig
from index.errors import IndexCorrupt, SearchParameterError, SearchStopped, VectorError
from index.scoring import score_rows
from index.segment import ARRAYS, Segment, freeze, open_segment
from index.storage import Problem, new_folder, read_manifest, verify_index, write_manifest
from index.vectors import check_query, check_rows

# Below this share of allowed documents, scoring them directly beats searching for them.
_FEW = 0.01
# Postings a query whose lists are added up whole: about what a candidate search takes.
_CHEAP = 50_000
# Queries searched in one go, between which a deadline is looked at.
_CHUNK = 32
_EVERYTHING = np.zeros(0, dtype=np.bool_)
_EVERYTHING.setflags(write=False)
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)


class TopK(NamedTuple):
    """The best documents of each query: ids int64[n, k], -1 where there are fewer; scores float32[n, k], 0 there."""

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]


class _Settings(NamedTuple):
    """How to search, checked."""

    exact: bool
    by_knobs: bool  # the caller chose the knobs, so they are what is used
    query_cut: int
    heap_factor: float
    allowed: NDArray[np.bool_]


class SparseIndex:
    """An immutable index over sparse vectors. Make one with `build` or `open`."""

    def __init__(self, segment: Segment, config: IndexConfig, path: Path | None) -> None:
        self._segment = segment
        self._config = config
        self._path = path
        self._scratch = ScratchPool(segment)

    @classmethod
    def build(
        cls,
        vectors: csr_array | Iterable[csr_array],
        config: IndexConfig | None = None,
        path: Path | str | None = None,
        threads: int | None = None,
        progress: Progress | None = None,
    ) -> SparseIndex:
        """Build an index over the rows of `vectors`; row i becomes doc_id i.

        vectors    float32 csr_array [n, terms], or an iterable of them, whose rows are numbered on; later batches may
                   be wider. Weights are finite and not negative, term ids rise within a row.
        path       the folder to write to, which must not be there yet; without it the index lives in memory
        threads    at most this many at once; the result does not depend on it. None: all cores
        progress   called with (stage, done, total)

        Raises VectorError, ConfigError, FileExistsError, OSError (a full disk). Whatever stops it, nothing half-written
        is left behind.
        """
        config = IndexConfig() if config is None else config
        workers = len(os.sched_getaffinity(0)) if threads is None else _whole("threads", threads)
        if path is None:
            return cls(freeze(*build_arrays(vectors, config, workers, progress)), config, None)
        target = Path(path)
        with new_folder(target) as folder:
            counts, arrays = build_arrays(vectors, config, workers, progress)
            for name in ARRAYS:
                np.save(folder / f"{name}.npy", arrays[name], allow_pickle=False)
            write_manifest(folder, {**counts, "config": config.to_json()})
        return cls.open(target)

    @classmethod
    def open(cls, path: Path | str, verify: Literal["metadata", "full"] = "metadata") -> SparseIndex:
        """Map the index in folder `path`.

        verify   "metadata" checks sizes, headers and offsets; "full" reads every byte and compares the checksums

        Raises IndexCorrupt naming the file, IndexFormatUnsupported for a newer format.
        """
        folder = Path(path)
        if verify not in ("metadata", "full"):
            raise SearchParameterError(f'verify must be "metadata" or "full", not {verify!r}')
        manifest = read_manifest(folder)
        if verify == "full" and (problems := verify_index(folder)):
            raise IndexCorrupt(*problems[0])
        segment = open_segment(folder, manifest)
        return cls(segment, IndexConfig.from_json(manifest["config"]), folder)

    @property
    def n_docs(self) -> int:
        """Documents, empty ones included."""
        return self._segment.n_docs

    @property
    def n_terms(self) -> int:
        """Columns of the vectors that went in."""
        return self._segment.n_terms

    @property
    def nnz(self) -> int:
        """Impacts stored."""
        return self._segment.nnz

    @property
    def bytes(self) -> int:
        """Size of all arrays."""
        return self._segment.bytes

    @property
    def config(self) -> IndexConfig:
        """What it was built with."""
        return self._config

    @property
    def path(self) -> Path | None:
        """The folder it is mapped from, or None."""
        return self._path

    def __repr__(self) -> str:
        where = "in memory" if self._path is None else str(self._path)
        return f"SparseIndex({self.n_docs} documents, {self.n_terms} terms, {self.nnz} impacts, {where})"

    def verify(self) -> list[Problem]:
        """Return the damaged files of the folder, each with the reason; an index in memory has none."""
        return [] if self._path is None else verify_index(self._path)

    def search(
        self,
        queries: csr_array,
        k: int = 10,
        *,
        exact: bool = False,
        recall: float | None = None,
        query_cut: int | None = None,
        heap_factor: float | None = None,
        n_knn: int = 0,
        allowed: NDArray[np.bool_] | None = None,
        threads: int = 1,
        should_stop: Callable[[], bool] | None = None,
    ) -> TopK:
        """Return the best k documents of each row of `queries`, a csr_array [n, terms]. Keywords as in `search_one`.

        Columns beyond the index's own match nothing. Raises VectorError, SearchParameterError, SearchStopped.
        """
        rows = check_rows(queries, what="query")
        threads, k = _whole("threads", threads), _whole("k", k)
        settings = self._settings(exact, recall, query_cut, heap_factor, n_knn, allowed)
        found, numbers = self._numbers(rows.terms)
        kept = np.zeros(len(rows.terms) + 1, dtype=np.int64)
        np.cumsum(found, out=kept[1:])
        start, weights = kept[rows.indptr], rows.values[found]
        n = len(start) - 1
        top = TopK(np.full((n, k), -1, dtype=np.int64), np.zeros((n, k), dtype=np.float32))

        def work(first: int) -> None:
            stop = min(n, first + _CHUNK)
            at = slice(int(start[first]), int(start[stop]))
            chunk = Queries(start[first : stop + 1] - start[first], numbers[at], weights[at])
            for i, (ids, scores) in enumerate(self._search(chunk, k, settings, False, should_stop)):
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
        exact: bool = False,
        recall: float | None = None,
        query_cut: int | None = None,
        heap_factor: float | None = None,
        n_knn: int = 0,
        allowed: NDArray[np.bool_] | None = None,
        ties: bool = False,
        should_stop: Callable[[], bool] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the best documents of one query: (doc_ids int64[m], canonical scores float32[m]), m <= k.

        term_ids, weights   the query, in any order, each term once; ids beyond the index's own match nothing
        exact               rank-safe, instead of approximate
        recall              the recall@k to aim at, below 1; instead of the next two. An index without a measured curve
                            searches exactly
                            (so does a query whose lists are so short that this is as fast, and every query of a
                            collection of flat impacts, such as BM25's, unless the knobs are given)
        query_cut           how many of the heaviest query terms lead to candidates
        heap_factor         above 0 and at most 1: lower looks at more blocks
        n_knn               neighbours of each hit to look at too; this index has none, so 0
        allowed             bool[n_docs]: search only these documents
        ties                with exact, also all that score as the k-th does, so m may exceed k
        should_stop         asked between chunks of work; True raises SearchStopped

        By falling score, then rising doc_id. A document that shares no term with the query is no match; m < k means
        that no more match. Safe to call from many threads. Raises VectorError, SearchParameterError.
        """
        k = _whole("k", k)
        settings = self._settings(exact, recall, query_cut, heap_factor, n_knn, allowed)
        ids, values = check_query(term_ids, weights)
        found, numbers = self._numbers(ids)
        query = Queries(np.array([0, len(numbers)]), numbers, values[found])
        return self._search(query, k, settings, ties, should_stop)[0]

    def _settings(
        self,
        exact: bool,
        recall: float | None,
        query_cut: int | None,
        heap_factor: float | None,
        n_knn: int,
        allowed: NDArray[np.bool_] | None,
    ) -> _Settings:
        _check_knobs(recall, query_cut, heap_factor, n_knn)
        return _Settings(
            # A recall target that this index has no measured curve for is met by the search that misses nothing.
            exact or recall is not None,
            query_cut is not None or heap_factor is not None,
            QUERY_CUT if query_cut is None else query_cut,
            HEAP_FACTOR if heap_factor is None else heap_factor,
            self._check_allowed(allowed),
        )

    def _search(
        self, queries: Queries, k: int, settings: _Settings, ties: bool, should_stop: Callable[[], bool] | None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Return each query's (doc_ids, scores): the approximate ones together, the exact ones one by one."""
        segment = self._segment
        if should_stop is not None and should_stop():
            raise SearchStopped("the search was stopped before it was done")
        for i in range(len(queries.start) - 1):
            total = queries.weights[queries.start[i] : queries.start[i + 1]].sum(dtype=np.float64)
            if total * segment.max_impact > _LARGEST_FLOAT32:
                raise VectorError("a query's weights are so large that a score would be more than a float32 can hold")
        few = None
        if len(settings.allowed) and np.count_nonzero(settings.allowed) <= max(k, _FEW * self.n_docs):
            few = np.flatnonzero(settings.allowed)
        exactly = self._to_search_exactly(queries, settings)
        results = []
        with self._scratch.take() as scratch:
            found = None
            if few is None and not exactly.all():
                found = approximate_search(
                    segment, scratch, queries, k, settings.query_cut, settings.heap_factor, settings.allowed
                )
            for i in range(len(queries.start) - 1):
                at = slice(int(queries.start[i]), int(queries.start[i + 1]))
                terms, weights = queries.terms[at], queries.weights[at]
                if len(terms) == 0:
                    results.append((np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)))
                elif few is not None:
                    scratch.table[terms] = weights
                    results.append(exact_search.score_few(segment, scratch.table, k, few, ties))
                    scratch.table[terms] = 0
                elif found is not None and not exactly[i] and found[2][i] == k:
                    results.append((found[0][i], found[1][i]))
                else:
                    # If fewer than k were found, whether there are k is for the exact search to say.
                    results.append(
                        exact_search.search_exact(
                            segment, terms, weights, scratch.table, k, settings.allowed, ties, should_stop
                        )
                    )
        return results

    def _to_search_exactly(self, queries: Queries, settings: _Settings) -> NDArray[np.bool_]:
        """Return which queries to search exactly, bool[n]: all, if asked for; else those that are as fast that way."""
        n = len(queries.start) - 1
        if settings.exact or settings.by_knobs or not self._segment.has_exact_lists:
            return np.full(n, settings.exact)
        if self._segment.is_flat:
            return np.ones(n, dtype=np.bool_)
        postings = np.zeros(len(queries.terms) + 1, dtype=np.int64)
        np.cumsum(self._segment.frequencies[queries.terms], out=postings[1:])
        cheap: NDArray[np.bool_] = np.diff(postings[queries.start]) <= _CHEAP
        return cheap

    def document(self, doc_id: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return a document's (collection term ids int64, rising; canonical impacts float32); raises IndexError."""
        row = self.rows(doc_id, doc_id + 1)
        return row.indices.astype(np.int64), row.data

    def rows(self, start: int, stop: int) -> csr_array:
        """Return documents start .. stop as float32 csr_array [stop - start, n_terms]: canonical impacts, terms rising.

        Raises IndexError for a range outside of the collection.
        """
        if not 0 <= start <= stop <= self.n_docs:
            raise IndexError(f"documents {start} to {stop} are not in an index of {self.n_docs}")
        segment = self._segment
        at = slice(int(segment.forward_start[start]), int(segment.forward_start[stop]))
        impacts = segment.forward_impacts[at]
        values = impacts.view(np.float16) if impacts.dtype == np.uint16 else impacts
        terms = segment.terms[segment.forward_terms[at]].astype(np.int64)
        indptr = segment.forward_start[start : stop + 1] - segment.forward_start[start]
        return csr_array((values.astype(np.float32), terms, indptr), shape=(stop - start, self.n_terms))

    def document_frequencies(self, term_ids: ArrayLike) -> NDArray[np.int64]:
        """Return in how many documents each term occurs, int64[len(term_ids)]; 0 for one that is not in the index."""
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

    def _numbers(self, ids: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.uint32]]:
        """Return (which of `ids` the segment holds bool[n], the segment's numbers of those)."""
        lookup = self._segment.lookup_ids
        if len(lookup) == 0:
            return np.zeros(len(ids), dtype=np.bool_), np.empty(0, dtype=np.uint32)
        at = np.minimum(np.searchsorted(lookup, ids), len(lookup) - 1)
        found = lookup[at] == ids
        return found, self._segment.lookup_numbers[at[found]]

    def _check_allowed(self, allowed: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        if allowed is None or self.n_docs == 0:
            return _EVERYTHING
        if not isinstance(allowed, np.ndarray) or allowed.dtype != np.bool_ or allowed.shape != (self.n_docs,):
            raise SearchParameterError(f"allowed must be a bool array of {self.n_docs} documents")
        view = np.ascontiguousarray(allowed).view()
        view.setflags(write=False)
        return view


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise SearchParameterError(f"{name} must be a whole number above 0, not {value!r}")
    return int(value)


def _check_knobs(recall: float | None, query_cut: int | None, heap_factor: float | None, n_knn: int) -> None:
    if recall is not None and not 0.0 < recall < 1.0:
        raise SearchParameterError(f"recall must be above 0 and below 1 (exact=True gives 1), not {recall!r}")
    if recall is not None and (query_cut is not None or heap_factor is not None):
        raise SearchParameterError("give a recall target or the knobs query_cut and heap_factor, not both")
    if query_cut is not None:
        _whole("query_cut", query_cut)
    if heap_factor is not None and not 0.0 < heap_factor <= 1.0:
        raise SearchParameterError(f"heap_factor must be above 0 and at most 1, not {heap_factor!r}")
    if isinstance(n_knn, bool) or not isinstance(n_knn, int) or n_knn < 0:
        raise SearchParameterError(f"n_knn must be a whole number, not {n_knn!r}")
    if n_knn > 0:
        raise SearchParameterError("n_knn must be 0: this index was built without a graph of nearest neighbours")


def warm_kernels() -> None:
    """Compile or load every kernel that a search may need, for every form of segment: what to do before serving.

    Afterwards no search of any index compiles anything. Takes seconds with an empty kernel cache, else well under one.
    """
    # More than 65,536 terms are numbered with 32 bits.
    for n_terms in (2, 2**16 + 2):
        weights = np.ones(n_terms + 1, dtype=np.float32)
        terms = np.append(np.arange(n_terms), 0)
        vectors = csr_array((weights, terms, [0, n_terms, n_terms + 1]), shape=(2, n_terms))
        for dtype in IMPACT_DTYPES:
            for exact_lists in (False, True):
                config = IndexConfig(impact_dtype=dtype, short_list=1, exact_lists=exact_lists)
                SparseIndex.build(vectors, config, threads=1).warm()
            score_rows(vectors, [0], [1.0], impact_dtype=dtype)
