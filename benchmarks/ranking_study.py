"""Which ranking of lsr-mini, BM25 and MiniLM's vector is best: every leg's exact scores, fused, rescored, filtered.

    python benchmarks/ranking_study.py encode FOLDER… --cache CACHE       once per set; a set that is there is kept
    python benchmarks/ranking_study.py tables FOLDER… --cache CACHE [--only NAME …] [--out FILE.json]

FOLDER is a BEIR folder (benchmarks/training_development_set.py writes those of docs/models/lsr-mini.md). A document
is read once: its sparse weights and MiniLM's vector come from one pass of lsr-mini's body. Everything after that is
NumPy over exact scores of every document. Progress goes to stderr, tables in Markdown to stdout.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from encoders import load_encoder
from encoders.bm25 import BM25Encoder, idf
from encoders.compute.batches import compute_each, token_batches
from encoders.compute.rows import in_order, prune, to_csr
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledSide
from encoders.sides.static import FLOOR, StaticSide
from eval import open_dataset
from eval.comparison.significance import holm, paired_difference
from lsr.corpora import open_corpus
from lsr.documents import Document

Floats = NDArray[np.float32]

_TOKENS = 2048  # of a batch that is read
_WINDOW = 1024  # documents between two lines of progress


class Statistics:
    """Document frequencies of a matrix of documents (encoders.encoder.CorpusStatistics)."""

    def __init__(self, documents: csr_array) -> None:
        self._n = int(documents.shape[0])
        self._frequencies = np.bincount(documents.indices, minlength=int(documents.shape[1]))

    @property
    def document_count(self) -> int:
        """Documents."""
        return self._n

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many documents each term occurs."""
        return self._frequencies[term_ids].astype(np.int64)


def lsr_mini(dtype: str) -> tuple[LearnedEncoder, PooledSide]:
    """Return lsr-mini on the CPU and its document side."""
    encoder = load_encoder("lsr-mini", device="cpu", dtype=dtype)
    if not isinstance(encoder, LearnedEncoder) or not isinstance(encoder.documents, PooledSide):
        raise SystemExit("lsr-mini has no pooled side any more")
    return encoder, encoder.documents


def pooled(side: PooledSide, ids: list[list[int]], limit: int) -> Any:
    """Return the normalised mean of the first `limit` tokens' states, float32 [len(ids), size]."""
    if limit == side.settings.max_length:
        return side.pooled(ids)
    import torch

    read = [one if len(one) <= limit else [*one[: limit - 1], one[-1]] for one in ids]
    parts = torch.split(side.body(read).float(), [len(one) for one in read])
    return torch.nn.functional.normalize(torch.stack([part.mean(dim=0) for part in parts]), dim=1)


def read_vectors(side: PooledSide, texts: Sequence[str], limit: int, label: str) -> Floats:
    """Return MiniLM's vectors, float32 [len(texts), size], of the first `limit` word pieces."""
    return _read(side, texts, limit, label, sparse=False)[0]


def _read(
    side: PooledSide, texts: Sequence[str], limit: int, label: str, *, sparse: bool
) -> tuple[Floats, csr_array | None]:
    import torch

    def work(ids: list[list[int]]) -> tuple[Floats, csr_array | None]:
        with torch.inference_mode():
            vectors = pooled(side, ids, limit)
            weights = to_csr(side.weights_of(vectors, ids)) if sparse else None
            return vectors.numpy(), weights

    dense, rows, started = [], [], time.monotonic()
    for start in range(0, len(texts), _WINDOW):
        ids = side.ids(texts[start : start + _WINDOW])
        batches = list(token_batches([min(len(one), limit) for one in ids], _TOKENS, 32))
        results = compute_each(work, [[ids[i] for i in batch] for batch in batches])
        order = [i for batch in batches for i in batch]
        back = np.argsort(order)
        dense.append(np.concatenate([one for one, _ in results])[back])
        if sparse:
            rows.append(prune(in_order([m for _, m in results if m is not None], order, side.n_terms), side.settings))
        done = start + len(ids)
        rate = done / (time.monotonic() - started)
        print(f"{label}: {done:,} of {len(texts):,}, {rate:.0f} per second", file=sys.stderr)
    return np.concatenate(dense), vstack(rows, format="csr") if sparse else None


