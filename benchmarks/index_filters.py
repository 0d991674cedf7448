"""Filtered search, batched search over threads, and several indexes searched as one.

usage: python benchmarks/index_filters.py VECTORS.npz [--index DIR] [--queries 50] [--parts 4]

VECTORS.npz holds documents and queries as `lsr bench` reads them; --index is the folder of the index over them. Prints
a JSON line for each measurement:

* for selectivities of 50 %, 5 %, 0.5 % and 0.01 % the latency of single queries (least of three), the recall against
  exact search with the same filter, and how many queries found k documents where k match;
* for one and two threads, alternately, the queries per second of a batch;
* for the documents cut into parts the recall of the parts' merged results next to that of the whole.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from eval.bench.vectors import Vectors, read_vectors, row_of
from index import SparseIndex
from index.searching.calibration import exact_top

SELECTIVITIES = (1.0, 0.5, 0.05, 0.005, 0.0001)
K = 10


def filters(index: SparseIndex, queries: csr_array) -> None:
    """Measure every selectivity with the default search."""
    rng = np.random.default_rng(7)
    n = queries.shape[0]
    for share in SELECTIVITIES:
        allowed = None if share == 1.0 else rng.random(index.n_docs) < share
        least, recall, full = np.full(n, np.inf), 0.0, 0
        for i in range(n):
            terms, weights = row_of(queries, i)
            for _ in range(3):
                started = time.perf_counter()
                ids, _ = index.search_one(terms, weights, K, allowed=allowed)
                least[i] = min(least[i], time.perf_counter() - started)
            expected, _ = index.search_one(terms, weights, K, exact=True, allowed=allowed)
            recall += len(set(ids) & set(expected)) / max(1, len(expected)) / n
            full += len(ids) == len(expected)
        micro = least * 1e6
        report(
            "filter",
            selectivity=share,
            mean_us=round(float(micro.mean()), 1),
            p50_us=round(float(np.median(micro)), 1),
            p99_us=round(float(np.quantile(micro, 0.99)), 1),
            recall=round(recall, 4),
            brought_all=f"{full}/{n}",
        )


def threads(index: SparseIndex, queries: csr_array, rounds: int = 5) -> None:
    """Measure a batch on one thread and on two, alternately."""
    batch = queries[np.resize(np.arange(queries.shape[0]), 4000)]
    best = {1: np.inf, 2: np.inf}
    for _ in range(rounds):
        for count in best:
            started = time.perf_counter()
            index.search(batch, K, query_cut=8, heap_factor=0.7, threads=count)
            best[count] = min(best[count], time.perf_counter() - started)
    report(
        "threads",
        queries=4000,
        one_per_second=round(4000 / best[1]),
        two_per_second=round(4000 / best[2]),
        speedup=round(best[1] / best[2], 2),
    )


def parts(vectors: Vectors, n_parts: int) -> None:
    """Compare the merged results of indexes over parts of the documents with those of one index over all."""
    documents, queries = vectors
    truth = exact_top(lambda start, stop: documents[start:stop], documents.shape[0], queries, K)
    cuts = np.linspace(0, documents.shape[0], n_parts + 1).astype(int).tolist()
    pieces = list(pairwise(cuts))
    indexes = [SparseIndex.build(documents[first:last]) for first, last in pieces]
    whole = SparseIndex.build(documents)
    for name, how in (("exact", {"exact": True}), ("5, 0.9", {"query_cut": 5, "heap_factor": 0.9}), ("default", {})):
        tops = [index.search(queries, K, **how) for index in indexes]
        ids = np.concatenate([top.ids + first for top, (first, _) in zip(tops, pieces, strict=True)], axis=1)
        scores = np.concatenate([top.scores for top in tops], axis=1)
        order = np.lexsort((ids, -scores), axis=1)[:, :K]
        merged = np.take_along_axis(ids, order, axis=1)
        alone = whole.search(queries, K, **how).ids
        report(
            "parts",
            search=name,
            parts=n_parts,
            recall_of_parts=_recall(merged, truth),
            recall_of_whole=_recall(alone, truth),
            identical=bool((merged == alone).all()),
        )


def _recall(ids: Any, truth: Any) -> float:
    return round(float(np.mean([len(set(row) & set(t[0])) / K for row, t in zip(ids, truth, strict=True)])), 4)


def report(what: str, **values: Any) -> None:
    """Print one JSON line."""
    print(json.dumps({"measured": what, **values}), flush=True)


def main() -> None:
    """Run the requested measurements and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--parts", type=int, default=0, help="number of parts to compare with the whole")
    options = parser.parse_args()
    vectors = read_vectors(options.vectors, None, options.queries)
    with tempfile.TemporaryDirectory() as folder:
        path = options.index or Path(folder) / "index"
        if not path.exists():
            SparseIndex.build(vectors.documents, path=path)
        index = SparseIndex.open(path)
        index.warm()
        filters(index, vectors.queries)
        threads(index, vectors.queries)
    if options.parts:
        parts(vectors, options.parts)


if __name__ == "__main__":
    main()
