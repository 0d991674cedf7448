"""The README's figures on SciFact: BM25's effectiveness, exact and approximate, and the latency of a search.

usage: scifact.py [--rounds 5] [--folder .bench]

One JSON line per figure. Searches run one after the other on one thread, in this process (service_latency.py measures
HTTP). Every query is timed once per round; its time is the median over the rounds, which ignores short disturbances of
a shared machine.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from eval import SearchSettings, evaluate
from eval.machine import describe_machine
from lsr import Collection
from lsr.corpora import open_corpus
from lsr.writing.bulk_load import index_corpus

DATASET = Path(__file__).resolve().parent.parent / "tests" / "data" / "scifact"
MEASURES = ("nDCG@10", "Recall@100", "MRR@10", "MAP")
K = 10


def main() -> None:
    """Index SciFact, evaluate it, time its 300 queries, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=Path(".bench"))
    options = parser.parse_args()
    folder = options.folder / f"scifact-{time.time_ns()}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    report = index_corpus(open_corpus(str(DATASET)), folder, encoder="bm25")
    seconds = round(time.perf_counter() - started, 2)
    line("index", documents=report.accepted, seconds=seconds, bytes=Collection.open(folder).info().bytes)
    for exact in (True, False):
        result = evaluate(DATASET, collection=folder, search=SearchSettings(exact=exact)).to_json()
        line(
            "effectiveness",
            exact=exact,
            **{name: round(result[name], 4) for name in ("nDCG@10", "Recall@100", "MRR@10")},
        )
    with Collection.open(folder) as collection:
        collection.warm()
        queries = [json.loads(text)["text"] for text in (DATASET / "queries.jsonl").read_text().splitlines()]
        for exact in (True, False):
            line(
                "latency", exact=exact, k=K, queries=len(queries), **latency(collection, queries, exact, options.rounds)
            )


def latency(collection: Collection, queries: list[str], exact: bool, rounds: int) -> dict[str, float]:
    """Return p50 and p99, in milliseconds, of the search alone and of the whole call with encoding and fetching."""
    search: list[list[float]] = [[] for _ in queries]
    whole: list[list[float]] = [[] for _ in queries]
    for _ in range(rounds):
        for number, query in enumerate(queries):
            started = time.perf_counter()
            result = collection.search(query, k=K, exact=exact, cache=False)
            whole[number].append((time.perf_counter() - started) * 1000)
            search[number].append(result.timings.search)
    return {
        f"{name}_{label}_ms": round(float(np.percentile([statistics.median(times) for times in samples], percent)), 3)
        for name, samples in (("search", search), ("whole", whole))
        for label, percent in (("p50", 50), ("p99", 99))
    }


def line(what: str, **figures: object) -> None:
    """Print one figure with its machine."""
    print(json.dumps({"figure": what, **figures, "machine": describe_machine()}))


if __name__ == "__main__":
    main()
