"""Seismic (Bruch et al., SIGIR 2024) as a peer of `lsr bench`, through its Python package, on one thread."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import csr_array

from lsr.cli.bench_sweep import Settings
from lsr.errors import QueryError

if TYPE_CHECKING:
    from lsr.cli.bench_targets import _Truth


class SeismicTarget:
    """A Seismic index over the same vectors, with its own defaults, searched with the same grid."""

    name = "seismic"
    extra_settings: Sequence[Settings] = ()

    def __init__(self, documents: csr_array, queries: csr_array, truth: _Truth, folder: Path) -> None:
        """Raises QueryError when the package is not installed."""
        # It starts threads even for one search, unless told before it is loaded.
        os.environ.setdefault("RAYON_NUM_THREADS", "1")
        try:
            from seismic import SeismicIndexRaw  # type: ignore[import-untyped, import-not-found, unused-ignore]
        except ImportError:
            raise QueryError(
                "the peer seismic needs the package pyseismic-lsr: pip install it", field="peers"
            ) from None
        path = folder / "documents.bin"
        write_seismic(documents, path)
        started = perf_counter()
        with _stdout_to_stderr():
            self._index = SeismicIndexRaw.build(str(path))
            seconds = perf_counter() - started
            self._index.save(str(folder / "peer"))
        self._queries = queries
        self._terms = int(documents.indices.max()) + 1 if documents.nnz else 0
        self.query_count = queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": documents.shape[0],
            "queries": queries.shape[0],
            "build_seconds": round(seconds, 2),
            "bytes": sum(file.stat().st_size for file in folder.glob("peer*")),
            "recall_against": "brute force over the vectors as given",
        }

    def searcher(self, query: int, k: int, settings: Settings) -> Callable[[], Sequence[object]]:
        """Return the search of one query; the conversion of its arrays is not timed."""
        place = slice(self._queries.indptr[query], self._queries.indptr[query + 1])
        terms = self._queries.indices[place].astype(np.int32)
        known = terms < self._terms  # it panics at a term that no document has
        terms, weights = terms[known], self._queries.data[place][known].astype(np.float32)
        search, cut, factor = self._index.search, settings["query_cut"], settings["heap_factor"]
        return lambda: [number for _, number in search(terms, weights, k, cut, factor, 0, True)]


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Send what native code prints to stderr: stdout is for our data."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)


def write_seismic(matrix: csr_array, path: Path) -> None:
    """Write a matrix in Seismic's own format: for each row its length, terms (uint32), weights (float32)."""
    with path.open("wb") as file:
        file.write(np.uint32(matrix.shape[0]).tobytes())
        for row in range(matrix.shape[0]):
            place = slice(matrix.indptr[row], matrix.indptr[row + 1])
            terms, weights = matrix.indices[place].astype("<u4"), matrix.data[place].astype("<f4")
            file.write(np.uint32(len(terms)).tobytes() + terms.tobytes() + weights.tobytes())
