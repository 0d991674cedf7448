"""Do query expansion and document expansion cancel? Two kinds of query side by two of document side, trained alike.

python benchmarks/training_development_set.py data/train-medquad/pairs.jsonl.zst data/dev-medquad \
    --where source=medquad/5_NIDDK_QA --where source=medquad/7_SeniorHealth_QA
python benchmarks/training_grid.py BACKBONE data/train-medquad/pairs.jsonl.zst --where "source=*/[!57]_*" \
    --dataset data/dev-medquad --out runs/grid

BACKBONE is a small masked language model. Each combination trains with the same pairs, negatives, steps and seed; `mlp`
weighs the text's own tokens, `masked-lm` adds others. Prints a line of JSON for BM25 and for each combination, one for
what query expansion adds with and without document expansion, with randomisation tests over the queries, and one for
the milliseconds of a query of each (encoded alone, then searched in an index of --documents of the pairs' documents;
the combinations take turns). A run that is in --out is used again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from encoders import Encoder, load_encoder
from eval import Evaluation, evaluate, open_dataset
from eval.comparison.significance import paired_difference
from eval.measures import parse_measure
from index import SparseIndex
from lsr.training.config import parse_config
from lsr.training.context import RunContext
from lsr.training.pairs import read_pairs
from lsr.training.run import train

MEASURE = "nDCG@10"
KINDS = ("mlp", "masked-lm")
ROUNDS = 3  # of the timed queries; medians

Pair = tuple[str, str]  # kinds of the query side and of the document side


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


def medians(works: Mapping[Pair, Callable[[int], Any]], n: int) -> dict[Pair, tuple[float, float]]:
    """Return the median wall and CPU milliseconds of each work of 0 to n-1, which take turns, over several rounds."""
    wall: dict[Pair, list[float]] = {pair: [] for pair in works}
    cpu: dict[Pair, list[float]] = {pair: [] for pair in works}
    for _ in range(ROUNDS):
        for i in range(n):
            for pair, work in works.items():
                started, began = time.perf_counter(), time.process_time()
                work(i)
                wall[pair].append(time.perf_counter() - started)
                cpu[pair].append(time.process_time() - began)
    return {pair: (float(np.median(wall[pair])) * 1e3, float(np.median(cpu[pair])) * 1e3) for pair in works}


def print_costs(encoders: Mapping[Pair, Encoder], texts: Sequence[str], documents: Sequence[str]) -> None:
    """Print terms of queries, and the milliseconds of a query, encoded alone and searched, of each combination."""
    indexes = {pair: SparseIndex.build(one.encode_document_batches(documents)) for pair, one in encoders.items()}
    queries = {pair: one.encode_queries(texts) for pair, one in encoders.items()}

    def encoding(pair: Pair) -> Callable[[int], Any]:
        return lambda i: encoders[pair].encode_queries([texts[i]])

    def searching(pair: Pair) -> Callable[[int], Any]:
        return lambda i: indexes[pair].search(queries[pair][[i]], 10)

    for make in (encoding, searching):  # compiled, and read
        medians({pair: make(pair) for pair in encoders}, 5)
    encoded = medians({pair: encoding(pair) for pair in encoders}, len(texts))
    searched = medians({pair: searching(pair) for pair in encoders}, len(texts))
    for pair in encoders:
        _print(
            costs_of={"queries": pair[0], "documents": pair[1]},
            query_terms=queries[pair].nnz / len(texts),
            encoding_ms=encoded[pair][0],
            encoding_cpu_ms=encoded[pair][1],
            search_ms=searched[pair][0],
            search_cpu_ms=searched[pair][1],
        )


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
        found: dict[Pair, Evaluation] = {}
        encoders: dict[Pair, Encoder] = {}
        for of_documents in KINDS:
            for of_queries in KINDS:
                out = given.out / f"{of_queries}--{of_documents}--{seed}"
                started = time.perf_counter()
                report = train(parse_config(configuration(given, of_queries, of_documents, seed)), out, context)
                seconds = time.perf_counter() - started
                encoders[of_queries, of_documents] = load_encoder(str(report.model), device="cpu")
                found[of_queries, of_documents] = evaluate(dataset, encoder=str(report.model), measures=[MEASURE])
                log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
                _print(
                    queries=of_queries,
                    documents=of_documents,
                    seed=seed,
                    mean=found[of_queries, of_documents].means[MEASURE],
                    document_terms=log[-1]["document_terms"],
                    training_seconds=round(seconds, 1),
                )
        _report_expansion(found, seed)
        print_costs(encoders, texts, documents)


def _report_expansion(found: dict[Pair, Evaluation], seed: int) -> None:
    """Print what each expansion adds, alone and on top of the other, and the difference of the two: below zero, one
    takes over what the other gives."""
    values = {pair: result.values[parse_measure(MEASURE)] for pair, result in found.items()}
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
