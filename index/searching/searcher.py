"""How a checked query is searched.

* Few documents allowed: they are scored directly.
* Exact, on request, or because it is as fast: the index has unpruned postings and either the query's lists are short or
  the collection is flat (see `Segment.is_flat`).
* Otherwise approximate, with the search parameters given, or those that the measured curve has for a recall target. A
  query that found fewer than k documents is then searched exactly, which shows whether k match.

A recall target never costs more than exact search: where that is cheaper than the setting for the target, it is used.
An index that was not calibrated is searched thoroughly for a target, with an unknown recall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from index.arrays.segment import Segment
from index.errors import SearchStopped, VectorError
from index.kernels.candidate_arrays import CandidateParameters, Queries
from index.kernels.few import list_allowed
from index.kernels.forward import score_documents
from index.kernels.query import number_query
from index.searching import exact as exact_search
from index.searching.approximate import Scratch, ScratchPool, approximate_search
from index.searching.calibration import Calibration, Choice
from index.searching.parameters import HEAP_FACTOR, QUERY_CUT, SearchParameters, Selection
from index.vectors import check_query

ShouldStop = Callable[[], bool]
Hits = tuple[NDArray[np.int64], NDArray[np.float32]]

# Below this share of allowed documents, scoring them directly is faster than a search.
_FEW = 0.01
# Postings of a query up to which exact search costs about as much as a candidate search.
_FEW_POSTINGS = 50_000
# Nanoseconds of exact search without unpruned postings for a document, measured on two-core machines.
_DOCUMENT_COST = 57.0
# For a recall target where none was measured: up to this target, query_cut and heap_factor. On SPLADE-like vectors
# these find a little more (0113). Their cost is that of the most thorough one there.
_UNMEASURED = ((0.95, 12, 0.7), (0.99, 16, 0.5), (1.0, 24, 0.3))
_UNMEASURED_COST = 500_000.0
_LARGEST_FLOAT32 = float(np.finfo(np.float32).max)
_NOTHING: Hits = (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32))


class Answer(NamedTuple):
    """One query's doc_ids int64[m] and scores float32[m], best first; whether a candidate search found them.

    expected_recall   the share of the true best that these are expected to hold: 1 after exact search, the measured
                      one for a recall target, None where nothing was measured
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    approximate: bool
    expected_recall: float | None


