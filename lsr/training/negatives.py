"""Hard negatives: for each query the best documents that do not answer it, by BM25 and by a dense teacher.

Where a query has too few, documents drawn at random are added, so that every query has the same number of candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from encoders.bm25 import BM25Encoder
from encoders.compute.device import resolve_device
from index import SparseIndex
from lsr.training.errors import TrainingDataError
from lsr.training.pairs import Pairs

Progress = Callable[[int, int], None]
_BATCH = 512


class IndexStatistics:
    """The statistics of the searched index for BM25 (encoders.encoder.CorpusStatistics)."""

    def __init__(self, index: SparseIndex) -> None:
        self._index = index

    @property
    def document_count(self) -> int:
        """Documents."""
        return self._index.n_docs

    def document_frequencies(self, term_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of documents with each term."""
        return self._index.document_frequencies(term_ids)


def mine_bm25(pairs: Pairs, depth: int, *, threads: int = 1, progress: Progress | None = None) -> NDArray[np.int32]:
    """Return int32 [queries, depth], best first, -1 where BM25 finds no more."""
    encoder = BM25Encoder()
    encoder.measure(pairs.documents)
    index = SparseIndex.build(encoder.encode_document_batches(pairs.documents), threads=threads)
    statistics = IndexStatistics(index)
    k = depth + max(map(len, pairs.positives))
    found = np.full((len(pairs.queries), depth), -1, dtype=np.int32)
    for start in range(0, len(pairs.queries), _BATCH):
        vectors = encoder.encode_queries(pairs.queries[start : start + _BATCH], statistics)
        ranked = index.search(vectors, min(k, index.n_docs), threads=threads).ids
        for row, ids in enumerate(ranked, start=start):
            _keep(found[row], ids, pairs.positives[row])
        if progress:
            progress(min(start + _BATCH, len(pairs.queries)), len(pairs.queries))
    return found


def mine_dense(
    pairs: Pairs, queries: NDArray[np.float16], documents: NDArray[np.float16], depth: int, *, device: str = "cpu"
) -> NDArray[np.int32]:
    """Return int32 [queries, depth] by cosine, best first, -1 where there are no more documents.

    `queries` and `documents` are normalised, float16 [n, size]; all pairs are scored, on `device`.
    """
    k = min(depth + max(map(len, pairs.positives)), len(documents))
    found = np.full((len(pairs.queries), depth), -1, dtype=np.int32)
    on = resolve_device(device)
    wide = torch.from_numpy(documents).to(on, torch.float32)
    for start in range(0, len(queries), _BATCH):
        scores = torch.from_numpy(queries[start : start + _BATCH]).to(on, torch.float32) @ wide.T
        for row, ids in enumerate(scores.topk(k, dim=1).indices.cpu().numpy(), start=start):
            _keep(found[row], ids, pairs.positives[row])
    return found


def fill(pairs: Pairs, mined: Sequence[NDArray[np.int32]], seed: int) -> NDArray[np.int32]:
    """Return int32 [queries, sum of depths]: mined documents, each once per query, then random documents.

    Raises TrainingDataError where there are too few documents for that.
    """
    depth = sum(one.shape[1] for one in mined)
    rng = np.random.default_rng(seed)
    filled = np.empty((len(pairs.queries), depth), dtype=np.int32)
    for row, positives in enumerate(pairs.positives):
        kept = list(dict.fromkeys(int(i) for one in mined for i in one[row] if i >= 0))[:depth]
        if len(pairs.documents) - len(positives) < depth:
            raise TrainingDataError(
                f"{len(pairs.documents)} documents are too few for {depth} negatives per query; mine fewer"
            )
        taken = {*kept, *positives}
        while len(kept) < depth:
            drawn = int(rng.integers(len(pairs.documents)))
            if drawn not in taken:
                taken.add(drawn)
                kept.append(drawn)
        filled[row] = kept
    return filled


def _keep(into: NDArray[np.int32], ids: NDArray[np.integer], positives: Sequence[int]) -> None:
    """Write the best of `ids` that do not answer the query."""
    kept = [i for i in ids.tolist() if i >= 0 and i not in positives][: len(into)]
    into[: len(kept)] = kept