def encode(folder: Path, cache: Path, *, longer: bool) -> None:
    """Write CACHE/NAME.*.npz for one BEIR folder; what is there is kept. With `longer`, 256 word pieces as well."""
    split = "dev" if (folder / "qrels" / "dev.tsv").exists() else "test"
    dataset = open_dataset(folder, split=split)
    found = sorted(
        (line.content.id, line.content.full_text)
        for line in open_corpus(str(folder))
        if isinstance(line.content, Document)
    )
    texts = [text for _, text in found]
    number = {name: i for i, (name, _) in enumerate(found)}
    queries = list(dataset.judged_queries())
    asked = [query.text for query in queries]

    def part(name: str, make: Callable[[], dict[str, Any]]) -> None:
        path = cache / f"{folder.name}.{name}.npz"
        if not path.exists():
            arrays = make()
            np.savez(path.with_suffix(".tmp.npz"), **arrays)
            path.with_suffix(".tmp.npz").rename(path)

    def judgements() -> dict[str, Any]:
        rows = [
            (i, number[name], grade)
            for i, query in enumerate(queries)
            for name, grade in dataset.qrels[query.id].items()
            if grade > 0 and name in number
        ]
        lengths = [len(text.split()) for text in asked]
        return {
            "judgements": np.array(rows),
            "lengths": np.array(lengths),
            "queries": np.array([q.id for q in queries]),
        }

    def bm25() -> dict[str, Any]:
        encoder = load_encoder("bm25")
        if not isinstance(encoder, BM25Encoder):
            raise SystemExit("bm25 is another encoder")
        encoder.measure(texts)
        documents = encoder.encode_documents(texts)
        return {**_parts("d", documents), **_parts("q", encoder.encode_queries(asked, Statistics(documents)))}

    def mini() -> dict[str, Any]:
        encoder, side = lsr_mini("bfloat16")
        vectors, documents = _read(side, texts, side.settings.max_length or 0, f"{folder.name} documents", sparse=True)
        if documents is None:
            raise SystemExit("no weights")
        sparse_queries = encoder.encode_queries(asked, Statistics(documents))
        dense_queries = read_vectors(side, asked, 128, f"{folder.name} queries")
        return {**_parts("d", documents), **_parts("q", sparse_queries), "dense": vectors, "dense_q": dense_queries}

    def queries32() -> dict[str, Any]:
        _, side = lsr_mini("float32")
        return {"dense_q": read_vectors(side, asked, 128, f"{folder.name} queries, float32")}

    def of_256_tokens() -> dict[str, Any]:
        _, side = lsr_mini("bfloat16")
        return {
            "dense": read_vectors(side, texts, 256, f"{folder.name} documents, 256 tokens"),
            "dense_q": read_vectors(side, asked, 256, f"{folder.name} queries, 256 tokens"),
        }

    makers: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        ("judgements", judgements), ("bm25", bm25), ("mini", mini), ("queries32", queries32),
    ]  # fmt: skip
    if longer:
        makers.append(("longer", of_256_tokens))
    for name, make in makers:
        part(name, make)


def _parts(name: str, matrix: csr_array) -> dict[str, Any]:
    shape = np.array(matrix.shape)
    return {
        f"{name}_data": matrix.data,
        f"{name}_ids": matrix.indices,
        f"{name}_ptr": matrix.indptr,
        f"{name}_shape": shape,
    }


# --- exact scores -----------------------------------------------------------------------------------------------------


