"""Upserts per second of ready-made sparse vectors in bulk, with sealing and merging in the background.

usage: python benchmarks/collection_writes.py [--documents 100000] [--batch 1000] [--terms 100] [--folder DIR]

Prints a JSON line: acknowledged (durable) upserts per second over the whole run, the batches' latencies, and the
latency of searches during the writes. Vectors are random over 30,000 tokens, Zipf-like, seeded.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from lsr.collection import Collection
from lsr.documents import Document, SparseByToken
from lsr.errors import TooManyPending
from lsr.vectors import VectorConfig

VOCABULARY = 30_000


def make_documents(count: int, terms: int, seed: int) -> list[Document]:
    """Documents with `terms` distinct tokens each, and a text of about 50 characters."""
    generator = np.random.default_rng(seed)
    tokens = np.array([f"token{number}" for number in range(VOCABULARY)], dtype=object)
    documents = []
    for number in range(count):
        chosen = np.unique((VOCABULARY * generator.random(2 * terms) ** 2.5).astype(np.int64))[:terms]
        weights = generator.gamma(2.0, 0.5, len(chosen)).astype(np.float32).tolist()
        vector = SparseByToken(dict(zip(tokens[chosen].tolist(), weights, strict=True)))
        documents.append(Document(f"d{seed}-{number:08}", text="some text " * 5, vectors={"default": vector}))
    return documents


def main() -> None:
    """Run the benchmark and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--batch", type=int, default=1000)
    parser.add_argument("--terms", type=int, default=100)
    parser.add_argument("--folder", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="lsr-writes-"))
    documents = make_documents(arguments.documents, arguments.terms, 1)
    queries = [document.vectors["default"] for document in make_documents(50, 24, 2)]
    searches: list[float] = []
    stop = threading.Event()
    with Collection.create(folder / "c", vectors={"default": VectorConfig(None)}) as collection:
        collection.write(documents[: arguments.batch])
        collection.warm()

        def search() -> None:
            turn = 0
            while not stop.wait(0.02):
                started = time.perf_counter()
                collection.search(queries[turn % len(queries)], cache=False)
                searches.append(1e3 * (time.perf_counter() - started))
                turn += 1

        searcher = threading.Thread(target=search)
        searcher.start()
        latencies, refused = [], 0
        started = time.perf_counter()
        for at in range(0, len(documents), arguments.batch):
            before = time.perf_counter()
            while True:
                try:
                    collection.write(documents[at : at + arguments.batch])
                    break
                except TooManyPending:
                    refused += 1
                    time.sleep(0.05)
            latencies.append(1e3 * (time.perf_counter() - before))
        seconds = time.perf_counter() - started
        stop.set()
        searcher.join()
        collection.wait_for_upkeep()
        all_sealed = time.perf_counter() - started
        info = collection.info()
    shutil.rmtree(folder)
    print(
        json.dumps(
            {
                "documents": len(documents),
                "terms": arguments.terms,
                "batch": arguments.batch,
                "upserts_per_second": round(len(documents) / seconds),
                "batch_ms_p50": round(float(np.percentile(latencies, 50)), 1),
                "batch_ms_max": round(max(latencies), 1),
                "refused": refused,
                "search_ms_p50": round(float(np.percentile(searches, 50)), 2),
                "search_ms_p99": round(float(np.percentile(searches, 99)), 2),
                "upkeep_done_after_seconds": round(all_sealed, 1),
                "segments": info.segments,
                "pending": info.pending,
            }
        )
    )


if __name__ == "__main__":
    main()
