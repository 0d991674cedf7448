"""The vectors of `lsr bench`: documents and queries as matrices, and the true results.

It reads corpora of ready-made vectors in every format of `lsr index`, matched by token; scipy's .npz files, matched by
column; and an .npz file with both matrices (d_indptr, d_indices, d_data, q_indptr, q_indices, q_data and the number of
columns V).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, load_npz

from encoders.vocabulary import GrowingVocabulary
from index.searching.calibration import exact_top
from lsr.corpora import Corpus, open_corpus
from lsr.documents import Document, SparseByIndex, SparseByToken
from lsr.errors import CorpusUnreadable, QueryError

_TIES = 50  # documents beyond k that are checked for ties


class Vectors(NamedTuple):
    """Documents and queries, float32 csr_array [n, terms] over the same columns, sorted within a row."""

    documents: csr_array
    queries: csr_array


class Truth:
    """The true top k of each query: a brute-force search in float64 over the given vectors."""

    against = "brute force over the vectors as given"

    def __init__(self, vectors: Vectors, k: int) -> None:
        """Search all queries at once, for as deep as `k`."""
        documents = vectors.documents
        self._tops = exact_top(
            lambda start, stop: documents[start:stop], documents.shape[0], vectors.queries, k + _TIES
        )

    def relevant(self, query: int, k: int) -> frozenset[object]:
        """Return the documents of the true top k, including ties at rank k (up to fifty)."""
        ids, scores = self._tops[query]
        return frozenset(ids[scores >= scores[min(k, len(scores)) - 1]].tolist()) if len(scores) else frozenset()


def read_vectors(documents: str, queries: str | None, limit: int) -> Vectors:
    """Read documents and at most `limit` queries. Raises CorpusUnreadable, QueryError."""
    if Path(documents).suffix == ".npz":
        found = _read_npz(Path(documents), queries, limit)
        if found is not None:
            return found
    if queries is None:
        raise QueryError("give queries: --queries FILE", field="queries")
    vocabulary = GrowingVocabulary()
    rows = read_rows(open_corpus(documents, "vectors"), vocabulary)
    asked = read_rows(open_corpus(queries, "vectors"), vocabulary, limit)
    return Vectors(as_matrix(rows, len(vocabulary)), as_matrix(asked, len(vocabulary)))


def row_of(matrix: csr_array, row: int) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return a row's term numbers and weights."""
    place = slice(matrix.indptr[row], matrix.indptr[row + 1])
    return matrix.indices[place].astype(np.int32), matrix.data[place]


class Rows(NamedTuple):
    """Concatenated vectors: columns int64, weights float32, and where each row starts (and the last ends)."""

    columns: NDArray[np.int64]
    weights: NDArray[np.float32]
    starts: NDArray[np.int64]


def read_rows(corpus: Corpus, vocabulary: GrowingVocabulary, limit: int | None = None) -> Rows:
    """Read ready-made vectors. Raises CorpusUnreadable for an invalid line: a benchmark must not skip any."""
    tokens: list[str] = []
    weights: list[float] = []
    starts = [0]
    for number, content in corpus:
        if not isinstance(content, Document):
            raise CorpusUnreadable(f"{corpus.name}:{number}: {content}")
        if not content.vectors:
            raise CorpusUnreadable(f"{corpus.name}:{number}: no vector; encode texts with lsr encode")
        for vector in content.vectors.values():
            if isinstance(vector, SparseByToken):
                tokens.extend(vector.weights)
                weights.extend(vector.weights.values())
            elif isinstance(vector, SparseByIndex):
                tokens.extend(map(str, vector.indices))
                weights.extend(vector.values)
        starts.append(len(tokens))
        if limit is not None and len(starts) > limit:
            break
    if len(starts) == 1:
        raise CorpusUnreadable(f"{corpus.name} is empty")
    return Rows(vocabulary.add(tokens), np.array(weights, dtype=np.float32), np.array(starts))


def as_matrix(rows: Rows, terms: int) -> csr_array:
    """Return the rows as a matrix with sorted columns."""
    matrix = csr_array((rows.weights, rows.columns, rows.starts), shape=(len(rows.starts) - 1, terms))
    matrix.sort_indices()
    return matrix


def _read_npz(path: Path, queries: str | None, limit: int) -> Vectors | None:
    """Return both matrices, from one file or from two scipy files; None if the queries have another format."""
    try:
        with np.load(path, allow_pickle=False) as held:
            if "d_indptr" in held:
                terms = int(held["V"])
                made = [
                    csr_array(
                        (held[f"{side}_data"].astype(np.float32), held[f"{side}_indices"], held[f"{side}_indptr"]),
                        shape=(len(held[f"{side}_indptr"]) - 1, terms),
                    )
                    for side in "dq"
                ]
                return Vectors(made[0], made[1][:limit])
        if queries is None or Path(queries).suffix != ".npz":
            return None
        pair: list[Any] = [load_npz(file) for file in (path, Path(queries))]
        pair = [one.tocsr() for one in pair]
    except (OSError, KeyError, ValueError) as error:
        raise CorpusUnreadable(f"{path}: not a file of sparse vectors ({error})") from None
    terms = max(int(matrix.shape[1]) for matrix in pair)
    documents, asked = (
        csr_array((one.data.astype(np.float32), one.indices, one.indptr), shape=(int(one.shape[0]), terms))
        for one in pair
    )
    documents.sort_indices()
    asked.sort_indices()
    return Vectors(documents, asked[:limit])