class Collection:
    """One set: exact scores of every document in every leg, float32 [queries, documents], and its judgements."""

    def __init__(self, cache: Path, name: str) -> None:
        self.name = name
        self._cache = cache
        kept = self.part("judgements")
        self.lengths = kept["lengths"]
        bm25, mini = self.part("bm25"), self.part("mini")
        self.documents = {"bm25": _matrix(bm25, "d"), "lsr-mini": _matrix(mini, "d")}
        self.queries = {"bm25": _matrix(bm25, "q"), "lsr-mini": _matrix(mini, "q")}
        self.n_queries, self.n_documents = len(self.lengths), len(mini["dense"])
        self.gains = np.zeros((self.n_queries, self.n_documents), dtype=np.float32)
        rows, columns, grades = kept["judgements"].T
        self.gains[rows, columns] = grades
        best = -np.sort(-self.gains, axis=1)[:, :_DEPTH].astype(np.float64)
        self.ideal = best @ _DISCOUNTS[: best.shape[1]]
        self.scores = {leg: sparse_scores(self.queries[leg], self.documents[leg]) for leg in _SPARSE}
        self.vectors, self.vector_queries = mini["dense"], mini["dense_q"]
        self.scores["dense"] = self.vector_queries @ self.vectors.T

    def part(self, name: str) -> dict[str, Any]:
        """Return the arrays of a cached part."""
        with np.load(self._cache / f"{self.name}.{name}.npz") as arrays:
            return dict(arrays)


_SPARSE = ("lsr-mini", "bm25")
_DEPTH = 10
_DISCOUNTS = 1.0 / np.log2(np.arange(2, _DEPTH + 2))
_FAR = 1_000_000  # the rank of a document that a list does not hold


def _matrix(arrays: dict[str, Any], name: str) -> csr_array:
    parts = (arrays[f"{name}_data"], arrays[f"{name}_ids"], arrays[f"{name}_ptr"])
    return csr_array(parts, shape=tuple(arrays[f"{name}_shape"]))


def sparse_scores(queries: csr_array, documents: csr_array) -> Floats:
    """Return the dot products, float32 [queries, documents]."""
    width = max(queries.shape[1], documents.shape[1])
    left = csr_array((queries.data, queries.indices, queries.indptr), shape=(queries.shape[0], width))
    right = csr_array((documents.data, documents.indices, documents.indptr), shape=(documents.shape[0], width))
    scores: Floats = (left @ right.T).toarray().astype(np.float32)
    return scores


class View:
    """The candidates of a set's queries: every document that is among the first 1,000 of a sparse leg.

    Arrays are [queries, widest list of candidates], documents by ascending id; a column that a query does not use has
    no rank below `_FAR`. With `kept`, bool [queries, documents], the other documents do not exist.
    """

    def __init__(
        self, of: Collection, kept: NDArray[np.bool_] | None = None, *, deepest: int = 1000, every: bool = False
    ) -> None:
        self.of = of
        ranks = {leg: _ranks(of.scores[leg], kept, deepest) for leg in _SPARSE}
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
    first = _best(final, _DEPTH)
    found = np.take_along_axis(gains, first, axis=1) * np.isfinite(np.take_along_axis(final, first, axis=1))
    values: NDArray[np.float64] = (found @ _DISCOUNTS[: first.shape[1]]) / np.maximum(ideal, 1e-9)
    return values


def _ranks(scores: Floats, kept: NDArray[np.bool_] | None, deepest: int) -> NDArray[np.int32]:
    """Return each document's place from 0 on, int32 [queries, documents]; `_FAR` for a score of 0 and behind."""
    seen = scores if kept is None else np.where(kept, scores, 0.0)
    order = np.argsort(-seen, axis=1, kind="stable")[:, :deepest]
    ranks = np.full(scores.shape, _FAR, dtype=np.int32)
    np.put_along_axis(ranks, order, np.arange(order.shape[1], dtype=np.int32)[None, :], axis=1)
    ranks[seen <= 0.0] = _FAR
    return ranks


