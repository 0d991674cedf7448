"""Two sparse views of a text in one index, with the terms of each in a range of its own, compared with two searches.

    python benchmarks/one_index.py COLLECTION [--queries queries.jsonl] [--candidates 100] [--rounds 3]

COLLECTION has the sparse vectors `default` and `bm25` (of several segments the largest is used). One index can only add
the two scores, with weights folded into the query; the pipeline scales each list by its maximum, which is known after
the search. Both ways return the candidates that rescoring needs; after the searches of two indexes, the union of both
lists is scored in both.
Prints a JSON line: milliseconds (p50, p99) of both ways on one thread, alternately, and bytes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np
from scipy.sparse import csr_array, hstack
from service_latency import SCIFACT

from index import SparseIndex
from lsr.collection import Collection

NAMES = ("default", "bm25")


def folder_bytes(folder: Path) -> int:
    """Return the size of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("collection", type=Path)
    parser.add_argument("--queries", type=Path, default=SCIFACT)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    texts = [json.loads(line)["text"] for line in arguments.queries.read_text(encoding="utf-8").splitlines()]
    k = arguments.candidates
    with Collection.open(arguments.collection) as collection, tempfile.TemporaryDirectory(prefix="lsr-one-") as folder:
        segment = max((view.segment for view in collection._state.generation.segments), key=len)
        two = [segment.indexes[name] for name in NAMES]
        encoded = [collection.encoder(name).encode_queries(texts, collection.statistics(name)) for name in NAMES]
        widths = [max(index.n_terms, int(rows.shape[1])) for index, rows in zip(two, encoded, strict=True)]
        wide = [index.rows(0, index.n_docs) for index in two]
        wide, encoded = (
            [
                csr_array((rows.data, rows.indices, rows.indptr), shape=(rows.shape[0], width))
                for rows, width in zip(matrices, widths, strict=True)
            ]
            for matrices in (wide, encoded)
        )
        one = SparseIndex.build(hstack(wide, format="csr").astype(np.float32), path=Path(folder) / "one")
        both: csr_array = hstack(encoded, format="csr").astype(np.float32)
        times: dict[str, list[float]] = {"one_index": [], "two_indexes": []}
        for turn in range(arguments.rounds + 1):  # the first one warms up
            for row in range(len(texts)):
                terms = [rows[[row]] for rows in (both, *encoded)]
                started = perf_counter()
                one.search_one(terms[0].indices.astype(np.int64), terms[0].data, k)
                middle = perf_counter()
                queries = [(rows.indices.astype(np.int64), rows.data.astype(np.float32)) for rows in terms[1:]]
                found = [index.search_one(*query, k)[0] for index, query in zip(two, queries, strict=True)]
                union = np.union1d(*found)
                for index, query in zip(two, queries, strict=True):
                    index.score(*query, union)
                if turn:
                    times["one_index"].append(1e3 * (middle - started))
                    times["two_indexes"].append(1e3 * (perf_counter() - middle))
        line: dict[str, object] = {"documents": one.n_docs, "candidates": k}
        for way, taken in times.items():
            line |= {f"{way}_p{p}_ms": round(float(np.percentile(taken, p)), 3) for p in (50, 99)}
        line["one_index_bytes"] = folder_bytes(Path(folder))
        line["two_indexes_bytes"] = sum(folder_bytes(segment.folder / "vectors" / name) for name in NAMES)
    print(json.dumps(line))


if __name__ == "__main__":
    main()
