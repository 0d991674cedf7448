"""Exact search over unpruned postings: this tree, other trees of the repository and peers, alternately.

usage: python benchmarks/index_exact.py VECTORS.npz INDEX [--docs N] [--queries 200] [--side q] [--rounds 7]
                                        [-k 10 100 1000] [--tree DIR ...] [--maxima INDEX]
                                        [--peer sindi|bmp|pisa ...] [--peer-python PYTHON]

VECTORS.npz holds documents and queries as `lsr bench` reads them (--side l: a second set of queries, l_indptr ...);
INDEX is the folder of the index over its first N documents, built with unpruned postings if it is missing. Each tree (a
checkout of this repository; this one if none is given) and each peer (packages pyvsag, bmp, pyterrier-pisa; of the
interpreter PYTHON) runs in a process of its own, on one thread, and all processes search the same queries in turns;
--maxima adds one for the same documents with block maxima, in a folder of its own. Prints a JSON line for each k and
process: mean and percentiles of the queries' medians over the rounds, in microseconds of the process's own time, and
whether hits and scores equal those of the first process. Nothing is pruned by a peer; its scores are its own, so only
the number of common hits is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from exact_peers import PEERS, Query, Rows, Search
from numpy.typing import NDArray

HERE = str(Path(__file__).resolve().parent.parent)


def read(path: Path, side: str, rows: int | None = None) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return (indptr, indices, data) of the documents ("d") or the queries ("q"), the first `rows` of them."""
    held = np.load(path)
    indptr = held[f"{side}_indptr"][: None if rows is None else rows + 1].astype(np.int64)
    return indptr, held[f"{side}_indices"][: indptr[-1]], held[f"{side}_data"][: indptr[-1]].astype(np.float32)


def open_queries(path: Path, wanted: int, side: str) -> list[Query]:
    """Return evenly spaced queries, without empty ones."""
    indptr, terms, weights = read(path, side)
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


def open_peer(name: str, vectors: Path, docs: int | None, folder: Path) -> Search:
    """Return the search of a peer; what its native code prints meanwhile goes to stderr: stdout is for answers."""
    rows = Rows(*read(vectors, "d", docs), int(np.load(vectors)["V"]))
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        return PEERS[name](rows, folder)
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def serve(search: Search, queries: list[Query]) -> None:
    """Answer each line `k`, or `k hits`, of the input with the nanoseconds, or the hits, of all queries."""
    for line in sys.stdin:
        k, *rest = line.split()
        answers: list[Any] = []
        for query in queries:
            started = time.process_time_ns()
            ids, scores = search(query, int(k))
            taken = time.process_time_ns() - started
            answers.append([ids.tolist(), scores.tolist()] if rest else taken)
        print(json.dumps(answers), flush=True)


class Process:
    """One tree, this one with block maxima, or a peer, in a process of its own."""

    def __init__(self, name: str, given: argparse.Namespace) -> None:
        self.name = name
        arguments = [
            str(Path(__file__).resolve()),
            str(given.vectors),
            str(given.maxima if name == "maxima" else given.index),
            "--queries",
            str(given.queries),
            "--side",
            given.side,
        ]
        if given.docs is not None:
            arguments += ["--docs", str(given.docs)]
        tree = HERE if name == "maxima" else name
        benchmarks = str(Path(__file__).resolve().parent)
        environment = dict(os.environ) | {"PYTHONPATH": benchmarks, "RAYON_NUM_THREADS": "1"}
        if name not in PEERS:
            environment |= {"PYTHONPATH": f"{tree}:{benchmarks}", "NUMBA_CACHE_DIR": f"{tree}/.numba_cache"}
        self._process = subprocess.Popen(
            [given.peer_python if name in PEERS else sys.executable, *arguments, "--serve", name],
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


def measure(processes: list[Process], docs: int, k: int, rounds: int) -> None:
    """Print a line for each process."""
    hits = [process.ask(f"{k} hits") for process in processes]
    times = [[process.ask(str(k)) for process in processes] for _ in range(rounds)]
    for i, process in enumerate(processes):
        micro = np.median([np.array(row[i], dtype=float) for row in times], axis=0) / 1e3
        common = sum(len(set(a[0]) & set(b[0])) for a, b in zip(hits[0], hits[i], strict=True))
        line = {
            "docs": docs,
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
    parser.add_argument("--side", default="q", help="q, or l for the file's second set of queries")
    parser.add_argument("--peer", action="append", default=[], choices=sorted(PEERS), help="can be repeated")
    parser.add_argument("--peer-python", default=sys.executable, help="the interpreter that has the peers' packages")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        if given.serve in PEERS:
            search = open_peer(given.serve, given.vectors, given.docs, Path(f"{given.index}-{given.serve}"))
        else:
            search = open_lsr(given.vectors, given.index, given.docs, maxima=given.serve == "maxima")
        serve(search, open_queries(given.vectors, given.queries, given.side))
        return
    names = [*(given.tree or [HERE]), *(["maxima"] if given.maxima else []), *given.peer]
    processes = []
    # One after the other: the first builds the index that the others open.
    for name in names:
        processes.append(Process(name, given))
        processes[-1].ask("1")
    docs = given.docs or len(np.load(given.vectors)["d_indptr"]) - 1
    for k in given.k:
        measure(processes, docs, k, given.rounds)


if __name__ == "__main__":
    main()
