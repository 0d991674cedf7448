"""Recall and latency of this index and of its peers, side by side in one run, one thread each.

usage: python benchmarks/index_curves.py VECTORS.npz [--k 10] [--peers seismic sindi] [--queries 1000] [--plot FILE.png]

VECTORS.npz holds a collection (d_indptr d_indices d_data), queries (q_indptr q_indices q_data), the number of terms V
and the exact top documents of each query (top). Prints a JSON line for each build and each point, then a table of
the fastest point of each index at each recall. Latencies are of single queries through the Python call a user makes,
the least of `--repeat` runs each, so that other work on the machine disturbs them little. Needs pyseismic-lsr and
pyvsag for the peers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# PySeismic starts threads even when asked for one.
os.environ["RAYON_NUM_THREADS"] = "1"

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from index import IndexConfig, SparseIndex

RECALLS = (0.95, 0.98, 0.99, 0.998)

Search = Callable[[int], Any]
Query = tuple[NDArray[np.int32], NDArray[np.float32]]


def ours(documents: csr_array, queries: list[Query], k: int, options: argparse.Namespace) -> Iterator[tuple]:
    """Yield (settings, search, ids of its answer) over this index's knobs."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        config = IndexConfig(**json.loads(options.config))
        built = SparseIndex.build(documents, config, path=Path(folder) / "index", threads=options.threads)
        report("lsr", build_seconds=time.perf_counter() - start, bytes=built.bytes)
        index = SparseIndex.open(Path(folder) / "index")
        index.warm()
        for cut, factor in itertools.product((3, 4, 5, 6, 8, 10, 12), (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)):

            def search(i: int, cut: int = cut, factor: float = factor) -> Any:
                return index.search_one(*queries[i], k, query_cut=cut, heap_factor=factor)

            yield {"query_cut": cut, "heap_factor": factor}, search, lambda answer: answer[0]
        yield {"exact": True}, lambda i: index.search_one(*queries[i], k, exact=True), lambda answer: answer[0]


def seismic(documents: csr_array, queries: list[Query], k: int, options: argparse.Namespace) -> Iterator[tuple]:
    """Yield the same for Seismic (pyseismic-lsr), over the builds named on the command line."""
    from seismic import SeismicIndexRaw

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "documents.bin"
        with path.open("wb") as file:
            file.write(struct.pack("<I", documents.shape[0]))
            for row in range(documents.shape[0]):
                at = slice(documents.indptr[row], documents.indptr[row + 1])
                file.write(struct.pack("<I", at.stop - at.start))
                file.write(documents.indices[at].astype("<u4").tobytes())
                file.write(documents.data[at].astype("<f4").tobytes())
        for n_postings in options.seismic_postings:
            start = time.perf_counter()
            index = SeismicIndexRaw.build(str(path), n_postings=n_postings, centroid_fraction=0.1, summary_energy=0.4)
            seconds = time.perf_counter() - start
            index.save(str(Path(folder) / "saved"))
            size = sum(file.stat().st_size for file in Path(folder).glob("saved*"))
            report("seismic", n_postings=n_postings, build_seconds=seconds, bytes=size)
            for cut, factor in itertools.product((3, 4, 5, 6, 8, 10, 12, 16), (1.0, 0.9, 0.8, 0.7)):

                def search(i: int, cut: int = cut, factor: float = factor, index: Any = index) -> Any:
                    return index.search(*queries[i], k, cut, factor, 0, True)

                settings = {"n_postings": n_postings, "query_cut": cut, "heap_factor": factor}
                yield settings, search, lambda answer: [hit[1] for hit in answer]


def sindi(documents: csr_array, queries: list[Query], k: int, _options: argparse.Namespace) -> Iterator[tuple]:
    """Yield the same for SINDI (pyvsag), over its pruning ratios."""
    import pyvsag

    for pruned in (0.0, 0.4):
        parameters = {
            "dtype": "sparse",
            "metric_type": "ip",
            "dim": documents.shape[1],
            "index_param": {
                "use_reorder": True,
                "term_id_limit": documents.shape[1],
                "doc_prune_ratio": pruned,
                "window_size": 60000,
            },
        }
        start = time.perf_counter()
        index = pyvsag.Index("sindi", json.dumps(parameters))
        index.build(
            documents.indptr.astype(np.uint32),
            documents.indices.astype(np.uint32),
            documents.data.astype(np.float32),
            np.arange(documents.shape[0], dtype=np.int64),
        )
        report("sindi", doc_prune_ratio=pruned, build_seconds=time.perf_counter() - start)
        for query_pruned, candidates in ((0.0, 10 * k), (0.2, 10 * k), (0.4, 10 * k), (0.5, 10 * k), (0.6, 10 * k)):
            knobs = {"sindi": {"query_prune_ratio": query_pruned, "n_candidate": candidates}}

            def search(i: int, knobs: str = json.dumps(knobs), index: Any = index) -> Any:
                terms, weights = queries[i]
                pointers = np.array([0, len(terms)], dtype=np.uint32)
                return index.knn_search(pointers, terms.astype(np.uint32), weights, k, knobs)

            settings = {"doc_prune_ratio": pruned, "query_prune_ratio": query_pruned, "n_candidate": candidates}
            yield settings, search, lambda answer: np.ravel(answer[0])


