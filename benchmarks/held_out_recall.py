"""Recall targets on held-out queries: expected and found, before and after a collection has sampled real queries.

    python benchmarks/held_out_recall.py VECTORS.npz [--docs 200000] [--queries 1000] [-k 10 100] [--grow 0.5]

VECTORS.npz holds documents and queries as `lsr bench` reads them. The documents become a collection whose recall
targets are measured on queries built from documents. Every second query is searched, so that the collection samples it
and measures again in the background; the others are held out. With --grow, that share of the documents is written
after the sample was taken, so that a merge and the growth measure again. Prints a JSON line for each source of the
curve, k and target: the mean of `expected_recall`, the recall found on held-out queries against exact search with its
standard error, and the share of the searches that candidates answered.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, save_npz

from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.documents import Document, SparseByIndex
from lsr.vectors import VectorConfig
from lsr.writing.bulk_load import index_corpus

TARGETS = (0.9, 0.95, 0.98, 0.99, 0.995, 0.998)
BATCH = 5000


def read(path: Path, side: str, rows: int) -> csr_array:
    """Return the first documents ("d") or queries ("q")."""
    held = np.load(path)
    indptr = held[f"{side}_indptr"][: rows + 1].astype(np.int64)
    data, indices = held[f"{side}_data"][: indptr[-1]], held[f"{side}_indices"][: indptr[-1]]
    matrix = csr_array((data.astype(np.float32), indices, indptr), shape=(len(indptr) - 1, int(held["V"])))
    matrix.sort_indices()
    return matrix


def query(rows: csr_array, at: int) -> SparseByIndex:
    """Return a row as a query."""
    span = slice(rows.indptr[at], rows.indptr[at + 1])
    return SparseByIndex(tuple(rows.indices[span].tolist()), tuple(rows.data[span].tolist()))


def measure(collection: Collection, held_out: list[SparseByIndex], depths: list[int], step: str) -> None:
    """Print the lines of one source."""
    curve = collection.recall_curve()
    for k in depths:
        exact = [[hit.score for hit in collection.search(one, k=k, exact=True, sampled=False).hits] for one in held_out]
        for target in TARGETS:
            found, expected, approximate = [], [], 0
            for one, scores in zip(held_out, exact, strict=True):
                answer = collection.search(one, k=k, recall=target, sampled=False)
                approximate += answer.approximate
                if answer.expected_recall is not None:
                    expected.append(answer.expected_recall)
                if scores:
                    found.append(sum(hit.score >= scores[-1] for hit in answer.hits) / len(scores))
            line = {
                "step": step,
                "source": None if curve is None else curve.source,
                "queries": None if curve is None else curve.queries,
                "k": k,
                "target": target,
                "expected": round(float(np.mean(expected)), 4) if expected else None,
                "found": round(float(np.mean(found)), 4),
                "error": round(float(np.std(found) / np.sqrt(len(found))), 4),
                "approximate": round(approximate / len(held_out), 3),
            }
            print(json.dumps(line), flush=True)


def write(collection: Collection, rows: csr_array, first: int) -> None:
    """Write further documents, in batches; the background seals and merges."""
    for start in range(0, rows.shape[0], BATCH):
        stop = min(start + BATCH, rows.shape[0])
        collection.write(
            [Document(f"g{first + at}", vectors={"default": query(rows, at)}) for at in range(start, stop)]
        )
        collection.wait_for_upkeep()


def wait_for_curve(collection: Collection) -> float:
    """Wait until the background has measured; return the seconds."""
    started = time.perf_counter()
    while collection.curves_measured == 0:
        collection.wait_for_upkeep()
        if collection._upkeep.last_error is not None:
            raise collection._upkeep.last_error
        collection._upkeep.wake()
        time.sleep(0.1)
    collection.wait_for_upkeep()
    return time.perf_counter() - started


def main() -> None:
    """Print JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vectors", type=Path)
    parser.add_argument("--docs", type=int, default=200_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("-k", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--grow", type=float, default=0.0)
    given = parser.parse_args()
    documents, queries = read(given.vectors, "d", given.docs), read(given.vectors, "q", given.queries)
    asked = [query(queries, at) for at in range(0, queries.shape[0], 2)]
    held_out = [query(queries, at) for at in range(1, queries.shape[0], 2)]
    first = round(documents.shape[0] * (1 - given.grow))
    with tempfile.TemporaryDirectory(prefix="lsr-recall-") as folder:
        save_npz(f"{folder}/documents.npz", documents[:first])
        out = Path(folder) / "collection"
        index_corpus(open_corpus(f"{folder}/documents.npz", "vectors"), out, vectors={"default": VectorConfig(None)})
        with Collection.open(out, "w") as collection:
            measure(collection, held_out, given.k, "built")
            collection.keep_query_sample(True)
            for one in asked:
                collection.search(one, k=10)
            seconds = wait_for_curve(collection)
            measure(collection, held_out, given.k, f"sampled; measured in {seconds:.0f} s in the background")
            if first < documents.shape[0]:
                write(collection, documents[np.arange(first, documents.shape[0])], first)
                collection.measure_recall()
                measure(collection, held_out, given.k, f"grown by {given.grow:.0%}")


if __name__ == "__main__":
    main()
