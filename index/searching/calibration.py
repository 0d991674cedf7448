"""The measured curve: which search parameters reach which recall, at the least cost.

`calibrate` searches sample queries with a grid of search parameters, compares with the exact result, and keeps the
settings that no other beats in recall and cost. The curve is stored with the index, and `search(..., recall=r)` uses
the cheapest setting whose recall was at least r; nothing is interpolated between points. Two rules make it cautious:

* A setting's recall counts as the mean less two standard errors, or less one hit in the whole sample if that is more: a
  sample of a few hundred queries shows no more.
* For a k between two measured ones, the more thorough of both settings is used. For a target that no setting reached,
  and for a k above the largest measured, search is exact.

The cost of a setting is counted, not timed: blocks estimated, blocks visited, documents scored by their sketch,
documents scored further, each times its measured nanoseconds. So a busy machine chooses as an idle one does.

The result depends on the sample. Documents are not like queries: they are long, and each finds itself, which does not
count as a hit. Given queries are best, short texts such as titles come next; without any, `pseudo_queries` builds some
from a few terms of documents, and more is counted as missed than these miss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index.arrays.segment import Segment
from index.kernels.candidate_arrays import CandidateParameters, Queries
from index.kernels.heap import best_of
from index.kernels.many_queries import search_rows
from index.searching.approximate import Scratch, approximate_search
from index.searching.parameters import EVERYTHING, HEAP_FACTOR, QUERY_CUT

Hits = tuple[NDArray[np.int64], NDArray[np.float32]]

# The measured k, each with the largest number of queries: recall@1000 is a mean over a hundred times the hits.
SAMPLE: Mapping[int, int] = {10: 400, 100: 150, 1000: 50}
# The same for a build that measures on its own documents: fewer, so that measuring stays a small part of the build.
BUILD_SAMPLE: Mapping[int, int] = {10: 200, 100: 50, 1000: 10}
QUERY_CUTS = (3, 4, 5, 6, 8, 10, 12, 16, 24)
BETAS = (0.65, 0.75, 0.85)  # tried where the build's own is lower, with the settings that the grid has left
HEAP_FACTORS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
_ENOUGH = 0.9995  # recall above which no more thorough setting is tried
_NO_GAIN = 0.0003  # less additional recall for a lower factor means that the lists hold no more
# Standard errors by which a setting's mean must exceed a target. Of many settings measured on the same sample the
# chosen one was lucky: with one standard error held-out queries missed targets of .99 and .998.
_ERRORS = 2.0
# Queries miss more than documents used as queries: this times as much, and this in addition (docs/decisions/0110).
_MISSED_TIMES, _MISSED_MORE = 2.0, 0.006
_ROWS = 8192
# Nanoseconds for a block estimated, a block visited, a document scored by its sketch, a document scored further.
_COSTS = np.array([24.0, 200.0, 35.0, 180.0])


class Choice(NamedTuple):
    """A setting for a recall target: the recall that is expected of it (None: not measured), and its cost in
    nanoseconds per query."""

    parameters: CandidateParameters
    expected_recall: float | None
    cost: float


class Point(NamedTuple):
    """One setting: mean recall on the sample, a floor that this is safely above, cost in nanoseconds per query."""

    recall: float
    floor: float
    query_cut: int
    heap_factor: float
    beta: float
    cost: float

    @property
    def parameters(self) -> CandidateParameters:
        """The setting itself."""
        return CandidateParameters(self.query_cut, self.heap_factor, self.beta)


@dataclass(frozen=True)
class Calibration:
    """The curves of one index, by k, each by ascending floor and cost; when they were measured, and on which sample.

    `usual` is, by k, the setting of a search that names none; it may lie below the curve. Empty if an older version
    measured.
    """

    made: str
    source: str
    queries: int
    curves: Mapping[int, tuple[Point, ...]]
    usual: Mapping[int, Point] = field(default_factory=dict)

    def parameters(self, k: int, recall: float) -> CandidateParameters | None:
        """Return the parameters of `choose`."""
        choice = self.choose(k, recall)
        return None if choice is None else choice.parameters

    def choose(self, k: int, recall: float) -> Choice | None:
        """Return the cheapest setting that reached `recall` at k; None if none did, or k is above all measured ones.

        For a k between two measured ones: of each parameter the more thorough value of the two settings, with the
        lower recall and the higher cost of both.
        """
        above = min((measured for measured in self.curves if measured >= k), default=None)
        if above is None:
            return None
        below = max((measured for measured in self.curves if measured <= k), default=above)
        one, other = self._cheapest(below, recall), self._cheapest(above, recall)
        if one is None or other is None:
            return None
        parameters = CandidateParameters(
            max(one.query_cut, other.query_cut), min(one.heap_factor, other.heap_factor), min(one.beta, other.beta)
        )
        return Choice(parameters, min(one.recall, other.recall), max(one.cost, other.cost))

    def _cheapest(self, k: int, recall: float) -> Point | None:
        return next((point for point in self.curves[k] if point.floor >= recall), None)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        curves = {str(k): [point._asdict() for point in points] for k, points in self.curves.items()}
        usual = {str(k): point._asdict() for k, point in self.usual.items()}
        return {"made": self.made, "source": self.source, "queries": self.queries, "curves": curves, "usual": usual}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration that `to_json` wrote; raises KeyError, TypeError, ValueError for other values."""
        curves = {int(k): tuple(map(_point, points)) for k, points in values["curves"].items()}
        usual = {int(k): _point(point) for k, point in values.get("usual", {}).items()}
        return cls(str(values["made"]), str(values["source"]), int(values["queries"]), curves, usual)


