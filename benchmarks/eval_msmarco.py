"""MS MARCO from end to end on real encoded queries and synthetic passages: dev MRR@10, DL19 and DL20.

    python benchmarks/eval_msmarco.py FOLDER

FOLDER has `topics/` and `qrels/` as in anserini-tools: SPLADE-v3's encodings of the dev-small, DL19 and DL20 queries,
and their judgements. The data is for research and not part of this repository. The passages are synthetic: each judged
passage has some of a query's terms, more for a better grade, with noise; the same number of passages has terms of other
queries. So the figures show that every step runs and agrees with trec_eval; they say nothing about SPLADE-v3.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytrec_eval

from eval import evaluate, from_trec_files
from eval.dataset import Dataset
from eval.runs import read_run
from eval.sources.queries import Query

SETS = (
    (
        "msmarco-passage/dev-small",
        "msmarco-passage.dev-subset",
        "msmarco-passage.dev-subset",
        ["MRR@10", "Recall@1000"],
    ),
    ("msmarco-passage/dl19", "dl19-passage", "dl19-passage", ["nDCG@10", "MAP", "Recall@1000"]),
    ("msmarco-passage/dl20", "dl20", "dl20-passage", ["nDCG@10", "MAP", "Recall@1000"]),
)
TREC_NAMES = {"MRR@10": "recip_rank", "Recall@1000": "recall_1000", "nDCG@10": "ndcg_cut_10", "MAP": "map"}


def main() -> None:
    """Evaluate the three sets and print a JSON line each."""
    folder = Path(sys.argv[1])
    for name, topics, qrels, measures in SETS:
        dataset = from_trec_files(
            folder / "topics" / f"topics.{topics}.splade-v3.tsv.gz",
            folder / "qrels" / f"qrels.{qrels}.txt",
            name=name,
            encoded=True,
        )
        with tempfile.TemporaryDirectory() as temporary:
            corpus = Path(temporary) / "passages.jsonl"
            passages = write_passages(dataset, corpus)
            whole = Dataset(**{**dataset.__dict__, "corpus": str(corpus), "known": None, "warnings": ()})
            run = Path(temporary) / "vectors.run"
            started = time.perf_counter()
            result = evaluate(whole, measures=measures, run=run)
            seconds = time.perf_counter() - started
            worst = largest_difference(result.to_json(), whole, run)
        found = {key: round(value, 4) for key, value in result.means.items()}
        line = {"dataset": name, "queries": len(result.query_ids), "passages": passages, **found}
        print(json.dumps({**line, "largest difference to trec_eval": worst, "seconds": round(seconds, 1)}), flush=True)


def write_passages(dataset: Dataset, path: Path, *, seed: int = 5) -> int:
    """Write a synthetic passage for every judged one, and the same number of unjudged ones; return the total."""
    rng = np.random.default_rng(seed)
    queries = list(dataset.queries.values())
    written: set[str] = set()
    with path.open("w", encoding="utf-8") as file:
        for query_id, judgements in dataset.qrels.items():
            for passage, grade in judgements.items():
                if passage not in written:
                    written.add(passage)
                    file.write(_passage(passage, dataset.queries[query_id], 0.15 + 0.2 * min(grade, 3), queries, rng))
        judged = len(written)
        for number in range(judged):
            query = queries[int(rng.integers(len(queries)))]
            file.write(_passage(f"x{number}", query, 0.3, queries, rng))
    return 2 * judged


def _passage(passage: str, query: Query, share: float, others: list[Query], rng: np.random.Generator) -> str:
    """Return a line with a share of the query's terms, and terms of three other queries."""
    sparse: dict[str, float] = {}
    sources = [(query, share), *((others[int(i)], 0.3) for i in rng.integers(len(others), size=3))]
    for source, kept in sources:
        for token, weight in source.sparse.weights.items():  # type: ignore[union-attr]
            if rng.random() < kept:
                sparse[token] = round(max(sparse.get(token, 0.0), weight / 50 * float(rng.lognormal(0, 0.4))), 3)
    return json.dumps({"id": passage, "sparse": sparse}) + "\n"


def largest_difference(result: dict[str, object], dataset: Dataset, run: Path) -> float:
    """Return the largest difference between our means and trec_eval's over the same run, in our order of ties."""
    cutoff = 10 if "MRR@10" in result else 1000
    rankings = read_run(run).rankings
    # Descending surrogates instead of scores: trec_eval would break ties the other way.
    ranked = {
        query: {doc: float(-rank) for rank, doc in enumerate(ranking.doc_ids[:1000])}
        for query, ranking in rankings.items()
    }
    cut = {query: dict(list(documents.items())[:cutoff]) for query, documents in ranked.items()}
    worst = 0.0
    for measure, value in result.items():
        name = TREC_NAMES.get(measure.replace("(rel=2)", ""))
        if name is None or not isinstance(value, float):
            continue
        level = 2 if "(rel=2)" in measure else 1
        metric = name.replace("_1000", ".1000").replace("_10", ".10") if name != "recip_rank" else name
        evaluator = pytrec_eval.RelevanceEvaluator(dict(dataset.qrels), {metric}, relevance_level=level)
        by_query = evaluator.evaluate(cut if name == "recip_rank" else ranked)
        mean = sum(values[name] for values in by_query.values()) / len(dataset.qrels)
        worst = max(worst, abs(mean - value))
    return worst


if __name__ == "__main__":
    main()