def _best(final: NDArray[np.float64], n: int) -> NDArray[np.int64]:
    """Return the columns of the `n` best of each row, of equal ones the lowest column first."""
    if final.shape[1] <= n:
        return np.argsort(-final, axis=1, kind="stable")
    threshold = -np.partition(-final, n - 1, axis=1)[:, n - 1 : n]
    # 0: above the n-th, of which there are fewer than n; 1: equal to it; each by ascending column.
    groups = np.where(final > threshold, 0, np.where(final == threshold, 1, 2)).astype(np.int8)
    columns = np.argsort(groups, axis=1, kind="stable")[:, :n]
    inside = np.argsort(-np.take_along_axis(final, columns, axis=1), axis=1, kind="stable")
    return np.take_along_axis(columns, inside, axis=1)


# --- pipelines --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Pipeline:
    """What decides a ranking. `dense`: scaled (minimum -1), scaled0 (minimum 0), minmax, zscore, raw."""

    legs: tuple[str, ...] = _SPARSE
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
    np.put_along_axis(chosen, _best(fused, pipeline.candidates), True, axis=1)
    chosen &= np.isfinite(fused)
    return np.where(chosen, fused + pipeline.weight * rescored(raw, chosen, pipeline.dense), fused - 1e6)


class Shortlist:
    """The best 200 of a first stage, for many ways to rescore them."""

    def __init__(self, view: View, first: Pipeline) -> None:
        fused = ranked(view, replace(first, candidates=0))
        self._columns = np.sort(_best(fused, 200), axis=1)
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
    return _by_list(raw, inside, method)


def _by_list(raw: NDArray[np.float64], inside: NDArray[np.bool_], method: str) -> NDArray[np.float64]:
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
    return _by_list(cosines, chosen, how)


# --- experiments ------------------------------------------------------------------------------------------------------

Values = dict[str, NDArray[np.float64]]  # a row of a table -> nDCG@10 of each query
_METHODS = ("scaled", "minmax", "zscore", "sum", "rrf")
_DEPTHS = (100, 200, 1000)


def legs(of: Collection) -> Values:
    """Every leg by itself; MiniLM over every document."""
    view, every = View(of), View(of, every=True)
    values = {leg: view.ndcg(ranked(view, Pipeline((leg,), weights=(1.0,)))) for leg in reversed(_SPARSE)}
    return {**values, "MiniLM, every document": every.ndcg(every.raw["dense"])}


def fusions(of: Collection) -> Values:
    """lsr-mini + bm25 with equal weights: methods, depths, completed or not."""
    view = View(of)
    named = {
        f"{method}{_note(completed)}, {depth}": Pipeline(method=method, depth=depth, completed=completed)
        for method in _METHODS
        for completed in ((False,) if method == "rrf" else (False, True))
        for depth in _DEPTHS
    }
    named |= {f"rrf, k 20, {depth}": Pipeline(method="rrf", k=20, depth=depth, completed=False) for depth in _DEPTHS}
    return _all(view, named)


def leg_weights(of: Collection) -> Values:
    """scaled, completed, 1,000: weights of lsr-mini and bm25, without rescoring and with it."""
    view = View(of)
    grid = ((1.0, 0.25), (1.0, 0.5), (1.0, 0.75), (1.0, 1.0), (0.75, 1.0), (0.5, 1.0), (0.25, 1.0))
    named = {}
    for a, b in grid:
        named[f"{a:g} : {b:g}"] = Pipeline(weights=(a, b))
        for weight in (2.0, 3.0, 4.0, 6.0):
            scaled = weight * (a + b) / 2
            named[f"{a:g} : {b:g} : {scaled:g}"] = Pipeline(weights=(a, b), candidates=100, weight=scaled)
    return _all(view, named)


def dense_weights(of: Collection) -> Values:
    """The default with other weights of the dense leg and numbers of candidates."""
    view = View(of)
    named = {
        f"1 : 1 : {weight:g}, {n}": replace(DEFAULT, weight=weight, candidates=n)
        for n in (50, 100, 200)
        for weight in (2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0)
    }
    return _all(view, named)