class Searcher:
    """Searches one segment. Safe to use from many threads."""

    def __init__(self, segment: Segment, calibration: Calibration | None = None) -> None:
        self.segment = segment
        self.calibration = calibration
        self.scratch = ScratchPool(segment)

    def search_one(
        self,
        term_ids: NDArray[Any],
        weights: NDArray[Any],
        selection: Selection,
        parameters: SearchParameters,
        should_stop: ShouldStop | None,
    ) -> Answer:
        """Return one query's answer; raises VectorError, SearchStopped.

        term_ids, weights   a query as the caller passed it, not checked yet
        """
        _check_deadline(should_stop)
        if term_ids.dtype.kind != "i" or weights.dtype != np.float32 or term_ids.shape != weights.shape:
            term_ids, weights = check_query(term_ids, weights)
        scratch = self.scratch.take()
        n, query = self._number(term_ids, weights, scratch)
        if n < 0:
            n, query = self._number(*check_query(term_ids, weights), scratch)
        self._check_total(float(scratch.totals[0]))
        few = self._few(selection)
        found = None
        if n > 0 and few is None and not self._exact_is_as_fast(float(scratch.totals[1]), parameters):
            choice = self._choose(selection.k, parameters)
            if choice is not None and not self._exact_is_cheaper(float(scratch.totals[1]), choice, parameters):
                ids, scores, counts = approximate_search(
                    self.segment, scratch, query, selection.k, choice.parameters, selection.allowed
                )
                if counts[0] == selection.k:
                    found = Answer(ids[0], scores[0], True, choice.expected_recall)
        if found is None:
            hits = self._search_exactly(query.terms, query.weights, selection, few, scratch, should_stop)
            found = Answer(*hits, False, 1.0)
        self.scratch.put_back(scratch)
        return found

    def score(self, term_ids: NDArray[Any], weights: NDArray[Any], doc_ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return one query's canonical scores of the documents, float32[n], -1 for no match; raises VectorError."""
        term_ids, weights = check_query(term_ids, weights)
        scratch = self.scratch.take()
        n, query = self._number(term_ids, weights, scratch)
        self._check_total(float(scratch.totals[0]))
        scores = np.full(len(doc_ids), -1.0, dtype=np.float32)
        if n > 0:
            segment = self.segment
            score_documents(
                segment.lines_of(doc_ids), segment.documents, query.terms, query.weights, scratch.places, scores
            )
        self.scratch.put_back(scratch)
        return scores

    def search_many(
        self, queries: Queries, selection: Selection, parameters: SearchParameters, should_stop: ShouldStop | None
    ) -> list[Hits]:
        """Return each query's (doc_ids, scores): the approximate ones in one call, the exact ones one at a time."""
        _check_deadline(should_stop)
        ends = queries.start[1:]
        totals = np.zeros(len(queries.terms) + 1)
        np.cumsum(queries.weights, out=totals[1:], dtype=np.float64)
        self._check_total(float((totals[ends] - totals[queries.start[:-1]]).max(initial=0.0)))
        np.cumsum(self.segment.frequencies[queries.terms], out=totals[1:], dtype=np.float64)
        postings = totals[ends] - totals[queries.start[:-1]]
        few, choice = self._few(selection), self._choose(selection.k, parameters)
        cheap = np.array([self._is_cheap(float(total), choice, parameters) for total in postings], dtype=np.bool_)
        scratch = self.scratch.take()
        found = None
        if few is None and choice is not None and not cheap.all() and len(queries.terms):
            found = approximate_search(
                self.segment, scratch, queries, selection.k, choice.parameters, selection.allowed
            )
        results = []
        for i in range(len(ends)):
            if found is not None and not cheap[i] and found[2][i] == selection.k:
                results.append((found[0][i], found[1][i]))
            else:
                at = slice(int(queries.start[i]), int(queries.start[i + 1]))
                terms, weights = queries.terms[at], queries.weights[at]
                results.append(self._search_exactly(terms, weights, selection, few, scratch, should_stop))
        self.scratch.put_back(scratch)
        return results

    def _number(self, term_ids: NDArray[Any], weights: NDArray[np.float32], scratch: Scratch) -> tuple[int, Queries]:
        """Return (number of terms that the segment holds, the query in its numbers); -1 if it is not plain."""
        m = len(term_ids)
        scratch.make_room_for_query(m)
        given, values, single, segment = scratch.ids[:m], scratch.values[:m], scratch.single, self.segment
        given[:], values[:] = term_ids, weights
        n = number_query(
            given, values, segment.lookup_ids, segment.lookup_numbers, segment.frequencies, single.terms,
            single.weights, scratch.totals,
        )  # fmt: skip
        single.start[1] = n
        return n, Queries(single.start, single.terms[:n], single.weights[:n]) if n >= 0 else single

    def _check_total(self, weights: float) -> None:
        if weights * self.segment.max_impact > _LARGEST_FLOAT32:
            raise VectorError("a query's weights are so large that a score would not fit in a float32")

    def _exact_is_as_fast(self, postings: float, parameters: SearchParameters) -> bool:
        """Whether the query is searched exactly without a request for it."""
        if not self.segment.has_blocks:
            return True
        approximate = parameters.query_cut is not None or parameters.heap_factor is not None or bool(parameters.n_knn)
        if approximate or not self.segment.has_exact_lists:
            return False
        return self.segment.is_flat or postings <= _FEW_POSTINGS

    def _exact_is_cheaper(self, postings: float, choice: Choice, parameters: SearchParameters) -> bool:
        """Whether exact search costs less than the setting for a recall target."""
        if parameters.recall is None:
            return False
        segment = self.segment
        if segment.has_exact_lists:
            cost = exact_search.POSTING_COST * postings + exact_search.SUM_COST * segment.n_docs
        else:
            cost = _DOCUMENT_COST * segment.n_docs
        return cost <= choice.cost

    def _is_cheap(self, postings: float, choice: Choice | None, parameters: SearchParameters) -> bool:
        return self._exact_is_as_fast(postings, parameters) or (
            choice is not None and self._exact_is_cheaper(postings, choice, parameters)
        )

    def _choose(self, k: int, parameters: SearchParameters) -> Choice | None:
        """Return the setting of the candidate search, or None for an exact search."""
        if parameters.exact or not self.segment.has_blocks:
            return None
        beta = self.segment.beta
        if parameters.recall is not None:
            if self.calibration is not None:
                return self.calibration.choose(k, parameters.recall)
            target = parameters.recall
            cut, factor = next((cut, factor) for most, cut, factor in _UNMEASURED if target <= most)
            return Choice(CandidateParameters(cut, factor, beta), None, _UNMEASURED_COST)
        cut = QUERY_CUT if parameters.query_cut is None else int(parameters.query_cut)
        factor = HEAP_FACTOR if parameters.heap_factor is None else parameters.heap_factor
        return Choice(CandidateParameters(cut, factor, beta, parameters.n_knn or 0), None, 0.0)

    def _few(self, selection: Selection) -> NDArray[np.int64] | None:
        """Return the allowed documents if they are so few that scoring them directly is faster, else None."""
        allowed = selection.allowed
        if not len(allowed):
            return None
        found = np.empty(max(selection.k, int(_FEW * self.segment.n_docs)), dtype=np.int64)
        n = list_allowed(allowed[: len(allowed) // 8 * 8].view(np.uint64), allowed, found)
        return found[:n] if n >= 0 else None

    def _search_exactly(
        self,
        terms: NDArray[np.uint32],
        weights: NDArray[np.float32],
        selection: Selection,
        few: NDArray[np.int64] | None,
        scratch: Scratch,
        should_stop: ShouldStop | None,
    ) -> Hits:
        """Return the exact hits of a query in the segment's own term numbers."""
        if len(terms) == 0:
            return _NOTHING
        if few is not None:
            return exact_search.score_few(self.segment, terms, weights, scratch, selection.k, few, selection.ties)
        return exact_search.search_exact(self.segment, terms, weights, scratch, *selection, should_stop)


def _check_deadline(should_stop: ShouldStop | None) -> None:
    if should_stop is not None and should_stop():
        raise SearchStopped("the search was stopped before it was finished")