def _point(values: Mapping[str, Any]) -> Point:
    return Point(
        float(values["recall"]),
        float(values["floor"]),
        int(values["query_cut"]),
        float(values["heap_factor"]),
        float(values["beta"]),
        float(values["cost"]),
    )


def calibrate(
    segment: Segment,
    rows: Callable[[int, int], csr_array],
    sample: csr_array,
    queries: Queries,
    source: str,
    threads: int,
    *,
    from_documents: bool = False,
    sizes: Mapping[int, int] = SAMPLE,
) -> Calibration:
    """Measure the curves of a segment.

    rows       returns documents start .. stop as csr_array, in the terms of `sample`
    sample     the queries as float32 csr_array [n, n_terms]; `queries` the same in the segment's own numbers
    source     where they come from, for the record
    from_documents   the queries are the segment's own documents: that a query finds its own does not count
    sizes      the measured k, each with the largest number of queries

    A segment that is flat, or has no blocks, has no curves: it is searched exactly.
    """
    n = len(queries.start) - 1
    curves: dict[int, tuple[Point, ...]] = {}
    usual: dict[int, Point] = {}
    default = CandidateParameters(QUERY_CUT, HEAP_FACTOR, segment.beta)
    wanted = [k for k in sizes if k <= segment.n_docs] or [max(1, segment.n_docs)]
    if segment.has_blocks and not segment.is_flat and n and len(queries.terms):
        truth = exact_top(rows, segment.n_docs, sample, max(wanted))
        with ThreadPoolExecutor(threads) as pool:
            for k in wanted:
                part = _first(queries, min(n, sizes.get(k, n)))
                measure = partial(_measure, segment, part, truth, k, from_documents)
                by_cut = pool.map(partial(_measure_cut, measure, segment.beta), QUERY_CUTS)
                points = [point for points in by_cut for point in points]
                front = _front(points)
                usual[k] = next((one for one in points if one.parameters == default), None) or measure(default)
                sharper = [
                    point.parameters._replace(beta=beta) for point in front for beta in BETAS if beta > segment.beta
                ]
                curves[k] = _front([*front, *pool.map(measure, sharper)])
    return Calibration(datetime.now(UTC).isoformat(timespec="seconds"), source, n, curves, usual)