def rescoring(of: Collection) -> Values:
    """First stages rescored: candidates, normalisations of the dense leg, weights."""
    view = View(of)
    first: dict[str, Pipeline] = {
        "lsr-mini": Pipeline(("lsr-mini",), weights=(1.0,), over_maximum=True),
        "bm25": Pipeline(("bm25",), weights=(1.0,), over_maximum=True),
        "scaled": Pipeline(over_maximum=True),
        "sum": Pipeline(method="sum", over_maximum=True),
        "minmax": Pipeline(method="minmax", over_maximum=True),
        "rrf": Pipeline(method="rrf", completed=False, over_maximum=True),
    }
    grid = {
        "scaled": (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0),
        "scaled0": (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5),
        "minmax": (0.25, 0.5, 0.75, 1.0, 1.5),
        "raw": (0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    }
    values = {}
    for name, pipeline in first.items():
        shortlist = Shortlist(view, pipeline)
        values[name] = shortlist.ndcg(pipeline)
        for how, weights in grid.items():
            for weight in weights:
                for n in (50, 100, 200):
                    named = replace(pipeline, candidates=n, dense=how, weight=weight)
                    values[f"{name}, {how}, {weight:g}, {n}"] = shortlist.ndcg(named)
    return values


def depths(of: Collection) -> Values:
    """The default with other depths of the lists, completed or not, and other numbers of candidates."""
    view = View(of)
    named = {
        f"{depth}{_note(completed)}, {n} rescored": replace(DEFAULT, depth=depth, completed=completed, candidates=n)
        for depth in (50, *_DEPTHS)
        for completed in (False, True)
        for n in (30, 50, 100, 200)
        if n <= depth
    }
    return _all(view, named)


def filters(of: Collection) -> Values:
    """Random filters that keep a share of the documents, and those that are relevant: methods and depths.

    Every query has a filter of its own; three seeds, of which the mean of a query counts.
    """
    stages = {
        **{
            f"{method}{_note(completed)}, {depth}": Pipeline(method=method, depth=depth, completed=completed)
            for method in ("scaled", "minmax", "zscore", "sum", "rrf")
            for completed in ((False,) if method == "rrf" else (False, True))
            for depth in (100, 1000)
        },
        **{
            f"scaled, completed, 100; dense {how}, {weight:g}": replace(
                DEFAULT, depth=100, completed=True, dense=how, weight=weight
            )
            for how, weight in (
                ("scaled", 4.0), ("scaled", 5.0), ("scaled", 6.0), ("scaled0", 1.5), ("scaled0", 2.0), ("minmax", 1.5),
                ("raw", 3.0), ("zscore", 0.3),
            )
        },
    }  # fmt: skip
    values: Values = {}
    for share in (1.0, 0.1, 0.01):
        sums: Values = {}
        seeds = (1,) if share == 1.0 else (1, 2, 3)
        for seed in seeds:
            kept = np.random.default_rng(seed).random(of.gains.shape) < share
            for name, value in _all(View(of, kept | (of.gains > 0)), stages).items():
                sums[name] = sums.get(name, np.zeros(of.n_queries)) + value / len(seeds)
        values |= {f"{share:.0%}: {name}": value for name, value in sums.items()}
    return values


def vectors(of: Collection) -> Values:
    """How the dense vector is stored and what made it, with the default."""
    view = View(of)
    longer, wide = of.part("longer"), of.part("queries32")["dense_q"]
    documents, queries = of.vectors, of.vector_queries
    half = documents.astype(np.float16).astype(np.float32)
    kinds = {
        "float32, 1,536 bytes, query by float32": (wide, documents),
        "float32, query by bfloat16": (queries, documents),
        "float16, 768 bytes": (wide, half),
        "int8, 388 bytes": (wide, _integers(documents, 127)),
        "int8, query by bfloat16": (queries, _integers(documents, 127)),
        "int4, 196 bytes": (wide, _integers(documents, 7)),
        "int8, the first 128 dimensions, 132 bytes": (_cut(wide, 128), _integers(_cut(documents, 128), 127)),
        "256 word pieces, float32, query by bfloat16": (longer["dense_q"], longer["dense"]),
    }
    return {name: view.ndcg(ranked(view, DEFAULT, view.dense(*pair))) for name, pair in kinds.items()}


def _integers(vectors: Floats, largest: int) -> Floats:
    scale = np.abs(vectors).max(axis=1, keepdims=True) / largest
    return np.asarray(np.rint(vectors / scale) * scale, dtype=np.float32)


def _cut(vectors: Floats, size: int) -> Floats:
    cut = vectors[:, :size]
    return np.asarray(cut / np.linalg.norm(cut, axis=1, keepdims=True), dtype=np.float32)


def final(of: Collection) -> Values:
    """The rows of the issue's table, then the default: what the test sets are looked at with, once."""
    view = View(of)
    one: dict[str, Any] = {"weights": (1.0,), "method": "minmax", "completed": False}
    both = Pipeline(method="minmax", completed=False)
    by_dense: dict[str, Any] = {"candidates": 100, "dense": "minmax", "weight": 1.0}
    quantised = view.dense(of.part("queries32")["dense_q"], _integers(of.vectors, 127))
    named = {
        "lsr-mini + bm25, min-max of 1,000": both,
        "lsr-mini, its 100 rescored, min-max": Pipeline(("lsr-mini",), **one, **by_dense),
        "lsr-mini + bm25, their 100 rescored, min-max": replace(both, **by_dense),
        "the default without rescoring": replace(DEFAULT, candidates=0),
    }
    return {
        **legs(of),
        **_all(view, named),
        "bm25 + MiniLM, min-max of 1,000": _with_every_vector(of),
        "the default, float32": view.ndcg(ranked(view, DEFAULT)),
        "the default, int8": view.ndcg(ranked(view, DEFAULT, quantised)),
    }


def _with_every_vector(of: Collection) -> NDArray[np.float64]:
    every = View(of, every=True)
    cosines = every.raw["dense"]
    nearest = np.zeros(cosines.shape, dtype=np.bool_)
    np.put_along_axis(nearest, np.argsort(-cosines, axis=1, kind="stable")[:, :1000], True, axis=1)
    words = every.ranks["bm25"] < 1000
    fused = _by_list(every.raw["bm25"], words, "minmax") + _by_list(cosines, nearest, "minmax")
    return every.ndcg(np.where(words | nearest, fused, -np.inf))


def feedback(of: Collection) -> Values:
    """Rocchio on sparse vectors: before fusion, after it, both; without rescoring and with it.

    q' = alpha q / |q| + (1 - alpha) c / |c|, lengths by L2; c is the mean of the best documents' vectors, each term
    times its weight in a query ("weighted") or not ("plain"), and of it the heaviest terms.
    """
    values: Values = {}
    term_weights = {leg: _term_weights(of, leg) for leg in _SPARSE}

    def run(scores: dict[str, Floats], pipeline: Pipeline) -> tuple[View, NDArray[np.float64]]:
        kept, of.scores = of.scores, scores
        try:
            view = View(of, deepest=DEFAULT.depth)
        finally:
            of.scores = kept
        return view, ranked(view, pipeline)

    def first(view: View, final: NDArray[np.float64], docs: int) -> NDArray[np.int64]:
        best = _best(final, docs)
        found = np.isfinite(np.take_along_axis(final, best, axis=1))
        return np.where(found, np.take_along_axis(view.columns, best, axis=1), -1)

    def again(
        queries: dict[str, csr_array], best: dict[str, NDArray[np.int64]], alpha: float, terms: int, how: str
    ) -> Any:
        made = {
            leg: expanded(queries[leg], of.documents[leg], best[leg], alpha, terms,
                          term_weights[leg] if how == "weighted" else None)
            for leg in _SPARSE
        }  # fmt: skip
        return made, {
            **{leg: sparse_scores(made[leg], of.documents[leg]) for leg in _SPARSE},
            "dense": of.scores["dense"],
        }

    fusion = replace(DEFAULT, candidates=0)
    singles = {leg: Pipeline((leg,), weights=(1.0,), depth=DEFAULT.depth) for leg in _SPARSE}
    ends = {**singles, "both": fusion, "default": DEFAULT}
    start = {name: run(of.scores, pipeline) for name, pipeline in ends.items()}
    values |= {f"{name}, none": view.ndcg(final) for name, (view, final) in start.items()}
    for how, alpha, docs, terms in (
        ("plain", 0.5, 3, 20), ("weighted", 0.5, 3, 20), ("weighted", 0.8, 3, 20), ("weighted", 0.8, 5, 50),
        ("weighted", 0.8, 10, 20),
    ):  # fmt: skip
        label = f"{how}, {alpha:g}, {docs} documents, {terms} terms"
        own = {leg: first(*start[leg], docs) for leg in _SPARSE}
        queries, scores = again(of.queries, own, alpha, terms, how)
        for name, pipeline in ends.items():
            view, final = run(scores, pipeline)
            values[f"{name}, before, {label}"] = view.ndcg(final)
        for name in ("both", "default"):
            shared = first(*start[name], docs)
            _, after = again(of.queries, dict.fromkeys(_SPARSE, shared), alpha, terms, how)
            view, final = run(after, ends[name])
            values[f"{name}, after, {label}"] = view.ndcg(final)
            twice = first(*run(scores, ends[name]), docs)
            _, after = again(queries, dict.fromkeys(_SPARSE, twice), alpha, terms, how)
            view, final = run(after, ends[name])
            values[f"{name}, before and after, {label}"] = view.ndcg(final)
    return values


def expanded(
    queries: csr_array, documents: csr_array, best: NDArray[np.int64], alpha: float, terms: int, weights: Floats | None
) -> csr_array:
    """Return the queries of Rocchio's feedback; `best` int64 [queries, n] are documents, -1 for none."""
    n, width = best.shape[0], max(queries.shape[1], documents.shape[1])
    rows, found = np.repeat(np.arange(n), best.shape[1]), best.ravel()
    chosen = csr_array(
        (np.ones(int((found >= 0).sum())), (rows[found >= 0], found[found >= 0])), shape=(n, documents.shape[0])
    )
    centroids = (chosen @ documents).tocsr()
    if weights is not None:
        centroids.data = centroids.data * weights[centroids.indices]
    indices, data, pointer = [], [], [0]
    for row in range(n):
        span = slice(centroids.indptr[row], centroids.indptr[row + 1])
        ids, values = centroids.indices[span], centroids.data[span]
        top = np.argsort(-values, kind="stable")[:terms]
        ids, values = ids[top], values[top]
        own = slice(queries.indptr[row], queries.indptr[row + 1])
        both = np.concatenate([queries.indices[own], ids])
        parts = np.concatenate([alpha * _unit(queries.data[own]), (1.0 - alpha) * _unit(values)])
        distinct, place = np.unique(both, return_inverse=True)
        indices.append(distinct)
        data.append(np.bincount(place, weights=parts, minlength=len(distinct)))
        pointer.append(pointer[-1] + len(distinct))
    return csr_array(
        (np.concatenate(data).astype(np.float32), np.concatenate(indices), np.array(pointer)), shape=(n, width)
    )


def _unit(values: NDArray[Any]) -> NDArray[np.float64]:
    length = float(np.linalg.norm(values))
    return np.asarray(values / length if length > 0 else values, dtype=np.float64)


def _term_weights(of: Collection, leg: str) -> Floats:
    """Return what a query that holds a term once gives it, float32 [terms]."""
    documents = of.documents[leg]
    statistics, every = Statistics(documents), np.arange(documents.shape[1])
    frequencies = idf(every, statistics)
    if leg == "bm25":
        return frequencies.astype(np.float32)
    side = lsr_mini("bfloat16")[0].queries
    if not isinstance(side, StaticSide) or side.reference is None:
        raise SystemExit("lsr-mini's queries are not looked up any more")
    table = side.table
    moved = np.maximum(table + side.settings.collection_idf * (frequencies - side.reference), FLOOR * table)
    return np.where(table > 0, moved, 0.0).astype(np.float32)


def _note(completed: bool) -> str:
    return ", completed" if completed else ""


def _all(view: View, named: dict[str, Pipeline], cosines: NDArray[np.float64] | None = None) -> Values:
    return {name: view.ndcg(ranked(view, pipeline, cosines)) for name, pipeline in named.items()}


EXPERIMENTS: dict[str, Callable[[Collection], Values]] = {
    "legs": legs,
    "fusions": fusions,
    "leg-weights": leg_weights,
    "rescoring": rescoring,
    "dense-weights": dense_weights,
    "depths": depths,
    "filters": filters,
    "vectors": vectors,
    "feedback": feedback,
    "final": final,
}


def measure(names: Sequence[str], experiments: Sequence[str], cache: Path, results: Path) -> None:
    """Write RESULTS/SET.EXPERIMENT.npz, which holds nDCG@10 of each query by row; what is there is kept."""
    for name in names:
        missing = [one for one in experiments if not (results / f"{name}.{one}.npz").exists()]
        if not missing:
            continue
        of = Collection(cache, name)
        for one in missing:
            started = time.monotonic()
            values = EXPERIMENTS[one](of)
            np.savez(results / f"{name}.{one}.npz", **values)
            print(f"{name}: {one}: {len(values)} rows in {time.monotonic() - started:.1f} s", file=sys.stderr)


def read_values(results: Path, name: str, experiment: str) -> Values:
    """Return what `measure` wrote."""
    with np.load(results / f"{name}.{experiment}.npz") as arrays:
        return dict(arrays)


def table(results: Path, names: Sequence[str], experiment: str) -> str:
    """Return a Markdown table of means: a row a pipeline, a column a set, and the mean over the sets."""
    of_sets = [read_values(results, name, experiment) for name in names]
    lines = ["| | " + " | ".join([*names, "mean"]) + " |", "|---|" + "---:|" * (len(names) + 1)]
    for row in of_sets[0]:
        means = [float(values[row].mean()) for values in of_sets]
        lines.append(f"| {row} | " + " | ".join(_short(x) for x in [*means, float(np.mean(means))]) + " |")
    return "\n".join(lines)


def tests(results: Path, names: Sequence[str], row: str) -> str:
    """Return a Markdown table of `row` of "final" against bm25 and lsr-mini: randomisation, Holm over the table."""
    made = []
    for name in names:
        values = read_values(results, name, "final")
        made.extend((name, other, paired_difference(values[row], values[other])) for other in ("bm25", "lsr-mini"))
    corrected = holm([one.p_randomisation for *_, one in made])
    lines = ["| set | against | difference | 95 % interval | p, Holm |", "|---|---|---:|---:|---:|"]
    for (name, other, one), p in zip(made, corrected, strict=True):
        lines.append(f"| {name} | {other} | {one.mean:+.4f} | {one.low:+.4f} to {one.high:+.4f} | {p:.4f} |")
    return "\n".join(lines)


def _short(value: float) -> str:
    return f"{value:.4f}".removeprefix("0")


def main() -> None:
    """Read the arguments, do one step."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["encode", "tables"])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--longer", action="store_true", help="encode: MiniLM's vector of 256 word pieces as well")
    parser.add_argument("--only", nargs="+", choices=list(EXPERIMENTS), default=list(EXPERIMENTS))
    given = parser.parse_args()
    given.cache.mkdir(parents=True, exist_ok=True)
    if given.step == "encode":
        for folder in given.folders:
            encode(folder, given.cache, longer=given.longer)
        return
    results = given.cache / "results"
    results.mkdir(exist_ok=True)
    names = [folder.name for folder in given.folders]
    measure(names, given.only, given.cache, results)
    for one in given.only:
        print(f"\n{one}\n\n{table(results, names, one)}")
        if one == "final":
            print(f"\n{tests(results, names, 'the default, int8')}")


if __name__ == "__main__":
    main()
