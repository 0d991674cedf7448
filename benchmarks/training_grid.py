"""Do query expansion and document expansion cancel? Two kinds of query side by two of document side, trained alike.

python benchmarks/training_development_set.py data/train-medquad/pairs.jsonl.zst data/dev-medquad \
    --where source=medquad/5_NIDDK_QA --where source=medquad/7_SeniorHealth_QA
python benchmarks/training_grid.py BACKBONE data/train-medquad/pairs.jsonl.zst --where "source=*/[!57]_*" \
    --dataset data/dev-medquad --out runs/grid

BACKBONE is a small masked language model. Each combination trains with the same pairs, negatives, steps and seed; `mlp`
weighs the text's own tokens, `masked-lm` adds others. Prints a line of JSON for BM25 and for each combination, with the
milliseconds of a query (encoded alone, then searched in an index of --documents of the pairs' documents), and one for
what query expansion adds with and without document expansion, with randomisation tests over the queries.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Encoder, load_encoder
from eval import Evaluation, evaluate, open_dataset
from eval.comparison.significance import paired_difference
from index import SparseIndex
from lsr.training.config import parse_config
from lsr.training.context import RunContext
from lsr.training.pairs import read_pairs
from lsr.training.run import train

MEASURE = "nDCG@10"
KINDS = ("mlp", "masked-lm")
ROUNDS = 3  # of the timed queries; medians


def configuration(given: argparse.Namespace, queries: str, documents: str, seed: int) -> dict[str, Any]:
    """Return a run's configuration."""
    where = {name: [pattern] for name, _, pattern in (one.partition("=") for one in given.where)}
    return {
        "model": {
            "backbone": str(given.backbone),
            "queries": queries,
            "documents": documents,
            "max_length": given.max_length,
            "separate": True,
        },
        "data": [{"path": str(given.pairs), "where": where}],
        "negatives": {"bm25": 15, "per_query": given.negatives},
        "loss": {
            "infonce": 1.0,
            "regulariser": "flops",
            "document_lambda": given.document_lambda,
            "query_regulariser": "flops",
            "query_lambda": given.query_lambda,
        },
        "steps": {
            "steps": given.steps,
            "batch_size": given.batch_size,
            "learning_rate": given.learning_rate,
            "factor_learning_rate": given.learning_rate,
            "seed": seed,
            "checkpoint_every": given.steps,
        },
    }


def median_milliseconds(work: Callable[[int], Any], n: int) -> tuple[float, float]:
    """Return the median wall and CPU time of `work` of 0 to n-1, over several rounds."""
    wall, cpu = [], []
    for _ in range(ROUNDS):
        for i in range(n):
            started, began = time.perf_counter(), time.process_time()
            work(i)
            wall.append(time.perf_counter() - started)
            cpu.append(time.process_time() - began)
    return float(np.median(wall)) * 1e3, float(np.median(cpu)) * 1e3


def query_costs(encoder: Encoder, texts: Sequence[str], documents: Sequence[str]) -> dict[str, float]:
    """Return terms of queries and documents, and the milliseconds of a query, encoded and searched."""
    index = SparseIndex.build(encoder.encode_document_batches(documents))
    queries = encoder.encode_queries(texts)
    for text in texts[:5]:
        encoder.encode_queries([text])
    index.search(queries[:5], 10)
    encoding = median_milliseconds(lambda i: encoder.encode_queries([texts[i]]), len(texts))
    searching = median_milliseconds(lambda i: index.search(queries[[i]], 10), len(texts))
    exact = median_milliseconds(lambda i: index.search(queries[[i]], 10, exact=True), len(texts))
    return {
        "query_terms": round(queries.nnz / len(texts), 1),
        "encoding_ms": round(encoding[0], 3),
        "encoding_cpu_ms": round(encoding[1], 3),
        "search_ms": round(searching[0], 3),
        "search_cpu_ms": round(searching[1], 3),
        "exact_search_ms": round(exact[0], 3),
    }


def main() -> None:
    """Train, evaluate and time each combination; print lines of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbone", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--dataset", type=Path, required=True, help="a BEIR folder with a split dev")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--where", action="append", default=[], help="FIELD=PATTERN of the pairs that are used")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--negatives", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--max-length", type=int, default=48)
    parser.add_argument("--document-lambda", type=float, default=3e-3)
    parser.add_argument("--query-lambda", type=float, default=3e-3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[13])
    parser.add_argument("--documents", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    context = RunContext(threads=given.threads, cache=given.out / "cache")
    dataset = open_dataset(given.dataset, split="dev")
    texts = [query.text for query in dataset.queries.values()][:200]
    documents = read_pairs(parse_config(configuration(given, *KINDS[:2], 0)).data).documents[: given.documents]
    _print(system="bm25", mean=evaluate(dataset, encoder="bm25", measures=[MEASURE]).means[MEASURE])
    for seed in given.seeds:
        found: dict[tuple[str, str], Evaluation] = {}
        for of_documents in KINDS:
            for of_queries in KINDS:
                out = given.out / f"{of_queries}--{of_documents}--{seed}"
                started = time.perf_counter()
                report = train(parse_config(configuration(given, of_queries, of_documents, seed)), out, context)
                seconds = time.perf_counter() - started
                encoder = load_encoder(str(report.model), device="cpu")
                found[of_queries, of_documents] = evaluate(dataset, encoder=str(report.model), measures=[MEASURE])
                log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
                _print(
                    queries=of_queries,
                    documents=of_documents,
                    seed=seed,
                    mean=found[of_queries, of_documents].means[MEASURE],
                    document_terms=log[-1]["document_terms"],
                    **query_costs(encoder, texts, documents),
                    training_seconds=round(seconds, 1),
                )
        _report_expansion(found, seed)


def _report_expansion(found: dict[tuple[str, str], Evaluation], seed: int) -> None:
    """Print what each expansion adds, alone and on top of the other, and the difference of the two: below zero, one
    takes over what the other gives."""
    values = {pair: result.values[MEASURE] for pair, result in found.items()}
    plain, both = (KINDS[0], KINDS[0]), (KINDS[1], KINDS[1])
    of_queries, of_documents = (KINDS[1], KINDS[0]), (KINDS[0], KINDS[1])
    for name, first, second in (
        ("query expansion, documents without", plain, of_queries),
        ("query expansion, documents with", of_documents, both),
        ("document expansion, queries without", plain, of_documents),
        ("document expansion, queries with", of_queries, both),
    ):
        _print_difference(name, seed, values[second], values[first])
    _print_difference("interaction", seed, values[both] - values[of_documents], values[of_queries] - values[plain])


def _print_difference(name: str, seed: int, values: NDArray[np.float64], base: NDArray[np.float64]) -> None:
    found = paired_difference(values, base)
    _print(added=name, seed=seed, gain=found.mean, low=found.low, high=found.high, p=found.p_randomisation)


def _print(**values: Any) -> None:
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}), flush=True)


if __name__ == "__main__":
    main()
