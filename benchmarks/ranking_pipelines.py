"""The pipelines of benchmarks/ranking_study.py over exact scores: fusion, rescoring, nDCG@10, as NumPy.

A set's sparse legs are scored for every document. A pipeline sees of each leg's list what its depth allows; with
`completed`, every candidate of the union has its score in every leg.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks.ranking_vectors import read_matrix

Floats = NDArray[np.float32]
Values = dict[str, NDArray[np.float64]]  # a row of a table -> nDCG@10 of each query

SPARSE = ("lsr-mini", "bm25")
_DEPTH = 10
_DISCOUNTS = 1.0 / np.log2(np.arange(2, _DEPTH + 2))
_FAR = 1_000_000  # the rank of a document that a list does not hold


class Collection:
    """One set: exact scores of every document in every leg, float32 [queries, documents], and its judgements."""

    def __init__(self, cache: Path, name: str) -> None:
        self.name = name
        self._cache = cache
        kept = self.part("judgements")
        bm25, mini = self.part("bm25"), self.part("mini")
        self.documents = {"bm25": read_matrix(bm25, "d"), "lsr-mini": read_matrix(mini, "d")}
        self.queries = {"bm25": read_matrix(bm25, "q"), "lsr-mini": read_matrix(mini, "q")}
        self.n_queries, self.n_documents = len(kept["lengths"]), len(mini["dense"])
        self.gains = np.zeros((self.n_queries, self.n_documents), dtype=np.float32)
        rows, columns, grades = kept["judgements"].T
        self.gains[rows, columns] = grades
        best = -np.sort(-self.gains, axis=1)[:, :_DEPTH].astype(np.float64)
        self.ideal = best @ _DISCOUNTS[: best.shape[1]]
        self.scores = {leg: sparse_scores(self.queries[leg], self.documents[leg]) for leg in SPARSE}
        self.vectors, self.vector_queries = mini["dense"], mini["dense_q"]
        self.scores["dense"] = self.vector_queries @ self.vectors.T

    def part(self, name: str) -> dict[str, Any]:
        """Return the arrays of a cached part."""
        with np.load(self._cache / f"{self.name}.{name}.npz") as arrays:
            return dict(arrays)


def sparse_scores(queries: csr_array, documents: csr_array) -> Floats:
    """Return the dot products, float32 [queries, documents]."""
    width = max(queries.shape[1], documents.shape[1])
    left = csr_array((queries.data, queries.indices, queries.indptr), shape=(queries.shape[0], width))
    right = csr_array((documents.data, documents.indices, documents.indptr), shape=(documents.shape[0], width))
    scores: Floats = (left @ right.T).toarray().astype(np.float32)
    return scores


class View:
    """The candidates of a set's queries: every document that is among the first `deepest` of a sparse leg.

    Arrays are [queries, widest list of candidates], documents by ascending id; a column that a query does not use has
    no rank below `_FAR`. With `kept`, bool [queries, documents], the other documents do not exist.
    """

    def __init__(
        self, of: Collection, kept: NDArray[np.bool_] | None = None, *, deepest: int = 1000, every: bool = False
    ) -> None:
        self.of = of
        ranks = {leg: _ranks(of.scores[leg], kept, deepest) for leg in SPARSE}
        inside = np.logical_or.reduce([one < deepest for one in ranks.values()])
        if every:
            inside = np.ones_like(inside) if kept is None else kept.copy()
        width = max(int(inside.sum(axis=1).max()), 1)
        # Stable: the columns of a query are its candidates by ascending id, then others.
        self.columns = np.argsort(~inside, axis=1, kind="stable")[:, :width]
        self.used = np.take_along_axis(inside, self.columns, axis=1)
        self.ranks = {leg: self._pick(one) for leg, one in ranks.items()}
        self.raw = {leg: self._pick(one).astype(np.float64) for leg, one in of.scores.items()}
        self.gains = self._pick(of.gains) * self.used
        self.kept = kept

    def _pick(self, matrix: NDArray[Any]) -> NDArray[Any]:
        return np.take_along_axis(matrix, self.columns, axis=1)

    def dense(self, queries: Floats, documents: Floats) -> NDArray[np.float64]:
        """Return other cosines for the candidates."""
        return self._pick(queries @ documents.T).astype(np.float64)

    def ndcg(self, final: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return nDCG@10 of each query, float64 [queries]; `final` is -inf for what is not found."""
        return ndcg(final, self.gains, self.of.ideal)


