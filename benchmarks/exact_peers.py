"""Peers of exact search for benchmarks/index_exact.py: SINDI, BMP and PISA, each with nothing pruned.

BMP and PISA hold integers: impacts are scaled to 1 .. 255 by the largest of the collection, weights to hundredths.
Their hits differ from ours where scores are close. Each is built in a folder of its own, which is kept.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Query = tuple[NDArray[np.int64], NDArray[np.float32]]
Hits = tuple[NDArray[np.int64], NDArray[np.float32]]
Search = Callable[[Query, int], Hits]

_LEVELS = 255
_WEIGHT_SCALE = 100.0
_BLOCK = 16


class Rows(NamedTuple):
    """Documents: indptr int64[n + 1], terms int32[nnz], impacts float32[nnz], and the number of columns."""

    indptr: NDArray[np.int64]
    terms: NDArray[Any]
    impacts: NDArray[np.float32]
    width: int

    def as_integers(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Yield each document's number and its impacts as integers of 1 .. 255."""
        steps = np.maximum(1, np.rint(self.impacts * (_LEVELS / self.impacts.max()))).astype(int)
        for i in range(len(self.indptr) - 1):
            row = slice(int(self.indptr[i]), int(self.indptr[i + 1]))
            yield str(i), dict(zip(map(str, self.terms[row].tolist()), steps[row].tolist(), strict=True))


def open_sindi(rows: Rows, folder: Path) -> Search:  # noqa: ARG001
    """Return the search of a SINDI index that prunes nothing; it is not kept."""
    import pyvsag  # type: ignore[import-untyped, import-not-found, unused-ignore]

    index = {"use_reorder": False, "term_id_limit": rows.width, "doc_prune_ratio": 0.0, "window_size": 60_000}
    settings = {"dtype": "sparse", "metric_type": "ip", "dim": rows.width, "index_param": index}
    sindi = pyvsag.Index("sindi", json.dumps(settings))
    ids = np.arange(len(rows.indptr) - 1, dtype=np.int64)
    sindi.build(rows.indptr.astype(np.uint32), rows.terms.astype(np.uint32), rows.impacts, ids)

    def search(query: Query, k: int) -> Hits:
        pointers = np.array([0, len(query[0])], dtype=np.uint32)
        options = json.dumps({"sindi": {"query_prune_ratio": 0.0, "n_candidate": k}})
        found, distances = sindi.knn_search(pointers, query[0].astype(np.uint32), query[1], k, options)
        return np.ravel(found), np.ravel(distances)

    return search


def open_bmp(rows: Rows, folder: Path) -> Search:
    """Return the search of a BMP index, rank-safe over its integers."""
    import bmp  # type: ignore[import-untyped, import-not-found, unused-ignore]

    path = folder / "index.bmp"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        indexer = bmp.Indexer(str(path), bsize=_BLOCK, compress_range=False)
        for name, vector in rows.as_integers():
            indexer.add_document(name, vector)
        indexer.finish()
    searcher = bmp.Searcher(str(path))

    def search(query: Query, k: int) -> Hits:
        weights = {str(t): float(w) * _WEIGHT_SCALE for t, w in zip(query[0].tolist(), query[1].tolist(), strict=True)}
        names, scores = searcher.search(weights, k=k, alpha=1.0, beta=1.0)
        return np.array([int(name) for name in names], dtype=np.int64), np.asarray(scores, dtype=np.float32)

    return search


def open_pisa(rows: Rows, folder: Path) -> Search:
    """Return the search of a PISA index by block-max MaxScore over its integers, on one thread."""
    import pyterrier_pisa  # type: ignore[import-untyped, import-not-found, unused-ignore]
    from pyterrier_pisa import _pisathon  # type: ignore[attr-defined, unused-ignore]

    held = pyterrier_pisa.PisaIndex(str(folder), stemmer="none", threads=1)
    if not held.built():
        held.toks_indexer(scale=1.0).index({"docno": name, "toks": toks} for name, toks in rows.as_integers())
    retriever = held.quantized(num_results=10, threads=1)
    context, algorithm = retriever._ctxt, "block_max_maxscore"

    def search(query: Query, k: int) -> Hits:
        weights = {str(t): float(w) * _WEIGHT_SCALE for t, w in zip(query[0].tolist(), query[1].tolist(), strict=True)}
        numbers, ranks = np.empty(k, dtype=np.int32), np.empty(k, dtype=np.int32)
        names, scores = np.empty(k, dtype=object), np.empty(k, dtype=np.float32)
        size = _pisathon.retrieve(
            context, algorithm, [(0, weights)], k=k, threads=1, query_weighted=1, pretokenised=True,
            result_qidxs=numbers, result_docnos=names, result_ranks=ranks, result_scores=scores,
        )  # fmt: skip
        return np.array([int(name) for name in names[:size]], dtype=np.int64), scores[:size]

    return search


PEERS = {"sindi": open_sindi, "bmp": open_bmp, "pisa": open_pisa}
