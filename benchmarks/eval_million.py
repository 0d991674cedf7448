"""Evaluate 6,980 queries at k = 1,000 over a million documents: search and measures, with time and peak memory.

    python benchmarks/eval_million.py [--documents 1000000] [--topics TOPICS.tsv.gz] [--approximate] [--threads 2]

With `--topics` the queries are real (Anserini's encoded topics, such as SPLADE-v3's of MS MARCO dev); otherwise they
are drawn from a Zipf distribution. Documents are synthetic: each mixes four queries' vectors, with dropout and noise,
about 50 terms. Query i's relevant document is the one that contains most of it. This measures only the software:
batches are searched, ranked and measured one after the other, so memory must not grow with the number of queries.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array, csr_array

from eval.dataset import Dataset
from eval.evaluation import measure_system
from eval.machine import describe_machine, peak_memory_bytes
from eval.measures import parse_measures
from eval.sources.queries import Query
from eval.sources.trec_topics import read_encoded_topics
from eval.systems import IndexSystem
from index import SparseIndex
from lsr.documents import SparseByIndex

QUERIES = 6980
DEPTH = 1000
MEASURES = ["nDCG@10", "MRR@10", "MAP", "Recall@100", "Recall@1000", "P@10"]


def main() -> None:
    """Build, evaluate, print one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--topics", type=Path)
    parser.add_argument("--queries", type=int, default=QUERIES, help="evaluate only this many")
    parser.add_argument("--approximate", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    rng = np.random.default_rng(17)
    queries = real_queries(options.topics) if options.topics else synthetic_queries(rng)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        index = SparseIndex.build(documents(queries, options.documents, rng), path=Path(folder) / "index")
        build_seconds = time.perf_counter() - started
        before = peak_memory_bytes()
        forget_peak_memory()
        doc_ids = [f"d{number:08d}" for number in range(options.documents)]
        system = IndexSystem(index, doc_ids, name="vectors", threads=options.threads, exact=not options.approximate)
        started = time.perf_counter()
        result = measure_system(
            system,
            dataset(queries[: options.queries]),
            parse_measures(MEASURES),
            depth=DEPTH,
            run_path=Path(folder) / "x.run",
        )
        seconds = time.perf_counter() - started
        run_bytes = (Path(folder) / "x.run").stat().st_size
    line = {
        "documents": options.documents,
        "queries": len(result.query_ids),
        "k": DEPTH,
        "exact": not options.approximate,
        "threads": options.threads,
        "document_terms": round(index.nnz / index.n_docs, 1),
        "build_seconds": round(build_seconds, 1),
        "search_seconds": round(result.seconds, 1),
        "total_seconds": round(seconds, 1),
        "peak_memory_building_mib": round(before / 2**20),
        "peak_memory_evaluating_mib": round(peak_memory_since_forgotten() / 2**20),
        "run_file_mib": round(run_bytes / 2**20),
        **{name: round(value, 4) for name, value in result.means.items()},
        "machine": describe_machine(),
    }
    print(json.dumps(line))


def forget_peak_memory() -> None:
    """Reset the process's peak resident memory to the current value (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_memory_since_forgotten() -> int:
    """Return the peak resident memory since then, in bytes, including mapped files that were read."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def real_queries(path: Path) -> csr_array:
    """Return the encoded topics as float32 csr_array [queries, terms]."""
    terms: dict[str, int] = {}
    rows, columns, values = [], [], []
    for row, query in enumerate(read_encoded_topics(path).values()):
        for token, weight in query.sparse.weights.items():  # type: ignore[union-attr]
            rows.append(row)
            columns.append(terms.setdefault(token, len(terms)))
            values.append(weight / 50)
    return csr_array(coo_array((np.asarray(values, np.float32), (rows, columns))))


def synthetic_queries(rng: np.random.Generator, terms: int = 20_000) -> csr_array:
    """Return queries of about 24 terms, whose terms follow Zipf's law."""
    share = 1 / np.arange(20, terms + 20)
    columns = rng.choice(terms, size=(QUERIES, 24), p=share / share.sum())
    rows = np.repeat(np.arange(QUERIES), 24)
    values = rng.exponential(0.6, size=columns.size).astype(np.float32) + 0.05
    matrix = csr_array(coo_array((values, (rows, columns.ravel())), shape=(QUERIES, terms)))
    matrix.sum_duplicates()
    return matrix


def documents(queries: csr_array, count: int, rng: np.random.Generator, batch: int = 20_000) -> Iterator[csr_array]:
    """Yield the documents in batches; document i < number of queries is mostly query i."""
    for start in range(0, count, batch):
        n = min(batch, count - start)
        mixed = rng.integers(queries.shape[0], size=(n, 4))
        strength = rng.uniform(0.15, 0.7, size=(n, 4)).astype(np.float32)
        own = np.arange(start, start + n)
        strength[:, 0] = 0.9
        mixed[own < queries.shape[0], 0] = own[own < queries.shape[0]]
        mixture = csr_array(
            (strength.ravel(), (np.repeat(np.arange(n), 4), mixed.ravel())), shape=(n, queries.shape[0])
        )
        rows = (mixture @ queries).tocoo()
        kept = rng.random(rows.nnz) < 0.6
        values = rows.data[kept] * rng.lognormal(0, 0.4, size=int(kept.sum())).astype(np.float32)
        yield csr_array((values, (rows.row[kept], rows.col[kept])), shape=rows.shape)


def dataset(queries: csr_array) -> Dataset:
    """Return the queries with their one relevant document each."""
    topics: dict[str, Query] = {}
    for row in range(queries.shape[0]):
        piece = slice(queries.indptr[row], queries.indptr[row + 1])
        sparse = SparseByIndex(tuple(queries.indices[piece].tolist()), tuple(queries.data[piece].tolist()))
        topics[f"q{row}"] = Query(f"q{row}", "", sparse)
    qrels = {f"q{row}": {f"d{row:08d}": 1} for row in range(queries.shape[0])}
    return Dataset("made-up", "", topics, qrels, None)


if __name__ == "__main__":
    main()
