"""Exact search over unpruned postings: this tree, other trees of the repository and SINDI, alternately.

usage: python benchmarks/index_exact.py VECTORS.npz INDEX [--docs N] [--queries 200] [--rounds 7] [-k 10 100 1000]
                                        [--tree DIR ...] [--maxima INDEX] [--sindi]

VECTORS.npz holds documents and queries as `lsr bench` reads them; INDEX is the folder of the index over its first N
documents, built with unpruned postings if it is missing. Each tree (a checkout of this repository; this one if none is
given) runs in a process of its own, on one thread, and all processes search the same queries in turns; --maxima adds
one for the same documents with block maxima, in a folder of its own. Prints a JSON line for each k and process: mean
and percentiles of the queries' medians over the rounds, in microseconds of the thread's own time, and whether hits and
scores equal those of the first process. SINDI (package pyvsag) prunes nothing; its scores are its own, so only the
number of common hits is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

HERE = str(Path(__file__).resolve().parent.parent)
Query = tuple[NDArray[np.int64], NDArray[np.float32]]
Search = Callable[[Query, int], tuple[NDArray[np.int64], NDArray[np.float32]]]


def read(path: Path, side: str, rows: int | None = None) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (indptr, indices, data) of the documents ("d") or the queries ("q"), the first `rows` of them."""
    held = np.load(path)
    indptr = held[f"{side}_indptr"][: None if rows is None else rows + 1].astype(np.int64)
    return indptr, held[f"{side}_indices"][: indptr[-1]], held[f"{side}_data"][: indptr[-1]].astype(np.float32)


def open_queries(path: Path, wanted: int) -> list[Query]:
    """Return evenly spaced queries, without empty ones."""
    indptr, terms, weights = read(path, "q")
    chosen = np.unique(np.linspace(0, len(indptr) - 2, min(wanted, len(indptr) - 1)).astype(np.int64))
    rows = [slice(int(indptr[i]), int(indptr[i + 1])) for i in chosen]
    return [(terms[row].astype(np.int64), weights[row]) for row in rows if row.stop > row.start]


def open_lsr(vectors: Path, folder: Path, docs: int | None, *, maxima: bool) -> Search:
    """Return the exact search of the index in `folder`, which is built if it is missing."""
    from scipy.sparse import csr_array

    from index import IndexConfig, SparseIndex

    if not folder.exists():
        indptr, terms, impacts = read(vectors, "d", docs)
        shape = (len(indptr) - 1, int(np.load(vectors)["V"]))
        documents = csr_array((impacts, terms, indptr), shape=shape)
        documents.sort_indices()
        config = IndexConfig(n_postings=0, exact_lists=True, **({"block_maxima": True} if maxima else {}))
        SparseIndex.build(documents, config, folder, threads=1)
    index = SparseIndex.open(folder)
    return lambda query, k: index.search_one(*query, k, exact=True)


def open_sindi(vectors: Path, docs: int | None) -> Search:
    """Return the search of a SINDI index that prunes nothing."""
    import pyvsag  # type: ignore[import-untyped, import-not-found, unused-ignore]

    indptr, terms, impacts = read(vectors, "d", docs)
    width = int(np.load(vectors)["V"])
    index = {"use_reorder": False, "term_id_limit": width, "doc_prune_ratio": 0.0, "window_size": 60_000}
    settings = {"dtype": "sparse", "metric_type": "ip", "dim": width, "index_param": index}
    sindi = pyvsag.Index("sindi", json.dumps(settings))
    ids = np.arange(len(indptr) - 1, dtype=np.int64)
    sindi.build(indptr.astype(np.uint32), terms.astype(np.uint32), impacts, ids)

    def search(query: Query, k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        pointers = np.array([0, len(query[0])], dtype=np.uint32)
        options = json.dumps({"sindi": {"query_prune_ratio": 0.0, "n_candidate": k}})
        found, distances = sindi.knn_search(pointers, query[0].astype(np.uint32), query[1], k, options)
        return np.ravel(found), np.ravel(distances)

    return search


def serve(search: Search, queries: list[Query]) -> None:
    """Answer each line `k`, or `k hits`, of the input with the nanoseconds, or the hits, of all queries."""
    for line in sys.stdin:
        k, *rest = line.split()
        answers: list[Any] = []
        for query in queries:
            started = time.thread_time_ns()
            ids, scores = search(query, int(k))
            taken = time.thread_time_ns() - started
            answers.append([ids.tolist(), scores.tolist()] if rest else taken)
        print(json.dumps(answers), flush=True)


class Process:
    """One tree, this one with block maxima, or SINDI, in a process of its own."""

    def __init__(self, name: str, given: argparse.Namespace) -> None:
        self.name = name
        arguments = [
            str(Path(__file__).resolve()),
            str(given.vectors),
            str(given.maxima if name == "maxima" else given.index),
            "--queries",
            str(given.queries),
        ]
        if given.docs is not None:
            arguments += ["--docs", str(given.docs)]
        environment = dict(os.environ)
        tree = HERE if name == "maxima" else name
        if name != "sindi":
            environment |= {"PYTHONPATH": tree, "NUMBA_CACHE_DIR": f"{tree}/.numba_cache"}
        self._process = subprocess.Popen(
            [sys.executable, *arguments, "--serve", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True,
        )  # fmt: skip

    def ask(self, line: str) -> Any:
        """Send a line and return the answer; raises RuntimeError if the process has ended."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError(f"{self.name} has no pipes")
        print(line, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} ended with code {self._process.wait()}")
        return json.loads(answer)


def measure(processes: list[Process], k: int, rounds: int) -> None:
    """Print a line for each process."""
    hits = [process.ask(f"{k} hits") for process in processes]
    times = [[process.ask(str(k)) for process in processes] for _ in range(rounds)]
    for i, process in enumerate(processes):
        micro = np.median([np.array(row[i], dtype=float) for row in times], axis=0) / 1e3
        common = sum(len(set(a[0]) & set(b[0])) for a, b in zip(hits[0], hits[i], strict=True))
        line = {
            "k": k,
            "what": process.name,
            "mean_us": round(float(micro.mean()), 1),
            "p50_us": round(float(np.median(micro)), 1),
            "p99_us": round(float(np.quantile(micro, 0.99)), 1),
            "equal": hits[i] == hits[0],
            "common_hits": round(common / max(1, sum(len(a[0]) for a in hits[0])), 4),
        }
        print(json.dumps(line), flush=True)


def main() -> None:
    """Print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("--docs", type=int)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("-k", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--tree", action="append", help="a checkout of this repository; can be repeated")
    parser.add_argument("--maxima", type=Path, help="the folder of an index with block maxima")
    parser.add_argument("--sindi", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        if given.serve == "sindi":
            search = open_sindi(given.vectors, given.docs)
        else:
            search = open_lsr(given.vectors, given.index, given.docs, maxima=given.serve == "maxima")
        serve(search, open_queries(given.vectors, given.queries))
        return
    names = [*(given.tree or [HERE]), *(["maxima"] if given.maxima else []), *(["sindi"] if given.sindi else [])]
    processes = []
    # One after the other: the first builds the index that the others open.
    for name in names:
        processes.append(Process(name, given))
        processes[-1].ask("1")
    for k in given.k:
        measure(processes, k, given.rounds)


if __name__ == "__main__":
    main()