def exact_top(rows: Callable[[int, int], csr_array], n_docs: int, sample: csr_array, k: int) -> list[Hits]:
    """Return each query's best k (doc_ids, canonical scores), by descending score, then ascending id, in one pass."""
    n = sample.shape[0]
    by_term = sample.tocsc()
    start, numbers = by_term.indptr.astype(np.int64), by_term.indices.astype(np.int64)
    weights = by_term.data.astype(np.float32)
    sums, sizes = np.zeros(n, dtype=np.float64), np.zeros(n, dtype=np.int64)
    heaps = np.zeros((n, min(k, n_docs)), dtype=np.int64)
    for first in range(0, n_docs, _ROWS):
        part = rows(first, min(n_docs, first + _ROWS))
        indptr, terms = part.indptr.astype(np.int64), part.indices.astype(np.int64)
        search_rows(first, indptr, terms, part.data, start, numbers, weights, sums, heaps, sizes)
    found = []
    for q in range(n):
        ids, scores = np.empty(sizes[q], dtype=np.int64), np.empty(sizes[q], dtype=np.float32)
        best_of(heaps[q, : sizes[q]], ids, scores)
        found.append((ids, scores))
    return found


def pseudo_queries(segment: Segment, rows: Callable[[int, int], csr_array], n: int, n_terms: int) -> csr_array:
    """Return queries built from documents, float32 csr_array [n, terms]: each the n_terms heaviest terms of one.

    The documents are evenly spaced, in an order that is the same for each index, so that the first ones are a sample,
    too.
    """
    chosen = np.unique(np.linspace(0, segment.n_docs - 1, min(n, segment.n_docs)).astype(np.int64))
    chosen = np.random.default_rng(0).permutation(chosen)
    indices, data, lengths = [], [], [0]
    for doc in chosen.tolist():
        row = rows(doc, doc + 1)
        heaviest = np.sort(np.argsort(-row.data, kind="stable")[:n_terms])
        indices.append(row.indices[heaviest])
        data.append(row.data[heaviest])
        lengths.append(len(heaviest))
    shape = (len(chosen), segment.n_terms)
    return csr_array((np.concatenate(data), np.concatenate(indices), np.cumsum(lengths)), shape=shape)


def _measure(
    segment: Segment,
    queries: Queries,
    truth: Sequence[Hits],
    k: int,
    from_documents: bool,
    parameters: CandidateParameters,
) -> Point:
    """Return the recall and the cost of one setting, see `calibrate`."""
    own = int(from_documents)
    scratch = Scratch(segment)
    n = len(queries.start) - 1
    _, scores, found = approximate_search(segment, scratch, queries, k, parameters, EVERYTHING)
    recalls = []
    for q in range(n):
        expected = truth[q][1][:k]
        # By score: of documents that tie at the k-th place, each is right.
        if len(expected) > own:
            hits = int(np.count_nonzero(scores[q, : found[q]] >= expected[-1])) - own
            recalls.append(max(0, hits) / (len(expected) - own))
    values = np.array(recalls) if recalls else np.ones(1)
    doubt = max(_ERRORS * float(values.std()) / np.sqrt(len(values)), 1.0 / (k * len(values)))
    cost = float(scratch.candidates.counters @ _COSTS) / n
    recall, floor = float(values.mean()), float(values.mean() - doubt)
    if from_documents:
        recall, floor = (max(0.0, 1.0 - _MISSED_TIMES * (1.0 - one) - _MISSED_MORE) for one in (recall, floor))
    return Point(recall, floor, *parameters[:3], cost)


def _measure_cut(measure: Callable[[CandidateParameters], Point], beta: float, cut: int) -> list[Point]:
    """Return the points of one query_cut, by descending heap_factor, until a lower one gains nothing."""
    points: list[Point] = []
    for factor in HEAP_FACTORS:
        points.append(measure(CandidateParameters(cut, factor, beta)))
        gain = points[-1].recall - points[-2].recall if len(points) > 1 else 1.0
        if points[-1].recall >= _ENOUGH or gain < _NO_GAIN:
            break
    return points


def _front(points: list[Point]) -> tuple[Point, ...]:
    """Return the points that no other beats in floor and cost, by ascending cost."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.cost, -point.floor)):
        if not front or point.floor > front[-1].floor:
            front.append(point)
    return tuple(front)


def _first(queries: Queries, n: int) -> Queries:
    end = int(queries.start[n])
    return Queries(queries.start[: n + 1], queries.terms[:end], queries.weights[:end])