def ndcg(final: NDArray[np.float64], gains: Floats, ideal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return nDCG@10 of each query, float64 [queries]; `final` and `gains` are [queries, columns]."""
    first = best(final, _DEPTH)
    found = np.take_along_axis(gains, first, axis=1) * np.isfinite(np.take_along_axis(final, first, axis=1))
    values: NDArray[np.float64] = (found @ _DISCOUNTS[: first.shape[1]]) / np.maximum(ideal, 1e-9)
    return values


def _ranks(scores: Floats, kept: NDArray[np.bool_] | None, deepest: int) -> NDArray[np.int32]:
    """Return each document's place from 0 on, int32 [queries, documents]; `_FAR` for a score of 0 and behind."""
    seen = scores if kept is None else np.where(kept, scores, 0.0)
    order = best(seen, deepest)
    ranks = np.full(scores.shape, _FAR, dtype=np.int32)
    np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.int32)[None, :], axis=1)
    ranks[seen <= 0.0] = _FAR
    return ranks


def best(final: NDArray[np.floating[Any]], n: int) -> NDArray[np.int64]:
    """Return the columns of the `n` best of each row, of equal ones the lowest column first."""
    if final.shape[1] <= n:
        return np.argsort(-final, axis=1, kind="stable")
    threshold = -np.partition(-final, n - 1, axis=1)[:, n - 1 : n]
    # 0: above the n-th, of which there are fewer than n; 1: equal to it; each by ascending column.
    groups = np.where(final > threshold, 0, np.where(final == threshold, 1, 2)).astype(np.int8)
    columns = np.argsort(groups, axis=1, kind="stable")[:, :n]
    inside = np.argsort(-np.take_along_axis(final, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, inside, axis=1)


@dataclass(frozen=True)
class Pipeline:
    """What decides a ranking. `dense`: scaled (minimum -1), scaled0 (minimum 0), minmax, zscore, raw."""

    legs: tuple[str, ...] = SPARSE
    method: str = "scaled"
    weights: tuple[float, ...] = (1.0, 1.0)
    depth: int = 1000
    completed: bool = True
    candidates: int = 0
    dense: str = "scaled"
    weight: float = 0.0
    k: int = 60
    over_maximum: bool = False  # the fused scores are divided by their maximum


DEFAULT = Pipeline(candidates=100, weight=5.0, depth=100)  # what the product does unless told otherwise


def ranked(view: View, pipeline: Pipeline, cosines: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Return final scores of the candidates, float64 [queries, columns], -inf for what no list holds."""
    lists = {leg: view.ranks[leg] < pipeline.depth for leg in pipeline.legs}
    union = np.logical_or.reduce(list(lists.values()))
    fused = np.zeros(union.shape)
    for leg, weight in zip(pipeline.legs, pipeline.weights, strict=True):
        inside = union if pipeline.completed else lists[leg]
        fused += weight * contribution(view.raw[leg], inside, lists[leg], view.ranks[leg], pipeline.method, pipeline.k)
    fused[~union] = -np.inf
    if pipeline.over_maximum:
        highest = np.max(fused, axis=1, where=union, initial=0.0)[:, None]
        fused = np.where(highest > 0, fused / np.where(highest > 0, highest, 1.0), fused)
    if pipeline.candidates == 0:
        return fused
    raw = view.raw["dense"] if cosines is None else cosines
    return rescore(fused, raw, pipeline)


def rescore(fused: NDArray[np.float64], raw: NDArray[np.float64], pipeline: Pipeline) -> NDArray[np.float64]:
    """Return `fused` plus the weighted dense leg for the best candidates; the others stay below."""
    chosen = np.zeros(fused.shape, dtype=np.bool_)
    np.put_along_axis(chosen, best(fused, pipeline.candidates), True, axis=1)
    chosen &= np.isfinite(fused)
    return np.where(chosen, fused + pipeline.weight * rescored(raw, chosen, pipeline.dense), fused - 1e6)


class Shortlist:
    """The best 200 of a first stage, for many ways to rescore them."""

    def __init__(self, view: View, first: Pipeline) -> None:
        fused = ranked(view, replace(first, candidates=0))
        self._columns = np.sort(best(fused, 200), axis=1)
        self._view = view
        self.fused = self.pick(fused)
        self.gains = self.pick(view.gains)
        self.raw = self.pick(view.raw["dense"])

    def pick(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Return the columns of the shortlist."""
        return np.take_along_axis(matrix, self._columns, axis=1)

    def ndcg(self, pipeline: Pipeline, cosines: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """Return nDCG@10 of each query after the pipeline's second stage."""
        final = self.fused
        if pipeline.candidates:
            final = rescore(self.fused, self.raw if cosines is None else cosines, pipeline)
        return ndcg(final, self.gains, self._view.of.ideal)


def contribution(
    raw: NDArray[np.float64],
    inside: NDArray[np.bool_],
    own: NDArray[np.bool_],
    ranks: NDArray[np.int32],
    method: str,
    k: int,
) -> NDArray[np.float64]:
    """Return a leg's normalised scores, 0 for what is not `inside`; `own` is the leg's own list.

    What a list does not hold counts as its minimum: 0 after rrf, scaled, minmax and sum, the lowest z after zscore.
    """
    if method == "rrf":
        return np.where(own, 1.0 / (k + 1 + ranks.astype(np.float64)), 0.0)
    if method == "sum":
        return np.where(inside, raw, 0.0)
    if method == "scaled":
        highest = np.max(raw, axis=1, where=inside, initial=0.0)[:, None]
        return np.where(inside & (highest > 0), raw / np.where(highest > 0, highest, 1.0), 0.0)
    return by_list(raw, inside, method)


def by_list(raw: NDArray[np.float64], inside: NDArray[np.bool_], method: str) -> NDArray[np.float64]:
    """Return min-max or z scores over what is `inside` of each row; the rest has 0, or the lowest z."""
    lowest = np.min(raw, axis=1, where=inside, initial=np.inf)[:, None]
    highest = np.max(raw, axis=1, where=inside, initial=-np.inf)[:, None]
    if method == "minmax":
        span = highest - lowest
        level = np.isfinite(span) & (span > 0)
        # A list of equal scores, of one document for example, has 1 everywhere.
        return np.where(inside, np.where(level, (raw - lowest) / np.where(level, span, 1.0), 1.0), 0.0)
    if method != "zscore":
        raise ValueError(f"no method {method!r}")
    count = np.maximum(inside.sum(axis=1), 1)[:, None]
    mean = np.sum(raw, axis=1, where=inside)[:, None] / count
    deviation = np.sqrt(np.sum((raw - mean) ** 2, axis=1, where=inside)[:, None] / count)
    z = np.where(deviation > 0, (raw - mean) / np.where(deviation > 0, deviation, 1.0), 0.0)
    least = np.min(z, axis=1, where=inside, initial=0.0)[:, None]
    return np.where(inside, z, least)


def rescored(cosines: NDArray[np.float64], chosen: NDArray[np.bool_], how: str) -> NDArray[np.float64]:
    """Return the dense leg's normalised scores over the chosen candidates."""
    if how == "raw":
        return cosines
    if how in ("scaled", "scaled0"):
        lowest = -1.0 if how == "scaled" else 0.0
        raw = np.maximum(cosines, lowest) - lowest
        highest = np.max(raw, axis=1, where=chosen, initial=0.0)[:, None]
        return np.where(highest > 0, raw / np.where(highest > 0, highest, 1.0), 0.0)
    return by_list(cosines, chosen, how)
