"""Seismic (Bruch et al., SIGIR 2024) as a peer of `lsr bench`, through its Python package, on one thread.

Measured over builds of its published grid. Builds are kept for later runs: at a million documents one takes minutes.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from time import perf_counter
from typing import Any, Final, NamedTuple

import numpy as np
from scipy.sparse import csr_array

from eval.bench.sweep import Search, Settings
from eval.bench.vectors import Truth, Vectors, row_of
from lsr.errors import QueryError

QUERY_CUTS: Final = (2, 3, 4, 5, 6, 8, 10, 12, 16)
HEAP_FACTORS: Final = (1.0, 0.9, 0.8, 0.7)


class SeismicBuild(NamedTuple):
    """The build parameters that the published grid varies."""

    n_postings: int
    centroid_fraction: float = 0.1
    summary_energy: float = 0.4

    @classmethod
    def parse(cls, text: str) -> SeismicBuild:
        """Read n_postings/centroid_fraction/summary_energy; raises ValueError."""
        n_postings, fraction, energy = text.split("/")
        return cls(int(n_postings), float(fraction), float(energy))

    @property
    def file_name(self) -> str:
        """The build's file name."""
        return f"n{self.n_postings}_c{self.centroid_fraction}_e{self.summary_energy}"


class SeismicTarget:
    """One Seismic index over the same vectors."""

    def __init__(self, vectors: Vectors, truth: Truth, builds: Path, build: SeismicBuild) -> None:
        """Build it in `builds`, or load an earlier build. Raises QueryError without the package."""
        saved, note = build_seismic(vectors.documents, builds, build)
        with _stdout_to_stderr():
            self._index = _package().load(str(saved))
        self.name = f"seismic {build.n_postings}/{build.centroid_fraction:g}/{build.summary_energy:g}"
        self._queries = vectors.queries
        self._terms = int(vectors.documents.indices.max()) + 1 if vectors.documents.nnz else 0
        self.query_count = vectors.queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": vectors.documents.shape[0],
            "queries": self.query_count,
            **build._asdict(),
            **note,
            "bytes": saved.stat().st_size,
            "recall_against": truth.against,
        }

    def settings(self, k: int) -> Sequence[Settings]:  # noqa: ARG002
        """Return the published grid of query parameters."""
        return [{"query_cut": cut, "heap_factor": factor} for cut, factor in product(QUERY_CUTS, HEAP_FACTORS)]

    def searcher(self, query: int, k: int, settings: Settings) -> Search:
        """Return the search of one query; the conversion of its arrays is not timed."""
        terms, weights = row_of(self._queries, query)
        known = terms < self._terms  # it panics on a term that is in no document
        terms, weights = terms[known], weights[known]
        search, cut, factor = self._index.search, settings["query_cut"], settings["heap_factor"]
        return lambda: [number for _, number in search(terms, weights, k, cut, factor, 0, True)]


def build_seismic(documents: csr_array, builds: Path, build: SeismicBuild) -> tuple[Path, dict[str, Any]]:
    """Return (the build's file in `builds`, its notes); build it if it is missing.

    Raises QueryError without the package.
    """
    package, note = _package(), builds / f"{build.file_name}.json"
    if not note.exists():
        with _stdout_to_stderr():
            path = builds / "documents.bin"
            if not path.exists():
                write_seismic(documents, path)
            started = perf_counter()
            index = package.build(str(path), **build._asdict())
            seconds = perf_counter() - started
            index.save(str(builds / build.file_name))
        note.write_text(json.dumps({"build_seconds": round(seconds, 2)}))
    saved = next(path for path in builds.glob(f"{build.file_name}*") if path != note)
    return saved, json.loads(note.read_text())


def _package() -> Any:
    # It starts threads even for one search, unless this is set before it is loaded.
    os.environ.setdefault("RAYON_NUM_THREADS", "1")
    try:
        from seismic import SeismicIndexRaw  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:
        raise QueryError(
            "the peer seismic needs the package pyseismic-lsr: pip install pyseismic-lsr", field="peers"
        ) from None
    return SeismicIndexRaw


@contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Redirect the output of native code to stderr: stdout is for our data."""
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
