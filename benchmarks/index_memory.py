"""What an index keeps in memory and on disk, its recall and its time, for several builds, with Seismic's next to them.

usage: python benchmarks/index_memory.py VECTORS.npz --builds DIR [--queries 99] [--repeat 4] [-k 10]
                                         [--build NAME=JSON ...] [--index NAME=DIR ...] [--seismic 1000/.1/.3 ...]

VECTORS.npz holds documents and queries as `lsr bench` reads them. --build names a build of this tree and its
IndexConfig as JSON, --index an index that exists, of any format that is read. Builds are kept in DIR. An index is
searched with a copy in memory of the arrays that candidate search reads at random (`resident=True`); the others stay
mapped.

Prints a JSON line for each target: bytes per document that must be in memory (`resident`; of a peer: all), bytes per
document on disk, and for each recall the fastest setting's mean and p99 in microseconds, single queries on one thread,
a query's time being the least of its rounds. The last lines compare with the fastest peer at each recall.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.bench.indexes import grid
from eval.bench.seismic import SeismicBuild, SeismicTarget
from eval.bench.sweep import Curve, Search, Settings, sweep
from eval.bench.vectors import Truth, Vectors, read_vectors, row_of
from index import IndexConfig, SparseIndex

RECALLS = (0.95, 0.98, 0.99, 0.995, 0.998)


class BuiltIndex:
    """One index as a target of the sweep."""

    def __init__(self, name: str, folder: Path, vectors: Vectors, truth: Truth) -> None:
        self.name = name
        self._index = SparseIndex.open(folder, resident=True)
        self._queries = vectors.queries
        self.query_count = vectors.queries.shape[0]
        self.relevant = truth.relevant
        disk = sum(path.stat().st_size for path in folder.iterdir())
        n_docs = self._index.n_docs
        self.description: Mapping[str, Any] = {
            "resident": round(self._index.candidate_bytes / n_docs, 1),
            "disk": round(disk / n_docs, 1),
        }
        self._index.warm()

    def settings(self, k: int) -> Sequence[Settings]:  # noqa: ARG002
        """Return the grid of search parameters."""
        return [settings for settings in grid() if "query_cut" in settings]

    def searcher(self, query: int, k: int, settings: Settings) -> Search:
        """Return the search of one query."""
        terms, weights = row_of(self._queries, query)
        search = self._index.search_one
        return lambda: search(terms, weights, k, **settings)[0].tolist()


class SeismicInMemory(SeismicTarget):
    """A Seismic index, which is in memory as a whole."""

    def __init__(self, vectors: Vectors, truth: Truth, builds: Path, build: SeismicBuild) -> None:
        super().__init__(vectors, truth, builds, build)
        size = round(self.description["bytes"] / vectors.documents.shape[0], 1)
        self.description = {"resident": size, "disk": size}


def targets(given: argparse.Namespace, vectors: Vectors, truth: Truth) -> Iterator[BuiltIndex | SeismicInMemory]:
    """Yield the targets, one at a time; builds that are missing are made."""
    given.builds.mkdir(parents=True, exist_ok=True)
    for text in given.index:
        name, folder = text.split("=", 1)
        yield BuiltIndex(name, Path(folder), vectors, truth)
    for text in given.build:
        name, config = text.split("=", 1)
        folder = given.builds / name.replace("/", "-")
        if not folder.exists():
            SparseIndex.build(vectors.documents, IndexConfig.from_json(json.loads(config)), folder)
        yield BuiltIndex(name, folder, vectors, truth)
    for build in given.seismic:
        yield SeismicInMemory(vectors, truth, given.builds, build)


def line_of(curve: Curve) -> dict[str, Any]:
    """Return a target's line."""
    found = {recall: curve.fastest(recall) for recall in RECALLS}
    times = {
        str(recall): None if point is None else [round(point.mean_us, 1), round(point.p99_us, 1)]
        for recall, point in found.items()
    }
    return {"target": curve.name, "k": curve.k, **curve.description, "most": max(p.recall for p in curve.points)} | {
        "us": times
    }


def compare(curves: Sequence[Curve], recall: float) -> None:
    """Print each index's time and bytes as shares of those of the fastest peer at this recall."""
    points = [(curve, point) for curve in curves if (point := curve.fastest(recall)) is not None]
    peers = [(curve, point) for curve, point in points if curve.name.startswith("seismic")]
    if not peers:
        return
    peer, best = min(peers, key=lambda entry: entry[1].mean_us)
    for curve, point in points:
        if not curve.name.startswith("seismic"):
            line = {"recall": recall, "target": curve.name, "peer": peer.name}
            line["time"] = round(point.mean_us / best.mean_us, 3)
            line |= {size: round(curve.description[size] / peer.description[size], 3) for size in ("resident", "disk")}
            print(json.dumps(line), flush=True)


def main() -> None:
    """Measure each target and print its line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors")
    parser.add_argument("--builds", type=Path, required=True)
    parser.add_argument("--queries", type=int, default=99)
    parser.add_argument("--repeat", type=int, default=4)
    parser.add_argument("-k", type=int, default=10)
    parser.add_argument("--build", action="append", default=[], help="NAME=JSON of an IndexConfig; can be repeated")
    parser.add_argument("--index", action="append", default=[], help="NAME=DIR; can be repeated")
    parser.add_argument("--seismic", action="append", default=[], type=SeismicBuild.parse)
    given = parser.parse_args()
    vectors = read_vectors(given.vectors, None, given.queries)
    truth = Truth(vectors, given.k)
    curves = []
    for target in targets(given, vectors, truth):
        curves.append(sweep(target, given.k, given.repeat))
        print(json.dumps(line_of(curves[-1])), flush=True)
    for recall in RECALLS:
        compare(curves, recall)


if __name__ == "__main__":
    main()
