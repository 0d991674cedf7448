"""Teachers' scores of each query's candidates, computed once and kept on disk.

A cache file's name is a hash over the teacher's fingerprint, the texts and the candidates, so that a changed input
makes a new file and a resumed run reads the old one. It is written under another name and renamed: a kill leaves no
partial file. A dense teacher's vectors are kept by text (lsr.training.text_vectors).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from encoders import load_encoder
from encoders.encoder import Encoder
from encoders.learned import LearnedEncoder
from encoders.sides.pooled import PooledSide
from encoders.training.dense_teacher import DenseTeacher
from index import SparseIndex
from lsr.training.config import find_folder
from lsr.training.context import RunContext
from lsr.training.negatives import IndexStatistics
from lsr.training.pairs import Pairs
from lsr.training.pooled_documents import encode_pooled, pooled_vectors
from lsr.training.text_vectors import VECTORS, text_vectors

_CHUNK = 4096  # queries
Array = TypeVar("Array", bound=NDArray[np.generic])


class DenseScores:
    """A dense teacher with its vectors of all queries and documents."""

    def __init__(self, spec: str, max_length: int | None, pairs: Pairs, cache: Path, context: RunContext) -> None:
        teacher = DenseTeacher(find_folder(spec), max_length=max_length, device=context.device)
        self.fingerprint, self.max_length = teacher.fingerprint, teacher.max_length

        def vectors(kind: str, texts: list[str]) -> NDArray[np.float16]:
            context.say(f"{spec} reads {len(texts):,} {kind}")
            return text_vectors(cache / VECTORS, self.fingerprint, texts, teacher.encode, context.phase(kind))

        self.queries = vectors("queries", pairs.queries)
        self.documents = vectors("documents", pairs.documents)

    def score(self, examples: NDArray[np.int32], candidates: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return cosines, float32 of the shape of `candidates`; row i is of the query examples[i]."""
        scores = np.empty(candidates.shape, dtype=np.float32)
        for start in range(0, len(examples), _CHUNK):
            part = slice(start, start + _CHUNK)
            queries = self.queries[examples[part]].astype(np.float32)
            documents = self.documents[candidates[part]].astype(np.float32)
            scores[part] = np.einsum("qh,qch->qc", queries, documents)
        return scores


def sparse_scores(
    spec: str,
    pairs: Pairs,
    examples: NDArray[np.int32],
    candidates: NDArray[np.int32],
    data_hash: str,
    cache: Path,
    context: RunContext,
) -> NDArray[np.float32]:
    """Return a sparse teacher's dot products, float32 of the shape of `candidates`; `spec` is for load_encoder."""
    encoder = load_encoder(spec) if spec == "bm25" else load_encoder(spec, device=context.device)

    def compute() -> NDArray[np.float32]:
        context.say(f"{spec} reads {len(pairs.documents):,} documents and {len(pairs.queries):,} queries")
        statistics = None
        if spec == "bm25":
            encoder.measure(pairs.documents)  # type: ignore[attr-defined]
        documents = _document_vectors(encoder, pairs.documents, cache, context.phase("documents"))
        if spec == "bm25":
            statistics = IndexStatistics(SparseIndex.build(documents))
        queries = encoder.encode_queries(pairs.queries, statistics)
        scores = np.empty(candidates.shape, dtype=np.float32)
        for row, (query, ids) in enumerate(zip(examples.tolist(), candidates, strict=True)):
            scores[row] = (documents[ids] @ queries[[query]].T).toarray()[:, 0]
        return scores

    digest = hashlib.sha256(np.ascontiguousarray(candidates).tobytes() + examples.tobytes()).hexdigest()
    return cached(cache, f"sparse {encoder.fingerprint} {data_hash} {digest}", compute)


def _document_vectors(
    encoder: Encoder, texts: Sequence[str], cache: Path, progress: Callable[[int, int], None] | None
) -> csr_array:
    if isinstance(encoder, LearnedEncoder) and isinstance(encoder.documents, PooledSide):
        side = encoder.documents
        return encode_pooled(side, texts, pooled_vectors(side, encoder.fingerprint, texts, cache, progress))
    batches = list(encoder.encode_document_batches(texts))
    n_terms = len(encoder.vocabulary)  # with a growing vocabulary later batches are wider
    wide = [csr_array((one.data, one.indices, one.indptr), shape=(one.shape[0], n_terms)) for one in batches]
    documents: csr_array = vstack(wide, format="csr")
    return documents


def cached(folder: Path, key: str, compute: Callable[[], Array]) -> Array:
    """Return the array that an earlier call with this key computed, or compute and keep it."""
    path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npy"
    if path.is_file():
        try:
            kept: Array = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            path.unlink()  # damaged: computed again
        else:
            return kept
    found = compute()
    folder.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.save(file, found, allow_pickle=False)
    partial.replace(path)
    return found
