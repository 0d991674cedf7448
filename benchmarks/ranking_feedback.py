"""Feedback on sparse vectors (Rocchio) in benchmarks/ranking_study.py: before fusion, after it, both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks.ranking_pipelines import (
    DEFAULT,
    SPARSE,
    Collection,
    Floats,
    Pipeline,
    Values,
    View,
    best,
    ranked,
    sparse_scores,
)
from benchmarks.ranking_vectors import Statistics, lsr_mini
from encoders.bm25 import idf
from encoders.sides.static import FLOOR, StaticSide


def feedback(of: Collection) -> Values:
    """Rocchio on sparse vectors: before fusion, after it, both; without rescoring and with it.

    q' = alpha q / |q| + (1 - alpha) c / |c|, |.| by L1 or L2; c is the mean of the best documents' vectors, each term
    times its weight in a query ("weighted", as lsr/search/feedback.py has it, with L1) or not ("plain"), and of it the
    heaviest terms. Three documents, 20 terms.
    """
    values: Values = {}
    term_weights = {leg: _term_weights(of, leg) for leg in SPARSE}

    def run(scores: dict[str, Floats], pipeline: Pipeline) -> tuple[View, NDArray[np.float64]]:
        kept, of.scores = of.scores, scores
        try:
            view = View(of, deepest=DEFAULT.depth)
        finally:
            of.scores = kept
        return view, ranked(view, pipeline)

    def first(view: View, final: NDArray[np.float64], docs: int) -> NDArray[np.int64]:
        columns = best(final, docs)
        found = np.isfinite(np.take_along_axis(final, columns, axis=1))
        return np.where(found, np.take_along_axis(view.columns, columns, axis=1), -1)

    def again(queries: dict[str, csr_array], shared: dict[str, NDArray[np.int64]], how: Rocchio) -> Any:
        made = {leg: expanded(queries[leg], of.documents[leg], shared[leg], how, term_weights[leg]) for leg in SPARSE}
        scores = {leg: sparse_scores(made[leg], of.documents[leg]) for leg in SPARSE}
        return made, {**scores, "dense": of.scores["dense"]}

    fusion = replace(DEFAULT, candidates=0)
    singles = {leg: Pipeline((leg,), weights=(1.0,), depth=DEFAULT.depth) for leg in SPARSE}
    ends = {**singles, "both": fusion, "default": DEFAULT}
    start = {name: run(of.scores, pipeline) for name, pipeline in ends.items()}
    values |= {f"{name}, none": view.ndcg(final) for name, (view, final) in start.items()}
    for how in (
        Rocchio(weighted=False, norm=2, alpha=0.5),
        Rocchio(weighted=True, norm=2, alpha=0.5),
        Rocchio(weighted=True, norm=1, alpha=0.5),
        Rocchio(weighted=True, norm=1, alpha=0.8),
    ):
        label = f"{'weighted' if how.weighted else 'plain'}, L{how.norm}, {how.alpha:g}"
        own = {leg: first(*start[leg], how.docs) for leg in SPARSE}
        queries, scores = again(of.queries, own, how)
        for name, pipeline in ends.items():
            view, final = run(scores, pipeline)
            values[f"{name}, before, {label}"] = view.ndcg(final)
        for name in ("both", "default"):
            shared = first(*start[name], how.docs)
            _, after = again(of.queries, dict.fromkeys(SPARSE, shared), how)
            view, final = run(after, ends[name])
            values[f"{name}, after, {label}"] = view.ndcg(final)
            twice = first(*run(scores, ends[name]), how.docs)
            _, after = again(queries, dict.fromkeys(SPARSE, twice), how)
            view, final = run(after, ends[name])
            values[f"{name}, before and after, {label}"] = view.ndcg(final)
    return values


@dataclass(frozen=True)
class Rocchio:
    """How a query is expanded."""

    weighted: bool
    norm: int
    alpha: float
    docs: int = 3
    terms: int = 20


def expanded(
    queries: csr_array, documents: csr_array, found: NDArray[np.int64], how: Rocchio, weights: Floats
) -> csr_array:
    """Return the queries of Rocchio's feedback; `found` int64 [queries, n] are documents, -1 for none."""
    n, width = found.shape[0], max(queries.shape[1], documents.shape[1])
    rows, columns = np.repeat(np.arange(n), found.shape[1]), found.ravel()
    chosen = csr_array(
        (np.ones(int((columns >= 0).sum())), (rows[columns >= 0], columns[columns >= 0])), shape=(n, documents.shape[0])
    )
    centroids = (chosen @ documents).tocsr()
    if how.weighted:
        centroids.data = centroids.data * weights[centroids.indices]
    indices, data, pointer = [], [], [0]
    for row in range(n):
        span = slice(centroids.indptr[row], centroids.indptr[row + 1])
        ids, values = centroids.indices[span], centroids.data[span]
        top = np.argsort(-values, kind="stable")[: how.terms]
        ids, values = ids[top], values[top]
        own = slice(queries.indptr[row], queries.indptr[row + 1])
        both = np.concatenate([queries.indices[own], ids])
        parts = np.concatenate(
            [how.alpha * _unit(queries.data[own], how.norm), (1.0 - how.alpha) * _unit(values, how.norm)]
        )
        distinct, place = np.unique(both, return_inverse=True)
        indices.append(distinct)
        data.append(np.bincount(place, weights=parts, minlength=len(distinct)))
        pointer.append(pointer[-1] + len(distinct))
    return csr_array(
        (np.concatenate(data).astype(np.float32), np.concatenate(indices), np.array(pointer)), shape=(n, width)
    )


def _unit(values: NDArray[Any], norm: int) -> NDArray[np.float64]:
    length = float(np.linalg.norm(values, norm))
    return np.asarray(values / length if length > 0 else values, dtype=np.float64)


def _term_weights(of: Collection, leg: str) -> Floats:
    """Return what a query that holds a term once gives it, float32 [terms]."""
    documents = of.documents[leg]
    statistics, every = Statistics(documents), np.arange(documents.shape[1])
    frequencies = idf(every, statistics)
    if leg == "bm25":
        return frequencies.astype(np.float32)
    side = lsr_mini("bfloat16").queries
    if not isinstance(side, StaticSide) or side.reference is None:
        raise SystemExit("lsr-mini's queries are not looked up any more")
    table = side.table
    moved = np.maximum(table + side.settings.collection_idf * (frequencies - side.reference), FLOOR * table)
    return np.where(table > 0, moved, 0.0).astype(np.float32)