PEERS = {"lsr": ours, "seismic": seismic, "sindi": sindi}


def measure(
    search: Search,
    ids_of: Callable[[Any], Any],
    truth: NDArray[np.int64],
    k: int,
    repeat: int,
    clock: Callable[[], float],
) -> dict:
    """Return recall@k and the latencies in microseconds of one setting."""
    n = len(truth)
    least = np.full(n, np.inf)
    recall = 0.0
    for turn in range(repeat):
        for i in range(n):
            start = clock()
            answer = search(i)
            least[i] = min(least[i], clock() - start)
            if turn == 0:
                recall += len(set(map(int, ids_of(answer))) & set(truth[i, :k].tolist())) / k / n
    micro = least * 1e6
    return {
        "recall": round(recall, 5),
        "mean": round(float(micro.mean()), 1),
        "p50": round(float(np.median(micro)), 1),
        "p99": round(float(np.quantile(micro, 0.99)), 1),
    }


def report(name: str, **values: Any) -> None:
    """Print one JSON line."""
    print(json.dumps({"index": name, **values}), flush=True)


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of our build; peers build with one")
    parser.add_argument("--config", default="{}", help="our IndexConfig, as JSON")
    parser.add_argument("--seismic-postings", type=int, nargs="+", default=[2000, 4000])
    parser.add_argument("--peers", nargs="*", default=["seismic", "sindi"], choices=["seismic", "sindi"])
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--cpu-time", action="store_true", help="the thread's CPU time, for a machine that is shared")
    options = parser.parse_args()
    held = np.load(options.vectors)
    shape = len(held["d_indptr"]) - 1, int(held["V"])
    documents = csr_array((held["d_data"], held["d_indices"], held["d_indptr"]), shape=shape)
    start = held["q_indptr"][: options.queries + 1]
    queries = [
        (held["q_indices"][a:b].astype(np.int32), held["q_data"][a:b].astype(np.float32))
        for a, b in itertools.pairwise(start.tolist())
    ]
    truth = held["top"][: len(queries)]
    clock = time.thread_time if options.cpu_time else time.perf_counter
    points: dict[str, list[dict]] = {}
    for name in ["lsr", *options.peers]:
        for settings, search, ids_of in PEERS[name](documents, queries, options.k, options):
            point = {**settings, **measure(search, ids_of, truth, options.k, options.repeat, clock)}
            points.setdefault(name, []).append(point)
            report(name, **point)
    print(f"\nmean us a query, k = {options.k} (p99)\n{'recall':>8}" + "".join(f"{name:>18}" for name in points))
    for recall in RECALLS:
        row = f"{recall:>8}"
        for found in points.values():
            enough = [point for point in found if point["recall"] >= recall]
            fastest = min(enough, key=lambda point: point["mean"], default=None)
            row += f"{fastest['mean']:>10.0f} ({fastest['p99']:.0f})" if fastest else f"{'-':>18}"
        print(row)
    if options.plot:
        plot(points, options.plot)


def plot(points: dict[str, list[dict]], path: Path) -> None:
    """Draw each index's best latency against its recall."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    for name, found in points.items():
        front: list[dict] = []
        for point in sorted(found, key=lambda point: (-point["recall"], point["mean"])):
            if not front or point["mean"] < front[-1]["mean"]:
                front.append(point)
        pyplot.plot([point["recall"] for point in front], [point["mean"] for point in front], "o-", label=name)
    pyplot.xlim(0.9, 1.001)
    pyplot.xlabel("recall")
    pyplot.ylabel("mean microseconds a query, one thread")
    pyplot.yscale("log")
    pyplot.legend()
    pyplot.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
