"""Candidate search over a mapped index that is larger than memory: latency and page faults under a memory limit.

usage: python benchmarks/index_beyond_memory.py INDEX VECTORS.npz [--share .33] [--queries 300] [--rounds 3]
                                                [--query-cut 8] [--heap-factor .7] [--advice random|normal]

INDEX is the folder of an index, VECTORS.npz holds queries as `lsr bench` reads them. The process joins a memory cgroup
of its own (version 1 or 2; it needs the right to make one), whose limit is SHARE times the size of the index's files
plus the memory that the process has before it opens the index. The files are taken out of the page cache first. The
first round is cold, the others are warm; --advice random and normal override how the index is opened (MADV_RANDOM,
or with the kernel reading ahead). Prints a JSON line for each round: mean, p50 and p99 of single queries on one thread
in microseconds, and major faults per query. A process without a limit, the index in memory, prints the last line.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from eval.bench.vectors import row_of
from index import SparseIndex, sparse_index

CGROUPS = Path("/sys/fs/cgroup")


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Join a memory cgroup with this limit in bytes, and leave it at the end."""
    old = CGROUPS / "memory"
    root, limit = (old, "memory.limit_in_bytes") if old.is_dir() else (CGROUPS, "memory.max")
    folder = root / f"lsr-{os.getpid()}"
    folder.mkdir()
    try:
        (folder / limit).write_text(str(size))
        (folder / "cgroup.procs").write_text(str(os.getpid()))
        yield
    finally:
        (root / "cgroup.procs").write_text(str(os.getpid()))
        folder.rmdir()


def evict(folder: Path) -> int:
    """Take a folder's files out of the page cache; return their size."""
    size = 0
    for path in folder.glob("*.npy"):
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            size += path.stat().st_size
    return size


def own_memory() -> int:
    """Return the bytes of the process that belong to no file."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) * 1024


def measure(index: SparseIndex, queries: Any, given: argparse.Namespace) -> dict[str, float]:
    """Search each query once and return the figures of a round."""
    micro, faults = [], resource.getrusage(resource.RUSAGE_SELF).ru_majflt
    for i in range(queries.shape[0]):
        terms, weights = row_of(queries, i)
        started = time.perf_counter()
        index.search_one(terms, weights, 10, query_cut=given.query_cut, heap_factor=given.heap_factor)
        micro.append((time.perf_counter() - started) * 1e6)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_majflt - faults
    return {
        "mean_us": round(float(np.mean(micro)), 1),
        "p50_us": round(float(np.median(micro)), 1),
        "p99_us": round(float(np.quantile(micro, 0.99)), 1),
        "major_faults_per_query": round(faults / queries.shape[0], 2),
    }


def read_queries(path: Path, n: int) -> Any:
    """Return the first n queries as a csr_array."""
    from scipy.sparse import csr_array

    held = np.load(path)
    indptr = held["q_indptr"][: n + 1]
    shape = (len(indptr) - 1, int(held["V"]))
    return csr_array((held["q_data"][: indptr[-1]], held["q_indices"][: indptr[-1]], indptr), shape=shape)


def main() -> None:
    """Print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("index", type=Path)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--share", type=float, default=1 / 3)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--query-cut", type=int, default=8)
    parser.add_argument("--heap-factor", type=float, default=0.7)
    parser.add_argument("--advice", choices=("random", "normal"))
    parser.add_argument("--resident", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    queries = read_queries(given.vectors, given.queries)
    if given.resident:
        index = SparseIndex.open(given.index, resident=True)
        rounds = [measure(index, queries, given) for _ in range(given.rounds + 1)]
        print(json.dumps({"way": "resident", "round": "warm", **min(rounds[1:], key=lambda line: line["mean_us"])}))
        return
    # Kernels are compiled or loaded before the limit is set: their memory is not the index's.
    SparseIndex.open(given.index).search_one(*row_of(queries, 0), 10, query_cut=2)
    size = evict(given.index)
    limit = int(size * given.share) + own_memory()
    with limited(limit):
        if given.advice is not None:
            sparse_index.available_memory = lambda: 0 if given.advice == "random" else None  # type: ignore[attr-defined]
        index = SparseIndex.open(given.index)
        for number in range(given.rounds):
            line = {"way": "mapped", "advice": given.advice or "by memory", "round": "warm" if number else "cold"}
            line |= {"limit_mb": limit >> 20, "index_mb": size >> 20}
            print(json.dumps(line | measure(index, queries, given)), flush=True)
        del index
    subprocess.run([sys.executable, *sys.argv, "--resident"], check=True)


if __name__ == "__main__":
    main()
