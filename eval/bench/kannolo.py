"""kANNolo (Delfino et al., ECIR 2025), a graph (HNSW) over the sparse vectors, as a peer of `lsr bench`, on one thread.

Building the graph takes long, so it runs in a separate process with a time limit. The graph is kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from eval.bench.seismic import write_seismic
from eval.bench.sweep import Search, Settings
from eval.bench.vectors import Truth, Vectors, row_of
from lsr.errors import QueryError

EF_SEARCHES: Final = (10, 15, 20, 30, 40, 60, 80, 120, 200, 400, 800)

_BUILD: Final = (
    "import sys, kannolo; kannolo.SparsePlainHNSW.build_from_file(sys.argv[1], m=32, ef_construction=200)"
    ".save(sys.argv[2])"
)


class NotBuilt(Exception):
    """A peer could not be built, or not within its time limit."""


class KannoloTarget:
    """One graph over the same vectors, with the default parameters of its package."""

    name = "kannolo"

    def __init__(self, vectors: Vectors, truth: Truth, builds: Path, seconds: float) -> None:
        """Build it in `builds`, or load an earlier build.

        Raises NotBuilt after `seconds` or if the build fails, QueryError without the package.
        """
        if find_spec("kannolo") is None:
            raise QueryError("the peer kannolo needs the package kannolo: pip install kannolo", field="peers")
        graph, note = builds / "kannolo.graph", builds / "kannolo.json"
        if not note.exists():
            path = builds / "documents.bin"
            if not path.exists():
                write_seismic(vectors.documents, path)
            started = perf_counter()
            environment = os.environ | {"RAYON_NUM_THREADS": "1"}
            try:
                subprocess.run(
                    [sys.executable, "-c", _BUILD, str(path), str(graph)],
                    check=True, timeout=seconds, env=environment, stdout=subprocess.DEVNULL,
                )  # fmt: skip
            except subprocess.TimeoutExpired:
                graph.unlink(missing_ok=True)
                raise NotBuilt(f"kannolo was not built within {seconds:g} seconds") from None
            except subprocess.CalledProcessError as error:
                graph.unlink(missing_ok=True)
                raise NotBuilt(f"kannolo was not built: its process ended with status {error.returncode}") from None
            note.write_text(json.dumps({"build_seconds": round(perf_counter() - started, 2)}))
        import kannolo  # type: ignore[import-untyped, import-not-found, unused-ignore]

        self._index = kannolo.SparsePlainHNSW.load(str(graph))
        self._queries = vectors.queries
        self.query_count = vectors.queries.shape[0]
        self.relevant = truth.relevant
        self.description: Mapping[str, Any] = {
            "documents": vectors.documents.shape[0],
            "queries": self.query_count,
            **json.loads(note.read_text()),
            "bytes": graph.stat().st_size,
            "recall_against": truth.against,
        }

    def settings(self, k: int) -> Sequence[Settings]:
        """Return the numbers of candidates for its search."""
        return [{"ef_search": ef} for ef in EF_SEARCHES if ef >= k]

    def searcher(self, query: int, k: int, settings: Settings) -> Search:
        """Return the search of one query; the conversion of its arrays is not timed."""
        terms, weights = row_of(self._queries, query)
        search, ef = self._index.search, settings["ef_search"]
        return lambda: search(terms, weights, k, ef)[1].tolist()
