"""The effect of each build parameter on recall, speed and bytes, one changed at a time.

usage: python benchmarks/index_choices.py VECTORS.npz [--docs 100000] [--queries 300]

Prints a JSON line for each: term numbers of 16 and 32 bits (by one more document with 70,000 terms of
its own), impacts as float16 and float32, one and two summary lines, short lists, fewer centroids, longer lists, a
graph of nearest neighbours. Recall@10 is against a float brute force, at two settings of the search parameters;
times are the least of five batches on one thread, in CPU time.
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np
from scipy.sparse import csr_array, vstack

from eval.bench.vectors import read_vectors
from index import IndexConfig, SparseIndex
from index.searching.calibration import exact_top

K = 10
SETTINGS: tuple[dict[str, Any], ...] = ({"query_cut": 5, "heap_factor": 0.9}, {"query_cut": 8, "heap_factor": 0.7})
CHOICES: dict[str, dict[str, Any]] = {
    "default": {},
    "32-bit term numbers": {},
    "float32 impacts": {"impact_dtype": "float32"},
    "1 summary line": {"summary_lines": 1},
    "3 summary lines": {"summary_lines": 3},
    "short_list 8": {"short_list": 8},
    "short_list 128": {"short_list": 128},
    "centroid_fraction 0.05": {"centroid_fraction": 0.05},
    "n_postings 1000": {"n_postings": 1000},
    "n_postings 4000": {"n_postings": 4000},
    "n_knn 10": {"n_knn": 10},
}


def main() -> None:
    """Build one index for each choice and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors")
    parser.add_argument("--docs", type=int, default=100_000)
    parser.add_argument("--queries", type=int, default=300)
    options = parser.parse_args()
    given = read_vectors(options.vectors, None, options.queries)
    documents, queries = given.documents[: options.docs], given.queries
    truth = exact_top(lambda start, stop: documents[start:stop], documents.shape[0], queries, K)
    for name, values in CHOICES.items():
        config = IndexConfig(**{"n_postings": 2000, "exact_lists": False, **values})
        started = time.perf_counter()
        index = SparseIndex.build(_with_many_terms(documents) if name.startswith("32") else documents, config)
        seconds = time.perf_counter() - started
        for setting in SETTINGS:
            how = setting | ({"n_knn": 10} if "n_knn" in values else {})
            least = np.inf
            for _ in range(5):
                before = time.thread_time()
                ids = index.search(queries, K, **how).ids
                least = min(least, time.thread_time() - before)
            recall = float(np.mean([len(set(row) & set(top[0])) / K for row, top in zip(ids, truth, strict=True)]))
            line = {
                "choice": name,
                **how,
                "recall": round(recall, 4),
                "cpu_us": round(least / queries.shape[0] * 1e6, 1),
                "bytes_a_document": round(index.bytes / documents.shape[0]),
                "build_seconds": round(seconds, 1),
            }
            print(json.dumps(line), flush=True)


def _with_many_terms(documents: csr_array) -> csr_array:
    """Return the documents and one more, with 70,000 terms that only it has."""
    n_terms = documents.shape[1]
    wide = csr_array((documents.data, documents.indices, documents.indptr), (documents.shape[0], n_terms + 70_000))
    terms = np.arange(n_terms, n_terms + 70_000)
    last = csr_array((np.full(70_000, 0.01, np.float32), terms, [0, 70_000]), shape=(1, n_terms + 70_000))
    return csr_array(vstack([wide, last], format="csr"))


if __name__ == "__main__":
    main()
