"""Building and serving millions of documents: seconds by stage, bytes by array, resident memory, latency and recall.

usage: python benchmarks/index_scale.py build PARTS INDEX [--docs N] [--threads 2] [--config JSON]
       python benchmarks/index_scale.py serve PARTS INDEX [--docs N] [--queries 200] [--check 10] [--repeat 3]

PARTS is a folder that benchmarks/scale_vectors.py wrote; `--docs` limits the number of its documents. `build` streams
the parts into a new index. `serve` opens it and measures:

* the time of opening, and of the first query of a process whose kernels are compiled;
* the exact top 10 of the queries, of which `--check` are compared with a brute force over the parts in float64;
* latency and recall of candidate search, over its search parameters. Latencies are the least of `--repeat` runs of a
  query through `search_one`, on one thread; quote them only from a machine that runs nothing else.

Prints JSON lines. Memory is the peak of resident memory, pages of mapped files included (VmHWM), and the present memory
that belongs to no file (RssAnon).
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import IndexConfig, SparseIndex, warm_kernels

K = 10
SETTINGS = tuple(itertools.product((3, 4, 5, 6, 8, 10, 12, 16), (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)))


def parts(folder: Path, n_docs: int | None) -> Iterator[csr_array]:
    """Yield the parts as float32 matrices, up to `n_docs` documents."""
    with np.load(folder / "queries.npz") as held:
        n_terms = int(held["V"])
    left = n_docs
    for path in sorted(folder.glob("part-*.npz")):
        if left == 0:
            return
        with np.load(path) as held:
            indptr, indices, data = held["indptr"], held["indices"], held["data"]
        rows = len(indptr) - 1 if left is None else min(left, len(indptr) - 1)
        end = int(indptr[rows])
        matrix = csr_array(
            (data[:end].astype(np.float32), indices[:end].astype(np.int32), indptr[: rows + 1]), shape=(rows, n_terms)
        )
        left = None if left is None else left - rows
        yield matrix


def memory() -> dict[str, float]:
    """Return the process's peak resident memory, and its present memory that belongs to no file, in GB."""
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = {line[0].rstrip(":"): int(line[1]) for line in lines if line[0] in ("VmHWM:", "RssAnon:")}
    return {name: round(value * 1024 / 1e9, 3) for name, value in kilobytes.items()}


def report(**values: Any) -> None:
    """Print one JSON line."""
    print(json.dumps(values), flush=True)


def build(options: argparse.Namespace) -> None:
    """Build, and report stages, arrays and memory."""
    stages: dict[str, float] = {}
    peaks: dict[str, float] = {}
    last = began = time.perf_counter()

    def progress(stage: str, _done: int, _total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        stages[stage] = stages.get(stage, 0.0) + now - last
        peaks[stage] = memory()["VmHWM"]
        last = now

    config = IndexConfig(**json.loads(options.config))
    index = SparseIndex.build(
        parts(options.parts, options.docs), config, path=options.index, threads=options.threads, progress=progress
    )
    stages["checksums"] = time.perf_counter() - last
    report(
        what="build",
        docs=index.n_docs,
        impacts=index.nnz,
        threads=options.threads,
        config=index.config.to_json(),
        seconds=round(time.perf_counter() - began, 1),
        stages={stage: round(seconds, 1) for stage, seconds in stages.items()},
        peak_by_stage=peaks,
        bytes=index.bytes,
        arrays={file.stem: file.stat().st_size for file in sorted(options.index.glob("*.npy"))},
        **memory(),
    )


def serve(options: argparse.Namespace) -> None:
    """Open, search, and report latency and recall."""
    with np.load(options.parts / "queries.npz") as held:
        start = held["indptr"][: options.queries + 1].tolist()
        queries = [(held["indices"][a:b], held["data"][a:b]) for a, b in itertools.pairwise(start)]
        n_terms = int(held["V"])
    warm_kernels()
    began = time.perf_counter()
    index = SparseIndex.open(options.index)
    opened = time.perf_counter()
    index.search_one(*queries[0], K)
    report(
        what="open",
        docs=index.n_docs,
        milliseconds=round(1e3 * (opened - began), 2),
        first_query_milliseconds=round(1e3 * (time.perf_counter() - opened), 2),
        **memory(),
    )
    truth = [index.search_one(*query, K, exact=True)[0] for query in queries]
    if options.check:
        check(parts(options.parts, options.docs), queries[: options.check], n_terms, truth)
    lists = index.config.exact_lists
    report(what="exact", exact_lists=lists, **measure(lambda q: index.search_one(*q, K, exact=True), queries, truth, 2))
    settings = SETTINGS if index.config.n_postings else ()
    for cut, factor in settings:

        def search(query: Any, cut: int = cut, factor: float = factor) -> Any:
            return index.search_one(*query, K, query_cut=cut, heap_factor=factor)

        point = measure(search, queries, truth, options.repeat)
        report(what="candidates", query_cut=cut, heap_factor=factor, **point)
    report(what="memory", **memory())


def measure(search: Callable[[Any], Any], queries: list[Any], truth: list[NDArray[np.int64]], repeat: int) -> dict:
    """Return recall and latencies in microseconds."""
    least = np.full(len(queries), np.inf)
    recall = 0.0
    for turn in range(repeat):
        for i, query in enumerate(queries):
            began = time.perf_counter()
            ids = search(query)[0]
            least[i] = min(least[i], time.perf_counter() - began)
            if turn == 0:
                recall += len(np.intersect1d(ids, truth[i])) / len(truth[i]) / len(queries)
    micro = 1e6 * least
    return {
        "recall": round(recall, 4),
        "mean": round(float(micro.mean()), 1),
        "p50": round(float(np.median(micro)), 1),
        "p99": round(float(np.quantile(micro, 0.99)), 1),
    }


def check(documents: Iterator[csr_array], queries: list[Any], n_terms: int, truth: list[NDArray[np.int64]]) -> None:
    """Compare exact answers with a brute force over the given vectors."""
    asked = np.zeros((n_terms, len(queries)))
    for q, (terms, weights) in enumerate(queries):
        asked[terms, q] = weights
    best = np.zeros((0, len(queries)))
    ids = np.zeros((0, len(queries)), dtype=np.int64)
    first = 0
    for part in documents:
        scores = np.vstack([best, part.astype(np.float64) @ asked])
        numbers = np.vstack([ids, np.repeat(np.arange(first, first + part.shape[0])[:, None], len(queries), axis=1)])
        order = np.argsort(-scores, axis=0, kind="stable")[:K]
        best, ids = np.take_along_axis(scores, order, 0), np.take_along_axis(numbers, order, 0)
        first += part.shape[0]
    same = [set(ids[:, q].tolist()) == set(truth[q].tolist()) for q in range(len(queries))]
    report(what="brute force", queries=len(queries), same_top_10=sum(same))


def main() -> None:
    """Run one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "serve"))
    parser.add_argument("parts", type=Path)
    parser.add_argument("index", type=Path)
    parser.add_argument("--docs", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--config", default="{}", help="IndexConfig, as JSON")
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--check", type=int, default=10)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    build(options) if options.what == "build" else serve(options)


if __name__ == "__main__":
    main()
