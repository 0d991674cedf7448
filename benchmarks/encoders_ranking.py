r"""nDCG@10 of several encoders' sparse vectors alone on development sets, next to bm25's, with randomisation tests.

    python -m benchmarks.encoders_ranking DEV/* --encoders lsr-mini:float32 'runs/nano/model?max_active_dims=500'

After a colon stands a dtype, after a question mark settings of `load_encoder` as KEY=JSON&KEY=JSON. With "@measured" at
the end a pooled side's average length is the mean number of word pieces in a document of each set. Search is exact; of
equal scores the document with the smaller id is first. A query without a result counts as 0. Printed are a table of
means, and for each encoder its differences from bm25 and from the first encoder, with Holm's correction over the sets.
With --cache, encoded sets are kept in that folder by the encoder's fingerprint and precision, so that an interrupted
run continues.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_array, load_npz, save_npz, vstack

from benchmarks.encoders_documents import open_named
from benchmarks.ranking_lengths import ndcg, table, tests
from benchmarks.ranking_vectors import Statistics
from encoders.bm25 import BM25Encoder
from encoders.encoder import Encoder
from encoders.learned import LearnedEncoder
from encoders.training.word_pieces import piece_statistics
from eval import open_dataset
from lsr.corpora import open_corpus
from lsr.documents import Document

_MEASURED = "@measured"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, help="BEIR folders with a split dev")
    parser.add_argument("--encoders", nargs="+", required=True)
    parser.add_argument("--cache", type=Path)
    given = parser.parse_args()
    names = ["bm25", *given.encoders]
    rows: dict[str, dict[str, Any]] = {name: {} for name in names}
    sizes: dict[str, list[float]] = {name: [] for name in names}
    for folder in given.folders:
        texts, asked, judged = read(folder)
        for name in names:
            encoder = _load(name, texts)
            documents = _documents(encoder, texts, given.cache)
            queries = encoder.encode_queries(asked, Statistics(documents))
            rows[name][folder.name] = ndcg(queries, documents, judged)
            sizes[name].append(documents.nnz / len(texts))
    print(table(rows))
    for name in given.encoders:
        print(f"\n{name}: {np.mean(sizes[name]):.0f} terms per document in the mean of the sets")
        for against in ("bm25", given.encoders[0]):
            if name != against:
                print(f"\n{name} against {against}\n\n{tests(rows[name], rows[against])}")


def read(folder: Path) -> tuple[list[str], list[str], list[dict[int, int]]]:
    """Return documents by ascending id, judged queries, and the grades above zero of each query's documents."""
    dataset = open_dataset(folder, split="dev")
    found = sorted(
        (line.content.id, line.content.full_text)
        for line in open_corpus(str(folder))
        if isinstance(line.content, Document)
    )
    number = {name: place for place, (name, _) in enumerate(found)}
    queries = list(dataset.judged_queries())
    judged = [
        {number[name]: grade for name, grade in dataset.qrels[query.id].items() if grade > 0 and name in number}
        for query in queries
    ]
    return [text for _, text in found], [query.text for query in queries], judged


def _load(name: str, texts: list[str]) -> Encoder:
    """Return the encoder of a name, measured on `texts` where it has to be."""
    plain = name.removesuffix(_MEASURED)
    encoder = open_named(plain)
    if isinstance(encoder, BM25Encoder):
        encoder.measure(texts)
    elif plain != name and isinstance(encoder, LearnedEncoder):
        average, _ = piece_statistics(encoder.documents.tokenization, texts)
        encoder = open_named(plain, document_average_length=average)
    return encoder


def _documents(encoder: Encoder, texts: list[str], cache: Path | None) -> csr_array:
    """Return the documents' weights, from the cache where they are."""
    if isinstance(encoder, BM25Encoder):  # its vocabulary grows
        return encoder.encode_documents(texts)
    if cache is None:
        made: csr_array = vstack(list(encoder.encode_document_batches(texts)), format="csr")
        return made
    encoder.prepare_documents()
    key = hashlib.sha256(json.dumps([encoder.fingerprint, encoder.dtype, texts]).encode()).hexdigest()[:32]
    path = cache / f"{key}.npz"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        begun = path.with_suffix(".begun.npz")
        save_npz(begun, vstack(list(encoder.encode_document_batches(texts)), format="csr"))
        begun.rename(path)
    kept: csr_array = load_npz(path)  # type: ignore[assignment]
    return kept


if __name__ == "__main__":
    main()
