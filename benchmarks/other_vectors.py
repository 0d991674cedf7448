"""Vectors of other distributions for `lsr bench`: BM25 impacts, and queries without an encoder.

usage: python benchmarks/other_vectors.py bm25 OUT.npz FILE.jsonl[.zst] ... [--queries 1000]
       python benchmarks/other_vectors.py idf OUT.npz VECTORS.npz [--terms 6]
       python benchmarks/other_vectors.py lsr-mini OUT.npz samples/arxiv-10k.jsonl.zst [--queries 1000]

`bm25`: the impacts of the files' texts (one JSON object per line, with title and text), and titles of evenly spaced
lines as queries, weighted by the idf over these texts. A document's title is not part of its text; otherwise each query
would find its own document by all of its terms.
`idf`: the documents of VECTORS.npz, and the heaviest terms of each of its queries, weighted only by the idf over the
documents, like the queries of an inference-free model.
`lsr-mini`: the precomputed vectors of the sample, and titles of evenly spaced documents as the model's queries.
OUT.npz has both (d_indptr, d_indices, d_data, q_…, V).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from encoders import load_encoder
from encoders.bm25 import BM25Encoder
from eval.bench.vectors import read_vectors
from lsr.cli.sample_vectors import SampleVectors
from lsr.corpora.line_source import LineSource


class Counted:
    """The number of documents, and the document frequency of each term."""

    def __init__(self, documents: csr_array) -> None:
        self.document_count = documents.shape[0]
        self._frequencies = np.bincount(documents.indices, minlength=documents.shape[1])

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the document frequencies, 0 for a term that is in no document."""
        known = term_ids < len(self._frequencies)
        return np.where(known, self._frequencies[np.where(known, term_ids, 0)], 0)


def bm25(files: list[str], n_queries: int) -> tuple[csr_array, csr_array]:
    """Return (documents, queries)."""
    titles: list[str] = []
    texts: list[str] = []
    for file in files:
        for _, line in LineSource(Path(file)):
            entry = json.loads(line or b"{}")
            titles.append(entry["title"])
            texts.append(entry["text"])
    encoder = BM25Encoder()
    encoder.measure(texts)
    batches = list(encoder.encode_document_batches(texts))
    lengths = np.concatenate([np.diff(batch.indptr) for batch in batches])
    documents = csr_array(
        (
            np.concatenate([batch.data for batch in batches]),
            np.concatenate([batch.indices for batch in batches]),
            np.concatenate([[0], np.cumsum(lengths)]),
        ),
        shape=(len(texts), len(encoder.vocabulary)),
    )
    chosen = np.linspace(0, len(titles) - 1, n_queries).astype(int)
    return documents, encoder.encode_queries([titles[i] for i in chosen], Counted(documents))


def idf(vectors: str, n_terms: int) -> tuple[csr_array, csr_array]:
    """Return (documents, queries)."""
    documents, queries = read_vectors(vectors, None, 1 << 30)
    n = documents.shape[0]
    frequencies = np.bincount(documents.indices, minlength=documents.shape[1])
    weights = np.log(1 + (n - frequencies + 0.5) / (frequencies + 0.5)).astype(np.float32)
    kept = []
    for first, stop in zip(queries.indptr[:-1], queries.indptr[1:], strict=True):
        heaviest = np.argsort(-queries.data[first:stop], kind="stable")[:n_terms]
        kept.append(np.sort(queries.indices[first:stop][heaviest]))
    terms = np.concatenate(kept)
    starts = np.concatenate([[0], np.cumsum([len(row) for row in kept])])
    return documents, csr_array((weights[terms], terms, starts), shape=queries.shape)


def lsr_mini(sample: Path, n_queries: int) -> tuple[csr_array, csr_array]:
    """Return (documents, queries)."""
    documents = SampleVectors.load(sample.with_name("arxiv-10k.lsr-mini.npz")).weights
    titles = [json.loads(line or b"{}")["title"] for _, line in LineSource(sample)]
    chosen = np.linspace(0, len(titles) - 1, n_queries).astype(int)
    return documents, load_encoder("lsr-mini").encode_queries([titles[i] for i in chosen], Counted(documents))


def main() -> None:
    """Write the vectors of the given kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("bm25", "idf", "lsr-mini"))
    parser.add_argument("out", type=Path)
    parser.add_argument("files", nargs="+")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--terms", type=int, default=6)
    options = parser.parse_args()
    if options.kind == "bm25":
        documents, queries = bm25(options.files, options.queries)
    elif options.kind == "lsr-mini":
        documents, queries = lsr_mini(Path(options.files[0]), options.queries)
    else:
        documents, queries = idf(options.files[0], options.terms)
    width = max(documents.shape[1], queries.shape[1])
    arrays = {
        f"{side}_{name}": getattr(matrix, name)
        for side, matrix in (("d", documents), ("q", queries))
        for name in ("indptr", "indices", "data")
    }
    np.savez(options.out, **arrays, V=width)
    print(
        json.dumps(
            {
                "documents": documents.shape[0],
                "terms_a_document": round(documents.nnz / documents.shape[0], 1),
                "queries": queries.shape[0],
                "terms_a_query": round(queries.nnz / queries.shape[0], 1),
                "terms": width,
            }
        )
    )


if __name__ == "__main__":
    main()
