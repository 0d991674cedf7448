"""What benchmarks/ranking_study.py reads of a BEIR folder, in a cache: judgements, sparse matrices, MiniLM's vectors.

A document is read once: its sparse weights and MiniLM's vector come from one pass of lsr-mini's body, in bfloat16.
Queries are read in float32 as well, and with `longer` both in bfloat16 with 256 word pieces in place of 128.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from encoders import load_encoder
from encoders.bm25 import BM25Encoder
from encoders.learned import LearnedEncoder
from eval import open_dataset
from lsr.corpora import open_corpus
from lsr.documents import Document

Arrays = dict[str, Any]

_WINDOW = 512  # texts between two lines of progress


class Statistics:
    """Document frequencies of a matrix of documents (encoders.encoder.CorpusStatistics)."""

    def __init__(self, documents: csr_array) -> None:
        self._n = int(documents.shape[0])
        self._frequencies = np.bincount(documents.indices, minlength=int(documents.shape[1]))

    @property
    def document_count(self) -> int:
        """Documents."""
        return self._n

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return in how many documents each term occurs."""
        return self._frequencies[term_ids].astype(np.int64)


def lsr_mini(dtype: str, max_length: int = 128) -> LearnedEncoder:
    """Return lsr-mini on the CPU."""
    encoder = load_encoder("lsr-mini", device="cpu", dtype=dtype, max_length=max_length)
    if not isinstance(encoder, LearnedEncoder):
        raise SystemExit("lsr-mini is no learned encoder any more")
    return encoder


def encode(folder: Path, cache: Path, *, longer: bool) -> None:
    """Write CACHE/NAME.PART.npz for one BEIR folder; a part that is there is kept."""
    split = "dev" if (folder / "qrels" / "dev.tsv").exists() else "test"
    dataset = open_dataset(folder, split=split)
    # By ascending id, which is how a collection orders documents of equal scores.
    found = sorted(
        (line.content.id, line.content.full_text)
        for line in open_corpus(str(folder))
        if isinstance(line.content, Document)
    )
    texts = [text for _, text in found]
    number = {name: i for i, (name, _) in enumerate(found)}
    queries = list(dataset.judged_queries())
    asked = [query.text for query in queries]

    def judgements() -> Arrays:
        rows = [
            (i, number[name], grade)
            for i, query in enumerate(queries)
            for name, grade in dataset.qrels[query.id].items()
            if grade > 0 and name in number
        ]
        return {"judgements": np.array(rows), "lengths": np.array([len(text.split()) for text in asked])}

    def bm25() -> Arrays:
        encoder = load_encoder("bm25")
        if not isinstance(encoder, BM25Encoder):
            raise SystemExit("bm25 is another encoder")
        encoder.measure(texts)
        documents = encoder.encode_documents(texts)
        return {**_arrays("d", documents), **_arrays("q", encoder.encode_queries(asked, Statistics(documents)))}

    def mini() -> Arrays:
        encoder = lsr_mini("bfloat16")
        windows = _windows(encoder.encode_documents_with_dense, texts, f"{folder.name}: documents")
        documents = vstack([matrix for matrix, _ in windows], format="csr")
        return {
            **_arrays("d", documents),
            **_arrays("q", encoder.encode_queries(asked, Statistics(documents))),
            "dense": np.concatenate([vectors for _, vectors in windows]),
            "dense_q": np.concatenate(_windows(encoder.encode_dense_queries, asked, f"{folder.name}: queries")),
        }

    def queries32() -> Arrays:
        made = _windows(lsr_mini("float32").encode_dense_queries, asked, f"{folder.name}: queries, float32")
        return {"dense_q": np.concatenate(made)}

    def of_256_pieces() -> Arrays:
        make = lsr_mini("bfloat16", 256).encode_dense_documents
        label = f"{folder.name}: 256 word pieces"
        return {
            "dense": np.concatenate(_windows(make, texts, label)),
            "dense_q": np.concatenate(_windows(make, asked, label)),
        }

    makers: dict[str, Callable[[], Arrays]] = {
        "judgements": judgements,
        "bm25": bm25,
        "mini": mini,
        "queries32": queries32,
        **({"longer": of_256_pieces} if longer else {}),
    }
    for name, make in makers.items():
        path = cache / f"{folder.name}.{name}.npz"
        if not path.exists():
            begun = path.with_suffix(".begun.npz")
            np.savez(begun, **make())
            begun.rename(path)


def _windows(make: Callable[[list[str]], Any], texts: Sequence[str], label: str) -> list[Any]:
    results, started = [], time.monotonic()
    for start in range(0, len(texts), _WINDOW):
        window = list(texts[start : start + _WINDOW])
        results.append(make(window))
        done = start + len(window)
        print(f"{label}: {done:,} of {len(texts):,}, {done / (time.monotonic() - started):.0f}/s", file=sys.stderr)
    return results


def _arrays(name: str, matrix: csr_array) -> Arrays:
    return {
        f"{name}_data": matrix.data,
        f"{name}_ids": matrix.indices,
        f"{name}_ptr": matrix.indptr,
        f"{name}_shape": np.array(matrix.shape),
    }


def read_matrix(arrays: Arrays, name: str) -> csr_array:
    """Return the matrix "d" (documents) or "q" (queries) of a cached part."""
    parts = (arrays[f"{name}_data"], arrays[f"{name}_ids"], arrays[f"{name}_ptr"])
    return csr_array(parts, shape=tuple(arrays[f"{name}_shape"]))
