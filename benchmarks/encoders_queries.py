"""How long a query takes to encode: inference-free, BM25, and a model with one and with many callers at once.

    python benchmarks/encoders_queries.py

The model is the MiniLM-sized one of benchmarks/encoders_speed.py. Callers are threads that never pause, with the
thread switch interval of the service. First the time of a batch in one call: the limit of what combining calls can
save. Prints JSON lines: milliseconds at the 50th and 99th percentile, and queries per second.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from encoders import load_encoder

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH removes a script's own folder from the path
from encoders_speed import scifact, write_checkpoint


class Statistics:
    """Document frequencies for BM25; their values do not matter here."""

    document_count = 10_000

    def document_frequencies(self, term_ids: np.ndarray) -> np.ndarray:
        """Return 5 for every term."""
        return np.full(len(term_ids), 5, dtype=np.int64)


def measure(
    name: str, encode: Callable[[str], Any], queries: list[str], callers: int, dtype: str | None = None
) -> None:
    """Encode each query once, `callers` at a time, and print the percentiles."""

    def timed(query: str) -> float:
        started = time.perf_counter()
        encode(query)
        return (time.perf_counter() - started) * 1000

    for query in queries[:20]:
        encode(query)
    with ThreadPoolExecutor(callers) as pool:
        started = time.perf_counter()
        times = list(pool.map(timed, queries))
        seconds = time.perf_counter() - started
    p50, p99 = np.percentile(times, [50, 99])
    print(
        json.dumps(
            {"encoder": name, "dtype": dtype, "callers": callers, "p50_ms": round(p50, 3), "p99_ms": round(p99, 3),
             "queries_per_s": round(len(queries) / seconds)}
        ),
        flush=True,
    )  # fmt: skip


def measure_batches(encode: Callable[[list[str]], Any], queries: list[str], dtype: str | None) -> None:
    """Print the time of a batch of queries, in one thread."""
    for size in (1, 2, 4, 8, 16):
        times = []
        for start in range(0, 128, size):
            started = time.perf_counter()
            encode(queries[start : start + size])
            times.append(time.perf_counter() - started)
        median = float(np.median(times))
        figures = {"p50_ms": round(median * 1000, 2), "queries_per_s": round(size / median)}
        print(json.dumps({"batch": size, "dtype": dtype, **figures}))


def main() -> None:
    """Measure each encoder."""
    sys.setswitchinterval(0.0005)
    documents = scifact(400)
    queries = [" ".join(text.split()[:14]) for text in documents]
    bm25 = load_encoder("bm25", average_length=150.0)
    bm25.encode_documents(documents)
    statistics = Statistics()
    measure("bm25", lambda query: bm25.encode_queries([query], statistics), queries, 1)
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder), "minilm")
        static = load_encoder(folder, query_family="static")
        model = load_encoder(folder)
        for callers in (1, 4, 8):
            measure("inference-free", lambda query: static.encode_queries([query]), queries * 10, callers)
        measure_batches(model.queries.encode, queries, model.dtype)
        for callers in (1, 4, 8):
            measure("model, combined", lambda query: model.encode_queries([query]), queries, callers, model.dtype)
        for callers in (4, 8):
            measure("model, each alone", lambda query: model.queries.encode([query]), queries, callers, model.dtype)


if __name__ == "__main__":
    main()
